"""Check the settings that say where Redis is, without creating a client."""

from __future__ import annotations

import inspect
from typing import Any

import redis
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from ..conf import settings
from ..store import (
    class_of_url,
    cluster_places,
    is_cluster_class,
    library_of,
    problem_of_client,
    problem_of_options,
    uses_cluster,
)
from .messages import Messages, error, info

NO_ADDRESS = (
    "CACHEOPS_REDIS is not set, and neither is CACHEOPS_SENTINEL: the default of redis-py is used, which is "
    "localhost:6379, database 0. Other programs on this machine may use that database, too."
)
REDIS_HINT = (
    "Write a URL such as 'redis://localhost:6379/1', or a dict of arguments of the client class, such as "
    "{'host': 'localhost', 'port': 6379, 'db': 1}."
)
SENTINEL_HINT = "Write a dict such as {'locations': [('localhost', 26379)], 'service_name': 'mymaster'}."
CLUSTER_HINT = (
    "Write a URL that names nodes of the cluster, such as 'redis+cluster://10.0.0.1:6379,10.0.0.2:6379', without "
    "CACHEOPS_CLIENT_CLASS and CACHEOPS_SENTINEL."
)
NO_CONJUNCTION_SETS = (
    "Redis is a cluster, so there are no conjunction sets, as with CACHEOPS_INSIDEOUT: the memory of results that were "
    "invalidated is freed by their timeout or by eviction."
)
CLIENT_CLASS_HINT = "Write a class, or its dotted path, such as 'redis.Redis'."


def check_redis(app_configs: Any, **kwargs: Any) -> Messages:
    """Check ``CACHEOPS_REDIS``, ``CACHEOPS_SENTINEL`` and ``CACHEOPS_CLIENT_CLASS`` without creating a client."""
    address, sentinel = settings.CACHEOPS_REDIS, settings.CACHEOPS_SENTINEL
    messages: Messages = []
    if not address and not sentinel and not settings.CACHEOPS_CLIENT_CLASS and settings.CACHEOPS_ENABLED:
        messages.append(info(3, NO_ADDRESS, REDIS_HINT))
    if address and sentinel:
        message = "CACHEOPS_REDIS and CACHEOPS_SENTINEL are both set: only one of them can say where Redis is."
        messages.append(error(1, message, "Remove one of them."))
    client_class: Any = settings.CACHEOPS_CLIENT_CLASS or class_of_url(address) or redis.Redis
    if isinstance(client_class, str):
        try:
            client_class = import_string(client_class)
        except ImportError as problem:
            message = f"CACHEOPS_CLIENT_CLASS {client_class!r} can't be imported: {problem}"
            return [*messages, error(4, message, CLIENT_CLASS_HINT)]
    if not callable(client_class):
        message = (
            f"CACHEOPS_CLIENT_CLASS should be a class or its path, not {client_class!r}: it is called for a client."
        )
        return [*messages, error(4, message, CLIENT_CLASS_HINT)]
    if isinstance(client_class, type) and (lack := problem_of_client(client_class)):
        return [*messages, error(4, f"{lack}.", CLIENT_CLASS_HINT)]
    if uses_cluster():
        found, number, hint = _cluster_problem(client_class, address, sentinel), 2, CLUSTER_HINT
        if not (found or settings.CACHEOPS_INSIDEOUT):
            messages.append(info(4, NO_CONJUNCTION_SETS, "Set CACHEOPS_INSIDEOUT = True to silence this."))
    elif sentinel:
        found, number, hint = _sentinel_problem(sentinel), 3, SENTINEL_HINT
    else:
        found, number, hint = _address_problem(address, client_class), 2, REDIS_HINT
    return [*messages, error(number, found, hint)] if found else messages


def _cluster_problem(client_class: Any, address: Any, sentinel: Any) -> str | None:
    if not is_cluster_class(client_class):
        return f"CACHEOPS_REDIS names a Redis Cluster, but CACHEOPS_CLIENT_CLASS is {client_class.__name__}."
    if sentinel:
        return "CACHEOPS_SENTINEL is set, but a Redis Cluster needs no Sentinel."
    try:
        cluster_places(address)
    except ImproperlyConfigured as problem:
        return f"{problem}."
    refused = problem_of_options(address, "CACHEOPS_REDIS")
    return f"{refused}." if refused else None


def _sentinel_problem(options: Any) -> str | None:
    if not isinstance(options, dict):
        return f"CACHEOPS_SENTINEL should be a dict, not {options!r}."
    if missing := {"locations", "service_name"} - set(options):
        return f"CACHEOPS_SENTINEL lacks {' and '.join(sorted(missing))}: without them the master can't be found."
    locations = options["locations"]
    is_list = isinstance(locations, (list, tuple)) and locations
    if not is_list or not all(isinstance(each, (list, tuple)) and len(each) == 2 for each in locations):
        return f"CACHEOPS_SENTINEL has 'locations' that should be a list of (host, port), not {locations!r}."
    refused = problem_of_options(options, "CACHEOPS_SENTINEL")
    return f"{refused}." if refused else None


def _address_problem(address: Any, client_class: Any) -> str | None:
    if not isinstance(address, (str, dict)):
        return f"CACHEOPS_REDIS should be a dict or a URL, not {address!r}."
    try:
        options: dict[str, Any] = address if isinstance(address, dict) else _url_options(address, client_class)
    except ValueError as problem:
        return f"CACHEOPS_REDIS is not a URL of a Redis server: {problem}"
    if refused := problem_of_options(options, "CACHEOPS_REDIS"):
        return f"{refused}."
    return _unknown_arguments(options, client_class) if isinstance(address, dict) else None


def _url_options(url: str, client_class: Any) -> dict[str, Any]:
    library = library_of(client_class)
    # Other client classes may accept other URLs.
    return {} if library is None else dict(library.part("connection", "parse_url")(url))


def _unknown_arguments(options: dict[str, Any], client_class: Any) -> str | None:
    try:
        signature = inspect.signature(client_class)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind(**options)
    except TypeError as problem:
        return f"CACHEOPS_REDIS has arguments that {client_class.__name__} does not accept: {problem}."
    return None
