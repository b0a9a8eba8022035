"""Fixtures of the integration tests."""

from contextlib import contextmanager

import pytest
from django.test import override_settings

from cacheops_lite.functions import redis_cache
from cacheops_lite.functions.filesystem_cache import FileCache
from cacheops_lite.store.client import get_client
from tests import services
from tests.conftest import FLAVOURS


@pytest.fixture(params=["redis", "embedded", "file"])
def cache(request, tmp_path):
    """An empty cache of each kind."""
    with cache_of_kind(request.param, tmp_path) as empty:
        yield empty


@contextmanager
def cache_of_kind(kind, tmp_path):
    """An empty cache, in Redis, the embedded one or files."""
    if kind == "file":
        yield FileCache(tmp_path / "cache")
        return
    if kind == "redis" and not services.redis_answers():
        (pytest.fail if services.IN_CI else pytest.skip)(f"no Redis at {services.REDIS_URL}")
    with override_settings(**FLAVOURS[kind]):
        get_client().flushdb()
        yield redis_cache.cache
        get_client().flushdb()
