"""How much stays cached: of the results that a write does not change, though it writes their tables."""

import os
from statistics import mean, median

import pytest

from tests.property import kept
from tests.property.journal_reads import SHARES

WRITES = int(os.environ.get("TEST_KEPT_WRITES", 60))
SEED = int(os.environ.get("TEST_KEPT_SEED", 1))

# In percent, for classes below 90: a rule that keeps more raises its floor.
FLOORS = {
    "pk in subquery": 84,
    "forward joins": 85,
    "exists": 74,
    "count": 82,
    "negations": 78,
}


@pytest.mark.django_db(transaction=True)
def test_results_survive_the_writes_that_do_not_change_them(capsys):
    """In each class of query at least as many as when this was last measured, less some for other databases."""
    figures = kept.run(SEED, WRITES)
    with capsys.disabled():
        numbers = figures.dependencies
        dependencies = f"{median(numbers):.0f} dependencies of a read (median), {mean(numbers):.1f} (mean)"
        print(f"\n{figures.writes} writes, {dependencies}")
        print(figures.by_class)
        print("not kept:", dict(figures.reasons.most_common()))
        if os.environ.get("TEST_KEPT_LINES"):
            print(figures.by_line)
    shares = {name: figures.by_class.share(name) for name in SHARES}
    assert not {name: share for name, share in shares.items() if share < FLOORS.get(name, 90)}
