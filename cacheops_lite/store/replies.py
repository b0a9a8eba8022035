"""Tell the reply to a request from one to another request, which an interrupted user of a connection left unread."""

from __future__ import annotations

from typing import Any

from .client import reset_connections

_TYPES_OF_VALUES = frozenset({bytes, type(None)})


def checked_reply(reply: Any, length: int) -> list[Any]:
    """Return `reply` if it is a list of `length` values or None, else a list of None: it belongs to another request."""
    if type(reply) is list and len(reply) == length and _TYPES_OF_VALUES.issuperset(map(type, reply)):
        return reply
    reset_connections()
    return [None] * length
