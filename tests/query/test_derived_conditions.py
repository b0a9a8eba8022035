"""Rows that the database finds meet the dependencies of the query, for comparisons of every kind."""

import os
import random

import pytest
from django.db.models import Q

from tests.query.comparisons import (
    CONSTANTS,
    STORED,
    conditions_of,
    dependencies_of,
    is_met,
    keys_found,
    store_rows,
    stored_images,
)
from tests.rich.models import Sample

COMBINATIONS = int(os.environ.get("TEST_EXAMPLES", 300))

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]


class Figures:
    """Of the rows that a condition does not find, `outside`, those that keep its results, `kept`."""

    def __init__(self):
        self.found = self.outside = self.kept = self.unknown = 0


def check(condition, images, figures):
    """Check that each row that the database finds meets a dependency, by all of its images."""
    found = keys_found(condition)
    if found is None:
        return
    dependencies = [each for each in dependencies_of(condition) if each.table == Sample._meta.db_table]
    for by_key in images:
        for key, image in by_key.items():
            met = [is_met(each, image) for each in dependencies]
            if key in found:
                figures.found += 1
                assert True in met or None in met, (condition, dict(image), dependencies)
            else:
                figures.outside += 1
                figures.kept += not any(each or each is None for each in met)
            figures.unknown += None in met


@pytest.fixture
def images(store):
    saved = store_rows()
    return [saved, stored_images()]


@pytest.mark.parametrize("store", ["redis-sets"], indirect=True)
@pytest.mark.parametrize("name", STORED)
def test_rows_that_a_condition_finds_meet_its_dependencies(name, images, capsys):
    """Negated or not."""
    figures = Figures()
    for condition in conditions_of(name):
        for each in (condition, ~condition):
            check(each, images, figures)
    with capsys.disabled():
        print(f"\n{name}: {figures.found} found, {figures.outside} outside, kept {figures.kept}, unknown {figures.unknown}")
    assert figures.found


@pytest.mark.parametrize("store", ["redis-sets"], indirect=True)
def test_rows_that_a_combination_finds_meet_its_dependencies(images):
    """Conditions on one column or on several."""
    figures, rng = Figures(), random.Random(7)
    by_name = {name: conditions_of(name) for name in STORED}
    for _ in range(COMBINATIONS):
        names = rng.sample(sorted(STORED), rng.choice([1, 2, 2, 3]))
        parts = [rng.choice(by_name[rng.choice(names)]) for _ in range(rng.choice([2, 2, 3, 4]))]
        combined = Q()
        for part in parts:
            each = ~part if rng.random() < 0.3 else part
            combined = combined | each if rng.random() < 0.4 else combined & each
            combined = ~combined if rng.random() < 0.15 else combined
        check(combined, images, figures)
    assert figures.found
    assert figures.kept
    assert CONSTANTS
