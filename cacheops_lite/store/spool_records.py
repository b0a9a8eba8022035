"""The records of a spool: write sets as lines of text, each with a checksum, so that damage is noticed.

A record is ``{checksum} {JSON}``.  The JSON has the version of this format and that of the keys: a record of another
release is as unreadable as a damaged one.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from functools import partial
from typing import Any

from ..utils import error_boundary
from .keys import FORMAT_VERSION
from .write_set import AnyChange, Change, InsertedRows, WriteSet

# Increase it when the layout of records changes.
RECORD_VERSION = 1
# A longer record has whole tables instead of rows.
MAX_RECORD_BYTES = 64 * 1024
_VERSIONS = [RECORD_VERSION, FORMAT_VERSION]


class DamagedRecord(Exception):
    """A record is incomplete, was changed, or comes from another release."""


def encode(prefix: str, write_set: WriteSet) -> bytes:
    """Return the record, with its newline, of what `write_set` invalidates under `prefix`; not of its causes."""
    what = "Changes can't be written to the spool, so their tables are invalidated as a whole"
    line = error_boundary.call_or_default(what, partial(_line, prefix, write_set), None)
    if line is None or len(line) > MAX_RECORD_BYTES:
        line = _line(prefix, WriteSet([], write_set.all_tables(), write_set.everything, write_set.keys))
    return line if len(line) <= MAX_RECORD_BYTES else _line(prefix, WriteSet(everything=True))


def _line(prefix: str, write_set: WriteSet) -> bytes:
    record = {"versions": _VERSIONS, "prefix": prefix}
    parts = {
        "changes": _encoded_changes(write_set.changes),
        "tables": sorted(write_set.tables),
        "everything": write_set.everything,
        "keys": sorted(write_set.keys),
    }
    text = json.dumps(record | {name: part for name, part in parts.items() if part}, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _encoded_changes(changes: Sequence[AnyChange]) -> list[Any]:
    return [
        ["row", change.table, _image(change.old), _image(change.new), change.changed]
        if isinstance(change, Change)
        else ["rows", change.table, {columns: sorted(found) for columns, found in change.conditions.items()}]
        for change in changes
    ]


def _image(image: Any) -> dict[str, str] | None:
    return None if image is None else dict(image)


def decode(line: bytes) -> tuple[str, WriteSet]:
    """Return prefix and write set of a record.  Raises DamagedRecord."""
    checksum, _, text = line.partition(b" ")
    try:
        if int(checksum, 16) != zlib.crc32(text):
            raise DamagedRecord
        record = json.loads(text)
        if record["versions"] != _VERSIONS:
            raise DamagedRecord
        return record["prefix"], WriteSet(
            [_decoded_change(*parts) for parts in record.get("changes", ())],
            set(record.get("tables", ())),
            bool(record.get("everything")),
            set(record.get("keys", ())),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedRecord from error


def _decoded_change(kind: str, table: str, *parts: Any) -> AnyChange:
    if kind == "row":
        return Change(table, *parts)
    (conditions,) = parts
    return InsertedRows(table, {columns: set(found) for columns, found in conditions.items()})
