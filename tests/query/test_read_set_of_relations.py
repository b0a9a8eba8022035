"""Dependencies of reads across relations."""

import pytest
from django.db.models import FilteredRelation, Prefetch, Q

from tests.rich.models import Badge, Hall, Help, Item, Owner, Place, Remark, Tag, Venue
from tests.support.checks import change, check_each_write_is_seen, items, owners

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("populated")]


def color_of(owner):
    return owner.badge.color if hasattr(owner, "badge") else None


def levels():
    return list(
        items().annotate(n=FilteredRelation("help", condition=Q(help__level=1))).values_list("pk", "n__owner__name")
    )


def targets():
    return [str(each.target and each.target.__dict__.get("title")) for each in Remark.objects.order_by("pk")]


def prefetched_targets():
    remarks = Remark.objects.order_by("pk").prefetch_related("target")
    return [getattr(each.target, "title", None) or getattr(each.target, "name", None) for each in remarks]


def prefetched():
    """Return the titles of each owner's items with number 1, with the words of their tags."""
    chosen = Item.objects.filter(number=1).prefetch_related(Prefetch("tags", Tag.objects.exclude(word="new"), "some"))
    found = owners().prefetch_related(Prefetch("items", chosen, "chosen"))
    return [[(item.title, sorted(tag.word for tag in item.some)) for item in owner.chosen] for owner in found]


# Reads, and writes that each change the result.
CASES = {
    "select_related": (
        lambda: [
            (i.owner and i.owner.name, i.place and i.place.name) for i in items().select_related("owner", "place")
        ],
        [lambda: change(Owner, 1, name="x"), lambda: change(Place, 1, name="x"), lambda: change(Item, 3, place_id=2)],
    ),
    "select_related of two levels": (
        lambda: [i.owner and color_of(i.owner) for i in items().select_related("owner__badge")],
        [
            lambda: change(Badge, 1, color="blue"),
            lambda: Badge.objects.all().delete(),
            lambda: Badge(pk=1, color="z").save(),
        ],
    ),
    "select_related of a reverse one-to-one": (
        lambda: [color_of(owner) for owner in owners().select_related("badge")],
        [
            lambda: Badge.objects.create(pk=2, color="x"),
            lambda: change(Badge, 1, color="y"),
            Badge.objects.all().delete,
        ],
    ),
    "select_related of a child": (
        lambda: [hasattr(place, "venue") for place in Place.objects.select_related("venue__hall").order_by("pk")],
        [lambda: Venue(place_ptr_id=1, seats=1).save_base(raw=True), lambda: Venue.objects.get(pk=3).delete()],
    ),
    "no row of an outer join": (
        lambda: sorted(Owner.objects.filter(items__isnull=True).values_list("pk", flat=True)),
        [
            lambda: change(Item, 4, owner_id=2),
            lambda: Item.objects.create(pk=9, title="x", owner_id=3),
            items(owner=1).delete,
        ],
    ),
    "no row two joins away": (
        lambda: sorted(Item.objects.filter(owner__badge__color=None).values_list("pk", flat=True)),
        [
            lambda: change(Item, 4, owner_id=1),
            lambda: Badge.objects.all().delete(),
            lambda: Badge(pk=1, color="x").save(),
        ],
    ),
    "known related objects": (
        lambda: [(i.title, i.owner.name) for i in Owner.objects.get(pk=1).items.order_by("pk")],
        [lambda: change(Owner, 1, name="x"), lambda: change(Item, 1, title="y"), lambda: change(Item, 4, owner_id=1)],
    ),
    "prefetches with querysets": (
        prefetched,
        [lambda: change(Item, 1, number=1), lambda: change(Tag, 2, word="x"), lambda: change(Item, 2, owner_id=2)],
    ),
    "a generic foreign key": (
        targets,
        [lambda: change(Item, 1, title="x"), lambda: change(Remark, 2, target=Item(pk=2)), items(pk=1).delete],
    ),
    "a prefetched generic foreign key": (
        prefetched_targets,
        [
            lambda: change(Item, 1, title="x"),
            lambda: change(Venue, 3, name="x"),
            lambda: change(Remark, 1, object_id=2),
        ],
    ),
    "a generic relation": (
        lambda: sorted(Item.objects.filter(remarks__text="s").values_list("pk", flat=True)),
        [
            lambda: change(Remark, 1, text="s"),
            lambda: change(Remark, 2, target=Item(pk=3)),
            Remark.objects.all().delete,
        ],
    ),
    "a parent by its child": (
        lambda: list(Hall.objects.order_by("pk").values_list("name", "seats", "heated")),
        [lambda: change(Place, 5, name="x"), lambda: change(Venue, 5, seats=9), lambda: change(Hall, 5, heated=False)],
    ),
    "FilteredRelation": (
        levels,
        [lambda: change(Help, 2, level=1), lambda: change(Owner, 2, name="x"), lambda: Help.objects.all().delete()],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_write_that_changes_the_result_is_seen(name, is_hit):
    check_each_write_is_seen(*CASES[name], is_hit)


def test_rows_of_a_related_manager_refer_to_the_instance_of_the_manager(is_hit):
    """They do not refer to a cached copy; this is the behaviour of Django."""
    owner = Owner.objects.get(pk=1)
    read = lambda: list(owner.items.order_by("pk"))
    for _ in range(2):
        assert all(item.owner is owner for item in read())
    assert is_hit(read)
    tagged = lambda: list(Item.objects.prefetch_related("steps").order_by("pk"))
    for _ in range(2):
        assert all(step.item is item for item in tagged() for step in item.steps.all())
