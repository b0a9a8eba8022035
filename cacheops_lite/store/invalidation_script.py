"""Call ``invalidate.lua`` with what changes meet, by the dependency indexes that this process knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

import redis

from ..observe import Counted, counters
from ..utils import error_boundary
from . import cluster_invalidation, dependency_index, keys
from .client import get_client, reset_connections, run_script
from .cluster_settings import uses_cluster
from .connection_support import is_embedded
from .near_leases import LeaseWait, longest_lease
from .write_set import AnyChange

# After so many calls that found another dependency index, whole tables are invalidated instead.
MAX_ATTEMPTS = 3
# What invalidate.lua takes instead of the size of a dependency index ...
INDEX_UNKNOWN, WHOLE_TABLE = 0, -1
# ... and instead of the number of dependencies.
DEPENDENCIES_UNKNOWN = -1
# How many dependencies one call names, except those on any row.  Redis serves no other client while a script runs: so
# many take it 1 to 2 milliseconds if all exist.  What changes meet beyond them takes further calls.
MAX_DEPENDENCIES_PER_CALL = 250
# Names of dependencies without conditions begin so.
ANY_ROW = "|"
# How many names of dropped versions invalidate.lua returns at most, if they are asked for.
MAX_NAMES = 1000
# What invalidate.lua takes instead of a fence's token and seconds.
NO_FENCE = ("", "")


def invalidate_changes(
    prefix: str,
    changes_by_table: dict[str, list[AnyChange] | None],
    fence: Sequence[Any],
    dropped: set[str] | None,
    epoch: bytes | None,
    lease_wait: LeaseWait,
) -> None:
    """Invalidate the dependencies that changes meet, found by the known indexes, and add their names to `dropped`.

    What the writer has to wait for is added to `lease_wait`.

    Raises EpochChanged if the server is not that of `epoch`: the call is then to be repeated, as by `call_in_epoch`.
    On a cluster `epoch` is not used.
    Redis reports the tables whose index differs from the known one: for those the call is repeated with the new index.
    """
    for attempt in range(MAX_ATTEMPTS):
        differing = _run(prefix, epoch, fence, changes_by_table, dropped, lease_wait, is_first=not attempt)
        members_by_table = {table.decode(): members[0] if members else [] for table, *members in differing}
        for table, members in members_by_table.items():
            dependency_index.remember(prefix, table, members)
        changes_by_table = {table: changes_by_table[table] for table, members in members_by_table.items() if members}
        if not changes_by_table:
            return
    # Readers register new shapes faster than this process reads them.
    _run(prefix, epoch, fence, dict.fromkeys(changes_by_table), dropped, lease_wait, is_first=False)


def _run(
    prefix: str,
    epoch: bytes | None,
    fence: Sequence[Any],
    changes_by_table: Mapping[str, list[AnyChange] | None],
    dropped: set[str] | None,
    lease_wait: LeaseWait,
    is_first: bool,
) -> list[Any]:
    """Run invalidate.lua and return the tables that it reports; count what it dropped, and add it to `dropped`."""
    options = [0 if dropped is None else MAX_NAMES, _longest_lease_ms()]
    split = [_split(own) for own in _arguments(prefix, changes_by_table)]
    parts = [first for first, _ in split]
    replies = _run_parts(prefix, epoch, [*fence, *options], parts)
    if rest := [part for _, others in split for part in others]:
        # Without the fence: if that is lost, readers may have created what the first call dropped, which the release of
        # the fence would not find if it were set again.
        replies += _run_parts(prefix, epoch, [*NO_FENCE, *options], rest)
        parts += rest
    numbers: list[int] = []
    differing: list[Any] = []
    for own_epoch, (each_numbers, names, leases, *more) in replies:
        numbers += each_numbers
        lease_wait.add(prefix, own_epoch, leases)
        differing += more
        if dropped is not None:
            dropped.update(name.decode() for name in names)
    if counters.is_on:
        _count([part[0] for part in parts], numbers, is_first)
    return differing


def _longest_lease_ms() -> float:
    """Return the longest lease of a near cache, in milliseconds, 0 where there can't be any."""
    seconds = longest_lease()
    return seconds * 1000 if seconds and (uses_cluster() or not is_embedded(get_client())) else 0.0


def _run_once(prefix: str, epoch: bytes, options: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    """Run invalidate.lua and return its reply without the nonce.

    Each reply begins with the nonce of its call: others belong to another request.
    """
    root = prefix + keys.NAMESPACE
    for _ in range(MAX_ATTEMPTS):
        nonce = cluster_invalidation.new_nonce()
        args = [nonce, *options, epoch.decode(), len(root.encode()), *arguments]
        reply = run_script("invalidate", [root], args, epoch)
        if type(reply) is list and reply[:1] == [nonce.encode()]:
            return reply[1:]
        reset_connections()
    raise redis.ConnectionError("Redis keeps sending the replies to other requests")


def _run_parts(
    prefix: str, epoch: bytes | None, options: Sequence[Any], parts: Sequence[list[Any]]
) -> list[tuple[bytes, list[Any]]]:
    """Run invalidate.lua for all parts; return the replies, which have them in this order, each after the epoch."""
    if epoch is None:
        return cluster_invalidation.run(prefix, options, parts)
    return [(epoch, _run_once(prefix, epoch, options, call)) for call in _calls(parts)]


def _split(arguments: list[Any]) -> tuple[list[Any], list[list[Any]]]:
    """Return the arguments that describe a table in parts with few dependencies: the first part, and the others.

    The first one has all dependencies on any row of the table: while their versions are unchanged, fills create
    versions of single rows, whether there is a fence or not.  docs/model/protocol.py walks it (``--variant parts``).
    """
    table, incarnation, size, count, *dependencies = arguments
    if count <= MAX_DEPENDENCIES_PER_CALL:
        return arguments, []
    dependencies.sort(key=lambda name: not name.startswith(ANY_ROW))
    starts = range(MAX_DEPENDENCIES_PER_CALL, count, MAX_DEPENDENCIES_PER_CALL)
    first, *others = [dependencies[start : start + MAX_DEPENDENCIES_PER_CALL] for start in (0, *starts)]
    while others and others[0][0].startswith(ANY_ROW):
        first += others.pop(0)
    return (
        [table, incarnation, size, len(first), *first],
        [[table, incarnation, size, len(each), *each] for each in others],
    )


def _calls(parts: Iterable[list[Any]]) -> Iterator[list[Any]]:
    """Yield the arguments of calls, each with as many parts as have few dependencies together, in the same order."""
    call: list[list[Any]] = []
    number = 0
    for part in parts:
        number += max(part[3], 0)
        if call and number > MAX_DEPENDENCIES_PER_CALL:
            yield [*chain.from_iterable(call)]
            call, number = [], max(part[3], 0)
        call.append(part)
    yield [*chain.from_iterable(call)]


def _count(tables: Iterable[str], numbers: Iterable[int], is_first: bool) -> None:
    """Count for each table the write, and how many versions it dropped; several numbers of a table are added."""
    sums: Counter[str] = Counter()
    for table, number in zip(tables, numbers, strict=False):
        sums[table] += number
    for table, number in sums.items():
        if is_first:
            counters.add(Counted(table, "write", "writes"))
        if number:
            counters.add(Counted(table, "write", "invalidations"), number)


def met_by(
    prefixes: Iterable[str], changes: Iterable[AnyChange], tables: Iterable[str], dropped: set[str]
) -> list[str]:
    """Return those names of `dropped` that the changes meet, and those of the tables."""
    found = {name for name in dropped if name.partition(":")[0] in set(tables)}
    for change in changes:
        if change.table in dropped:
            found.add(change.table)
        for prefix in prefixes:
            index = dependency_index.known(prefix, change.table)
            names = index.dependencies_of([change]) if index is not None else None
            found |= {f"{change.table}:{name}" for name in names or ()} & dropped
    return sorted(found)


def _arguments(prefix: str, changes_by_table: Mapping[str, list[AnyChange] | None]) -> list[list[Any]]:
    """Return the arguments of invalidate.lua that describe each table."""
    arguments: list[list[Any]] = []
    for table, changes in changes_by_table.items():
        index = dependency_index.known(prefix, table)
        if changes is not None and (index is None or not index.size):
            arguments.append([table, "", INDEX_UNKNOWN, 0])
        elif changes is None or index is None or index.incarnation is None:
            arguments.append([table, "", WHOLE_TABLE, 0])
        else:
            what = "Changes can't be analysed, so their table is invalidated as a whole"
            dependencies = error_boundary.call_or_default(what, partial(index.dependencies_of, changes), None)
            count = DEPENDENCIES_UNKNOWN if dependencies is None else len(dependencies)
            arguments.append([table, index.incarnation, index.size, count, *(dependencies or ())])
    return arguments
