"""The rows that writers change, and their columns at each version.

A *lane* is a version number that only grows, stored in one column of a row, together with a second column that is
derived from it.  Each lane has one writer at a time.  Products have lane ``a`` (`views`, from which `category` is
derived) and lane ``b`` (`price`, from which `day` is derived); categories have one lane, in their name.  So the
versions alone determine the columns of a row and the conditions that it matches.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from tests.shop.models import Category, Product

PLACES = 3
DAYS = [date(2020, 1, 1 + place) for place in range(PLACES)]
CATEGORIES = [1, 2, 3]
ROOTS = [11, 12]
# Products whose two lanes have different writers; with one writer; that exist at odd versions only.
SHARED, EXCLUSIVE, CREATED_AND_DELETED = [1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]
PRODUCTS = [*SHARED, *EXCLUSIVE, *CREATED_AND_DELETED]
# The state of a row (its place, and whether it exists) repeats after this number of versions.
PERIOD = 2 * PLACES


def lane(pk, letter):
    return f"p{pk}{letter}"


def other(lane):
    """Return the name of the row's other lane.  The oracle has no versions of lanes that do not exist."""
    return lane[:-1] + ("b" if lane.endswith("a") else "a")


def category_lane(pk):
    return f"c{pk}"


LANES = [
    *(lane(pk, letter) for pk in [*SHARED, *EXCLUSIVE] for letter in "ab"),
    *(lane(pk, "a") for pk in CREATED_AND_DELETED),
    *map(category_lane, CATEGORIES),
]


def place(version):
    """Return which of the `PLACES` values the derived column of a lane has at `version`."""
    return version % PLACES


def exists_at(pk, version):
    return pk not in CREATED_AND_DELETED or version % 2 == 1


def columns(letter, version):
    """Return the columns of a product that a lane determines."""
    if letter == "a":
        return {"views": version, "category_id": CATEGORIES[place(version)]}
    return {"price": Decimal(version), "day": DAYS[place(version)]}


def product(pk, a=0, b=0, text=""):
    return Product(pk=pk, sku=f"sku{pk}", name=f"product {pk}", text=text, **columns("a", a), **columns("b", b))


def category_name(pk, version):
    return f"{pk}:{version}"


def category_version(name):
    return int(name.partition(":")[2])


def root_of(position):
    return ROOTS[position % len(ROOTS)]


def create(width):
    """Create all rows at version 0; products have a text of `width` characters."""
    Category.objects.bulk_create([Category(pk=pk, name="root") for pk in ROOTS])
    for position, pk in enumerate(CATEGORIES):
        Category.objects.create(pk=pk, name=category_name(pk, 0), parent_id=root_of(position))
    for pk in [*SHARED, *EXCLUSIVE]:
        product(pk, text="x" * width).save()
