"""No random history of the rich schema leaves a stale read, and the machine that looks for one finds those there are."""

import os

import pytest

from tests.property import machine
from tests.property.differential import Figures
from tests.property.population import populate

EXAMPLES = int(os.environ.get("TEST_EXAMPLES", 100))
STEPS = int(os.environ.get("TEST_HISTORY_STEPS", 8))

pytestmark = pytest.mark.django_db(transaction=True)


def test_no_random_history_of_the_rich_schema_leaves_a_stale_read(store, capsys):
    """Whatever is written, however, each read that was cached equals what the database says."""
    populate()
    figures = Figures(0)
    try:
        machine.run(figures, EXAMPLES, STEPS)
    finally:
        with capsys.disabled():
            print(f"\n{figures}")
