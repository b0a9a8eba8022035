"""Each form of a save, and each method that creates single rows, invalidates the results that it affects."""

from contextlib import nullcontext

import pytest
from django.core import serializers
from django.core.management import call_command
from django.db import transaction
from django.db.models import F, Value
from django.db.models.functions import Concat, Upper

from tests.conftest import counted_reads
from tests.property.differential import uncached
from tests.rich.models import Item, NewItem, Owner, Sample
from tests.support.checks import changed, check_each_changes_some, deserialized, each_by_itself, saved

# Rows that are created again get the same primary keys.
pytestmark = [pytest.mark.django_db(transaction=True, reset_sequences=True), pytest.mark.usefixtures("populated")]


def item(pk=1):
    return Item.objects.nocache().get(pk=pk)


def owner():
    return Owner.objects.nocache().get(pk=1)


def load_fixture(tmp_path):
    """Write a file as ``dumpdata`` does, and load it."""
    data = serializers.serialize("json", [changed(item(), title="x", number=1), *Owner.objects.nocache()])
    path = tmp_path / "fixture.json"
    path.write_text(data)
    call_command("loaddata", str(path), verbosity=0)


def only(*names):
    return Item.objects.nocache().only(*names).get(pk=1)


def deferred(*names):
    return Item.objects.nocache().defer(*names).get(pk=1)


def save_a_stale_instance():
    """Save an instance that was fetched before another write moved the row."""
    stale = item()
    Item.objects.filter(pk=1).update(title="between", number=3)
    stale.save(update_fields=["number"])
    assert Item.objects.filter(title="between", number=0).count() == 1


MORE = F("number") + 1
# Saves of item 1, which has title "a" and number 0.
FORMS = {
    "all fields": lambda: saved(item(), {"title": "x", "number": 1}),
    "update_fields": lambda: saved(item(), {"title": "x", "number": 1}, update_fields=["number"]),
    "update_fields as columns": lambda: saved(item(), {"owner_id": 2, "number": 1}, update_fields=["owner_id"]),
    "no update_fields": lambda: saved(item(), {"number": 1}, update_fields=[]),
    "an expression": lambda: saved(item(), {"number": F("number") + 1}),
    "an expression in update_fields": lambda: saved(item(), {"number": MORE, "title": "x"}, update_fields=["number"]),
    "an expression of text": lambda: saved(item(), {"title": Concat("title", Value("x"))}),
    "an expression of another column": lambda: saved(item(), {"title": Upper("code")}),
    "an expression saved twice": lambda: saved(item(), {"number": F("number") + 1}).save(),
    "force_update": lambda: saved(item(), {"number": 1}, force_update=True),
    "without a fetch": lambda: Item(pk=1, title="x", owner_id=1, number=1).save(),
    "without a fetch, forced": lambda: Item(pk=1, title="x", owner_id=1).save(force_update=True),
    "without a fetch, some fields": lambda: Item(pk=1, number=1).save(update_fields=["number"]),
    "with deferred fields": lambda: saved(only("pk"), {"number": 1}),
    "with a deferred field that is set": lambda: saved(deferred("title"), {"title": "x"}),
    "with a deferred field that is not set": lambda: saved(deferred("title"), {"number": 1}),
    "after another writer": save_a_stale_instance,
    "raw": lambda: changed(item(), number=1).save_base(raw=True),
    "deserialised": lambda: deserialized(item(), number=1, title="x"),
    "by its proxy": lambda: saved(NewItem.objects.get(pk=1), {"number": 1}),
    "another key": lambda: saved(item(), {"pk": 77, "code": None, "number": 1}),
    "another key, inserted": lambda: saved(item(), {"pk": 78, "code": None}, force_insert=True),
    "no key": lambda: saved(item(), {"pk": None, "code": None, "number": 1}),
    "the key of another row": lambda: saved(item(), {"pk": 4, "code": None}),
    "a new row": lambda: Item(title="a", number=1, owner_id=1).save(),
    "a new row with a key": lambda: Item(pk=79, title="a", number=1).save(),
    "a new row, inserted": lambda: Item(pk=79, title="a", owner_id=1).save(force_insert=True),
    "create": lambda: Item.objects.create(title="a", number=1),
    "get_or_create": lambda: Item.objects.get_or_create(code="new", defaults={"title": "a", "number": 1}),
    "update_or_create": lambda: Item.objects.update_or_create(code="i1", defaults={"number": 1}),
    "update_or_create of a new row": lambda: Item.objects.update_or_create(code="n", create_defaults={"title": "a"}),
    "update_or_create by an expression": lambda: Item.objects.update_or_create(pk=1, defaults={"number": MORE}),
    "by a related manager": lambda: owner().items.create(title="a", number=1),
    "by a related manager, or found": lambda: owner().items.update_or_create(pk=1, defaults={"number": 1}),
}
# These forms change no row.
WITHOUT_CHANGE = ["no update_fields"]


def reads():
    """Return reads of items by each column that the forms change, and some that no form changes."""
    rows = Item.objects.order_by("pk")
    by_number = [lambda number=number: rows.filter(number=number).count() for number in range(4)]
    by_title = [lambda title=title: list(rows.filter(title=title).values_list("pk", "number")) for title in "acx"]
    others = [
        lambda: [each.title for each in rows.filter(owner=1)],
        lambda: rows.filter(owner=2).exists(),
        lambda: list(rows.filter(owner=None).values("pk", "note")),
        lambda: [each.pk for each in Item.objects.filter(pk__in=[1, 4, 77, 78, 79])],
        lambda: Item.objects.filter(code="i1").first(),
        lambda: list(rows.filter(title__in=["I1", "ax", "between"]).values_list("pk", "title")),
    ]
    return [*by_number, *by_title, *others]


@pytest.mark.parametrize("block", [nullcontext, transaction.atomic])
def test_every_form_of_a_save_invalidates_only_results_that_it_affects(block):
    """This applies in autocommit and in a transaction. Results about other rows stay cached."""
    pool = reads()
    untouched = [lambda: Item.objects.filter(number=1, title="b").count(), lambda: Item.objects.get(pk=2).title]
    for name, write in each_by_itself(FORMS):
        before = [read() for read in pool]
        [read() for read in untouched]
        with block():
            write()
        with counted_reads() as counted:
            [read() for read in untouched]
        assert not counted.misses, name
        true = uncached(lambda: [read() for read in pool])
        assert [read() for read in pool] == true, name
        assert (true == before) == (name in WITHOUT_CHANGE), name


def test_loading_a_fixture_invalidates(tmp_path):
    """``loaddata`` saves with ``raw=True``."""
    pool = reads()
    [read() for read in pool]
    load_fixture(tmp_path)
    assert item().title == "x"
    assert [read() for read in pool] == uncached(lambda: [read() for read in pool])


def sample(**values):
    return Sample.objects.filter(**values)


SAMPLES = {
    "a default of the database": lambda: Sample().save(),
    "a value in its place": lambda: Sample.objects.create(fresh=6),
    "bulk_create": lambda: Sample.objects.bulk_create([Sample(), Sample(fresh=6, whole=3)]),
    "a generated column": lambda: saved(Sample.objects.nocache().get(pk=1), {"whole": 3}),
    "a generated column, some fields": lambda: saved(Sample(pk=1, whole=3), {}, update_fields=["whole"]),
    "a generated column by an expression": lambda: saved(Sample.objects.nocache().get(pk=1), {"whole": F("odd") + 2}),
    "update": lambda: sample(pk=1).update(whole=3),
    "update by an expression": lambda: sample().update(whole=F("odd") + 2, fresh=F("fresh") + 1),
    "bulk_update": lambda: Sample.objects.bulk_update([Sample(pk=1, whole=3, fresh=6)], ["whole", "fresh"]),
    "a save over an existing row": lambda: Sample(pk=1, fresh=6).save(),
}


def test_database_defaults_and_generated_columns_invalidate():
    pool = [lambda value=value: list(sample(double=value).values_list("pk", "whole")) for value in (2, 6, None)]
    pool += [lambda value=value: sample(fresh=value).count() for value in (5, 6)]
    pool += [lambda value=value: sample(fresh=value, double__isnull=True).exists() for value in (5, 6)]
    check_each_changes_some(pool, SAMPLES)
