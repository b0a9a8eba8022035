"""Random histories of the example project, a directory of airports."""

import os
import random

import pytest
from airports.loading import load

from cacheops_lite.store import invalidation_script, invalidator
from tests.property import directory, shop
from tests.property.differential import run

STEPS = int(os.environ.get("TEST_STEPS", 500))
SEED = int(os.environ.get("TEST_SEED", 20261120))

pytestmark = pytest.mark.django_db(transaction=True)


def test_no_random_history_of_the_directory_leaves_a_stale_read(store, capsys):
    """Each cached read equals the read without the cache; more than a quarter of the reads are hits."""
    load(countries=set(directory.COUNTRIES))
    figures = run(SEED, STEPS, directory.reads, directory.write)
    with capsys.disabled():
        print(f"\n{figures}")
    assert figures.hits > figures.reads / 4


def test_the_comparison_finds_a_cache_that_never_invalidates(store, monkeypatch):
    shop.populate(random.Random(1))
    monkeypatch.setattr(invalidation_script, "_run", lambda *args, **kwargs: [])
    monkeypatch.setattr(invalidator, "release_after_commit", lambda *args: None)
    with pytest.raises(AssertionError, match="stale at step"):
        run(1, 500, shop.reads, shop.write)
