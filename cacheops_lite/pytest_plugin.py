"""The plugin of pytest: fixtures that give a test a cache of its own, or none.

pytest loads it in every project, so it imports nothing of Django before a fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

OPTION = "cacheops_redis"
# Fixtures of pytest-django that begin a transaction or empty the database.
DATABASE_FIXTURES = ("transactional_db", "db", "django_db_reset_sequences", "django_db_serialized_rollback")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option and the ini value that say in which Redis the cache of a test is."""
    what = "Redis of the fixture `cacheops`: 'embedded', 'settings' for that of the settings, or a URL"
    parser.getgroup("cacheops_lite").addoption("--cacheops-redis", dest=OPTION, default=None, help=what)
    parser.addini(OPTION, what, default="")


@pytest.fixture
def cacheops(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """Give the test an empty cache that no other process reads, with caching as in autocommit.

    The value is the module `cacheops_lite.testing` with its assertions.  The cache is embedded if fakeredis is
    installed; the option ``--cacheops-redis`` or the ini value ``cacheops_redis`` says otherwise.
    """
    testing = _testing(request, "cacheops")
    redis = request.config.getoption(OPTION) or request.config.getini(OPTION) or None
    with testing.fresh_cache(redis):
        yield testing


@pytest.fixture
def cacheops_disabled(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let all reads of the test come from the database."""
    with _testing(request, "cacheops_disabled").cache_disabled():
        yield


def _testing(request: pytest.FixtureRequest, name: str) -> Any:
    from django.apps import apps
    from django.conf import settings

    if not settings.configured or not apps.is_installed("cacheops_lite"):
        raise pytest.UsageError(
            f"The fixture {name} needs a Django project with cacheops_lite in INSTALLED_APPS.  Install pytest-django, "
            "and set DJANGO_SETTINGS_MODULE in the configuration of pytest"
        )
    # The transaction of the test has to be open by now, to be ignored.
    for fixture in DATABASE_FIXTURES:
        if fixture in request.fixturenames:
            request.getfixturevalue(fixture)
    from . import testing

    return testing
