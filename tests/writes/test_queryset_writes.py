"""Mass writes: precise while that is cheap, coarse beyond, and signalled."""

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
    """Ten products in two categories; odd ones are visible."""
    pens, inks = (Category.objects.create(name=name) for name in ("pens", "inks"))
    Product.objects.bulk_create(
        Product(sku=f"s{i}", name=f"n{i}", category=(pens, inks)[i % 2], visible=i % 2 == 1, views=i) for i in range(10)
    )
    return pens, inks


def views(category):
    key = category.pk
    return lambda: sorted(Product.objects.filter(category=key).values_list("views", flat=True))


def kept(reads, write):
    """Which of `reads`, cached before, are still hits after `write`; all are checked to be right."""
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
def test_an_update_drops_what_its_rows_meet(shop, update):
    """And nothing else."""
    pens, inks = shop
    of_pens, of_inks = views(pens), views(inks)
    names = lambda: list(Product.objects.filter(category=pens).values_list("name", flat=True))
    count = lambda: Product.objects.filter(category=pens).count()
    before = of_pens()
    reads = [of_pens, of_inks, names, count]
    assert kept(reads, lambda: UPDATES[update](Product.objects.filter(category=pens))) == [False, True, True, True]
    assert of_pens() != before


@pytest.mark.parametrize("in_atomic", [False, True])
def test_an_update_moves_rows_between_conditions(shop, in_atomic):
    """What they met and what they meet now falls."""
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
    # Within the transaction the rows passed through the inks as well.
    assert kept([views(pens), views(inks), of_third], move) == [False, not in_atomic, False]
    assert of_third() == 5


def test_an_update_of_what_nobody_reads_reads_nothing(shop, queries):
    """No shape asks for the column: one statement, in a transaction whose commit is told before."""
    pens, _ = shop
    reads = [lambda: Product.objects.filter(category=pens).count(), lambda: Label.objects.count()]
    [read() for read in reads]
    with queries() as found:
        Product.objects.filter(visible=True).update(text="changed")
    assert sum(query["sql"].startswith("UPDATE") for query in found) == 1
    assert not any(query["sql"].startswith("SELECT") for query in found)
    assert kept(reads, lambda: Product.objects.update(text="again")) == [True, True]


def test_an_update_of_very_many_rows_drops_the_table(shop, monkeypatch):
    """Instead of reading them."""
    monkeypatch.setattr("cacheops_lite.writes.queryset_writes.MAX_CHANGES_PER_TABLE", 4)
    pens, inks = shop
    assert (
        kept([views(pens), views(inks)], lambda: Product.objects.filter(category=pens).update(views=1)) == [False] * 2
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
def test_what_other_processes_began_to_read_falls_as_well(shop, monkeypatch, write):
    """A process that writes knows of shapes what it heard last; it hears of others by writing, and is precise then."""
    asked = []
    ask = dependency_index.load
    monkeypatch.setattr(dependency_index, "load", lambda prefixes: asked.extend(prefixes) or ask(prefixes))
    rows = Product.objects.nocache().filter(visible=True)
    # Nobody has read anything; from here on it is others that read.
    Product.objects.filter(views=0).update(views=0)
    monkeypatch.setattr(dependency_index, "forget_if_lacking", lambda *args: None)
    asked.clear()
    reads = [
        lambda: Product.objects.filter(visible=True, views=1).count(),
        lambda: list(Product.objects.filter(visible=True).values_list("views", flat=True).order_by("pk")),
    ]
    assert kept(reads, lambda: write(rows)) == [False, False]
    assert Product._meta.db_table not in asked
    other = [lambda: Product.objects.filter(visible=False, views=1).count()]
    kept(other, lambda: Product.objects.filter(sku="s1").update(name="heard"))
    assert kept(other, lambda: write(rows)) == [True]


def test_nothing_is_updated_where_nothing_can_match(shop):
    """Whatever says so."""
    list(Product.objects.filter(views=1))
    for rows in (Product.objects.none(), Product.objects.filter(pk__in=[]), Product.objects.filter(views__in=[])):
        assert rows.update(views=1) == rows.invalidated_update(views=1) == rows.delete()[0] == 0


def test_an_update_by_joined_conditions_is_seen(shop):
    """Its rows can't be locked as they are found, so the table falls."""
    pens, inks = shop
    rows = Product.objects.filter(category__name="pens")
    assert kept([views(pens), views(inks)], lambda: rows.update(views=7)) == [False, False]


def test_an_update_of_text_by_an_expression_is_seen(shop):
    """What it makes of it only the database knows: it is read again."""
    for text in ("a", "b"):
        Label.objects.create(text=text)
    count = lambda: Label.objects.filter(text="a!").count()
    assert count() == 0
    Label.objects.filter(text="a").update(text=Concat("text", Value("!")))
    assert count() == 1
    Label.objects.filter(text="a!").invalidated_update(text=Concat("text", Value("!")))
    assert count() == 0


def test_an_update_of_keys_is_seen(shop):
    """Rows become others by it."""
    label = Label.objects.create(text="a")
    by_key = [lambda pk=pk: list(Label.objects.filter(pk=pk).values_list("text")) for pk in (label.pk, 10**6)]
    kept(by_key, lambda: Label.objects.update(id=10**6))
    assert [read() for read in by_key] == [[], [("a",)]]


def test_an_update_of_a_parents_column_is_seen(shop):
    """Of multi-table children, by either end."""
    Customer.objects.create(name="ann", city="Rome")
    reads = [
        lambda: list(Customer.objects.values_list("name", "city")),
        lambda: list(Customer.objects.filter(city="Rome").values_list("name")),
    ]
    kept(reads, lambda: Customer.objects.update(name="bea"))
    kept(reads, lambda: Customer.objects.update(name="cleo", city="Bari"))
    kept(reads, lambda: Customer.objects.filter(name="cleo").update(city=Concat("city", Value("!"))))
    assert reads[0]() == [("cleo", "Bari!")]


def test_an_update_rolled_back_drops_nothing(shop):
    """Nothing happened."""
    pens, _ = shop

    def fail():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Product.objects.update(views=1)
            raise ZeroDivisionError

    assert kept([views(pens)], fail) == [True]


def test_an_update_says_so(shop):
    """With the queryset, the values and the database; before and after."""
    told = []

    def before(sender, queryset, values, using, **kwargs):
        told.append(("before", sender, queryset.count(), values, using))

    def after(sender, queryset, values, using, rows, **kwargs):
        told.append(("after", sender, values, using, rows))

    pre_update.connect(before, sender=Product)
    post_update.connect(after, sender=Product)
    try:
        Product.objects.filter(visible=True).update(views=1)
        Category.objects.update(name="x")
        Product.objects.filter(views=1).invalidated_update(views=2)
    finally:
        pre_update.disconnect(before, sender=Product)
        post_update.disconnect(after, sender=Product)
    assert told == [
        ("before", Product, 5, {"views": 1}, "default"),
        ("after", Product, {"views": 1}, "default", 5),
        ("before", Product, 5, {"views": 2}, "default"),
        ("after", Product, {"views": 2}, "default", 5),
    ]


def test_receivers_of_updates_can_be_named_by_model(shop):
    """Lazily, as those of Django's model signals."""
    told = []
    receiver = lambda **kwargs: told.append(kwargs["values"])
    post_update.connect(receiver, sender="shop.Label")
    try:
        Label.objects.update(text="x")
        Product.objects.update(text="x")
    finally:
        post_update.disconnect(receiver, sender="shop.Label")
    assert told == [{"text": "x"}]


def test_templates_can_not_update():
    """Methods that change data are marked so."""
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
def test_a_delete_drops_what_its_rows_met(shop, delete):
    """And nothing else, whichever way Django takes."""
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
    hits = kept([views(pens), views(inks), *of_inks], lambda: DELETES[delete](pens))
    if delete == "raw":
        # Outside of a transaction the rows can't be locked.
        assert not hits[0]
    else:
        assert hits == [False, True, *[True] * 5]
    assert views(pens)() == []


def test_rows_without_relations_are_deleted_in_one_statement(queries):
    """As without the cache: what we listen to does not make Django fetch them."""
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


def test_other_receivers_of_deletes_get_their_rows(shop):
    """One by one, as Django promises them."""
    told = []
    receiver = lambda instance, **kwargs: told.append(instance.subject)
    Ticket.objects.bulk_create(Ticket(subject=f"t{i}") for i in range(3))
    for signal in (pre_delete, post_delete):
        signal.connect(receiver, sender=Ticket)
        try:
            Ticket.objects.filter(subject=f"t{len(told)}").delete()
        finally:
            signal.disconnect(receiver, sender=Ticket)
    assert told == ["t0", "t1"]


def test_a_receiver_that_writes_before_a_delete_is_seen(shop):
    """The row moves between the look and its end."""
    pens, inks = shop

    def move(instance, **kwargs):
        Product.objects.filter(pk=instance.pk).update(category=inks, views=50)
        instance.category = inks
        instance.save()

    pre_delete.connect(move, sender=Product)
    try:
        assert kept([views(pens), views(inks)], Product.objects.filter(category=pens).delete) == [False, False]
    finally:
        pre_delete.disconnect(move, sender=Product)


def test_signals_sent_by_hand_invalidate(shop):
    """Of saves and of deletes."""
    pens, _ = shop
    product = Product.objects.filter(category=pens).first()
    sent = lambda signal, **kwargs: signal.send(Product, instance=product, using="default", **kwargs)
    assert kept([views(pens)], lambda: sent(post_save, created=False, raw=False, update_fields=None)) == [False]
    assert kept([views(pens)], lambda: sent(post_save, created=True, raw=False, update_fields=None)) == [False]
    assert kept([views(pens)], lambda: sent(post_delete)) == [False]


def test_links_are_added_and_removed_precisely(shop):
    """From both sides, symmetrical ones too, whatever way; others stay."""
    one, two, three = Product.objects.order_by("pk")[:3]
    labels = [Label.objects.create(text=text) for text in "abc"]
    of = lambda product: lambda: sorted(product.labels.values_list("text", flat=True))
    related = lambda product: lambda: sorted(product.related.values_list("sku", flat=True))
    link = [of(one), of(two)]
    assert kept(link, lambda: one.labels.add(*labels)) == [False, True]
    assert kept(link, lambda: one.labels.remove(labels[0])) == [False, True]
    assert kept(link, lambda: labels[0].products.add(two)) == [True, False]
    assert kept(link, lambda: labels[0].products.set([one])) == [False, False]
    assert kept(link, lambda: two.labels.set([labels[1]])) == [True, False]
    assert kept(link, lambda: two.labels.clear()) == [True, False]
    friends = [related(one), related(two), related(three)]
    assert kept(friends, lambda: one.related.add(two)) == [False, False, True]
    assert kept(friends, lambda: two.related.remove(one)) == [False, False, True]
    one.related.add(two)
    assert kept(friends, lambda: two.related.clear()) == [False, False, True]


def test_reverse_managers_write_precisely(shop):
    """add, remove, set and clear of a foreign key's other end."""
    pens, inks = shop
    third = Category.objects.create(name="third")
    product = Product.objects.filter(category=pens).first()
    reads = [views(pens), views(inks), views(third)]
    assert kept(reads, lambda: third.products.add(product)) == [False, True, False]
    assert kept(reads, lambda: third.products.clear()) == [True, True, False]
    assert kept(reads, lambda: third.products.set([product])) == [True, True, False]
    assert kept(reads, lambda: third.products.remove(product)) == [True, True, False]


def test_a_save_of_what_a_foreign_key_is_set_to_null_by_is_precise(shop):
    """SET_NULL updates the rows that point there."""
    ann, bea = (Customer.objects.create(name=name, city="Rome") for name in ("ann", "bea"))
    for customer in (ann, bea):
        Ticket.objects.create(subject=customer.name, customer=customer)
    of = lambda pk: lambda: list(Ticket.objects.filter(customer=pk).values_list("subject"))
    reads = [of(ann.pk), of(bea.pk)]
    kept(reads, ann.delete)
    assert reads[0]() == []
    assert Ticket.objects.filter(customer=None).count() == 1


def test_bulk_create_that_ignores_conflicts_is_precise(shop):
    """Rows that may have come are as if they had; MariaDB may store others, the nearest values that fit."""
    Label.objects.create(text="a")
    reads = [lambda text=text: Label.objects.filter(text=text).count() for text in "abc"]

    def create():
        Label.objects.bulk_create([Label(text="a"), Label(text="b")], ignore_conflicts=True)

    assert kept(reads, create) == [False, False, connection.vendor != "mysql"]
    assert [read() for read in reads] == [1, 1, 0]


def test_what_is_told_of_many_rows_is_what_their_images_tell():
    """For each column, and for two together; of a column that one row does not tell nothing is."""
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
                told = {"&".join(f"{c}={found[c]}" for c in columns) for found in images if set(columns) <= set(found)}
                is_told = all(set(columns) <= set(found) for found in images)
                assert instance_writes._conditions_met(table, [",".join(columns)], rows, "sqlite") == (
                    {",".join(columns): told} if is_told else {}
                )
            assert instance_writes._conditions_met(table, ["", "gone"], rows, "sqlite") == {"": {""}}


def test_receivers_for_one_model_hear_of_its_mass_writes(shop):
    """As those for all do."""
    heard = []

    def note(sender, obj_dict, **kwargs):
        heard.append(obj_dict["name"])

    cache_invalidated.connect(note, sender=Product)
    try:
        list(Product.objects.all())
        Product.objects.bulk_create([Product(sku="x", name="x")])
        Product.objects.filter(sku="s1").invalidated_update(name="changed")
    finally:
        cache_invalidated.disconnect(note, sender=Product)
    assert heard == ["x", "n1", "changed"]


def test_bulk_create_that_updates_is_seen(shop):
    """What the rows were nobody looked at: the table falls."""
    if not connection.features.supports_update_conflicts_with_target and connection.vendor != "mysql":
        pytest.skip("this database has no such thing")
    read = lambda: sorted(Product.objects.values_list("sku", "views"))
    options = {"unique_fields": ["sku"]} if connection.features.supports_update_conflicts_with_target else {}
    read()
    Product.objects.bulk_create(
        [Product(sku="s1", views=77), Product(sku="new")], update_conflicts=True, update_fields=["views"], **options
    )
    assert ("s1", 77) in read()
