"""The rows that writers change, and what each of them is at each of its versions.

A *lane* is a version number that only grows and the column whose value follows from it; one writer at a time has it.
Products have lane ``a`` (`views`, which moves `category`) and ``b`` (`price`, which moves `day`), categories have one
(in their name).  So from the versions alone follows what a row matches, and what it ought to be.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from tests.shop.models import Category, Product

PLACES = 3
DAYS = [date(2020, 1, 1 + place) for place in range(PLACES)]
CATEGORIES = [1, 2, 3]
ROOTS = [11, 12]
# Two writers share a product, one lane each; one has both lanes; it comes (odd versions) and goes (even ones).
SHARED, SOLE, FLICKERING = [1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]
PRODUCTS = [*SHARED, *SOLE, *FLICKERING]
# States of a row repeat after so many versions: of its place, and of being there.
PERIOD = 2 * PLACES


def lane(pk, letter):
    return f"p{pk}{letter}"


def other(lane):
    """The row's other lane, of which nothing is known where it has none."""
    return lane[:-1] + ("b" if lane.endswith("a") else "a")


def category_lane(pk):
    return f"c{pk}"


LANES = [
    *(lane(pk, letter) for pk in [*SHARED, *SOLE] for letter in "ab"),
    *(lane(pk, "a") for pk in FLICKERING),
    *map(category_lane, CATEGORIES),
]


def place(version):
    """Which of the places a lane's column is at."""
    return version % PLACES


def is_there(pk, version):
    return pk not in FLICKERING or version % 2 == 1


def columns(letter, version):
    """What a lane makes of a product's columns."""
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
    """Put all rows there at version 0; products have a text of `width` characters."""
    Category.objects.bulk_create([Category(pk=pk, name="root") for pk in ROOTS])
    for position, pk in enumerate(CATEGORIES):
        Category.objects.create(pk=pk, name=category_name(pk, 0), parent_id=root_of(position))
    for pk in [*SHARED, *SOLE]:
        product(pk, text="x" * width).save()
