"""Fixtures for tests of the store."""

import pytest
from django.test import override_settings

from cacheops_lite import invalidate_all
from cacheops_lite.writes import write_barrier
from tests.support import cluster as clusters


@pytest.fixture(scope="module")
def three_nodes():
    """A cluster of three nodes; a test that changes it restores it."""
    with clusters.running() as running:
        yield running


@pytest.fixture
def cluster(three_nodes):
    """That cluster, empty, which the settings name."""
    with override_settings(CACHEOPS_REDIS=three_nodes.url, CACHEOPS_CLIENT_CLASS=None):
        invalidate_all()
        yield three_nodes
        invalidate_all()


@pytest.fixture
def around_commit(monkeypatch):
    """Call a function with whether the fenced write is committed: after the fence is set, and before delivery."""

    def arrange(function):
        fence, deliver, fences_set = write_barrier.invalidate_and_fence, write_barrier.deliver_logging_errors, []

        def fencing(work, fence_of_work):
            fence(work, fence_of_work)
            fences_set.append(fence_of_work)
            function(False)

        def delivering(*args):
            if fences_set:
                function(True)
            deliver(*args)

        monkeypatch.setattr("cacheops_lite.writes.unit_of_work.invalidate_and_fence", fencing)
        monkeypatch.setattr("cacheops_lite.writes.unit_of_work.deliver_logging_errors", delivering)

    return arrange
