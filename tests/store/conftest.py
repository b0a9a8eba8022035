"""Fixtures for tests of the store."""

import pytest

from cacheops_lite.writes import write_barrier


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
