"""The side of a write: invalidations, which are delivered sooner or later."""

from __future__ import annotations

import atexit
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Lock, RLock
from typing import Any

import redis
from django.core.exceptions import ImproperlyConfigured

from ..schema import tracked_columns
from ..utils import after_fork_in_child, error_boundary
from . import dependency_index, keys, pending_releases
from .background_retry import BackgroundRetry
from .circuit_breaker import call, is_away
from .client import execute, get_client, note_confusion, run_script, send_script
from .write_set import MAX_CHANGES_PER_TABLE, AnyChange, WriteSet

# Keys that wait to be removed; of more everything is.
MAX_KEYS = 1000
# How often an invalidation is told before tables are dropped.
MAX_TURNS = 3
# In place of a dependency index's size; and of how many versions fall.
UNKNOWN, WHOLE_TABLE = 0, -1
UNTOLD = -1
# Seconds after which a writer that holds tables counts as dead; a commit takes less.
FENCE_SECONDS = 30
# In place of a token and these.
NO_FENCE = ("", "")
logger = logging.getLogger("cacheops_lite")

# What could not be delivered, by prefix, and what of it a thread delivers just now.
_overdue: dict[str, WriteSet] = {}
_in_delivery: dict[str, WriteSet] = {}
# What Redis refuses for good, even to drop the tables' table versions: meanwhile this process reads past the cache.
_refused: dict[str, WriteSet] = {}
# Of these dicts; and of being the one who delivers.
_state_lock = Lock()
_delivery_lock = RLock()


@dataclass(slots=True)
class Fence:
    """The tables that a writer holds under each prefix, and its token.

    It is noted before it is sent, as a reply may be lost: `standing` are the prefixes whose holds surely stood, with
    everything dropped that the work meets.
    """

    token: str = field(default_factory=keys.fresh_token)
    tables: dict[str, list[str]] = field(default_factory=dict)
    standing: set[str] = field(default_factory=set)


def invalidate_and_fence(write_sets: Mapping[str, WriteSet], fence: Fence) -> None:
    """Drop all that the work meets, and keep others from making such versions until it is flushed; in one call a prefix.

    To be called right before the commit, with a `Fence` that notes what was sent.  Raises what Redis does.
    """
    for prefix, write_set in write_sets.items():
        if write_set.changes or write_set.tables:
            owed = write_set.by_table()
            fence.tables[prefix] = list(owed)
            call(partial(_send_changes, prefix, owed, [fence.token, FENCE_SECONDS]))
            fence.standing.add(prefix)


def release(fence: Fence) -> None:
    """Let the held tables go, of a writer that did not commit.  Raises nothing that Redis does."""
    for prefix in fence.tables:
        pending_releases.release(_fence_keys(prefix, fence), fence.token, FENCE_SECONDS)


def _fence_keys(prefix: str, fence: Fence) -> list[str]:
    return [keys.fence_key(prefix, table) for table in fence.tables[prefix]]


def invalidate(write_sets: Mapping[str, WriteSet], fence: Fence | None = None) -> None:
    """Drop all that the work of each prefix meets, in one script call a prefix; what is `fence` is dropped: let it go.

    When Redis can't be reached its error surfaces, but nothing is lost: the work is done before this process reads from
    the cache again, and tried in the background until then.
    """
    owed = {prefix: write_set for prefix, write_set in write_sets.items() if write_set}
    if not owed:
        return

    def send_in_turn() -> None:
        deliver_overdue()
        _send(owed, fence)

    try:
        call(send_in_turn)
    except BaseException:
        postpone(owed, fence)
        raise


def is_overdue() -> bool:
    """There are invalidations that are still to be done."""
    return bool(_overdue or _in_delivery)


def is_refused() -> bool:
    """An invalidation can't be delivered for a reason that does not pass: what Redis holds is not to be trusted."""
    return bool(_refused)


def deliver_overdue() -> None:
    """Do the invalidations that are overdue, or wait until another thread has done so.

    Raises what Redis does if it is away.  What fails for another reason would fail before each read, so whole tables
    are dropped instead.
    """
    if not is_overdue():
        return
    with _delivery_lock:
        try:
            with _state_lock:
                _merge(_in_delivery, _overdue)
                _overdue.clear()
            _send(_in_delivery)
            _in_delivery.clear()
        except Exception as error:
            if is_away(error) or isinstance(error, (OSError, ImproperlyConfigured)):
                raise
            if not isinstance(error, redis.RedisError):
                error_boundary.reraise_interrupt(error)
            _drop_tables(_in_delivery, error)
            _in_delivery.clear()
        finally:
            with _state_lock:
                _merge(_overdue, _in_delivery)
                _in_delivery.clear()


def _drop_tables(write_sets: Mapping[str, WriteSet], reason: Exception) -> None:
    """Drop the table versions of all tables that the work is about, key by key: any Redis does that.

    What refuses even that waits in `_refused`, and no read pays for it.  Raises what Redis does if it is away.
    """
    logger.error(
        "An invalidation fails, so its tables are dropped as a whole: %s", error_boundary.describe_error(reason)
    )
    for prefix, write_set in write_sets.items():
        tables = (
            [keys.name_in_keys(table) for table in tracked_columns()]
            if write_set.everything
            else write_set.all_tables()
        )
        try:
            for table in tables:
                # A dependency index of another type makes each call fail; without one readers start a new table version.
                for key_of in (keys.index_key, keys.fence_key, keys.table_version_key):
                    execute("UNLINK", key_of(prefix, table))
            for key in write_set.keys:
                execute("UNLINK", key)
        except redis.RedisError as error:
            if is_away(error):
                raise
            logger.error("Redis refuses to drop them, so this process reads past the cache: %s", error)
            with _state_lock:
                _merge(_refused, {prefix: write_set})
            _refused_courier.start()


def _send(write_sets: Mapping[str, WriteSet], fence: Fence | None = None) -> None:
    for prefix, write_set in write_sets.items():
        if write_set.everything:
            clear(prefix)
        if write_set.keys:
            execute("UNLINK", *write_set.keys)
        if fence is not None and prefix in fence.standing:
            _release_after_commit(prefix, write_set, fence)
        elif write_set.changes or write_set.tables:
            _send_changes(prefix, write_set.by_table(), NO_FENCE)
            if fence is not None and prefix in fence.tables:
                pending_releases.release(_fence_keys(prefix, fence), fence.token, FENCE_SECONDS)


def _release_after_commit(prefix: str, write_set: WriteSet, fence: Fence) -> None:
    """Lift the hold, without waiting for the reply: until it is done no reader can make what the hold dropped."""
    tables = fence.tables[prefix]
    names = [key(prefix, table) for key in (keys.fence_key, keys.table_version_key) for table in tables]
    # The hold may have been lost, too: then all is dropped again.
    send_script("release_fences", names, [fence.token], partial(postpone, {prefix: write_set}, fence))


def _send_changes(prefix: str, owed: dict[str, list[AnyChange] | None], fence: Sequence[Any]) -> None:
    """Tell which versions fall by the shapes that are known here; where there are others by now, once more."""
    for _ in range(MAX_TURNS):
        _, *others = _run(prefix, fence, _arguments(prefix, owed))
        found = {table.decode(): members[0] if members else [] for table, *members in others}
        for table, members in found.items():
            dependency_index.note(prefix, table, members)
        owed = {table: owed[table] for table, members in found.items() if members}
        if not owed:
            return
    # Schemes come faster than we learn of them.
    _run(prefix, fence, _arguments(prefix, dict.fromkeys(owed)))


def _run(prefix: str, fence: Sequence[Any], arguments: Sequence[Any]) -> Any:
    """The script's reply, which is surely the one to this call: only then it has been executed."""
    for _ in range(MAX_TURNS):
        nonce = keys.fresh_token()
        reply = run_script("invalidate", [prefix + keys.NAMESPACE], [nonce, *fence, *arguments])
        if type(reply) is list and reply[:1] == [nonce.encode()]:
            return reply[1:]
        note_confusion()
    raise redis.ConnectionError("Redis sends the replies to other requests")


def _arguments(prefix: str, owed: Mapping[str, list[AnyChange] | None]) -> list[Any]:
    """What the script takes of each table."""
    arguments: list[Any] = []
    for table, changes in owed.items():
        index = dependency_index.known(prefix, table)
        if changes is not None and (index is None or not index.size):
            arguments += [table, "", UNKNOWN, 0]
        elif changes is None or index is None or index.incarnation is None:
            arguments += [table, "", WHOLE_TABLE, 0]
        else:
            what = "What a write invalidates can't be told, so its table is dropped as a whole"
            dependencies = error_boundary.call_or_default(what, partial(index.met_by, changes), None)
            count = UNTOLD if dependencies is None else len(dependencies)
            arguments += [table, index.incarnation, index.size, count, *(dependencies or ())]
    return arguments


def postpone(owed: Mapping[str, WriteSet], fence: Fence | None = None) -> None:
    """Have work done as soon as Redis is there, before this process reads from it again; what is `fence` is let go."""
    with _state_lock:
        _merge(_overdue, owed)
    _courier.start()
    if fence is not None:
        for prefix in owed.keys() & fence.tables.keys():
            pending_releases.owe(_fence_keys(prefix, fence), fence.token, FENCE_SECONDS)


def _merge(into: dict[str, WriteSet], owed: Mapping[str, WriteSet]) -> None:
    for prefix, write_set in owed.items():
        merged = into.setdefault(prefix, WriteSet())
        # Receivers were notified already.
        merged.add(replace(write_set, notices=[]))
        if merged.weight > MAX_CHANGES_PER_TABLE:
            merged.coarsen()
        if len(merged.keys) > MAX_KEYS:
            merged.everything, merged.keys = True, set()


_courier = BackgroundRetry("cacheops_lite.store.invalidator", lambda: call(deliver_overdue), lambda: not is_overdue())


def _try_refused() -> None:
    with _delivery_lock:
        _send(_refused)
        _refused.clear()


_refused_courier = BackgroundRetry("cacheops_lite.refused", lambda: call(_try_refused), lambda: not _refused)


@after_fork_in_child
def _renew_in_child() -> None:
    """What was under way in the parent is done once more."""
    global _delivery_lock, _state_lock
    _state_lock, _delivery_lock = Lock(), RLock()
    _merge(_overdue, _in_delivery)
    _in_delivery.clear()


@atexit.register
def _deliver_at_last() -> None:
    with suppress(Exception):
        deliver_overdue()


def clear(prefix: str) -> None:
    """Remove all of our keys under `prefix`, and no others, without blocking Redis."""
    client = get_client()
    pattern = keys.escape_glob(prefix + keys.NAMESPACE) + keys.KINDS + "*"
    cursor = 0
    while True:
        cursor, found = client.scan(cursor, match=pattern, count=1000)
        if found:
            client.unlink(*found)
        if cursor == 0:
            break
