"""The Redis client that the settings describe, and the Lua scripts."""

from __future__ import annotations

import logging
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
from redis.sentinel import Sentinel

from ..conf import on_change, settings
from ..utils import after_fork_in_child
from .redis_connection import Wire

CLIENT_SETTINGS = frozenset({"CACHEOPS_REDIS", "CACHEOPS_SENTINEL", "CACHEOPS_CLIENT_CLASS"})

logger = logging.getLogger("cacheops_lite")

_client: Any = None
_wire: Wire | None = None
_scripts: dict[str, Any] = {}
# Those that the server is known to have.
_loaded: set[str] = set()
_lock = RLock()


def get_client() -> redis.Redis:
    """The process's client, made when first asked for.

    Raises ImproperlyConfigured when the settings contradict each other.
    """
    global _client
    if _client is None:
        with _lock:
            if _client is None:
                _client = _make_client()
    return _client


class _TheClient:
    """Whatever `get_client` returns when it is used: it may be imported before the settings are there."""

    def __getattr__(self, name: str) -> Any:
        return getattr(get_client(), name)


redis_client = _TheClient()


def execute(*command: Any) -> Any:
    """The reply to a command, which does no harm when it is done twice."""
    global _wire
    wire, client = _wire, get_client()
    if wire is None or wire.client is not client:
        wire = _wire = Wire(client)
    return wire.execute(*command)


def note_confusion() -> None:
    """Close all connections that no command uses: a reply came that is not the one to its request."""
    logger.warning("Redis sent the reply to another request: its connections are made anew")
    if _wire is not None:
        _wire.close()
    pool = getattr(get_client(), "connection_pool", None)
    if pool is not None:
        pool.disconnect(inuse_connections=False)


def send_script(
    name: str, keys: Sequence[Any], args: Sequence[Any], on_error: Callable[[], None] | None = None
) -> None:
    """Run ``lua/{name}.lua``, which does no harm when it is done twice or not at all, without waiting for it.

    Raises what shows before it is sent; of what goes wrong then is a warning, and `on_error` is called, later.  With
    `on_error` the source is sent along, as the server may have lost the script, which would be learnt too late.
    """
    wire, client = _wire, get_client()
    if wire is not None and wire.client is client and name in _loaded:
        told = partial(_note_loss, name, on_error)
        # Where it can't but be waited for, it says so at once.
        with suppress(NoScriptError):
            run = ("EVALSHA", _scripts[name].sha) if on_error is None else ("EVAL", stripped_source(name))
            wire.send(told, *run, len(keys), *keys, *args, surely=on_error is not None)
            return
    run_script(name, keys, args)
    _loaded.add(name)


def _note_loss(name: str, on_error: Callable[[], None] | None, error: redis.RedisError) -> None:
    if isinstance(error, NoScriptError):
        # Next time it is waited for, and loaded.
        _loaded.clear()
    elif isinstance(error, redis.ResponseError):
        logger.warning("Redis refuses the script %r: %s", name, error)
    if on_error is not None:
        on_error()


def run_script(name: str, keys: Sequence[Any], args: Sequence[Any]) -> Any:
    """Run ``lua/{name}.lua``, which does no harm when it is done twice, and return its reply."""
    script = _scripts.get(name)
    if script is None:
        with _lock:
            script = _scripts.setdefault(name, get_client().register_script(script_source(name)))
    try:
        return execute("EVALSHA", script.sha, len(keys), *keys, *args)
    except NoScriptError:
        # Keeps it for the next time; to load it first would leave a moment in which it may be lost again.
        return execute("EVAL", script_source(name), len(keys), *keys, *args)


@cache
def script_source(name: str) -> str:
    """The Lua source of a script."""
    return (resources.files(__package__) / "lua" / f"{name}.lua").read_text("utf-8")


@cache
def stripped_source(name: str) -> str:
    """The same without comments, for scripts whose source is sent each time."""
    lines = [line.strip() for line in script_source(name).splitlines()]
    return "\n".join(line for line in lines if line and not line.startswith("--"))


@after_fork_in_child
def _renew_in_child() -> None:
    global _lock
    _lock = RLock()


@on_change
def _forget_client(setting: str) -> None:
    global _client, _wire
    if setting in CLIENT_SETTINGS:
        with _lock:
            _client = _wire = None
            _scripts.clear()
            _loaded.clear()


def _make_client() -> Any:
    if settings.CACHEOPS_REDIS and settings.CACHEOPS_SENTINEL:
        raise ImproperlyConfigured("CACHEOPS_REDIS and CACHEOPS_SENTINEL are mutually exclusive")
    client_class: Any = redis.Redis
    if settings.CACHEOPS_CLIENT_CLASS:
        client_class = _client_class(settings.CACHEOPS_CLIENT_CLASS)
    if settings.CACHEOPS_SENTINEL:
        client = _sentinel_master(settings.CACHEOPS_SENTINEL, client_class)
    elif isinstance(settings.CACHEOPS_REDIS, str):
        client = client_class.from_url(settings.CACHEOPS_REDIS)
    elif isinstance(settings.CACHEOPS_REDIS, dict):
        client = client_class(**_connection_options(settings.CACHEOPS_REDIS))
    else:
        raise ImproperlyConfigured(f"CACHEOPS_REDIS should be a dict or a URL, not {settings.CACHEOPS_REDIS!r}")
    return _refuse_decoding(client)


def _client_class(path: Any) -> Callable[..., Any]:
    if not isinstance(path, str):
        return path
    try:
        return import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f"CACHEOPS_CLIENT_CLASS {path!r} can't be imported: {error}") from error


def _connection_options(options: dict[str, Any]) -> dict[str, Any]:
    # An empty socket path stands in many copied configurations and means "none".
    return {name: value for name, value in options.items() if value or name != "unix_socket_path"}


def _sentinel_master(options: dict[str, Any], client_class: Any) -> Any:
    if not {"locations", "service_name"} <= set(options):
        raise ImproperlyConfigured("Specify locations and service_name for CACHEOPS_SENTINEL")
    own = {"locations", "service_name", "db"}
    sentinel = Sentinel(options["locations"], **{name: value for name, value in options.items() if name not in own})
    return sentinel.master_for(options["service_name"], redis_class=client_class, db=options.get("db", 0))


def _refuse_decoding(client: Any) -> Any:
    pool = getattr(client, "connection_pool", None)
    if getattr(pool, "connection_kwargs", {}).get("decode_responses"):
        raise ImproperlyConfigured("Cached values are bytes: leave decode_responses out of CACHEOPS_REDIS")
    return client
