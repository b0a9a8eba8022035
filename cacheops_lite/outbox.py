"""The side of a write: looks at rows before they change, and invalidations after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import RLock

from . import keys
from .changes import LOST, Mark, Work
from .redis import get_client, run_script

# A writer that takes longer from its look to its flush finds its mark gone and drops the generation.
MARK_TIMEOUT = 300

# What could not be delivered, to be so before this process reads again: (prefix, work).
_outbox: list[tuple[str, Work]] = []
_outbox_lock = RLock()


def invalidate(work_by_prefix: dict[str, Work]) -> None:
    """Drop all that the work of each prefix meets, in one script call a prefix.

    When Redis can't be reached its error surfaces, and the work is done before this process reads from the cache again.
    """
    owed = [(prefix, work) for prefix, work in work_by_prefix.items() if work]
    if owed:
        with _outbox_lock:
            _outbox.extend(owed)
        deliver_outbox()


def deliver_outbox() -> None:
    """Do the invalidations that are owed."""
    if not _outbox:
        return
    with _outbox_lock:
        while _outbox:
            prefix, work = _outbox[0]
            if work.everything:
                clear(prefix)
            if work.changes or work.tables:
                run_script("invalidate", [prefix + keys.NAMESPACE], [work.as_json(prefix)])
            del _outbox[0]


def clear(prefix: str) -> None:
    """Remove all of our keys under `prefix`, and no others, without blocking Redis."""
    client = get_client()
    pattern = _escape_glob(prefix + keys.NAMESPACE) + "*"
    cursor = 0
    while True:
        cursor, found = client.scan(cursor, match=pattern, count=1000)
        if found:
            client.unlink(*found)
        if cursor == 0:
            break


def _escape_glob(text: str) -> str:
    return "".join("\\" + char if char in "*?[]^\\-" else char for char in text)


@dataclass(slots=True)
class Glance:
    """What `look` found: marks by table and prefix, and for each table the columns that its schemes name or read.

    A table that maps to None has a scheme that reads all columns.
    """

    marks: dict[str, dict[str, Mark]]
    condition_columns: dict[str, set[str]]
    read_columns: dict[str, set[str] | None]


def look(rows: Mapping[str, str], prefixes: Mapping[str, Sequence[str]]) -> Glance:
    """Mark the rows {table: token of the row's own key} as looked at under their tables' prefixes, before they change.

    For writes in autocommit; plain commands in one round trip.  Whoever else flushes a change of such a row ends its
    mark, or drops the generation, which `invalidate` then notices.
    """
    places = [(prefix, table) for table in rows for prefix in prefixes[table]]
    pipeline = get_client().pipeline(transaction=False)
    for prefix, table in places:
        key = keys.mark_key(prefix, table, rows[table])
        pipeline.set(key, keys.fresh_token(), nx=True, ex=MARK_TIMEOUT)
        pipeline.get(key)
        pipeline.get(keys.generation_key(prefix, table))
        pipeline.smembers(keys.registry_key(prefix, table))
    replies = pipeline.execute()
    glance = Glance({}, {}, {})
    for i, (prefix, table) in enumerate(places):
        _, token, generation, members = replies[4 * i : 4 * i + 4]
        # Lost at once, it fits no later one, so that the flush drops the generation.
        mark = LOST if token is None else Mark(token.decode(), None if generation is None else generation.decode())
        glance.marks.setdefault(table, {})[prefix] = mark
        _note_columns(glance, table, members)
    return glance


def _note_columns(glance: Glance, table: str, members: Iterable[bytes]) -> None:
    conditions = glance.condition_columns.setdefault(table, set())
    reads: set[str] | None = glance.read_columns.get(table, set())
    for member in members:
        columns, _, rest = member.decode().partition("|")
        conditions.update(filter(None, columns.split(",")))
        if rest == "*":
            reads = None
        elif rest and reads is not None:
            reads.update(rest.rpartition("|")[2].split(","))
    glance.read_columns[table] = reads
