"""A cache of its own for a test, and caching inside the transactions of ``TestCase``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.test import override_settings

from ..store import all_prefixes, clear, database_comparison, database_name, fresh_token, replaced_names
from ..writes import unit_of_work_on

# A value of `redis`: the server that the project's settings name.
FROM_SETTINGS = "settings"
EMBEDDED = "embedded"


@contextmanager
def as_autocommit() -> Iterator[None]:
    """Ignore the transactions that are open now, such as those of ``TestCase``.

    Inside the block, caching and invalidation behave as in autocommit, and inside further ``atomic`` blocks as in a
    transaction.  The cache is emptied before and after, because the open transactions will be rolled back.
    """
    units = [unit_of_work_on(connection) for connection in connections.all()]
    states = [unit.hide_blocks() for unit in units]
    try:
        _clear()
        yield
    finally:
        for unit, state in zip(units, states, strict=True):
            unit.restore_blocks(state)
        _clear()


@contextmanager
def fresh_cache(redis: str | None = None) -> Iterator[None]:
    """Give the block an empty cache that no other process reads, and caching as in autocommit (see `as_autocommit`).

    `redis` is ``"embedded"`` for a fakeredis in this process, ``"settings"`` for the server that the settings name, or
    the URL of another one.  By default it is embedded if fakeredis is installed.  On a server, all keys begin with a
    random name, and are removed at the end.

    Raises ImproperlyConfigured if it should be embedded and fakeredis is not installed.
    """
    token = fresh_token().replace("-", "_")
    # Replicas share the results of their primary here as well.
    names: dict[str, str] = {}
    by_alias = {alias: names.setdefault(database_name(alias), f"test_{token}_{len(names)}") for alias in connections}
    overrides: dict[str, Any] = {
        "CACHEOPS_ENABLED": True,
        # Counters would stay under the random name for a day.
        "CACHEOPS_STATS": False,
        **_redis_settings(redis),
    }
    try:
        with replaced_names(by_alias), override_settings(**overrides):
            database_comparison.forget()
            with as_autocommit():
                yield
    finally:
        database_comparison.forget()


@contextmanager
def cache_disabled() -> Iterator[None]:
    """Let all reads of the block come from the database.  Its writes do not invalidate."""
    with override_settings(CACHEOPS_ENABLED=False):
        yield


def _redis_settings(redis: str | None) -> dict[str, Any]:
    if redis == FROM_SETTINGS:
        return {}
    if redis not in (None, EMBEDDED):
        return {"CACHEOPS_REDIS": redis, "CACHEOPS_SENTINEL": {}, "CACHEOPS_CLIENT_CLASS": None}
    missing = [name for name in ("fakeredis", "lupa") if find_spec(name) is None]
    if missing and redis is None:
        return {}
    if missing:
        raise ImproperlyConfigured(
            f"The cache of the tests should be embedded, but {' and '.join(missing)} is not installed.  Install "
            "cacheops_lite[embedded], or name a Redis server for the tests"
        )
    from fakeredis import FakeRedis, FakeServer

    server = FakeServer()
    return {
        "CACHEOPS_REDIS": {},
        "CACHEOPS_SENTINEL": {},
        "CACHEOPS_CLIENT_CLASS": lambda **options: FakeRedis(server=server),
    }


def _clear() -> None:
    for prefix in all_prefixes():
        clear(prefix)
