"""Check, for ``manage.py check --deploy``, which other programs can write to the Redis of the cache, or use it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from django.conf import settings as django_settings

from ..conf import settings
from ..store import ServerAddress, configured_address, parse_address
from .messages import Messages, warning

CELERY_SETTINGS = ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "BROKER_URL", "CELERY_BROKER_READ_URL")
PASSWORDS = ("password", "credential_provider", "ssl_certfile")


def check_exposure(app_configs: Any, **kwargs: Any) -> Messages:
    """Check that not every program in the network can read and write the Redis that has the results."""
    server = _unprotected_server()
    if server is None or not settings.CACHEOPS_ENABLED:
        return []
    setting = "CACHEOPS_SENTINEL" if settings.CACHEOPS_SENTINEL else "CACHEOPS_REDIS"
    harm = (
        "can read cached results, remove them and put old ones back"
        if settings.CACHEOPS_SIGNING
        else "can execute code in this project, because CACHEOPS_SIGNING is off and cached results are pickled"
    )
    message = f"{setting} names Redis at {server} without a password: any program that reaches it {harm}."
    hint = (
        "Protect Redis by a password (requirepass, or ACL SETUSER) and write it into the setting, or let Redis listen "
        "only on a Unix socket or on 127.0.0.1."
    )
    return [warning(8, message, hint)]


def _unprotected_server() -> str | None:
    """Return the address of a Redis on another machine for which the settings have no password."""
    sentinel = settings.CACHEOPS_SENTINEL
    if isinstance(sentinel, dict) and sentinel:
        if any(sentinel.get(name) for name in PASSWORDS):
            return None
        hosts = [str(each[0]) for each in sentinel.get("locations") or () if isinstance(each, (list, tuple)) and each]
        remote = [host for host in hosts if not ServerAddress(host).is_local]
        return f"Sentinel {', '.join(remote)}" if remote else None
    address, options = configured_address(), settings.CACHEOPS_REDIS
    if address is None or address.is_local or address.has_password:
        return None
    has_certificate = bool(options.get("ssl_certfile")) if isinstance(options, dict) else "ssl_certfile=" in options
    return None if has_certificate else str(address)


def check_shared_redis(app_configs: Any, **kwargs: Any) -> Messages:
    """Check that no other part of the project keeps its keys in the database of the cache."""
    own = configured_address()
    if own is None or settings.CACHEOPS_CLIENT_CLASS or not settings.CACHEOPS_ENABLED:
        return []
    found = {}
    for user, address, consequence in _other_users():
        if address is not None and address.place == own.place:
            found[user] = consequence
    return [
        warning(
            9,
            f"{user} uses the same database of Redis as CACHEOPS_REDIS, {own}: {consequence} Both share one limit of "
            "memory and one rule of what to evict.",
            "Name another database in one of them, such as .../1; or, so that eviction suits each, another server.",
        )
        for user, consequence in found.items()
    ]


_FLUSHED = "cache.clear() there removes every cached result."
_QUEUE = "an eviction that suits a cache loses its messages, and FLUSHDB there empties both."


def _other_users() -> Iterator[tuple[str, ServerAddress | None, str]]:
    """Yield each setting of the project that names a Redis, with the address and what sharing it means."""
    for alias, cache in _items("CACHES"):
        if "redis" in str(cache.get("BACKEND")).lower():
            options = cache.get("OPTIONS") or {}
            for location in _locations(cache.get("LOCATION")):
                yield f"CACHES[{alias!r}]", _with_database(location, options.get("db")), _FLUSHED
    for name in CELERY_SETTINGS:
        for location in _locations(getattr(django_settings, name, None)):
            yield name, parse_address(location), _QUEUE
    for alias, layer in _items("CHANNEL_LAYERS"):
        if "redis" in str(layer.get("BACKEND")).lower():
            for host in (layer.get("CONFIG") or {}).get("hosts") or [{}]:
                yield f"CHANNEL_LAYERS[{alias!r}]", _channel_host(host), _QUEUE
    for alias, queue in _items("RQ_QUEUES"):
        options = {str(name).lower(): value for name, value in queue.items()}
        yield f"RQ_QUEUES[{alias!r}]", parse_address(options.get("url") or options), _QUEUE


def _items(setting: str) -> Iterator[tuple[str, dict[str, Any]]]:
    value = getattr(django_settings, setting, None)
    if isinstance(value, dict):
        yield from ((alias, entry) for alias, entry in value.items() if isinstance(entry, dict))


def _locations(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [each for each in re.split("[;,]", value) if each]
    return list(value) if isinstance(value, (list, tuple)) else []


def _with_database(url: Any, db: Any) -> ServerAddress | None:
    """Return the address of a URL; its database is `db` if the URL names none."""
    address = parse_address(url)
    if address is None or db is None or re.search(r"://[^/]*/\d|[?&]db=", str(url)):
        return address
    with suppress(ValueError, TypeError):
        return ServerAddress(address.host, address.port, int(db), address.socket, address.has_password)
    return address


def _channel_host(host: Any) -> ServerAddress | None:
    if isinstance(host, (list, tuple)) and len(host) == 2:
        return parse_address({"host": host[0], "port": host[1]})
    if isinstance(host, dict) and "address" in host:
        return _channel_host(host["address"])
    return parse_address(host)
