"""Let tests read through the cache in the transactions that pytest-django opens, and compare each hit."""

from contextlib import contextmanager

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import fixtures


@contextmanager
def uncounted(config, num, exact=True, connection=connection, info=None, **options):
    """Do not check the number of queries: hits send none, and the comparison adds some."""
    with CaptureQueriesContext(connection) as context:
        yield context


def pytest_configure(config):
    from our_tests.djangosuite import hooks

    hooks.install()
    fixtures._assert_num_queries = uncounted


@pytest.fixture(autouse=True)
def cached(request):
    from cacheops_lite import invalidate_all
    from cacheops_lite.testing import as_autocommit

    if request.node.get_closest_marker("django_db") is None:
        yield
        return
    request.getfixturevalue("db")
    with as_autocommit():
        yield
    # pytest-django rolls the rows back, which does not invalidate.
    invalidate_all()


def pytest_terminal_summary(terminalreporter):
    from our_tests.djangosuite import hooks

    hooks.report()


def pytest_sessionfinish(session, exitstatus):
    from our_tests.djangosuite import hooks

    if hooks.differences and not exitstatus:
        session.exitstatus = 1
