"""Make the Redis client that the settings describe, and run commands and Lua scripts on it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache, partial
from importlib import resources
from threading import RLock
from typing import Any

import redis
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string
from redis.exceptions import NoScriptError

from ..conf import on_change, settings
from ..utils import after_fork_in_child
from .client_library import ClientLibrary, library_of
from .client_requirements import problem_of_client, problem_of_options, problem_of_pool
from .error_translation import translate_errors
from .limited_connection import limit_client
from .outage_log import outages
from .redis_connection import DirectClient
from .redis_errors import explain_error
from .server_address import CLIENT_SETTINGS, address_setting
from .server_epoch import UNKNOWN_EPOCH, ServerWatch
from .time_limit import run_command, running

logger = logging.getLogger("cacheops_lite")

_client: Any = None
# What the connections of `_client` found out about the server.
_watch = ServerWatch()
_direct_client: DirectClient | None = None
_scripts: dict[str, Any] = {}
# Scripts that the server has most likely loaded, and its epoch then.
_loaded_scripts: dict[str, bytes] = {}
_lock = RLock()


def get_client() -> redis.Redis:
    """Return the Redis client of this process; the first call makes it.

    Raises ImproperlyConfigured if the settings contradict each other.
    """
    global _client
    if _client is None:
        with _lock:
            if _client is None:
                _client = _make_client()
    return _client


class _LazyClient:
    """Look up attributes on the client of `get_client`, so that it can be imported before settings are configured."""

    def __getattr__(self, name: str) -> Any:
        return getattr(get_client(), name)


redis_client = _LazyClient()


def execute(*command: Any, epoch: bytes | None = None) -> Any:
    """Return the reply to an idempotent command: it may be sent twice.

    Raises errors of Redis, explained; with `epoch` also EpochChanged, see `epoch_calls`.
    """
    try:
        if running.deadline is not None:
            return _direct().execute(*command, epoch=epoch)
        return run_command(_direct().execute, *command, epoch=epoch)
    except redis.RedisError as error:
        explain_error(error)
        raise


def _direct() -> DirectClient:
    global _direct_client
    direct, client = _direct_client, get_client()
    if direct is None or direct.client is not client:
        direct = _direct_client = DirectClient(client, _watch)
    return direct


def current_epoch() -> bytes:
    """Return the epoch of the server that was reached last; reach it if none was.  Raises errors of Redis."""
    epoch = _watch.epoch
    return _direct().epoch() if epoch is None else epoch


def last_epoch() -> bytes:
    """Return the epoch of the server that was reached last, without asking for it."""
    return _watch.epoch or UNKNOWN_EPOCH


def reset_connections() -> None:
    """Close all idle connections, after one of them returned the reply to another request."""
    logger.warning("Redis sent the reply to another request.  All idle connections are closed and opened anew.")
    if _direct_client is not None:
        _direct_client.close()
    pool = getattr(get_client(), "connection_pool", None)
    if pool is not None:
        pool.disconnect(inuse_connections=False)


def send_script(
    name: str, keys: Sequence[Any], args: Sequence[Any], on_error: Callable[[], None] | None = None
) -> None:
    """Run ``lua/{name}.lua`` without waiting for the reply.  The script may run twice or not at all.

    Raises errors that occur before it is sent.  Later errors are logged, and `on_error` is called, when the reply is
    read.  With `on_error` the source is sent instead of the digest: the server may have lost the script, and that error
    would be noticed too late.
    """
    direct, client = _direct_client, get_client()
    if direct is not None and direct.client is client and _loaded_scripts.get(name) == last_epoch():
        report_error = partial(_handle_script_error, name, on_error)
        # Where the reply has to be awaited, a script that the server lost raises NoScriptError here.
        with suppress(NoScriptError):
            run = ("EVALSHA", _scripts[name].sha) if on_error is None else ("EVAL", stripped_source(name))
            direct.send(report_error, *run, len(keys), *keys, *args, check_connection=on_error is not None)
            return
    run_script(name, keys, args)
    _loaded_scripts[name] = last_epoch()


def _handle_script_error(name: str, on_error: Callable[[], None] | None, error: redis.RedisError) -> None:
    if isinstance(error, NoScriptError):
        # The next call waits for the reply and loads the script.
        _loaded_scripts.clear()
    elif isinstance(error, redis.ResponseError):
        outages.report_failure(logging.WARNING, f"Redis refuses to run the script {name!r}", error)
    if on_error is not None:
        on_error()


def run_script(name: str, keys: Sequence[Any], args: Sequence[Any], epoch: bytes | None = None) -> Any:
    """Run ``lua/{name}.lua``, which may run twice, and return its reply.  `epoch` is that of `execute`."""
    script = _scripts.get(name)
    if script is None:
        with _lock:
            script = _scripts.setdefault(name, get_client().register_script(script_source(name)))
    try:
        return execute("EVALSHA", script.sha, len(keys), *keys, *args, epoch=epoch)
    except NoScriptError:
        # EVAL also loads the script.  After SCRIPT LOAD it could be lost again before EVALSHA.
        return execute("EVAL", script_source(name), len(keys), *keys, *args, epoch=epoch)


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


@on_change
def _forget_client(setting: str) -> None:
    global _client, _direct_client, _watch
    if setting in CLIENT_SETTINGS:
        with _lock:
            _client = _direct_client = None
            _watch = ServerWatch()
            _scripts.clear()
            _loaded_scripts.clear()


def _make_client() -> Any:
    if settings.CACHEOPS_REDIS and settings.CACHEOPS_SENTINEL:
        raise ImproperlyConfigured("CACHEOPS_REDIS and CACHEOPS_SENTINEL are mutually exclusive: remove one of them")
    client_class: Any = redis.Redis
    if settings.CACHEOPS_CLIENT_CLASS:
        client_class = _client_class(settings.CACHEOPS_CLIENT_CLASS)
    library = library_of(client_class)
    _refuse(problem_of_client(client_class) if isinstance(client_class, type) else None)
    _refuse(problem_of_options(settings.CACHEOPS_SENTINEL or settings.CACHEOPS_REDIS, address_setting()))
    if settings.CACHEOPS_SENTINEL:
        client = _sentinel_master(settings.CACHEOPS_SENTINEL, client_class, library)
    elif isinstance(settings.CACHEOPS_REDIS, str):
        # What the URL says prevails.
        client = client_class.from_url(settings.CACHEOPS_REDIS, **_watched(_limits(library), library))
    elif isinstance(settings.CACHEOPS_REDIS, dict):
        client = client_class(**_watched({**_limits(library), **_connection_options(settings.CACHEOPS_REDIS)}, library))
    else:
        raise ImproperlyConfigured(f"CACHEOPS_REDIS should be a dict or a URL, not {settings.CACHEOPS_REDIS!r}")
    if settings.CACHEOPS_REDIS_TIMEOUT is not None:
        limit_client(client)
    _refuse(problem_of_client(client))
    _refuse(problem_of_pool(client, address_setting()))
    return _adapt(client)


def _refuse(problem: str | None) -> None:
    if problem is not None:
        raise ImproperlyConfigured(problem)


def _adapt(client: Any) -> Any:
    """Let all connections of a client be noted, and its errors be errors of redis-py."""
    library = library_of(type(client))
    if library is not None:
        translate_errors(client, library)
        # A pool that the settings, or the class of the client, has brought along.
        options = getattr(getattr(client, "connection_pool", None), "connection_kwargs", None)
        if isinstance(options, dict) and options.get(library.connect_argument) != _watch.note_connection:
            options.update(_watched(options, library))
    return client


def _watched(options: dict[str, Any], library: ClientLibrary | None) -> dict[str, Any]:
    """Add the argument by which each new connection finds out which server it reaches."""
    return options if library is None else _watch.install(options, library.connect_argument)


def _limits(library: ClientLibrary | None) -> dict[str, Any]:
    """Return the arguments that limit how long a call waits, empty for client classes of unknown libraries.

    The defaults of redis-py suit a database: it waits for seconds, and repeats a failed call several times with pauses.
    """
    seconds = settings.CACHEOPS_REDIS_TIMEOUT
    if seconds is None or library is None:
        return {}
    return {"socket_timeout": seconds, "socket_connect_timeout": seconds, "retry": library.no_retry()}


def _client_class(path: Any) -> Callable[..., Any]:
    if not isinstance(path, str):
        return path
    try:
        return import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f"CACHEOPS_CLIENT_CLASS {path!r} can't be imported: {error}") from error


def _connection_options(options: dict[str, Any]) -> dict[str, Any]:
    # Many copied configurations contain an empty socket path, which means none.
    return {name: value for name, value in options.items() if value or name != "unix_socket_path"}


def _sentinel_master(options: dict[str, Any], client_class: Any, library: ClientLibrary | None) -> Any:
    if not {"locations", "service_name"} <= set(options):
        raise ImproperlyConfigured("CACHEOPS_SENTINEL is incomplete.  Specify locations and service_name.")
    own = {"locations", "service_name", "db"}
    arguments = {**_limits(library), **{name: value for name, value in options.items() if name not in own}}
    library = library or ClientLibrary("redis")
    sentinel = library.part("sentinel", "Sentinel")(options["locations"], **arguments)
    watched = _watched({library.class_argument: client_class, "db": options.get("db", 0)}, library)
    return sentinel.master_for(options["service_name"], **watched)
