"""The side of a write: looks at rows before they change, and invalidations after."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from threading import RLock
from typing import NamedTuple

from . import keys
from .changes import Work
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
                run_script("invalidate", [prefix + keys.NAMESPACE], [work.as_json()])
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


class Mark(NamedTuple):
    """What shows whether somebody wrote since a look: the row's mark, and the generation of its table if it had one."""

    token: str
    generation: str | None


@dataclass(slots=True)
class Glance:
    """What `look` found: the mark of each row, and for each table the columns that its schemes name or read.

    A table that maps to None has a scheme that reads all columns.
    """

    marks: dict[str, Mark]
    condition_columns: dict[str, set[str]]
    read_columns: dict[str, set[str] | None]


def look(prefix: str, rows: dict[str, str]) -> Glance:
    """Mark the rows {table: token of the row's own key} as looked at, before an autocommit write.

    Plain commands in one round trip.  Whoever else flushes a change of such a row ends its mark, or drops the
    generation, which `invalidate` then notices.
    """
    pipeline = get_client().pipeline(transaction=False)
    for table, pk in rows.items():
        mark = keys.mark_key(prefix, table, pk)
        pipeline.set(mark, keys.fresh_token(), nx=True, ex=MARK_TIMEOUT)
        pipeline.get(mark)
        pipeline.get(keys.generation_key(prefix, table))
        pipeline.smembers(keys.registry_key(prefix, table))
    replies = pipeline.execute()
    glance = Glance({}, {}, {})
    for i, table in enumerate(rows):
        _, mark_found, generation, members = replies[4 * i : 4 * i + 4]
        # A mark that was lost at once fits no later one, so that the flush drops the generation.
        token = (mark_found or b"lost").decode()
        glance.marks[table] = Mark(token, None if generation is None else generation.decode())
        _note_columns(glance, table, members)
    return glance


def _note_columns(glance: Glance, table: str, members: Iterable[bytes]) -> None:
    conditions: set[str] = set()
    reads: set[str] | None = set()
    for member in members:
        columns, _, rest = member.decode().partition("|")
        conditions.update(filter(None, columns.split(",")))
        if rest == "*":
            reads = None
        elif rest and reads is not None:
            reads.update(rest.rpartition("|")[2].split(","))
    glance.condition_columns[table] = conditions
    glance.read_columns[table] = reads
