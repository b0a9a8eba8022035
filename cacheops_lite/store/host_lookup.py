"""Look up the addresses of a host within the time that the running call may wait.

The system's resolver has no time limit of its own: with a name server that does not answer it waits for 5 seconds or
more, and can't be interrupted.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import Any

from .shared_work import SharedWork

# An answer that came too late for its callers is used for so long, as name servers allow.  A resolver that needs longer
# than the limit of an operation would otherwise never lead to a connection.
LATE_ANSWER_SECONDS = 30.0
_lookups: SharedWork[list[str]] = SharedWork(LATE_ANSWER_SECONDS)


def is_address(host: str) -> bool:
    """Return whether `host` is an address, which needs no lookup."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def addresses_of(host: str, port: int, family: int, max_seconds: float) -> list[str]:
    """Return the addresses of a host as texts, in the order in which the system prefers them.

    Raises OSError if there is none, and TooLate (see `shared_work`).
    """
    # Taken from the module at each call, for libraries that replace it.
    look_up: Callable[..., list[Any]] = socket.getaddrinfo
    return _lookups.call((host, family), partial(_look_up, look_up, host, port, family), max_seconds)


def _look_up(look_up: Callable[..., list[Any]], host: str, port: int, family: int) -> list[str]:
    # A host may have an address several times.
    return list(dict.fromkeys(_text_of(place) for *_, place in look_up(host, port, family, socket.SOCK_STREAM)))


def _text_of(place: tuple[Any, ...]) -> str:
    # The fourth part names the network interface of a local address of IPv6.
    return f"{place[0]}%{place[3]}" if len(place) > 3 and place[3] and "%" not in place[0] else str(place[0])
