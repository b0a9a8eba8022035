"""Notes about databases in Redis: which database a name is of, and which name a database has."""

from __future__ import annotations

import time
from typing import NamedTuple

from .client import execute

# After this time without a process that compares, a name belongs to another database ...
UNUSED_SECONDS = 3600
# ... and after this time, in which no process has compared, the note expires.
NOTE_SECONDS = 7 * 24 * 3600
_SEPARATOR = "\n"


class Note(NamedTuple):
    """A note in Redis: an identity or a name, its server, where this is, and when it was used in seconds since 1970."""

    text: str
    server: str
    where: str
    used_at: float

    @property
    def is_used(self) -> bool:
        return time.time() - self.used_at < UNUSED_SECONDS


def read_note(key: str) -> Note | None:
    """Return the note of this key, None if there is none that can be read."""
    # MGET returns None for a key of another type.
    (found,) = execute("MGET", key)
    try:
        text, server, where, used_at = found.decode().split(_SEPARATOR)
        return Note(text, server, where, float(used_at))
    except (AttributeError, ValueError):
        return None


def write_note(key: str, note: Note) -> None:
    """Store or renew a note."""
    execute("SET", key, _SEPARATOR.join([*note[:3], f"{note.used_at:.0f}"]), "EX", NOTE_SECONDS)
