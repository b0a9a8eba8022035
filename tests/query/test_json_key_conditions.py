"""Conditions on keys of JSON are met by every row that the database finds; the database itself says which these are."""

import os
import random

import pytest
from django.db import connection, transaction
from django.db.models import Q

from cacheops_lite.query.compiler import compile_rows
from cacheops_lite.schema import derived_conditions, is_derived, name_in_keys
from cacheops_lite.writes.before_image import read_before_image
from cacheops_lite.writes.row_images import Image, tables_of
from tests.journal.models import Post
from tests.rich.models import Sample
from tests.support.uncached import uncached

pytestmark = pytest.mark.django_db(transaction=True)

SEED = int(os.environ.get("TEST_JSON_SEED", 1))
TEXTS = [
    "",
    " ",
    "red",
    "Red",
    "red ",
    " red",
    "réd",
    "re\u0301d",
    "K",
    "\u212a",
    "ß",
    "ss",
    "😀",
    "😁",
    "\ufffc",
    "x" * 70,
]
TEXTS += [
    "1",
    "1.0",
    "01",
    "+1",
    "1e0",
    "-0",
    "nan",
    "inf",
    "true",
    "True",
    "false",
    "null",
    "None",
    "[1]",
    "{}",
    "[ 1]",
]
TEXTS += ['a"b', "a\\b", "a/b", "\n", "\t", " red", "\x7f", "a'b", "%", "red\x01", '{"a":1}']
NUMBERS = [0, 1, -1, 2, 10, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**20, 10**40]
FLOATS = [0.0, -0.0, 1.0, 0.1, 0.30000000000000004, 0.3, 1e16, float(2**53), 1e20, 1e22, 1e23, 1e300, 5e-324, 1e-7]
SCALARS = [*TEXTS, *NUMBERS, *FLOATS, True, False, None]
CONTAINERS = [[], {}, [1], ["red"], {"a": 1}, {"kind": "red"}, [{"kind": "red"}], ["kind"], {"": "red"}, [[]]]
VALUES = [*SCALARS, *CONTAINERS]


def documents():
    """Return documents that have each value as the key, as another one, in another depth, or as a whole."""
    rng = random.Random(SEED)
    found = [{"kind": value} for value in VALUES] + [value for value in VALUES if value is not None]
    found += [{"kind": {"of": value}} for value in VALUES] + [{"kind": [{"of": value}]} for value in CONTAINERS]
    for _ in range(100):
        inner = {rng.choice(["of", "kind", "Kind", "0"]): rng.choice(VALUES) for _ in range(rng.randint(0, 3))}
        found.append({rng.choice(["kind", "Kind", "kind ", "0", "KIND"]): rng.choice([inner, rng.choice(VALUES)])})
    return found


def conditions():
    """Return conditions on a key, and on a key within it."""
    rng = random.Random(SEED)
    for name in ("facts__kind", "facts__kind__of"):
        for value in SCALARS:
            yield Q(**{name: value})
        for _ in range(30):
            yield Q(**{f"{name}__in": rng.sample([each for each in SCALARS if each is not None], 3)})
        for value in (True, False):
            yield Q(**{f"{name}__isnull": value})
            yield ~Q(**{f"{name}__isnull": value})
    yield from (Q(facts__has_key="kind"), ~Q(facts__has_key="kind"), Q(facts__kind__has_key="of"))
    yield from (~Q(facts__kind="red"), ~Q(facts__kind__of=1), Q(facts__kind="red") | Q(facts__kind__isnull=True))


def is_met(dependency, image):
    tokens = [(token, image.get(name_in_keys(column))) for column, token in dependency.conditions]
    # A row without a token counts as any row.
    return all(
        found is None or (derived_conditions.parse(token).is_met(found) if is_derived(token) else token == found)
        for token, found in tokens
    )


def image(document):
    return Image(tables_of(Sample)[0], {"facts": document}, connection.vendor)


def test_every_row_that_the_database_finds_meets_the_conditions_of_the_query(store):
    """Exactly these rows, but for values that some database considers equal."""
    Sample.objects.nocache().all().delete()
    rows = dict(enumerate([None, *documents()], 1))
    Sample.objects.bulk_create([Sample(pk=pk, facts=document) for pk, document in rows.items()])
    images = {pk: image(document) for pk, document in rows.items()}
    numbers = {"met": 0, "found": 0, "with conditions": 0}
    for condition in conditions():
        query = Sample.objects.filter(condition)
        found = set(uncached(lambda query=query: list(query.values_list("pk", flat=True))))
        dependencies = compile_rows(query).dependencies
        met = {pk for pk, row in images.items() if any(is_met(each, row) for each in dependencies)}
        assert found <= met, f"{condition}: {[rows[pk] for pk in found - met]}"
        if all(each.conditions for each in dependencies):
            numbers["met"] += len(met)
            numbers["found"] += len(found)
            numbers["with conditions"] += 1
    assert numbers["with conditions"] > 150
    assert numbers["met"] < 2 * numbers["found"]


def test_rows_read_from_the_database_have_the_tokens_of_what_was_written(store):
    """A before image has the value as the database stores it."""
    for value in VALUES:
        sample = Sample.objects.create(facts={"kind": value})
        with transaction.atomic():
            read = read_before_image(Sample, sample.pk, "default", ["facts"]).values
        if "facts" in read:
            found = Image(tables_of(Sample)[0], read, connection.vendor).get("facts%00kind")
            assert found == image({"kind": value}).get("facts%00kind")


def test_negated_equality_counts_as_any_row():
    """Values with one token may differ for the database, and then one row of them is in the result."""
    (dependency,) = compile_rows(Post.objects.exclude(meta__kind="red")).dependencies
    assert dependency.conditions == ()


@pytest.mark.parametrize(
    "query",
    [
        # Each database has its own rules for these.
        Q(facts__0="red"),
        Q(facts__kind__0="red"),
        Q(**{"facts__a b": "red"}),
        Q(**{"facts__é": "red"}),
        Q(facts__kind__lt=5),
        Q(facts__kind__startswith="r"),
        Q(facts__kind=["red"]),
        Q(facts__kind="\ud800"),
        ~Q(facts__kind="red"),
        Q(facts__a__b__c__d__e=1),
        Q(facts={"kind": "red"}),
    ],
)
def test_what_databases_may_compare_differently_counts_as_any_row(query):
    dependencies = compile_rows(Sample.objects.filter(query)).dependencies
    assert all(not each.conditions for each in dependencies)
