"""Changes of relations of every kind invalidate, from either side and through the rows of the link tables."""

import pytest
from django.db.models import F

from tests.rich.models import Help, Item, Owner, Place, Remark, Step, Tag, Venue
from tests.support.checks import check_each_changes_some, saved

# The tests restore rows with their original keys.
pytestmark = [pytest.mark.django_db(transaction=True, reset_sequences=True), pytest.mark.usefixtures("populated")]

TAGGED = Item.tags.through
FRIENDS, FOLLOWS = Owner.friends.through, Owner.follows.through


def item(pk=1):
    return Item.objects.nocache().get(pk=pk)


def owner(pk=1):
    return Owner.objects.nocache().get(pk=pk)


def tag(pk=1):
    return Tag.objects.nocache().get(pk=pk)


def place(pk=1):
    return Place.objects.nocache().get(pk=pk)


def first(model):
    return model.objects.nocache().order_by("pk").first()


def keys(queryset):
    return sorted(queryset.values_list("pk", flat=True))


def each_of(model, relation):
    """Read what each row of a model is linked to, through its manager."""
    return lambda: [keys(getattr(row, relation).all()) for row in model.objects.nocache().order_by("pk")]


def where(model, relation):
    """Read rows filtered by the linked key, and rows without a link."""
    return lambda: [keys(model.objects.filter(**{relation: pk})) for pk in (1, 2, 3, None)]


def prefetched(model, relation):
    return lambda: [
        sorted(other.pk for other in getattr(row, relation).all())
        for row in model.objects.prefetch_related(relation).order_by("pk")
    ]


def of_both_sides(model, relation, other, back):
    makers = (each_of, where, prefetched)
    return [make(*side) for side in ((model, relation), (other, back)) for make in makers]


# Item 1 has the tags 1 and 2, item 2 has 2.
TAGS = {
    "add": lambda: item(2).tags.add(1, tag(3)),
    "add what is there, too": lambda: item().tags.add(2, 3),
    "add from the other side": lambda: tag(3).items.add(item(), 3),
    "remove": lambda: item().tags.remove(tag(1)),
    "remove from the other side": lambda: tag(2).items.remove(1, 2),
    "set": lambda: item().tags.set([3]),
    "set by clearing": lambda: item().tags.set([2, 3], clear=True),
    "set from the other side": lambda: tag(1).items.set([item(3)]),
    "clear": lambda: item().tags.clear(),
    "clear from the other side": lambda: tag(2).items.clear(),
    "create": lambda: item().tags.create(word="x"),
    "create from the other side": lambda: tag(1).items.create(title="x"),
    "get_or_create": lambda: item(2).tags.get_or_create(word="x"),
    "update_or_create": lambda: item(2).tags.update_or_create(word="x"),
    "a row between": lambda: TAGGED.objects.create(item_id=3, tag_id=1),
    "a row between that moves": lambda: saved(first(TAGGED), {"tag_id": 3}),
    "a row between that goes": lambda: first(TAGGED).delete(),
    "rows between": lambda: TAGGED.objects.bulk_create([TAGGED(item_id=3, tag_id=pk) for pk in (1, 2)]),
    "rows between that may be there": lambda: TAGGED.objects.bulk_create(
        [TAGGED(item_id=1, tag_id=pk) for pk in (1, 2, 3)], ignore_conflicts=True
    ),
    "rows between that move": lambda: TAGGED.objects.filter(item=1, tag=1).update(tag=3),
    "rows between by an expression": lambda: TAGGED.objects.filter(item=2).update(tag=F("tag") + 1),
    "rows between that go": lambda: TAGGED.objects.filter(tag=2).delete(),
    "a delete of one end": lambda: tag(2).delete(),
    "a delete of the other": lambda: Item.objects.filter(pk=1).delete(),
}
# Owner 2 helps items 1 and 2.
HELPS = {
    "add": lambda: item(3).helpers.add(1),
    "add with values": lambda: owner(3).helped.add(1, 2, through_defaults={"level": 7}),
    "remove": lambda: item().helpers.remove(2),
    "set": lambda: item().helpers.set([1, 3], through_defaults={"level": 2}),
    "set from the other side": lambda: owner(2).helped.set([3]),
    "clear": lambda: owner(2).helped.clear(),
    "create": lambda: item().helpers.create(name="x", code="w", through_defaults={"level": 3}),
    "a row between": lambda: Help.objects.create(item_id=3, owner_id=3, level=2),
    "a row between that changes": lambda: saved(first(Help), {"level": 9}),
    "a row between that moves": lambda: saved(first(Help), {"owner_id": 1}),
    "a row between that goes": lambda: Help.objects.filter(item=1).delete(),
}
# Owner 1 is a friend of owner 2 and follows owners 2 and 3.
OWNERS = {
    "add a friend": lambda: owner(3).friends.add(1),
    "remove a friend": lambda: owner(2).friends.remove(1),
    "set friends": lambda: owner(2).friends.set([3]),
    "clear friends": lambda: owner(2).friends.clear(),
    "create a friend": lambda: owner(2).friends.create(name="x", code="w"),
    "rows between friends": lambda: FRIENDS.objects.filter(from_owner=1).delete(),
    "follow": lambda: owner(2).follows.add(1),
    "be followed": lambda: owner(1).followers.add(3),
    "follow no more": lambda: owner(1).follows.remove(3),
    "be followed no more": lambda: owner(2).followers.clear(),
    "follow others": lambda: owner(1).follows.set([1]),
    "be followed by others": lambda: owner(3).followers.set([2]),
    "a row between": lambda: FOLLOWS.objects.create(from_owner_id=3, to_owner_id=1),
    "a row between that moves": lambda: saved(first(FOLLOWS), {"to_owner_id": 1}),
    "a delete": lambda: owner(1).delete(),
}
# Items 1 and 2 belong to owner 1; item 1 is at place 1, item 2 at place 3.
FOREIGN_KEYS = {
    "add": lambda: owner(2).items.add(item(), item(3)),
    "add one by one": lambda: owner(2).items.add(item(), item(3), bulk=False),
    "set": lambda: owner(1).items.set([item(3)]),
    "set one by one": lambda: owner(1).items.set([item(2), item(3)], bulk=False),
    "set by clearing": lambda: owner(1).items.set([item(3)], clear=True),
    "remove": lambda: owner(1).items.remove(item()),
    "remove one by one": lambda: owner(1).items.remove(item(), bulk=False),
    "clear": lambda: owner(1).items.clear(),
    "clear one by one": lambda: owner(1).items.clear(bulk=False),
    "create": lambda: owner(2).items.create(title="x"),
    "update": lambda: owner(1).items.update(owner=2),
    "delete": lambda: owner(1).items.filter(number=1).delete(),
    "by the object": lambda: saved(item(), {"owner": owner(3)}),
    "add to a child": lambda: Venue.objects.get(pk=4).items.add(item()),
    "clear a child's": lambda: Venue.objects.get(pk=3).items.clear(),
    "to a column that is not the key": lambda: owner(1).nicked.add(item()),
    "clear by such a column": lambda: owner(2).nicked.clear(),
}
# Remark 1 is on item 1, 2 on place 1, 3 on place 3, which is a venue.
REMARKS = {
    "add": lambda: item(2).remarks.add(*Remark.objects.filter(pk__in=[1, 2])),
    "add one by one": lambda: item(2).remarks.add(Remark.objects.get(pk=1), bulk=False),
    "set": lambda: item(2).remarks.set(Remark.objects.filter(pk=1)),
    "set to others": lambda: item(1).remarks.set(Remark.objects.filter(pk=2)),
    "remove": lambda: item(1).remarks.remove(Remark.objects.get(pk=1)),
    "clear": lambda: place(1).remarks.clear(),
    "create": lambda: item(1).remarks.create(text="x"),
    "by the object": lambda: saved(first(Remark), {"target": place(2)}),
    "by the key": lambda: Remark.objects.filter(pk=1).update(object_id=2),
    "in bulk": lambda: Remark.objects.bulk_create(
        [Remark(text="x", target=item(3)), Remark(text="x", target=place(2))]
    ),
    "a delete of the target": lambda: item(1).delete(),
    "a delete of targets": lambda: Place.objects.filter(pk=3).delete(),
    "a delete of the remark": lambda: first(Remark).delete(),
}
STEPS = {
    "set_order": lambda: item().set_step_order([2, 1]),
    "a new one": lambda: item().steps.create(text="x"),
    "one that moves": lambda: saved(first(Step), {"item_id": 2}),
    "one that goes": lambda: first(Step).delete(),
}


def steps():
    return [
        lambda: [list(each.get_step_order()) for each in Item.objects.order_by("pk")],
        lambda: [each.text for each in Step.objects.filter(item=1)],
        lambda: [[step.text for step in each.steps.all()] for each in Item.objects.prefetch_related("steps")],
        lambda: [step and step.pk for step in (next_or_none(pk) for pk in (1, 2))],
    ]


def next_or_none(pk):
    try:
        return Step.objects.get(pk=pk).get_next_in_order()
    except Step.DoesNotExist:
        return None


def remarks():
    targets = lambda: [each.target and each.target.pk for each in Remark.objects.order_by("pk")]
    ahead = lambda: [
        each.target and each.target.pk for each in Remark.objects.prefetch_related("target").order_by("pk")
    ]
    sides = [make(model, "remarks") for model in (Item, Place, Venue) for make in (each_of, where, prefetched)]
    return [targets, ahead, *sides, lambda: Item.objects.filter(remarks__isnull=True).count()]


RELATIONS = {
    "tags": (TAGS, lambda: of_both_sides(Item, "tags", Tag, "items")),
    "helpers": (
        HELPS,
        lambda: [
            *of_both_sides(Item, "helpers", Owner, "helped"),
            lambda: list(Help.objects.order_by("item", "owner").values_list("item", "owner", "level")),
            lambda: keys(Item.objects.filter(help__level=2, help__owner__name="b")),
        ],
    ),
    "owners": (
        OWNERS,
        lambda: [
            *of_both_sides(Owner, "friends", Owner, "friends"),
            *of_both_sides(Owner, "follows", Owner, "followers"),
            lambda: keys(Owner.objects.filter(friends__isnull=True, followers__isnull=True)),
        ],
    ),
    "foreign keys": (
        FOREIGN_KEYS,
        lambda: [
            *(make(Owner, name) for name in ("items", "nicked") for make in (each_of, prefetched)),
            *(make(model, "items") for model in (Place, Venue) for make in (each_of, where, prefetched)),
            lambda: [item.owner and item.owner.name for item in Item.objects.order_by("pk")],
            lambda: [item.nick and item.nick.name for item in Item.objects.select_related("nick").order_by("pk")],
            lambda: keys(Owner.objects.filter(items__isnull=True)),
        ],
    ),
    "remarks": (REMARKS, remarks),
    "steps": (STEPS, steps),
}


@pytest.mark.parametrize("relation", RELATIONS)
def test_changes_of_links_invalidate_reads_from_both_sides(relation):
    """The reads go through managers, conditions and prefetches, and include rows without links."""
    writes, make = RELATIONS[relation]
    check_each_changes_some(make(), writes)
