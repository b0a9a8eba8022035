"""Several databases: ``using()`` in reads, writes and invalidation, ``db_agnostic``, routers and replicas."""

from contextlib import nullcontext

import pytest
from django.core.management import call_command
from django.db import connections, transaction
from django.test import override_settings

from cacheops_lite import cached_as, invalidate_model, invalidate_obj
from tests.conftest import counted_reads
from tests.shop.models import Category, Customer, Label, Product

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "replica", "other"])

PER_DATABASE = {"shop.*": {"ops": "all", "timeout": 60, "db_agnostic": False}}


class ReadsFromReplica:
    """Routes reads to a replica and writes to the primary."""

    def db_for_read(self, model, **hints):
        return "replica"

    def db_for_write(self, model, **hints):
        return "default"

    def allow_relation(self, *objects, **hints):
        return True


class LabelsElsewhere:
    """Routes labels to another database."""

    def db_for_read(self, model, **hints):
        return "other" if model is Label else None

    db_for_write = db_for_read


def texts(using):
    return sorted(Label.objects.using(using).values_list("text", flat=True))


def make_both(**fields):
    return [Label.objects.using(using).create(**fields) for using in ("default", "other")]


@override_settings(CACHEOPS=PER_DATABASE)
def test_databases_have_separate_results_if_not_db_agnostic(store):
    Label.objects.using("default").create(text="here")
    Label.objects.using("other").create(text="there")
    for _ in range(2):
        assert (texts("default"), texts("other")) == (["here"], ["there"])
        assert Label.objects.get().text == "here"
        assert Label.objects.using("other").get().text == "there"
        assert Label.objects.using("other").aggregate(least=models_min())["least"] == "there"
        assert Label.objects.aggregate(least=models_min())["least"] == "here"
    assert texts("replica") == ["here"]


@override_settings(CACHEOPS=PER_DATABASE)
def test_get_by_a_unique_column_returns_the_row_of_its_database(store):
    """This includes the point lookup."""
    Label.objects.using("default").create(pk=1, text="here")
    Label.objects.using("other").create(pk=1, text="there")
    for _ in range(2):
        assert [Label.objects.using(using).get(pk=1).text for using in ("default", "other")] == ["here", "there"]
        with pytest.raises(Label.DoesNotExist):
            Label.objects.using("other").get(text="here")
        assert Label.objects.get(text="here").pk == 1


def models_min():
    from django.db.models import Min

    return Min("text")


def test_by_default_databases_share_results(store):
    """With ``db_agnostic`` a replica hits results that were read from the primary."""
    Label.objects.create(text="same")
    texts("default")
    with counted_reads() as reads:
        assert texts("replica") == ["same"]
    assert (reads.hits, reads.misses) == (1, 0)


def renamed(label):
    label.text = "new"
    return label


WRITES = {
    "save": lambda label, using: renamed(label).save(using=using),
    "save of what was loaded": lambda label, using: renamed(Label.objects.using(using).nocache().get()).save(),
    "update": lambda label, using: Label.objects.using(using).update(text="new"),
    "invalidated_update": lambda label, using: Label.objects.using(using).invalidated_update(text="new"),
    "bulk_update": lambda label, using: Label.objects.using(using).bulk_update([renamed(label)], ["text"]),
    "create": lambda label, using: Label.objects.using(using).create(text="new"),
    "bulk_create": lambda label, using: Label.objects.using(using).bulk_create([Label(text="new")]),
    "get_or_create": lambda label, using: Label.objects.using(using).get_or_create(text="new"),
    "delete": lambda label, using: label.delete(using=using),
    "delete of a queryset": lambda label, using: Label.objects.using(using).all().delete(),
    "raw": lambda label, using: connections[using].cursor().execute("UPDATE shop_label SET text = 'new'"),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_write_to_one_database_is_seen_in_that_database(store, write):
    """The reads run inside a transaction of that database and after it."""
    truth = lambda: sorted(Label.objects.using("other").nocache().values_list("text", flat=True))
    for agnostic in (False, True):
        with override_settings(CACHEOPS={"shop.*": {**PER_DATABASE["shop.*"], "db_agnostic": agnostic}}):
            for in_atomic in (False, True):
                for using in ("default", "other"):
                    Label.objects.using(using).all().delete()
                _, label = make_both(text="old")
                assert texts("other") == texts("other") == ["old"]
                with transaction.atomic(using="other") if in_atomic else nullcontext():
                    WRITES[write](label, "other")
                    assert texts("other") == truth()
                assert texts("other") == texts("other") == truth() != ["old"]


@override_settings(CACHEOPS=PER_DATABASE)
def test_a_transaction_of_one_database_leaves_the_others_cached(store):
    make_both(text="old")
    texts("default")
    with transaction.atomic(using="other"):
        Label.objects.using("other").update(text="new")
        with counted_reads() as reads:
            assert texts("default") == ["old"]
            assert texts("other") == ["new"]
        assert (reads.hits, reads.misses) == (1, 0)


@override_settings(DATABASE_ROUTERS=[f"{__name__}.ReadsFromReplica"])
def test_a_replica_is_read_through_the_cache(store):
    """Reads of all kinds see what was written to the primary."""
    pens = Category.objects.create(name="pens")
    product = Product.objects.create(sku="pen", name="pen", category=pens)
    label = Label.objects.create(text="new")
    assert Product.objects.all().db == "replica"
    for name in ("quill", "ballpoint"):
        product.name = name
        product.save()
        with counted_reads() as reads:
            for _ in range(2):
                assert Product.objects.get(pk=product.pk).name == name
                assert [found.name for found in pens.products.all()] == [name]
                assert Product.objects.filter(category__name="pens").count() == 1
        assert reads.hits >= 3
    product.labels.add(label)
    assert [found.text for found in product.labels.all()] == ["new"]
    product.labels.remove(label)
    assert list(product.labels.all()) == []


@override_settings(DATABASE_ROUTERS=[f"{__name__}.LabelsElsewhere"])
def test_invalidation_follows_the_router(store):
    label = Label.objects.create(text="old")
    assert label._state.db == "other"
    read = lambda: [found.text for found in Label.objects.all()]
    assert read() == read() == ["old"]
    Label.objects.update(text="new")
    assert read() == ["new"]
    label.text = "newer"
    label.save()
    assert read() == ["newer"]


@override_settings(CACHEOPS=PER_DATABASE)
def test_a_function_with_samples_of_two_databases_is_invalidated_by_both(store):
    """It is not cached while one of them has uncommitted changes."""
    calls = []
    here, there = make_both(text="old")
    func = cached_as(Label.objects.using("default"), Label.objects.using("other"))(
        lambda: calls.append(1) or len(calls)
    )
    assert (func(), func()) == (1, 1)
    here.delete()
    assert (func(), func()) == (2, 2)
    with transaction.atomic(using="other"):
        there.delete()
        assert (func(), func()) == (3, 4)
    assert (func(), func()) == (5, 5)


def test_manual_invalidation_takes_a_database(store):
    """It waits for the commit of that database only."""
    calls = []
    func = cached_as(Label)(lambda: calls.append(1) or len(calls))
    label = Label(pk=1, text="x")
    assert func() == 1
    for invalidate in (
        lambda **kwargs: invalidate_obj(label, **kwargs),
        lambda **kwargs: invalidate_model(Label, **kwargs),
    ):
        before = func()
        with transaction.atomic(using="other"):
            invalidate(using="other")
            assert func() == before
        assert func() == before + 1
        with transaction.atomic(using="other"):
            invalidate(using="default")
            assert func() == before + 2


def test_the_invalidate_command_takes_a_database(store):
    """By default it reads the object from the default database."""
    label = Label.objects.using("other").create(text="there")
    assert texts("other") == ["there"]
    connections["other"].connection.execute("UPDATE shop_label SET text = 'behind'")
    assert texts("other") == ["there"]
    call_command("invalidate", f"shop.Label.{label.pk}", database="other")
    assert texts("other") == ["behind"]


@override_settings(CACHEOPS=PER_DATABASE)
def test_multi_table_inheritance_is_invalidated_per_database(store):
    for using in ("default", "other"):
        Customer.objects.using(using).create(name="ann", city="Rome")
    names = lambda using: list(Customer.objects.using(using).values_list("name", "city"))
    assert names("default") == names("other") == [("ann", "Rome")]
    customer = Customer.objects.using("other").get()
    customer.name, customer.city = "bea", "Bari"
    customer.save()
    assert (names("default"), names("other")) == ([("ann", "Rome")], [("bea", "Bari")])
