"""Dependencies of queries with expressions, inner queries, slices, set operations and aggregates."""

import datetime

import pytest
from django.db import connection
from django.db.models import (
    Avg,
    Count,
    Exists,
    F,
    Max,
    OuterRef,
    Q,
    Subquery,
    Sum,
    Value,
    Window,
)
from django.db.models.functions import Coalesce, RowNumber

from tests.rich.models import Badge, Cell, Event, Item, Owner, Place, Step, Tag, Venue
from tests.support.checks import change, check_each_write_is_seen, items, owners

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("populated")]


def has_a_title():
    return [owner.n for owner in owners().annotate(n=Exists(A_TITLE.filter(owner=OuterRef("pk"))))]


def has_no_a_title():
    return sorted(owners().filter(~Exists(A_TITLE.filter(owner=OuterRef("pk")))).values_list("pk", flat=True))


def windowed():
    return list(items().annotate(n=OF_OWNER).values_list("pk", "n"))


def first_of_each_owner():
    return sorted(Item.objects.annotate(n=FIRST_OF_OWNER).filter(n=1).values_list("pk", flat=True))


def titles_and_words(verb):
    """Return a read that applies ``union`` or another set operation to two tables."""
    words = Tag.objects.values_list("word", flat=True)
    return lambda: sorted(getattr(Item.objects.values_list("title", flat=True), verb)(words))


def nested():
    """Return owners of items in venues with one seat: three nested queries."""
    places = Venue.objects.filter(seats=1).values("pk")
    return sorted(Owner.objects.filter(pk__in=items(place__in=places).order_by().values("owner")).values_list("pk"))


ITEMS = Item.objects.filter(owner=OuterRef("pk"))
FIRST_TITLE = Coalesce(Subquery(ITEMS.order_by("pk").values("title")[:1]), Value("none"))
FIRST_OF_OWNER = Window(RowNumber(), partition_by="owner", order_by=["number", "pk"])
OF_OWNER = Window(Sum("number"), partition_by="owner")
A_TITLE = Item.objects.filter(title="a")


# Reads, and writes that each change the result.
CASES = {
    "Subquery in Coalesce": (
        lambda: list(owners().annotate(n=FIRST_TITLE).values_list("n", flat=True)),
        [lambda: change(Item, 1, title="x"), lambda: change(Item, 3, owner_id=2), lambda: change(Item, 1, owner_id=3)],
    ),
    "Exists": (has_a_title, [lambda: change(Item, 1, title="x"), lambda: change(Item, 3, owner_id=3)]),
    "not Exists": (
        has_no_a_title,
        [lambda: change(Item, 1, owner=None), lambda: change(Item, 4, title="a", owner_id=2)],
    ),
    "a window": (windowed, [lambda: change(Item, 1, number=5), lambda: change(Item, 2, owner=None)]),
    "a condition on a window": (
        first_of_each_owner,
        [lambda: change(Item, 1, number=5), lambda: change(Item, 1, owner_id=2), lambda: change(Item, 4, number=-1)],
    ),
    "union": (
        titles_and_words("union"),
        [
            lambda: change(Item, 4, title="x"),
            lambda: change(Tag, 1, word="y"),
            lambda: Tag.objects.create(pk=9, word="z"),
        ],
    ),
    "intersection": (
        titles_and_words("intersection"),
        [lambda: change(Tag, 1, word="a"), lambda: change(Item, 4, title="old"), lambda: A_TITLE.all().delete()],
    ),
    "difference": (
        titles_and_words("difference"),
        [lambda: change(Tag, 1, word="a"), lambda: change(Item, 4, title="x"), lambda: Tag.objects.all().delete()],
    ),
    "order by a joined column": (
        lambda: list(Item.objects.filter(owner__isnull=False).order_by("owner__name", "pk").values_list("pk", "owner")),
        [lambda: change(Item, 4, owner_id=2), lambda: change(Owner, 2, name="0"), lambda: change(Item, 2, owner_id=2)],
    ),
    "distinct": (
        lambda: sorted(Item.objects.values_list("title", flat=True).distinct()),
        [
            lambda: change(Item, 4, title="x"),
            lambda: change(Item, 2, title="x"),
            lambda: Item.objects.create(pk=9, title="y"),
        ],
    ),
    "a slice": (
        lambda: list(Item.objects.order_by("-number", "pk").values_list("pk", "title")[1:3]),
        [
            lambda: change(Item, 4, number=9),
            lambda: change(Item, 1, title="x"),
            lambda: Item.objects.get(pk=2).delete(),
        ],
    ),
    "dates": (
        lambda: list(Event.objects.dates("day", "month")),
        [lambda: Event.objects.update(day="2026-03-01"), lambda: Event.objects.create(day="2026-05-05")],
    ),
    "datetimes": (
        lambda: list(Item.objects.datetimes("moment", "hour", tzinfo=datetime.timezone.utc)),
        [lambda: change(Item, 1, moment="2026-01-01T01:00Z"), lambda: items(pk=1).update(moment="2026-01-01T02:00Z")],
    ),
    "extra": (
        lambda: sorted(i.word for i in Item.objects.extra({"word": "rich_tag.word"}, tables=["rich_tag"])),
        [
            lambda: change(Tag, 1, word="x"),
            lambda: Tag.objects.create(pk=9, word="y"),
            lambda: Item.objects.get(pk=4).delete(),
        ],
    ),
    "in_bulk": (
        lambda: {key: owner.name for key, owner in Owner.objects.in_bulk(["x", "y", "w"], field_name="code").items()},
        [
            lambda: change(Owner, 1, name="n"),
            lambda: change(Owner, 3, code="w"),
            lambda: Owner.objects.get(pk=2).delete(),
        ],
    ),
    "contains": (
        lambda: Item.objects.filter(number=1).contains(Item(pk=2)),
        [
            lambda: change(Item, 2, number=2),
            lambda: items(pk=2).update(number=1),
            lambda: Item.objects.get(pk=2).delete(),
        ],
    ),
    "iterator": (
        lambda: [item.title for item in items().cache(ops="fetch").iterator()],
        [lambda: change(Item, 1, title="x"), lambda: Item.objects.create(pk=9, title="y")],
    ),
    "nested querysets": (
        nested,
        [
            lambda: change(Venue, 3, seats=2),
            lambda: change(Venue, 4, seats=1) or change(Item, 4, place_id=4, owner_id=2),
        ],
    ),
    "a composite key": (
        lambda: (Cell.objects.get(pk=(1, 2)).text, sorted(Cell.objects.in_bulk([(1, 1), (3, 3)]))),
        [
            lambda: change(Cell, (1, 2), text="x"),
            lambda: Cell.objects.create(pk=(3, 3)),
            Cell.objects.filter(row=3).delete,
        ],
    ),
    "conditions on a composite key": (
        lambda: list(Cell.objects.filter(pk__in=[(1, 1), (2, 2)]).order_by("pk").values_list("pk", "text")),
        [lambda: change(Cell, (1, 1), text="x"), lambda: Cell.objects.create(pk=(2, 2), text="y")],
    ),
    "a group": (
        lambda: list(Item.objects.values("owner__name").annotate(n=Count("tags")).order_by("owner__name", "n")),
        [
            lambda: Item.objects.get(pk=3).tags.add(1),
            lambda: change(Owner, 1, name="x"),
            lambda: change(Item, 3, owner_id=2),
        ],
    ),
    "an aggregate of a joined column": (
        lambda: Item.objects.filter(title="a").aggregate(Max("place__area"), Avg("steps__id"), n=Count("steps")),
        [
            lambda: change(Place, 1, area=7),
            lambda: Step.objects.filter(pk=2).delete(),
            lambda: change(Item, 2, title="a"),
        ],
    ),
    "an exclusive or": (
        lambda: list(items().filter(Q(number=1) ^ Q(owner__name="a")).values_list("pk", flat=True)),
        [lambda: change(Item, 1, number=1), lambda: change(Owner, 1, name="x"), lambda: change(Item, 2, number=0)],
    ),
    "two columns": (
        lambda: sorted(Item.objects.filter(number=F("owner__badge__owner_id")).values_list("pk", flat=True)),
        [lambda: change(Item, 1, number=1), lambda: Badge.objects.all().delete()],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_write_that_changes_the_result_is_seen(name, is_hit):
    check_each_write_is_seen(*CASES[name], is_hit)


def test_distinct_on_is_invalidated_by_rows_that_it_left_out(is_hit):
    """DISTINCT ON exists on PostgreSQL only."""
    if not connection.features.can_distinct_on_fields:
        pytest.skip("this database has none")
    read = lambda: list(Item.objects.order_by("title", "number", "pk").distinct("title").values_list("pk", flat=True))
    assert read() == [1, 2, 4]
    assert is_hit(read)
    change(Item, 3, number=-1)
    assert read() == [3, 2, 4]
    change(Item, 4, title="a", number=-2)
    assert read() == [4, 2]
