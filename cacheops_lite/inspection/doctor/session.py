"""Ask a Redis server questions that it may refuse, on one connection of its own."""

from __future__ import annotations

import secrets
from typing import Any

import redis
from django.core.exceptions import ImproperlyConfigured

from ...store import all_prefixes, explain_error, value_key
from ...utils import error_boundary


def known_prefixes() -> list[str] | None:
    """Return all prefixes of keys, None if the application's prefix function fails here."""
    try:
        return all_prefixes()
    except Exception as error:
        error_boundary.reraise_interrupt(error)
        return None


class Refused(Exception):
    """The server does not answer a command: it lacks the command or its user may not run it."""

    def __init__(self, command: str, reason: str):
        super().__init__(f"the server refuses {command}: {reason}")
        self.command = command


class Session:
    """A connection on which commands are run as they are.

    `client` is one of `store.server_clients`, `tag` its hash tag.  `key` is a key that nothing else uses; it looks like
    that of a cached value.  Making a session raises ImproperlyConfigured; entering it raises errors of Redis.
    """

    def __init__(self, client: Any, tag: str = "") -> None:
        if not hasattr(getattr(client, "connection_pool", None), "get_connection"):
            raise ImproperlyConfigured(
                f"CACHEOPS_CLIENT_CLASS makes a {type(client).__name__}, which has no pool of connections to one "
                "server, so the server can't be examined; name redis.Redis or a class derived from it"
            )
        self._pool = client.connection_pool
        self.connection: Any = None
        self._info: dict[str, dict[str, str]] = {}
        prefixes = known_prefixes()
        self.key = value_key(prefixes[0] if prefixes else "", f"{tag}doctor-{secrets.token_hex(8)}")

    @property
    def place(self) -> str:
        """The host and the port of the server."""
        options = self._pool.connection_kwargs
        return f"{options.get('host')}:{options.get('port')}"

    def __enter__(self) -> Session:
        try:
            self.connection = self._pool.get_connection()
            self._ping()
        except redis.RedisError as error:
            explain_error(error)
            self.close()
            raise
        return self

    def _ping(self) -> None:
        """Raise the error of a server that runs an endless script or loads its data; PING itself may be forbidden."""
        try:
            self.connection.send_command("PING")
            self.connection.read_response()
        except redis.ResponseError as error:
            if not isinstance(error, redis.exceptions.NoPermissionError) and "unknown command" not in str(error):
                raise

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection: a refused command may have left it in the middle of a transaction."""
        if self.connection is not None:
            self.connection.disconnect()
            self._pool.release(self.connection)
            self.connection = None

    def ask(self, *command: Any) -> Any:
        """Return the reply to a command, as text where it is text.  Raises Refused, and errors of the connection."""
        try:
            self.connection.send_command(*command)
            return _as_text(self.connection.read_response())
        except redis.ResponseError as error:
            raise Refused(str(command[0]), str(error)) from error
        except redis.RedisError as error:
            explain_error(error)
            raise

    def info(self, section: str) -> dict[str, str]:
        """Return a section of INFO.  Raises Refused."""
        if section not in self._info:
            lines = str(self.ask("INFO", section)).splitlines()
            pairs = (line.partition(":") for line in lines if ":" in line and not line.startswith("#"))
            self._info[section] = {name: value.strip() for name, _, value in pairs}
        return self._info[section]

    def config(self, name: str) -> str:
        """Return a parameter of the server's configuration.  Raises Refused, also if the server has no such one."""
        reply = self.ask("CONFIG", "GET", name)
        found = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=False))
        if name not in found:
            raise Refused("CONFIG", f"it has no parameter {name!r}")
        return str(found[name])

    def config_or_none(self, name: str) -> str | None:
        """Return a parameter of the configuration, None if the server refuses to tell it."""
        try:
            return self.config(name)
        except Refused:
            return None


def _as_text(reply: Any) -> Any:
    if isinstance(reply, bytes):
        return reply.decode("utf-8", "replace")
    if isinstance(reply, (list, tuple, set)):
        return [_as_text(each) for each in reply]
    if isinstance(reply, dict):
        return {_as_text(name): _as_text(value) for name, value in reply.items()}
    return reply
