"""A connection on which the server reports the first change of each key that was read on it.

That is ``CLIENT TRACKING`` in its default mode (https://redis.io/docs/latest/develop/reference/client-side-caching/):
messages about changes come on this connection, before the replies to commands that the server ran after them.  In BCAST
mode they would come at the end of the server's turn, after such replies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import redis

from .connection_support import is_supported


class NotTrackable(Exception):
    """The client or the server can't track keys; the text says why."""


class TrackingConnection:
    """One connection: commands are sent without waiting, replies are read once they have arrived."""

    def __init__(self, client: Any, on_change: Callable[[list[str] | None], None]):
        """Connect.  `on_change` gets the keys that changed, None for all.

        Raises NotTrackable, and errors of Redis.
        """
        if not is_supported(client):
            raise NotTrackable("the client is none of redis-py's plain clients for one server")
        self._on_change = on_change
        self._has_changed = False
        pool = client.connection_pool
        options = {name: value for name, value in pool.connection_kwargs.items() if name != "parser_class"}
        # A health check would take the next reply for its own.
        options |= {"protocol": 3, "health_check_interval": 0, "decode_responses": False}
        self._connection = pool.connection_class(**options)
        try:
            self._connection.connect()
            # redis-py connects again by itself, but the server would no longer track anything.
            self._connection.redis_connect_func = _refuse_to_reconnect
            self._track()
        except redis.ResponseError as error:
            self.close()
            raise NotTrackable(f"Redis refuses to track keys: {error}") from error
        except BaseException:
            self.close()
            raise

    def _track(self) -> None:
        # redis-py has no public way to receive these messages on a connection; its own client-side cache uses this one.
        parser = self._connection._parser
        if not hasattr(parser, "set_invalidation_push_handler"):
            raise NotTrackable("this version of redis-py does not hand over the server's messages about changes")
        parser.set_invalidation_push_handler(self._note_change)
        self._connection.send_command("CLIENT", "TRACKING", "ON")
        self._connection.read_response()

    def _note_change(self, message: Sequence[Any]) -> None:
        self._has_changed = True
        changed = message[1] if len(message) > 1 else None
        self._on_change(None if changed is None else [_text(each) for each in changed])

    @property
    def epoch(self) -> bytes | None:
        """The epoch of the server, None if it is unknown."""
        return getattr(self._connection, "cacheops_epoch", None)

    def send(self, *command: Any) -> None:
        """Send a command.  Raises errors of Redis."""
        self._check()
        self._connection.send_command(*command, check_health=False)

    def receive(self) -> Iterator[Any]:
        """Yield the replies that have come, errors among them, without waiting for more.

        Changes are handed over in between, in the order of the server.  Raises errors of Redis if the connection is
        lost.
        """
        connection = self._connection
        self._check()
        while connection.can_read(timeout=0):
            self._has_changed = False
            try:
                reply = connection.read_response(push_request=True)
            except redis.ResponseError as error:
                reply = error
            if not self._has_changed:
                yield reply

    def _check(self) -> None:
        if not self._connection.is_connected:
            _refuse_to_reconnect(self._connection)

    def close(self) -> None:
        """Close the connection."""
        self._connection.disconnect()


def _refuse_to_reconnect(connection: Any) -> None:
    raise redis.ConnectionError("the connection was lost")


def _text(key: Any) -> str:
    return key.decode("utf-8", "surrogateescape") if isinstance(key, bytes) else str(key)
