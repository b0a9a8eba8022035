"""Time limits of the connections, and how many there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...conf import settings
from ...store import address_setting, is_limited
from .findings import Finding
from .session import Refused, Session

MANY_CLIENTS = 0.8
LONG_SECONDS = 10


def examine_timeouts(session: Session) -> Iterator[Finding]:
    """Report for how long a query waits for a Redis that does not answer."""
    connection = session.connection
    if not hasattr(connection, "socket_timeout"):
        raise Refused("a time limit", "the client has none that is known")
    seconds = settings.CACHEOPS_REDIS_TIMEOUT
    if seconds is None or not is_limited(connection):
        yield from _limits_of_redis_py(connection, session)
    elif seconds > LONG_SECONDS:
        yield Finding(
            "timeouts",
            "info",
            f"CACHEOPS_REDIS_TIMEOUT is {seconds:g} s.",
            "A Redis that hangs lets each query wait that long, and each writer keep its rows locked.",
            "Set CACHEOPS_REDIS_TIMEOUT to a second or less.",
        )
    else:
        yield Finding("timeouts", "ok", f"An operation waits at most {seconds:g} s in all, retries included.")


def _limits_of_redis_py(connection: Any, session: Session) -> Iterator[Finding]:
    setting = address_setting()
    limits = {name: getattr(connection, name, None) for name in ("socket_timeout", "socket_connect_timeout")}
    unset = [name for name, value in limits.items() if not value]
    described = ", ".join(f"{name} is {_seconds(value)}" for name, value in limits.items())
    server = session.config_or_none("timeout")
    if server not in (None, "0"):
        described += f"; the server closes connections that are idle for {server} s, and they are opened anew"
    if unset:
        yield Finding(
            "timeouts",
            "warning",
            f"{described}.",
            "A Redis that hangs lets each query wait for ever, and each writer keep its rows locked.",
            f"Set {' and '.join(unset)} in {setting}, in seconds: 1 is plenty for most.",
        )
    elif any(value > LONG_SECONDS for value in limits.values() if value):
        yield Finding(
            "timeouts",
            "info",
            f"{described}.",
            "A Redis that hangs lets each query wait that long, and each writer keep its rows locked.",
            f"Set shorter limits in {setting}.",
        )
    else:
        yield Finding("timeouts", "ok", f"{described}.")
    yield from _retries(connection, setting)


def _retries(connection: Any, setting: str) -> Iterator[Finding]:
    retries = getattr(getattr(connection, "retry", None), "get_retries", int)()
    if retries and not settings.CACHEOPS_DEGRADE_ON_FAILURE:
        yield Finding(
            "timeouts",
            "info",
            f"redis-py repeats a failed command up to {retries} times, with pauses.",
            "While Redis is away, each query and each write waits for all of them: some seconds.",
            f"Set CACHEOPS_DEGRADE_ON_FAILURE = True, which tries Redis only once in a while, or 'retry': None in "
            f"{setting}.",
        )


def _seconds(value: Any) -> str:
    return f"{value} s" if value else "not set"


def examine_clients(session: Session) -> Iterator[Finding]:
    """Report how many connections the server has, and how many it allows."""
    info = session.info("clients")
    connected = int(info.get("connected_clients", 0))
    most = int(info.get("maxclients") or session.config_or_none("maxclients") or 0)
    rejected = int(session.info("stats").get("rejected_connections", 0))
    found = f"{connected} connections of at most {most or 'an unknown number'}, {rejected} refused since the start."
    if rejected or (most and connected > MANY_CLIENTS * most):
        yield Finding(
            "clients",
            "warning",
            found,
            "A process that gets no connection can neither read from the cache nor invalidate.",
            "Raise maxclients, or run fewer processes and threads: each keeps its connections open.",
        )
    else:
        yield Finding("clients", "ok", found)
