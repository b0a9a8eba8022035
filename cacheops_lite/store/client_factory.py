"""Make the Redis client that the settings describe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from ..conf import settings
from .client_library import ClientLibrary, library_of
from .client_requirements import problem_of_client, problem_of_options, problem_of_pool
from .cluster_client import call_cluster
from .cluster_settings import class_of_url, is_cluster_class, make_cluster
from .connection_support import make_command_name_optional
from .error_translation import translate_errors
from .limited_connection import limit_client
from .server_address import address_setting
from .server_epoch import ServerWatch


def make_client(watch: ServerWatch) -> Any:
    """Return a client whose connections `watch` notes.  That of a cluster connects, and `watch` is not used.

    Raises ImproperlyConfigured if the settings contradict each other, and for a cluster errors of Redis.
    """
    if settings.CACHEOPS_REDIS and settings.CACHEOPS_SENTINEL:
        raise ImproperlyConfigured("CACHEOPS_REDIS and CACHEOPS_SENTINEL are mutually exclusive: remove one of them")
    client_class: Any = redis.Redis
    if path := settings.CACHEOPS_CLIENT_CLASS or class_of_url(settings.CACHEOPS_REDIS):
        client_class = _client_class(path)
    library = library_of(client_class)
    _refuse(problem_of_client(client_class) if isinstance(client_class, type) else None)
    _refuse(problem_of_options(settings.CACHEOPS_SENTINEL or settings.CACHEOPS_REDIS, address_setting()))
    if is_cluster_class(client_class):
        return _cluster(client_class, library)
    if class_of_url(settings.CACHEOPS_REDIS):
        raise ImproperlyConfigured(
            f"CACHEOPS_REDIS names a Redis Cluster, but CACHEOPS_CLIENT_CLASS is {client_class.__name__}.  Leave "
            "CACHEOPS_CLIENT_CLASS out, or let it be 'redis.cluster.RedisCluster'"
        )
    if settings.CACHEOPS_SENTINEL:
        client = _sentinel_master(settings.CACHEOPS_SENTINEL, client_class, library, watch)
    elif isinstance(settings.CACHEOPS_REDIS, str):
        # What the URL says prevails.
        client = client_class.from_url(settings.CACHEOPS_REDIS, **_watched(_limits(library), library, watch))
    elif isinstance(settings.CACHEOPS_REDIS, dict):
        options = {**_limits(library), **_connection_options(settings.CACHEOPS_REDIS)}
        client = client_class(**_watched(options, library, watch))
    else:
        raise ImproperlyConfigured(f"CACHEOPS_REDIS should be a dict or a URL, not {settings.CACHEOPS_REDIS!r}")
    if settings.CACHEOPS_REDIS_TIMEOUT is not None:
        limit_client(client)
    _refuse(problem_of_client(client))
    _refuse(problem_of_pool(client, address_setting()))
    return _adapt(client, watch)


def _cluster(client_class: Any, library: ClientLibrary | None) -> Any:
    if settings.CACHEOPS_SENTINEL:
        raise ImproperlyConfigured(
            f"CACHEOPS_CLIENT_CLASS is {client_class.__name__}, which needs no Sentinel.  Name nodes of the cluster in "
            "CACHEOPS_REDIS instead of CACHEOPS_SENTINEL"
        )
    _refuse(problem_of_client(client_class))
    options = {name: value for name, value in _limits(library).items() if name != "retry"}
    return call_cluster(lambda: make_cluster(client_class, settings.CACHEOPS_REDIS, options))


def _refuse(problem: str | None) -> None:
    if problem is not None:
        raise ImproperlyConfigured(problem)


def _adapt(client: Any, watch: ServerWatch) -> Any:
    """Let all connections of a client be noted, and its errors be errors of redis-py."""
    library = library_of(type(client))
    if library is not None:
        make_command_name_optional(client)
        translate_errors(client, library)
        # A pool that the settings, or the class of the client, has brought along.
        options = getattr(getattr(client, "connection_pool", None), "connection_kwargs", None)
        if isinstance(options, dict) and options.get(library.connect_argument) != watch.note_connection:
            options.update(_watched(options, library, watch))
    return client


def _watched(options: dict[str, Any], library: ClientLibrary | None, watch: ServerWatch) -> dict[str, Any]:
    """Add the argument by which each new connection finds out which server it reaches."""
    return options if library is None else watch.install(options, library.connect_argument)


def _limits(library: ClientLibrary | None) -> dict[str, Any]:
    """Return the arguments that limit how long a call waits, empty for client classes of unknown libraries.

    The defaults of redis-py suit a database: it waits for seconds, and repeats a failed call several times with pauses.
    """
    seconds = settings.CACHEOPS_REDIS_TIMEOUT
    if seconds is None or library is None:
        return {}
    return {"socket_timeout": seconds, "socket_connect_timeout": seconds, "retry": library.no_retry()}


def _sentinel_limits(arguments: dict[str, Any], count: int, library: ClientLibrary) -> dict[str, Any]:
    """Return the arguments that limit how long to wait for each of `count` Sentinels, which are asked one by one.

    One that does not answer must leave time for the others, and for the master.
    """
    if settings.CACHEOPS_REDIS_TIMEOUT is None:
        return {}
    share = settings.CACHEOPS_REDIS_TIMEOUT / (count + 1)
    own = {name: value for name, value in arguments.items() if name.startswith("socket_")}
    times = {name: min(own.get(name) or share, share) for name in ("socket_timeout", "socket_connect_timeout")}
    return {**own, **times, "retry": library.no_retry()}


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


def _sentinel_master(
    options: dict[str, Any], client_class: Any, library: ClientLibrary | None, watch: ServerWatch
) -> Any:
    if not {"locations", "service_name"} <= set(options):
        raise ImproperlyConfigured("CACHEOPS_SENTINEL is incomplete.  Specify locations and service_name.")
    own = {"locations", "service_name", "db"}
    arguments = {**_limits(library), **{name: value for name, value in options.items() if name not in own}}
    library = library or ClientLibrary("redis")
    if limits := _sentinel_limits(arguments, len(options["locations"]), library):
        arguments.setdefault("sentinel_kwargs", limits)
    sentinel = library.part("sentinel", "Sentinel")(options["locations"], **arguments)
    watched = _watched({library.class_argument: client_class, "db": options.get("db", 0)}, library, watch)
    return sentinel.master_for(options["service_name"], **watched)
