"""Writes of many rows invalidate precisely up to a limit of rows, whole tables beyond it, and send signals."""

import datetime
import itertools
import uuid
import zoneinfo
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.db.models import F, Value
from django.db.models.functions import Concat
from django.db.models.signals import post_delete, post_save, pre_delete
from django.test import override_settings

from cacheops_lite.signals import cache_invalidated, post_update, pre_update
from cacheops_lite.store import dependency_index
from cacheops_lite.writes import instance_writes
from cacheops_lite.writes.row_images import Image, instance_values, tables_of
from tests.conftest import counted_reads
from tests.rich.models import Item, Sample
from tests.shop.models import Category, Customer, Label, Product, Ticket

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def shop(store):
    """Create ten products in two categories; those with odd numbers are visible."""
    pens, inks = (Category.objects.create(name=name) for name in ("pens", "inks"))
    Product.objects.bulk_create(
        Product(sku=f"s{i}", name=f"n{i}", category=(pens, inks)[i % 2], visible=i % 2 == 1, views=i) for i in range(10)
    )
    return pens, inks


def views(category):
    key = category.pk
    return lambda: sorted(Product.objects.filter(category=key).values_list("views", flat=True))


def hits_of(reads, write):
    """Return for each of the cached `reads` whether it is still a hit after `write`; check that each result is
    correct.
    """
    for read in reads:
        read()
    write()
    hits = []
    for read in reads:
        with counted_reads() as counted:
            found = read()
        hits.append(not counted.misses)
        with override_settings(CACHEOPS_ENABLED=False):
            assert found == read()
    return hits


UPDATES = {
    "a value": lambda rows: rows.update(views=100),
    "an expression": lambda rows: rows.update(views=F("views") + 100),
    "invalidated_update": lambda rows: rows.invalidated_update(views=100),
    "bulk_update": lambda rows: Product.objects.bulk_update([changed(row) for row in rows.all()], ["views"]),
}


def changed(product):
    product.views += 100
    return product


@pytest.mark.parametrize("update", UPDATES)
def test_an_update_invalidates_only_results_that_its_rows_match(shop, update):
    pens, inks = shop
    of_pens, of_inks = views(pens), views(inks)
    names = lambda: list(Product.objects.filter(category=pens).values_list("name", flat=True))
    count = lambda: Product.objects.filter(category=pens).count()
    before = of_pens()
    reads = [of_pens, of_inks, names, count]
    assert hits_of(reads, lambda: UPDATES[update](Product.objects.filter(category=pens))) == [
        False,
        True,
        True,
        True,
    ]
    assert of_pens() != before


@pytest.mark.parametrize("in_atomic", [False, True])
def test_an_update_that_moves_rows_invalidates_the_old_and_the_new_condition(shop, in_atomic):
    """Both conditions are invalidated: the one that the rows met before the update and the one that they meet after
    it.
    """
    pens, inks = shop
    third = Category.objects.create(name="third")

    def move():
        if not in_atomic:
            Product.objects.filter(category=pens).update(category=third)
            return
        with transaction.atomic():
            Product.objects.filter(category=pens).update(category=inks)
            Product.objects.filter(category=inks, views__in=[0, 2, 4, 6, 8]).update(category=third.pk)

    of_third = lambda: Product.objects.filter(category=third).count()
    # Within the transaction the rows belong to `inks` for a moment.
    assert hits_of([views(pens), views(inks), of_third], move) == [False, not in_atomic, False]
    assert of_third() == 5


def test_an_update_of_a_column_that_no_query_reads_sends_no_select(shop, queries):
    """No dependency shape contains the column: Django's one UPDATE is sent, in a transaction that sets its fences
    before the commit.
    """
    pens, _ = shop
    reads = [lambda: Product.objects.filter(category=pens).count(), lambda: Label.objects.count()]
    [read() for read in reads]
    with queries() as found:
        Product.objects.filter(visible=True).update(text="changed")
    assert sum(query["sql"].startswith("UPDATE") for query in found) == 1
    assert not any(query["sql"].startswith("SELECT") for query in found)
    assert hits_of(reads, lambda: Product.objects.update(text="again")) == [True, True]


def test_an_update_of_more_rows_than_the_limit_invalidates_the_table(shop, monkeypatch):
    """The rows are not read."""
    monkeypatch.setattr("cacheops_lite.writes.queryset_writes.MAX_CHANGES_PER_TABLE", 4)
    pens, inks = shop
    assert (
        hits_of([views(pens), views(inks)], lambda: Product.objects.filter(category=pens).update(views=1))
        == [False] * 2
    )


FURTHER = {
    **UPDATES,
    "delete": lambda rows: rows.filter(views=1).delete(),
    "fast delete": transaction.atomic(lambda rows: rows.filter(views=1)._raw_delete("default")),
    "bulk_create": lambda rows: Product.objects.bulk_create(
        [Product(sku=uuid.uuid4().hex[:20], visible=True, views=1)]
    ),
}


@pytest.mark.parametrize("write", FURTHER.values(), ids=FURTHER)
def test_results_registered_by_another_process_are_invalidated(shop, monkeypatch, write):
    """A process knows the dependency shapes that it loaded last; a write tells it about new shapes, and the next
    write is precise.
    """
    loaded = []
    load = dependency_index.load
    monkeypatch.setattr(dependency_index, "load", lambda prefixes: loaded.extend(prefixes) or load(prefixes))
    rows = Product.objects.nocache().filter(visible=True)
    # This process has cached no read; the reads from here on stand for another process.
    Product.objects.filter(views=0).update(views=0)
    monkeypatch.setattr(dependency_index, "forget_if_lacking", lambda *args: None)
    loaded.clear()
    reads = [
        lambda: Product.objects.filter(visible=True, views=1).count(),
        lambda: list(Product.objects.filter(visible=True).values_list("views", flat=True).order_by("pk")),
    ]
    assert hits_of(reads, lambda: write(rows)) == [False, False]
    assert Product._meta.db_table not in loaded
    other = [lambda: Product.objects.filter(visible=False, views=1).count()]
    hits_of(other, lambda: Product.objects.filter(sku="s1").update(name="heard"))
    assert hits_of(other, lambda: write(rows)) == [True]


def test_an_update_of_an_empty_queryset_changes_no_row(shop):
    """This applies to none() and to empty IN lists."""
    list(Product.objects.filter(views=1))
    for rows in (Product.objects.none(), Product.objects.filter(pk__in=[]), Product.objects.filter(views__in=[])):
        assert rows.update(views=1) == rows.invalidated_update(views=1) == rows.delete()[0] == 0


def test_an_update_filtered_by_a_joined_table_invalidates_the_table(shop):
    """The rows of a joined query cannot be locked when they are found, so the whole table is invalidated."""
    pens, inks = shop
    rows = Product.objects.filter(category__name="pens")
    assert hits_of([views(pens), views(inks)], lambda: rows.update(views=7)) == [False, False]


def test_an_update_of_text_by_an_expression_invalidates(shop):
    """Only the database knows the new value, so it is read back."""
    for text in ("a", "b"):
        Label.objects.create(text=text)
    count = lambda: Label.objects.filter(text="a!").count()
    assert count() == 0
    Label.objects.filter(text="a").update(text=Concat("text", Value("!")))
    assert count() == 1
    Label.objects.filter(text="a!").invalidated_update(text=Concat("text", Value("!")))
    assert count() == 0


def test_an_update_of_primary_keys_invalidates_old_and_new_keys(shop):
    label = Label.objects.create(text="a")
    by_key = [lambda pk=pk: list(Label.objects.filter(pk=pk).values_list("text")) for pk in (label.pk, 10**6)]
    hits_of(by_key, lambda: Label.objects.update(id=10**6))
    assert [read() for read in by_key] == [[], [("a",)]]


def test_an_update_of_an_inherited_column_invalidates_parent_and_child(shop):
    """The models use multi-table inheritance."""
    Customer.objects.create(name="ann", city="Rome")
    reads = [
        lambda: list(Customer.objects.values_list("name", "city")),
        lambda: list(Customer.objects.filter(city="Rome").values_list("name")),
    ]
    hits_of(reads, lambda: Customer.objects.update(name="bea"))
    hits_of(reads, lambda: Customer.objects.update(name="cleo", city="Bari"))
    hits_of(reads, lambda: Customer.objects.filter(name="cleo").update(city=Concat("city", Value("!"))))
    assert reads[0]() == [("cleo", "Bari!")]


def test_an_update_that_is_rolled_back_invalidates_nothing(shop):
    pens, _ = shop

    def fail():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Product.objects.update(views=1)
            raise ZeroDivisionError

    assert hits_of([views(pens)], fail) == [True]


def test_an_update_sends_pre_update_and_post_update(shop):
    """Receivers get the queryset, the values and the database before the update, and the number of rows after it."""
    received = []

    def before(sender, queryset, values, using, **kwargs):
        received.append(("before", sender, queryset.count(), values, using))

    def after(sender, queryset, values, using, rows, **kwargs):
        received.append(("after", sender, values, using, rows))

    pre_update.connect(before, sender=Product)
    post_update.connect(after, sender=Product)
    try:
        Product.objects.filter(visible=True).update(views=1)
        Category.objects.update(name="x")
        Product.objects.filter(views=1).invalidated_update(views=2)
    finally:
        pre_update.disconnect(before, sender=Product)
        post_update.disconnect(after, sender=Product)
    assert received == [
        ("before", Product, 5, {"views": 1}, "default"),
        ("after", Product, {"views": 1}, "default", 5),
        ("before", Product, 5, {"views": 2}, "default"),
        ("after", Product, {"views": 2}, "default", 5),
    ]


def test_a_receiver_of_post_update_can_name_its_sender_as_text(shop):
    """The sender is resolved lazily, like the sender of Django's model signals."""
    received = []
    receiver = lambda **kwargs: received.append(kwargs["values"])
    post_update.connect(receiver, sender="shop.Label")
    try:
        Label.objects.update(text="x")
        Product.objects.update(text="x")
    finally:
        post_update.disconnect(receiver, sender="shop.Label")
    assert received == [{"text": "x"}]


def test_methods_that_write_are_marked_alters_data():
    """Django's templates do not call methods that have alters_data set."""
    queryset = Product.objects.all()
    for method in (queryset.update, queryset.invalidated_update, queryset._raw_delete):
        assert method.alters_data


DELETES = {
    "of a queryset": lambda category: Product.objects.filter(category=category).delete(),
    "of instances": lambda category: [product.delete() for product in Product.objects.filter(category=category)],
    "raw": lambda category: Product.objects.filter(category=category)._raw_delete("default"),
    "in a transaction": lambda category: in_transaction(Product.objects.filter(category=category).delete),
    "cascaded": lambda category: category.delete(),
}


def in_transaction(func):
    with transaction.atomic():
        func()


@pytest.mark.parametrize("delete", DELETES)
def test_a_delete_invalidates_only_results_that_its_rows_match(shop, delete):
    """This applies to each of Django's ways to delete."""
    pens, inks = shop
    for product in Product.objects.all():
        product.labels.add(Label.objects.get_or_create(text=f"l{product.views % 2}")[0])
    for label in Label.objects.all():
        [found.pk for found in label.products.all()]
    links = Product.labels.through.objects
    of_inks = [
        links.filter(product=pk).count for pk in Product.objects.filter(category=inks).values_list("pk", flat=True)
    ]
    if delete == "raw":
        links.filter(product__category=pens)._raw_delete("default")
    hits = hits_of([views(pens), views(inks), *of_inks], lambda: DELETES[delete](pens))
    if delete == "raw":
        # Outside of a transaction the rows cannot be locked, so the whole table is invalidated.
        assert not hits[0]
    else:
        assert hits == [False, True, *[True] * 5]
    assert views(pens)() == []


def test_a_model_without_relations_keeps_django_s_fast_delete(queries):
    """The receivers of the package do not make Django fetch the rows."""
    Ticket.objects.bulk_create(Ticket(subject=f"t{i}") for i in range(30))
    list(Ticket.objects.filter(subject="t1"))
    with queries() as found:
        Ticket.objects.all().delete()
    deletes = [
        query["sql"]
        for query in found
        if query["sql"].lstrip().upper().startswith("DELETE") and "WHERE 0" not in query["sql"]
    ]
    assert len(deletes) == 1
    assert " IN (" not in deletes[0]
    assert list(Ticket.objects.filter(subject="t1")) == []


def test_receivers_of_delete_signals_get_each_row(shop):
    """Django calls them once per row, as without the cache."""
    received = []
    receiver = lambda instance, **kwargs: received.append(instance.subject)
    Ticket.objects.bulk_create(Ticket(subject=f"t{i}") for i in range(3))
    for signal in (pre_delete, post_delete):
        signal.connect(receiver, sender=Ticket)
        try:
            Ticket.objects.filter(subject=f"t{len(received)}").delete()
        finally:
            signal.disconnect(receiver, sender=Ticket)
    assert received == ["t0", "t1"]


def test_a_write_by_a_pre_delete_receiver_invalidates(shop):
    """The receiver moves the row between the before-image read and the DELETE."""
    pens, inks = shop

    def move(instance, **kwargs):
        Product.objects.filter(pk=instance.pk).update(category=inks, views=50)
        instance.category = inks
        instance.save()

    pre_delete.connect(move, sender=Product)
    try:
        assert hits_of([views(pens), views(inks)], Product.objects.filter(category=pens).delete) == [False, False]
    finally:
        pre_delete.disconnect(move, sender=Product)


def test_signals_sent_by_hand_invalidate(shop):
    """This applies to post_save and post_delete."""
    pens, _ = shop
    product = Product.objects.filter(category=pens).first()
    sent = lambda signal, **kwargs: signal.send(Product, instance=product, using="default", **kwargs)
    assert hits_of([views(pens)], lambda: sent(post_save, created=False, raw=False, update_fields=None)) == [False]
    assert hits_of([views(pens)], lambda: sent(post_save, created=True, raw=False, update_fields=None)) == [False]
    assert hits_of([views(pens)], lambda: sent(post_delete)) == [False]


def test_many_to_many_changes_invalidate_only_the_linked_objects(shop):
    """This applies to each method, from both sides, and to symmetrical relations."""
    one, two, three = Product.objects.order_by("pk")[:3]
    labels = [Label.objects.create(text=text) for text in "abc"]
    of = lambda product: lambda: sorted(product.labels.values_list("text", flat=True))
    related = lambda product: lambda: sorted(product.related.values_list("sku", flat=True))
    link = [of(one), of(two)]
    assert hits_of(link, lambda: one.labels.add(*labels)) == [False, True]
    assert hits_of(link, lambda: one.labels.remove(labels[0])) == [False, True]
    assert hits_of(link, lambda: labels[0].products.add(two)) == [True, False]
    assert hits_of(link, lambda: labels[0].products.set([one])) == [False, False]
    assert hits_of(link, lambda: two.labels.set([labels[1]])) == [True, False]
    assert hits_of(link, lambda: two.labels.clear()) == [True, False]
    friends = [related(one), related(two), related(three)]
    assert hits_of(friends, lambda: one.related.add(two)) == [False, False, True]
    assert hits_of(friends, lambda: two.related.remove(one)) == [False, False, True]
    one.related.add(two)
    assert hits_of(friends, lambda: two.related.clear()) == [False, False, True]


def test_reverse_managers_invalidate_only_the_objects_concerned(shop):
    """This applies to add, remove, set and clear on the reverse side of a foreign key."""
    pens, inks = shop
    third = Category.objects.create(name="third")
    product = Product.objects.filter(category=pens).first()
    reads = [views(pens), views(inks), views(third)]
    assert hits_of(reads, lambda: third.products.add(product)) == [False, True, False]
    assert hits_of(reads, lambda: third.products.clear()) == [True, True, False]
    assert hits_of(reads, lambda: third.products.set([product])) == [True, True, False]
    assert hits_of(reads, lambda: third.products.remove(product)) == [True, True, False]


def test_a_delete_with_set_null_updates_the_referring_rows(shop):
    """Results of the rows whose foreign key becomes NULL are invalidated."""
    ann, bea = (Customer.objects.create(name=name, city="Rome") for name in ("ann", "bea"))
    for customer in (ann, bea):
        Ticket.objects.create(subject=customer.name, customer=customer)
    of = lambda pk: lambda: list(Ticket.objects.filter(customer=pk).values_list("subject"))
    reads = [of(ann.pk), of(bea.pk)]
    hits_of(reads, ann.delete)
    assert reads[0]() == []
    assert Ticket.objects.filter(customer=None).count() == 1


def test_bulk_create_with_ignore_conflicts_invalidates_only_its_rows(shop):
    """Each row counts as inserted.

    MariaDB may store the nearest value that fits instead, so there the whole table is invalidated.
    """
    Label.objects.create(text="a")
    reads = [lambda text=text: Label.objects.filter(text=text).count() for text in "abc"]

    def create():
        Label.objects.bulk_create([Label(text="a"), Label(text="b")], ignore_conflicts=True)

    assert hits_of(reads, create) == [False, False, connection.vendor != "mysql"]
    assert [read() for read in reads] == [1, 1, 0]


def test_conditions_of_many_rows_equal_those_of_their_images():
    """This is checked for each column and for pairs of columns.

    If one row has no token for a column, no conditions are derived from that column.
    """
    zone = zoneinfo.ZoneInfo("Europe/Berlin")
    autumn = datetime.datetime(2024, 10, 27, 2, 30, tzinfo=zone)
    values = {
        "whole": [1, True, "1", None, F("whole")],
        "amount": [Decimal("1.0"), Decimal("1.00"), 1, None],
        "ratio": [0.0, -0.0, 1.5],
        "flag": [True, 1, None, False],
        "day": [datetime.date(2024, 1, 2), "2024-01-02"],
        "moment": [autumn, autumn.replace(fold=1), autumn.astimezone(datetime.timezone.utc)],
        "token": [uuid.UUID(int=1), str(uuid.UUID(int=1))],
        "short": ["a", "b&c=d", "x" * 70, "a", Item.Status.NEW],
        "odd": [1, 2],
    }
    for field, each in values.items():
        rows = [Sample(pk=1, **{field: value}) for value in [*each, *each]]
        for table in tables_of(Sample):
            images = [Image(table, instance_values(row), "sqlite") for row in rows]
            for first, second in itertools.product([*table.fields, ""], ["short", "whole"]):
                columns = [column for column in (first, second) if column]
                expected = {
                    "&".join(f"{c}={found[c]}" for c in columns) for found in images if set(columns) <= set(found)
                }
                is_complete = all(set(columns) <= set(found) for found in images)
                assert instance_writes._conditions_met(table, [",".join(columns)], rows, "sqlite") == (
                    {",".join(columns): expected} if is_complete else {}
                )
            assert instance_writes._conditions_met(table, ["", "gone"], rows, "sqlite") == {"": {""}}


def test_receivers_connected_to_one_model_get_its_bulk_writes(shop):
    """They get the same calls as receivers that are connected to all models."""
    received = []

    def note(sender, obj_dict, **kwargs):
        received.append(obj_dict["name"])

    cache_invalidated.connect(note, sender=Product)
    try:
        list(Product.objects.all())
        Product.objects.bulk_create([Product(sku="x", name="x")])
        Product.objects.filter(sku="s1").invalidated_update(name="changed")
    finally:
        cache_invalidated.disconnect(note, sender=Product)
    assert received == ["x", "n1", "changed"]


def test_bulk_create_with_update_conflicts_invalidates_the_table(shop):
    """The rows that it updates are not read before."""
    if not connection.features.supports_update_conflicts_with_target and connection.vendor != "mysql":
        pytest.skip("this database has no such thing")
    read = lambda: sorted(Product.objects.values_list("sku", "views"))
    options = {"unique_fields": ["sku"]} if connection.features.supports_update_conflicts_with_target else {}
    read()
    Product.objects.bulk_create(
        [Product(sku="s1", views=77), Product(sku="new")], update_conflicts=True, update_fields=["views"], **options
    )
    assert ("s1", 77) in read()
