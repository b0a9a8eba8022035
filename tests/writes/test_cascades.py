"""Deletes invalidate the rows that refer to the deleted rows."""

from contextlib import suppress

import pytest
from django.db import models, transaction
from django.db.models import ProtectedError

from tests.rich.models import (
    Badge,
    Bottle,
    Cell,
    Cork,
    Crate,
    Event,
    Hall,
    Help,
    Item,
    Label,
    Owner,
    Place,
    Remark,
    Sample,
    Step,
    Tag,
    Venue,
)
from tests.shop.models import Ticket
from tests.support.checks import check_each_changes_some

# The tests restore rows with their original keys.
pytestmark = [pytest.mark.django_db(transaction=True, reset_sequences=True), pytest.mark.usefixtures("populated")]


def deletes_of(name, model, pk):
    """Return four ways to delete a row: an instance, an unfetched instance, a queryset, and an instance in a
    transaction.
    """

    def in_transaction():
        with transaction.atomic():
            model.objects.get(pk=pk).delete()

    return {
        f"{name}, an instance": lambda: model.objects.nocache().get(pk=pk).delete(),
        f"{name}, without a fetch": lambda: model(pk=pk).delete(),
        f"{name}, a queryset": lambda: model.objects.filter(pk=pk).delete(),
        f"{name}, in a transaction": in_transaction,
    }


def protected():
    """Delete two owners, one of which is protected; a write before the delete stays."""
    with suppress(ProtectedError):
        Owner.objects.all().delete()
    Owner.objects.filter(pk=3).update(name="left")


def all_of(model, *names):
    return lambda: list(model.objects.order_by("pk").values_list("pk", *names))


def by_values(model, name, *values):
    return lambda: [model.objects.filter(**{name: value}).count() for value in values]


POOL = [
    all_of(Item, "owner", "place", "fallback", "keeper", "nick"),
    # By columns that CASCADE, SET_NULL, SET_DEFAULT and SET change.
    by_values(Item, "owner", 1, 2, None),
    by_values(Item, "place", 1, 3, None),
    by_values(Item, "fallback", 1, 2, None),
    by_values(Item, "keeper", 1, 2, None),
    by_values(Item, "nick", "x", "y", None),
    by_values(Event, "venue", 3, 5, None),
    by_values(Event, "hall", 5, None),
    by_values(Remark, "text", "r", "s"),
    by_values(Help, "owner", 1, 2),
    by_values(Step, "item", 1, 2),
    by_values(Cell, "item", 1, None),
    by_values(Sample, "item", 1, None),
    all_of(Owner, "name"),
    all_of(Place, "inside"),
    all_of(Venue, "seats"),
    all_of(Hall, "heated"),
    all_of(Badge, "color"),
    all_of(Label, "text"),
    all_of(Tag, "items"),
    lambda: [sorted(owner.friends.values_list("pk", flat=True)) for owner in Owner.objects.order_by("pk")],
    lambda: [item.keeper and item.keeper.name for item in Item.objects.select_related("keeper").order_by("pk")],
    lambda: [item.fallback and item.fallback.name for item in Item.objects.order_by("pk")],
    lambda: sorted(Place.objects.filter(fallen__isnull=True).values_list("pk", flat=True)),
]
DELETES = {
    # Deletes its badge, its items with their dependents, and its links; items that it keeps get another keeper.
    **deletes_of("an owner", Owner, 1),
    **deletes_of("a keeper", Owner, 2),
    # The place of its items becomes NULL; the fallback of items that fall back to it becomes the default.
    **deletes_of("a place", Place, 2),
    **deletes_of("a venue by its parent", Place, 3),
    **deletes_of("a venue", Venue, 3),
    **deletes_of("a hall", Hall, 5),
    **deletes_of("an item", Item, 1),
    **deletes_of("a tag", Tag, 2),
    "what is protected": protected,
    "several kinds": lambda: (Item.objects.all().delete(), Place.objects.filter(pk=5).delete()),
}
# To delete these, Django needs more columns than the key.
for name in ("a keeper", "a venue", "a hall"):
    del DELETES[f"{name}, without a fetch"]


def test_a_delete_invalidates_the_rows_that_it_cascades_to_or_changes():
    """This applies to CASCADE, SET_NULL, SET_DEFAULT, SET() and PROTECT, and to parents, children, links and generic
    relations.
    """
    check_each_changes_some(POOL, DELETES)


# Corks 1 and 2 belong to bottles 1 and 3; bottles 1 and 2 belong to crate 1.
OF_CRATES = {
    **deletes_of("a crate", Crate, 1),
    **deletes_of("a bottle", Bottle, 1),
    "crates": lambda: Crate.objects.all().delete(),
    "bottles of a crate": lambda: Crate.objects.get(pk=1).bottles.all().delete(),
    "a raw delete": lambda: Crate.objects.filter(pk=2)._raw_delete("default"),
}


def test_cascades_in_the_database_invalidate():
    """DB_CASCADE and DB_SET_NULL are used where Django has them, from 6.1 on; otherwise the models use Django's own
    cascades.
    """
    if not hasattr(models, "DB_CASCADE"):
        OF_CRATES.pop("a raw delete", None)
    pool = [
        all_of(Crate, "name"),
        all_of(Bottle, "crate", "text"),
        all_of(Cork, "bottle", "text"),
        by_values(Bottle, "crate", 1, 2),
        by_values(Cork, "bottle", 1, 3, None),
        lambda: [cork.bottle and cork.bottle.crate.name for cork in Cork.objects.select_related("bottle__crate")],
    ]
    check_each_changes_some(pool, OF_CRATES)


@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_fast_delete_is_one_statement_and_invalidates_only_its_rows(queries, is_hit, in_transaction):
    """The package sends the same DELETE as Django without the cache."""
    for subject in ("a", "b"):
        Ticket.objects.bulk_create(Ticket(subject=subject) for _ in range(5))
    count = {subject: lambda subject=subject: Ticket.objects.filter(subject=subject).count() for subject in "ab"}
    assert (count["a"](), count["b"]()) == (5, 5)
    with queries() as found:
        if in_transaction:
            with transaction.atomic():
                Ticket.objects.filter(subject="a").delete()
        else:
            Ticket.objects.filter(subject="a").delete()
    assert sum(query["sql"].startswith("DELETE") and "WHERE 0" not in query["sql"] for query in found) == 1
    assert is_hit(count["b"])
    assert (count["a"](), count["b"]()) == (0, 5)
