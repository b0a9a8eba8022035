"""Random histories of the shop."""

import os
import random

import pytest

from tests.property import shop
from tests.property.differential import run

STEPS = int(os.environ.get("TEST_STEPS", 600))
SEED = int(os.environ.get("TEST_SEED", random.randrange(10**6)))


@pytest.mark.django_db(transaction=True)
def test_no_random_history_of_the_shop_leaves_a_stale_read(store):
    """Each cached read equals the read without the cache."""
    shop.populate(random.Random(SEED))
    print(run(SEED, STEPS, shop.reads, shop.write))
