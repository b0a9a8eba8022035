"""Run commands and Lua scripts on the Redis that the settings describe, a server or a cluster."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from importlib import resources
from threading import RLock
from typing import Any, TypeAlias

import redis
from redis.exceptions import AskError, NoScriptError, TryAgainError

from ..conf import on_change
from ..utils import after_fork_in_child
from .client_factory import make_client
from .cluster_client import ClusterClient
from .cluster_settings import is_cluster_class, uses_cluster
from .outage_log import outages
from .redis_connection import DirectClient, Request
from .redis_errors import explain_error
from .server_address import CLIENT_SETTINGS
from .server_epoch import UNKNOWN_EPOCH, ServerWatch
from .shared_work import SharedWork, TooLate
from .time_limit import UNLIMITED, run_command, running

logger = logging.getLogger("cacheops_lite")

# What a node of a cluster replies while a slot moves, and afterwards: what was sent is repeated, or not needed.
_MOVING = AskError, TryAgainError
_client: Any = None
# What the connections of `_client` found out about the server; that of a cluster knows nothing.
_watch = ServerWatch()
_direct_client: DirectClient | ClusterClient | None = None
# Scripts, each with the epoch of a server that has most likely loaded it.
_loaded_scripts: set[tuple[str, bytes]] = set()
_lock = RLock()
# A client that was made too late for its callers is as good for the next one.
_contacts: SharedWork[Any] = SharedWork(kept_seconds=UNLIMITED)


def get_client() -> redis.Redis:
    """Return the Redis client of this process; the first call makes it.

    Raises ImproperlyConfigured if the settings contradict each other, and for a cluster errors of Redis.
    """
    global _client
    if _client is not None:
        return _client
    if uses_cluster():
        return _contact_cluster()
    with _lock:
        if _client is None:
            _client = make_client(_watch)
    return _client


def _contact_cluster() -> Any:
    """Return the client of a cluster, which asks one node after the other: some of them may not answer."""
    global _client
    watch = _watch
    try:
        client = _contacts.call(watch, partial(make_client, watch))
    except TooLate:
        raise redis.TimeoutError("no node of the cluster answered in time") from None
    with _lock:
        # Unless the settings have changed meanwhile.
        if _client is None and watch is _watch:
            _client = client
        return client if _client is None else _client


class _LazyClient:
    """Look up attributes on the client of `get_client`, so that it can be imported before settings are configured."""

    def __getattr__(self, name: str) -> Any:
        return getattr(get_client(), name)


redis_client = _LazyClient()


def execute(*command: Any, epoch: bytes | None = None) -> Any:
    """Return the reply to an idempotent command: it may be sent twice.  On a cluster, its keys have one slot.

    Raises errors of Redis, explained; with `epoch` also EpochChanged, see `epoch_calls`.
    """
    try:
        if running.deadline is not None:
            return _direct().execute(*command, epoch=epoch)
        return run_command(_direct().execute, *command, epoch=epoch)
    except redis.RedisError as error:
        explain_error(error)
        raise


def execute_many(requests: Sequence[Request]) -> list[Any]:
    """Return the replies to idempotent commands, errors of Redis among them; they run at the same time where possible.

    Raises errors of Redis that concern them all, and EpochChanged.
    """
    direct = _direct()
    if isinstance(direct, ClusterClient):
        return direct.execute_many(requests)
    opened = direct.start(requests) if len(requests) > 1 else None
    replies = None
    if opened is not None and (replies := direct.finish(opened, requests)) is not None:
        direct.put_back(opened)
    return [_reply_or_error(direct, *request) for request in requests] if replies is None else replies


def _reply_or_error(direct: DirectClient, command: Sequence[Any], epoch: bytes | None) -> Any:
    try:
        return direct.execute(*command, epoch=epoch)
    except redis.RedisError as error:
        return error


def unlink(names: Sequence[Any]) -> int:
    """Remove keys, and return how many there were.  Raises errors of Redis."""
    if not names:
        return 0
    if not isinstance(_direct(), ClusterClient):
        return int(execute("UNLINK", *names))
    return sum(map(raise_error, execute_many([(("UNLINK", name), None) for name in names])))


def raise_error(reply: Any) -> Any:
    """Return a reply; raise it if it is an error."""
    if isinstance(reply, redis.RedisError):
        explain_error(reply)
        raise reply
    return reply


def _direct() -> DirectClient | ClusterClient:
    global _direct_client
    direct, client = _direct_client, get_client()
    if direct is None or direct.client is not client:
        made = ClusterClient(client) if is_cluster_class(type(client)) else DirectClient(client, _watch)
        direct = _direct_client = made
    return direct


def current_epoch(key: Any) -> bytes:
    """Return the epoch of the server that has a key, as it was reached last; reach it if it was not.

    Raises errors of Redis.
    """
    epoch = _watch.epoch
    return _direct().epoch(key) if epoch is None else epoch


def last_epoch(key: Any) -> bytes:
    """Return the epoch of the server that has a key, as it was reached last, without asking for it."""
    direct = _direct()
    return direct.last_epoch(key) if isinstance(direct, ClusterClient) else _watch.epoch or UNKNOWN_EPOCH


def server_clients() -> dict[str, Any]:
    """Return the client for each server that has keys, by a hash tag of keys that lead to it.

    Of a cluster, that is each primary; else the one server, whose tag is empty.  Raises errors of Redis.
    """
    direct = _direct()
    return direct.clients() if isinstance(direct, ClusterClient) else {"": direct.client}


def client_for(key: Any) -> Any:
    """Return the client for the server that has a key, for transactions on it.  Raises errors of Redis."""
    direct = _direct()
    return direct.client_for(key) if isinstance(direct, ClusterClient) else direct.client


def scan(pattern: str, count: int, kind: str | None = None) -> Iterator[list[bytes]]:
    """Yield the keys that match a pattern, in lists: Redis examines about `count` keys for each list.

    `kind` limits them to one type.  Raises errors of Redis.
    """
    of_kind = {} if kind is None else {"_type": kind}
    for client in server_clients().values():
        cursor = 0
        while True:
            cursor, found = run_command(partial(client.scan, cursor, match=pattern, count=count, **of_kind))
            yield found
            if cursor == 0:
                break


def reset_connections() -> None:
    """Close all idle connections, after one of them returned the reply to another request."""
    logger.warning("Redis sent the reply to another request.  All idle connections are closed and opened anew.")
    _direct().close()
    pool = getattr(get_client(), "connection_pool", None)
    if pool is not None:
        pool.disconnect(inuse_connections=False)


def send_script(
    name: str,
    keys: Sequence[Any],
    args: Sequence[Any],
    on_error: Callable[[], None] | None = None,
    is_handled: Callable[[redis.RedisError], bool] | None = None,
) -> None:
    """Run ``lua/{name}.lua`` without waiting for the reply.  The script may run twice or not at all.

    Raises errors that occur before it is sent.  Later errors are logged, and `on_error` is called, when the reply is
    read, unless `is_handled` returns True for it.  With `on_error` the source is sent instead of the digest: the server
    may have lost the script, and that error would be noticed too late.
    """
    direct = _direct()
    report_error = partial(_handle_script_error, name, on_error, is_handled)
    # Where the reply has to be awaited, the error of a slot that moves, and of a script that was lost, is raised here.
    try:
        if (name, last_epoch(keys[0])) in _loaded_scripts:
            with suppress(NoScriptError):
                run = ("EVALSHA", script_digest(name)) if on_error is None else ("EVAL", stripped_source(name))
                direct.send(report_error, *run, len(keys), *keys, *args, check_connection=on_error is not None)
                return
        run_script(name, keys, args)
        _loaded_scripts.add((name, last_epoch(keys[0])))
    except _MOVING as error:
        report_error(error)


def send(*command: Any) -> None:
    """Send an idempotent command without waiting for its reply.  Raises errors that occur before it is sent."""
    _direct().send(partial(_handle_script_error, str(command[0]), None, None), *command)


def _handle_script_error(
    name: str,
    on_error: Callable[[], None] | None,
    is_handled: Callable[[redis.RedisError], bool] | None,
    error: redis.RedisError,
) -> None:
    if is_handled is not None and is_handled(error):
        return
    if isinstance(error, NoScriptError):
        # The next call waits for the reply and loads the script.
        _loaded_scripts.clear()
    elif isinstance(error, redis.ResponseError) and not (uses_cluster() and isinstance(error, _MOVING)):
        outages.report_failure(logging.WARNING, f"Redis refuses to run the script {name!r}", error)
    if on_error is not None:
        on_error()


def run_script(name: str, keys: Sequence[Any], args: Sequence[Any], epoch: bytes | None = None) -> Any:
    """Run ``lua/{name}.lua``, which may run twice, and return its reply.  `epoch` is that of `execute`."""
    digest = script_digest(name)
    try:
        return execute("EVALSHA", digest, len(keys), *keys, *args, epoch=epoch)
    except NoScriptError:
        # EVAL also loads the script.  After SCRIPT LOAD it could be lost again before EVALSHA.
        return execute("EVAL", script_source(name), len(keys), *keys, *args, epoch=epoch)


ScriptCall: TypeAlias = "tuple[Sequence[Any], Sequence[Any], bytes | None]"


def run_scripts(name: str, calls: Sequence[ScriptCall]) -> list[Any]:
    """Run a script once for each of `calls`, at the same time where possible; return the replies, errors among them.

    A call consists of the keys, the arguments and the epoch that `run_script` takes.
    """
    digest = script_digest(name)
    requests: list[Request] = [(("EVALSHA", digest, len(keys), *keys, *args), epoch) for keys, args, epoch in calls]
    replies = run_command(execute_many, requests)
    for i, reply in enumerate(replies):
        if isinstance(reply, NoScriptError):
            try:
                replies[i] = run_script(name, *calls[i])
            except redis.RedisError as error:
                replies[i] = error
    return replies


@cache
def script_digest(name: str) -> str:
    """Return the digest by which the server knows a script that it has loaded."""
    return hashlib.sha1(script_source(name).encode()).hexdigest()  # noqa: S324


@cache
def script_source(name: str) -> str:
    """Return the Lua source of a script; ``-- include {name}`` on a line stands for the source of that file."""
    source = (resources.files(__package__) / "lua" / f"{name}.lua").read_text("utf-8")
    return re.sub(r"^-- include (\w+)$", lambda include: script_source(include[1]), source, flags=re.MULTILINE)


@cache
def stripped_source(name: str) -> str:
    """Return the source without comments, for scripts whose source is sent with each call."""
    lines = [line.strip() for line in script_source(name).splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith("--"))


@after_fork_in_child
def _renew_in_child() -> None:
    global _lock
    _lock = RLock()
    if isinstance(_direct_client, ClusterClient):
        _direct_client.renew_locks()


@on_change
def _forget_client(setting: str) -> None:
    global _client, _direct_client, _watch
    if setting in CLIENT_SETTINGS:
        with _lock:
            _client = _direct_client = None
            _watch = ServerWatch()
            _loaded_scripts.clear()
            _contacts.forget()
