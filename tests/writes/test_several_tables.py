"""Rows that lie in several tables are seen from either end; and such as have keys of several columns."""

import pytest
from django.db.models import F

from tests.rich.models import Cell, Event, Hall, Item, OpenVenue, Place, Step, Venue
from tests.support.checks import check_each_changes_some, deserialized, saved

# Rows that are put back get the keys that they had.
pytestmark = [pytest.mark.django_db(transaction=True, reset_sequences=True), pytest.mark.usefixtures("populated")]


def first_event():
    return Event.objects.nocache().earliest("day")


# Of models that lie in several tables, or have keys of another kind.
WRITES = {
    "a child": lambda: saved(Hall.objects.nocache().get(pk=5), {"name": "x", "seats": 9, "heated": False}),
    "a child, its own column": lambda: saved(Hall.objects.get(pk=5), {"heated": False}, update_fields=["heated"]),
    "a child, its parent's column": lambda: saved(Hall.objects.get(pk=5), {"area": 9}, update_fields=["area"]),
    "a child, by expressions": lambda: saved(Hall.objects.get(pk=5), {"seats": F("seats") + 7, "area": F("area") + 9}),
    "the one between": lambda: saved(Venue.objects.get(pk=5), {"area": 9, "seats": 9}),
    "the parent": lambda: saved(Place.objects.get(pk=5), {"name": "x", "area": 9}),
    "a proxy": lambda: saved(OpenVenue.objects.get(pk=5), {"area": 9, "seats": 9}),
    "a new child": lambda: Hall(name="new", seats=2, area=1).save(),
    "a new child, all inserted": lambda: Hall(pk=88, name="new", seats=2).save(force_insert=(Place,)),
    "a child of a parent that was there": lambda: Venue(place_ptr_id=1, name="x", seats=2).save(),
    "a child alone": lambda: Venue(place_ptr_id=1, seats=2).save_base(raw=True),
    "deserialised": lambda: deserialized(Hall.objects.nocache().get(pk=5), heated=False),
    "update": lambda: Hall.objects.filter(heated=True).update(area=9, seats=9, heated=False),
    "update by an expression": lambda: Hall.objects.update(seats=F("seats") + 7, area=F("area") + 9),
    "delete": lambda: Hall.objects.get(pk=5).delete(),
    "delete but its parents": lambda: Hall.objects.get(pk=5).delete(keep_parents=True),
    "delete of the parent": lambda: Place.objects.get(pk=5).delete(),
    "a composite key": lambda: saved(Cell.objects.nocache().get(pk=(1, 1)), {"text": "x"}),
    "a new composite key": lambda: Cell(row=9, column=9, text="a").save(),
    "a part of a composite key": lambda: saved(Cell.objects.nocache().get(pk=(1, 1)), {"row": 9}),
    "a uuid": lambda: saved(first_event(), {"day": "2026-05-05"}),
    "a uuid that is given": lambda: Event(pk=first_event().pk, day="2026-05-05").save(force_update=True),
    "a new uuid": lambda: Event(day="2026-01-01").save(),
    "the order of steps": lambda: Item.objects.get(pk=1).set_step_order([2, 1]),
    "a step in its order": lambda: Step.objects.create(item_id=1, text="s"),
}


def test_rows_of_several_tables_are_seen_from_either_end():
    """And such as have keys of several columns, or an order of their own."""
    pool = [
        lambda: list(Place.objects.filter(area=9).values_list("pk", "name")),
        lambda: Place.objects.filter(name="hall").count(),
        lambda: list(Venue.objects.filter(seats=2).order_by("pk").values_list("pk", "name")),
        lambda: [(each.name, each.seats) for each in OpenVenue.objects.filter(area=0).order_by("pk")],
        lambda: [(each.name, each.heated, each.seats) for each in Hall.objects.order_by("pk")],
        lambda: Hall.objects.filter(heated=True, seats=2).exists(),
        lambda: sorted(Place.objects.filter(venue__isnull=True).values_list("pk", flat=True)),
        lambda: list(Cell.objects.filter(text="a").order_by("pk").values_list("pk", flat=True)),
        lambda: Cell.objects.filter(pk=(1, 1)).count(),
        lambda: sorted(Event.objects.values_list("day", flat=True)),
        lambda: [list(each.get_step_order()) for each in Item.objects.order_by("pk")],
        lambda: [each.text for each in Step.objects.filter(item=1)],
    ]
    check_each_changes_some(pool, WRITES)
