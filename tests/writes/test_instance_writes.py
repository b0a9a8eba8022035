"""Writes invalidate the results that they can affect, and no others."""

from contextlib import nullcontext

import pytest
from django.core import serializers
from django.db import connection, connections, transaction
from django.db.models import Exists, F, Func, IntegerField, OuterRef
from django.db.models.signals import post_save

from cacheops_lite.signals import cache_invalidated
from cacheops_lite.store import client as cacheops_redis
from cacheops_lite.store import database_names, dependency_index
from tests.conftest import run_async
from tests.rich.models import Cell, Sample
from tests.shop.models import Category, Club, Customer, Label, Membership, Person, Product, Ticket, Warranty
from tests.support import services

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def shop(store):
    """Two categories with a product each."""
    for name in ("pens", "inks"):
        category = Category.objects.create(name=name)
        Product.objects.create(sku=name, name=name, category=category)


def of(category):
    return lambda: [(p.sku, p.name, p.views) for p in Product.objects.filter(category__name=category).order_by("sku")]


def pk_of(name):
    return Category.objects.nocache().get(name=name).pk


def listed(name):
    """Return a read of the products of one category, filtered by its key."""
    pk = pk_of(name)
    return lambda: [(p.sku, p.name, p.views) for p in Product.objects.filter(category=pk).order_by("sku")]


def product(sku):
    return Product.objects.nocache().get(sku=sku)


def scripts_run(monkeypatch):
    """Return a list that collects the names of the Lua scripts that run from now on."""
    names = []

    def noting(run):
        def noted(name, *args):
            names.append(name)
            return run(name, *args)

        return noted

    for module in ("protocol", "invalidation_script", "fill_lock"):
        monkeypatch.setattr(f"cacheops_lite.store.{module}.run_script", noting(cacheops_redis.run_script))
    monkeypatch.setattr("cacheops_lite.store.fence_release.send_script", noting(cacheops_redis.send_script))
    return names


def test_a_save_invalidates_only_results_that_it_affects(is_hit):
    """The list of its category is invalidated; the list of another category is still a hit."""
    pens, inks = listed("pens"), listed("inks")
    pens(), inks()
    pen = product("pens")
    pen.name = "fountain pen"
    pen.save()
    assert is_hit(inks)
    assert not is_hit(pens)
    assert pens() == [("pens", "fountain pen", 0)]


@services.on_one_server
def test_a_save_runs_one_script_before_its_commit_and_one_after_it(monkeypatch):
    """This holds in autocommit and in a transaction, for one object and for many, once the dependency shapes are
    known.  Each name of a database has scripts of its own.
    """
    number = len(database_names.database_names())
    listed("pens")()
    pen = product("pens")
    pen.save(update_fields=["name"])
    pen.views = 4
    pen.save()
    names = scripts_run(monkeypatch)
    pen.views = 5
    pen.save()
    assert names == ["invalidate"] * number + ["release_fences"] * number
    with transaction.atomic():
        for views in range(20):
            pen.views = views
            pen.save()
            Product.objects.create(sku=f"s{views}", name="x")
    assert names == (["invalidate"] * number + ["release_fences"] * number) * 2


def test_a_move_invalidates_the_old_and_the_new_list(is_hit):
    pens, inks = listed("pens"), listed("inks")
    pens(), inks()
    pen = product("pens")
    pen.category_id = pk_of("inks")
    pen.save()
    assert pens() == []
    assert len(inks()) == 2


def test_a_change_of_a_column_that_is_not_read_invalidates_nothing(is_hit):
    """Results of count(), exists() and values of other columns are still hits."""
    reads = [
        lambda: Product.objects.filter(name="pens").count(),
        lambda: Product.objects.filter(name="pens").exists(),
        lambda: list(Product.objects.filter(name="pens").values_list("sku", flat=True)),
    ]
    for read in reads:
        read()
    pen = product("pens")
    pen.views += 1
    pen.save()
    assert all(map(is_hit, reads))
    pen.name = "x"
    pen.save()
    assert not any(map(is_hit, reads))


def test_a_save_without_a_change_invalidates_nothing(is_hit):
    """Before image and after image are equal."""
    read = lambda: Product.objects.get(sku="pens").name
    read()
    product("pens").save()
    with transaction.atomic():
        product("pens").save()
    assert is_hit(read)


@pytest.mark.parametrize("in_transaction", [False, True])
def test_every_form_of_save_invalidates(in_transaction):
    """The forms are update_fields, expressions, deferred fields, unfetched instances and raw saves."""
    pens, inks = listed("pens"), listed("inks")
    pk, inks_pk = product("pens").pk, pk_of("inks")

    def chosen_fields():
        pen = product("pens")
        pen.name, pen.views = "chosen", 99
        pen.save(update_fields=["name"])

    def expression():
        pen = product("pens")
        pen.views = F("views") + 1
        pen.save()

    def deferred():
        pen = Product.objects.nocache().only("name").get(sku="pens")
        pen.name = "deferred"
        pen.save()

    def unfetched():
        Product(pk=pk, sku="pens", name="unfetched", category_id=pk_of("pens")).save()

    def raw():
        data = serializers.serialize("json", [product("pens")]).replace("unfetched", "raw")
        for each in serializers.deserialize("json", data):
            each.save()

    def moved_without_a_fetch():
        Product(pk=pk, sku="pens", name="moved", category_id=inks_pk).save(force_update=True)

    def run(step):
        if in_transaction:
            with transaction.atomic():
                step()
        else:
            step()

    for step in (chosen_fields, expression, deferred, unfetched, raw, moved_without_a_fetch):
        pens(), inks()
        run(step)
        true = [(p.sku, p.name, p.views) for p in Product.objects.nocache().filter(category__name="pens")]
        assert pens() == true, step.__name__
        assert len(inks()) == Product.objects.nocache().filter(category=inks_pk).count(), step.__name__


def test_a_save_under_a_new_key_adds_a_row():
    """The row with the old key stays."""
    pens = listed("pens")
    pens()
    pen = product("pens")
    pen.pk, pen.sku = None, "copy"
    pen.save()
    assert [row[0] for row in pens()] == ["copy", "pens"]
    pen.pk, pen.sku = pen.pk + 1000, "other"
    pen.save()
    assert [row[0] for row in pens()] == ["copy", "other", "pens"]


def test_deletes_invalidate():
    """This applies to instances, querysets and the rows that they cascade to."""
    pens, count = listed("pens"), lambda: Product.objects.count()
    assert (len(pens()), count()) == (1, 2)
    product("pens").delete()
    assert (pens(), count()) == ([], 1)
    Category.objects.filter(name="inks").delete()
    assert count() == 0


def test_deleting_a_row_that_is_already_deleted_raises_nothing():
    """This happens if another process deletes the row first."""
    one, other = product("pens"), product("pens")
    one.delete()
    other.delete()
    assert Product.objects.filter(sku="pens").count() == 0


def test_a_delete_invalidates_foreign_keys_set_to_null_and_links():
    """Django sends no signals for SET_NULL and for rows of automatic many-to-many tables."""
    customer = Customer.objects.create(name="c", city="Oslo")
    Ticket.objects.create(subject="s", customer=customer)
    label = Label.objects.create(text="new")
    pen = product("pens")
    pen.labels.add(label)
    tickets = lambda: [t.customer_id for t in Ticket.objects.all()]
    labels = lambda: [x.text for x in Label.objects.filter(products__sku="pens")]
    links = lambda: [x.text for x in Label.objects.filter(products=pen.pk or 0)]
    assert (len(tickets()), labels(), links()) == (1, ["new"], ["new"])
    pk = pen.pk
    customer.delete()
    pen.delete()
    pen.pk = pk
    assert (tickets(), labels(), links()) == ([None], [], [])


def test_many_to_many_changes_invalidate_both_sides(is_hit):
    """This applies to add, remove, set and clear."""
    pen, ink = product("pens"), product("inks")
    new, old = Label.objects.create(text="new"), Label.objects.create(text="old")

    def labels():
        return [sorted(x.text for x in p.labels.all()) for p in (pen, ink)]

    def products():
        return [sorted(p.sku for p in x.products.all()) for x in (new, old)]

    steps = [
        lambda: pen.labels.add(new),
        lambda: old.products.add(pen, ink),
        lambda: pen.labels.set([old]),
        lambda: new.products.set([ink]),
        lambda: ink.labels.remove(old),
        lambda: old.products.remove(pen),
        lambda: new.products.clear(),
        lambda: pen.labels.create(text="third"),
        lambda: pen.labels.clear(),
    ]
    labels(), products()
    for number, step in enumerate(steps):
        step()
        links = set(Product.labels.through.objects.nocache().values_list("product__sku", "label__text"))
        assert labels() == [sorted(t for s, t in links if s == p.sku) for p in (pen, ink)], number
        assert products() == [sorted(s for s, t in links if t == x.text) for x in (new, old)], number


@pytest.mark.parametrize("verb", ["add", "remove", "set"])
def test_a_changed_link_keeps_results_of_other_objects(is_hit, verb):
    """Rows of many-to-many tables have images like other rows."""
    pen, ink, label = product("pens"), product("inks"), Label.objects.create(text="new")
    through = Product.labels.through.objects
    if verb != "add":
        pen.labels.add(label)
    reads = [lambda p=p: list(through.filter(product=p.pk).values_list("label", flat=True)) for p in (pen, ink)]
    for read in reads:
        read()
    {"add": pen.labels.add, "remove": pen.labels.remove, "set": lambda label: pen.labels.set([])}[verb](label)
    assert not is_hit(reads[0])
    assert is_hit(reads[1])


def test_a_delete_keeps_results_of_other_rows(is_hit):
    """The row and its links have before images."""
    pen, ink, label = product("pens"), product("inks"), Label.objects.create(text="new")
    for each in (pen, ink):
        each.labels.add(label)
    through = Product.labels.through.objects
    reads = [lambda p=p: through.filter(product=p.pk).count() for p in (pen, ink)]
    reads += [lambda p=p: Product.objects.filter(category=p.category_id).count() for p in (pen, ink)]
    assert [read() for read in reads] == [1, 1, 1, 1]
    key = pen.pk
    pen.delete()
    pen.pk = key
    assert [is_hit(read) for read in reads] == [False, True, False, True]
    assert [read() for read in reads] == [0, 1, 0, 1]


def test_a_symmetrical_relation_invalidates_both_ends():
    """Django writes the mirrored row without a signal."""
    pen, ink = product("pens"), product("inks")
    for step in (pen.related.add, pen.related.remove, pen.related.add):
        [list(p.related.all()) for p in (pen, ink)]
        step(ink)
        expected = [[p.sku for p in x.related.nocache()] for x in (pen, ink)]
        assert [[p.sku for p in x.related.all()] for x in (pen, ink)] == expected


def test_links_with_a_through_model_invalidate():
    """They are written through the manager or as rows."""
    club, person = Club.objects.create(name="chess"), Person.objects.create(name="p")
    read = lambda: [(m.person_id, m.level) for m in Membership.objects.filter(club=club)]
    members = lambda: [p.name for p in club.members.all()]
    assert (read(), members()) == ([], [])
    club.members.add(person, through_defaults={"level": 7})
    assert (read(), members()) == ([(person.pk, 7)], ["p"])
    membership = Membership.objects.nocache().get()
    membership.level = 8
    membership.save()
    assert read() == [(person.pk, 8)]
    club.members.clear()
    assert (read(), members()) == ([], [])


def test_parents_and_children_invalidate_each_other():
    """Either end is saved, and either end is read."""
    customer = Customer.objects.create(name="a", city="Oslo")
    people = lambda: [p.name for p in Person.objects.filter(pk=customer.pk)]
    customers = lambda: [(c.name, c.city) for c in Customer.objects.filter(city="Oslo")]
    assert (people(), customers()) == (["a"], [("a", "Oslo")])
    customer.name = "b"
    customer.save()
    assert (people(), customers()) == (["b"], [("b", "Oslo")])
    person = Person.objects.get(pk=customer.pk)
    person.name = "c"
    person.save()
    assert (people(), customers()) == (["c"], [("c", "Oslo")])
    person = Person.objects.create(name="d")
    Customer(person_ptr=person, name="e", city="Oslo").save()
    assert Person.objects.get(pk=person.pk).name == "e"
    customer.delete()
    assert people() == []


def test_a_write_of_a_joined_table_invalidates():
    """The table is joined by select_related() or by a condition on a relation."""
    joined = lambda: [p.category.name for p in Product.objects.select_related("category").order_by("pk")]
    by_name = of("pens")
    assert (joined(), len(by_name())) == (["pens", "inks"], 1)
    category = Category.objects.get(name="pens")
    category.name = "quills"
    category.save()
    assert joined() == ["quills", "inks"]
    assert by_name() == []


def test_signals_sent_by_hand_invalidate():
    """Some libraries send them after raw writes."""
    read = lambda: Product.objects.get(sku="pens").name
    read()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_product SET name = 'raw' WHERE sku = 'pens'")
    post_save.send(Product, instance=product("pens"), created=False, raw=False, using="default", update_fields=None)
    assert read() == "raw"


def test_a_receiver_that_reads_sees_the_new_state():
    """The receiver of the package runs before all others, including those that were connected earlier."""
    seen = []

    def read(**kwargs):
        seen.append(Product.objects.get(sku="pens").name)

    Product.objects.get(sku="pens")
    post_save.connect(read, sender=Product)
    try:
        pen = product("pens")
        pen.name = "new"
        pen.save()
    finally:
        post_save.disconnect(read, sender=Product)
    assert seen == ["new"]


def test_invalidated_update_invalidates_only_by_before_and_after_images(is_hit):
    pens, inks, none = listed("pens"), listed("inks"), lambda: list(Product.objects.filter(category=None))
    pens(), inks(), none()
    assert Product.objects.filter(sku="pens").invalidated_update(name=F("sku"), views=3) == 1
    assert is_hit(inks)
    assert is_hit(none)
    assert pens() == [("pens", "pens", 3)]
    assert Product.objects.invalidated_update(category=None) == 2
    assert (pens(), inks(), len(none())) == ([], [], 2)


def test_invalidated_update_works_with_composite_keys(is_hit):
    """Rows are identified by all parts of the key; a change of one part invalidates the whole table."""
    for column in (1, 2):
        Cell.objects.create(row=1, column=column, text="a")
    one, other = (lambda column=column: Cell.objects.filter(row=1, column=column).first() for column in (1, 2))
    one(), other()
    assert Cell.objects.filter(column=1).invalidated_update(text="b") == 1
    assert is_hit(other)
    assert one().text == "b"
    assert Cell.objects.filter(column=1).invalidated_update(row=2) == 1
    assert one() is None


def test_invalidated_update_of_more_rows_than_the_limit_invalidates_the_table(monkeypatch):
    """The rows are not read twice."""
    monkeypatch.setattr("cacheops_lite.writes.queryset_writes.MAX_CHANGES_PER_TABLE", 1)
    count = lambda: Product.objects.filter(views=5).count()
    assert count() == 0
    assert Product.objects.invalidated_update(views=5) == 2
    assert count() == 2


def test_invalidated_update_of_primary_keys_invalidates_the_table():
    """The old keys do not find the rows again."""
    read = lambda: sorted(Label.objects.values_list("pk", flat=True))
    label = Label.objects.create(text="x")
    read()
    Label.objects.filter(pk=label.pk).invalidated_update(id=label.pk + 100)
    assert read() == [label.pk + 100]


def test_a_disabled_cache_runs_no_script(settings, monkeypatch):
    """No row is read before a write either."""
    settings.CACHEOPS_ENABLED = False
    names = scripts_run(monkeypatch)
    product("pens").save()
    Product.objects.filter(sku="pens").invalidated_update(views=1)
    assert names == []


@pytest.mark.parametrize(("field", "value"), [("visible", "maybe"), ("day", "no date"), ("price", "x"), ("views", "x")])
def test_an_invalid_value_that_is_not_written_raises_nothing(field, value):
    """A delete, or a save of other fields, works as without the cache, and invalidates."""
    names = lambda: list(Product.objects.filter(sku="pens").values_list("name", flat=True))
    assert names() == ["pens"]
    pens = product("pens")
    pens.name = "new"
    setattr(pens, field, value)
    pens.save(update_fields=["name"])
    assert names() == ["new"]
    pens.delete()
    assert names() == []


def test_models_without_a_profile_have_no_receivers(settings):
    """The package connects no receivers to their signals; a change of the settings applies at once."""
    settings.CACHEOPS = {"shop.product": {"ops": "all", "timeout": 60}}
    assert post_save.has_listeners(Product)
    assert not post_save.has_listeners(Warranty)
    settings.CACHEOPS = {"shop.warranty": {"ops": "all", "timeout": 60}}
    assert post_save.has_listeners(Warranty)
    assert not post_save.has_listeners(Product)


def test_cache_invalidated_is_sent_for_each_image():
    """Receivers get the model and the values; a receiver that raises does not break the write."""
    received = []

    def note(sender, obj_dict, **kwargs):
        received.append((sender, obj_dict and obj_dict["name"]))

    def broken(**kwargs):
        raise RuntimeError

    for receiver in (note, broken):
        cache_invalidated.connect(receiver)
    try:
        listed("pens")()
        pen = product("pens")
        pen.name = "new"
        with transaction.atomic():
            pen.save()
            assert received == []
        assert received == [(Product, "pens"), (Product, "new")]
    finally:
        for receiver in (note, broken):
            cache_invalidated.disconnect(receiver)


def test_async_writes_invalidate():
    """This applies to asave, acreate, adelete and async many-to-many changes."""

    async def history():
        pen = await Product.objects.aget(sku="pens")
        label = await Label.objects.acreate(text="async")
        counts = [await pen.labels.acount()]
        await pen.labels.aadd(label)
        counts.append(await pen.labels.acount())
        pen.name = "async"
        await pen.asave()
        names = [(await Product.objects.aget(sku="pens")).name]
        await label.adelete()
        counts.append(await pen.labels.acount())
        return counts, names

    assert run_async(history()) == ([0, 1, 0], ["async"])


@pytest.mark.parametrize(
    ("field", "before", "after"),
    [
        ("facts", {"a": True}, {"a": 1}),
        ("facts", [1], [1.0]),
        ("weight", 1.0, 1.5),
        ("weight", None, 0.0),
        ("text", "", "x"),
    ],
)
@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_change_between_values_that_python_considers_equal_invalidates(field, before, after, in_transaction):
    """The stored values differ, so the cached result is invalidated."""
    pen = product("pens")
    setattr(pen, field, before)
    pen.save()
    read = lambda: repr(Product.objects.get(sku="pens").__dict__[field])
    read()
    setattr(pen, field, after)
    if in_transaction:
        with transaction.atomic():
            pen.save()
    else:
        pen.save()
    assert read() == repr(product("pens").__dict__[field])


def test_a_new_related_row_invalidates_results_about_its_absence():
    """The conditions match the null row of an outer join."""
    reads = [
        lambda: sorted(Product.objects.filter(warranty__isnull=True).values_list("sku", flat=True)),
        lambda: sorted(Product.objects.filter(labels__isnull=True).values_list("sku", flat=True)),
        lambda: sorted(Product.objects.filter(warranty__months=None).values_list("sku", flat=True)),
        lambda: sorted(Product.objects.exclude(warranty__months=5).values_list("sku", flat=True)),
    ]
    assert [read() for read in reads] == [["inks", "pens"]] * 4
    warranty = Warranty.objects.create(product=product("pens"), months=5)
    product("pens").labels.add(Label.objects.create(text="new"))
    assert [read() for read in reads] == [["inks"]] * 4
    warranty.delete()
    assert reads[0]() == ["inks", "pens"]


def test_a_subquery_is_invalidated_only_by_rows_that_meet_its_conditions(is_hit):
    warranty = Warranty.objects.create(product=product("pens"), months=1)
    read = lambda: Product.objects.filter(
        Exists(Warranty.objects.filter(product=OuterRef("pk"), months=5)), views=0
    ).count()
    assert read() == 0
    warranty.months = 2
    warranty.save()
    assert is_hit(read)
    warranty.months = 5
    warranty.save()
    assert read() == 1
    pen = product("pens")
    pen.views = 1
    pen.save()
    assert read() == 0


def test_a_table_named_only_in_a_template_is_found_in_the_sql():
    """It is recognised by its name after FROM or JOIN."""
    hidden = Func(template='(SELECT COUNT(*) FROM "shop_label")', output_field=IntegerField())
    if connection.vendor == "mysql":
        hidden.extra["template"] = "(SELECT COUNT(*) FROM `shop_label`)"
    read = lambda: list(Product.objects.annotate(n=hidden).values_list("n", flat=True))
    assert read() == [0, 0]
    Label.objects.create(text="new")
    assert read() == [1, 1]


@pytest.mark.parametrize("block", [nullcontext, transaction.atomic])
def test_values_computed_by_the_database_are_read_back(block, is_hit):
    """This applies to expressions, generated columns and database defaults; other results stay, and no result is
    stale.
    """
    values = {number: lambda number=number: Sample.objects.filter(whole=number).count() for number in range(4)}
    doubles = {number: lambda number=number: Sample.objects.filter(double=number).count() for number in (2, 4, 6)}
    fresh = lambda: Sample.objects.filter(fresh=6).count()
    row = Sample.objects.create(whole=1)

    def counted(reads):
        return [number for number, read in reads.items() if read()]

    assert (counted(values), counted(doubles), fresh()) == ([1], [2], 0)
    row.whole = F("whole") + 1
    with block():
        row.save()
    assert [is_hit(values[number]) for number in range(4)] == [True, False, False, True]
    assert [is_hit(read) for read in doubles.values()] == [False, False, True]
    assert (counted(values), counted(doubles), is_hit(fresh)) == ([2], [4], True)
    with block():
        Sample.objects.create(whole=3)
    assert is_hit(values[1])
    assert is_hit(fresh)
    assert (counted(values), counted(doubles), fresh()) == ([2, 3], [4, 6], 0)


@pytest.fixture
def sql(queries):
    """Return a function that returns the SQL that a write sends."""

    def of(write):
        with queries() as found:
            write()
        return [query["sql"] for query in found]

    return of


@pytest.mark.parametrize("mode", [None, "DEFERRED", "IMMEDIATE", "EXCLUSIVE"])
@pytest.mark.parametrize("way", ["save", "update", "invalidated_update", "delete"])
def test_on_sqlite_a_transaction_of_the_package_begins_with_the_write_lock(sql, mode, way):
    """Its before-image read then pins no snapshot and needs no extra statement; the configured transaction mode
    stays.
    """
    if connection.vendor != "sqlite":
        pytest.skip("others lock rows")
    list(Label.objects.filter(text="read"))
    label = Label.objects.create(text="old")
    labels = Label.objects.filter(pk=label.pk)
    ways = {
        "save": label.save,
        "update": lambda: labels.update(text="new"),
        "invalidated_update": lambda: labels.invalidated_update(text="new"),
        "delete": label.delete,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections["default"], "transaction_mode", mode)
        sent = sql(ways[way])
        assert connection.transaction_mode == mode
    assert sent[0] == f"BEGIN {mode if mode == 'EXCLUSIVE' else 'IMMEDIATE'}"
    assert not any("WHERE 0" in each for each in sent)


@pytest.mark.parametrize(("mode", "locks"), [(None, 1), ("DEFERRED", 1), ("IMMEDIATE", 0), ("EXCLUSIVE", 0)])
def test_on_sqlite_a_before_image_read_in_an_atomic_block_takes_the_write_lock_once(sql, mode, locks):
    """It takes no lock if the block began with the write lock."""
    if connection.vendor != "sqlite":
        pytest.skip("others lock rows")
    labels = [Label.objects.create(text=f"old {number}") for number in range(3)]
    list(Label.objects.all())

    def save():
        with transaction.atomic():
            for label in labels:
                label.save()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections["default"], "transaction_mode", mode)
        sent = sql(save)
    assert sum("WHERE 0" in each for each in sent) == locks


def counted():
    return Product.objects.filter(name="pens").count()


def skus():
    return list(Product.objects.filter(views__gt=5).order_by("sku").values_list("sku", flat=True))


@pytest.fixture
def pen():
    """Return a function that saves a product twice, so that this process knows the dependency shapes."""
    pen = product("pens")

    def saved(**values):
        for _ in range(2):
            for name, value in values.items():
                setattr(pen, name, value)
            pen.save(update_fields=list(values))
        return pen

    return saved


def test_a_save_of_a_column_that_no_query_reads_sends_no_select(sql, pen, is_hit):
    """Counters are an example."""
    counted()
    saved = pen(views=1)
    saved.views = 2
    sent = sql(lambda: saved.save(update_fields=["views"]))
    assert sum(each.startswith("UPDATE") for each in sent) == 1
    assert not any(each.startswith("SELECT") for each in sent)
    assert is_hit(counted)
    with transaction.atomic():
        saved.save(update_fields=["views"])
    assert is_hit(counted)
    saved.name = "fountain pen"
    saved.save()
    assert counted() == 0


def test_a_before_image_read_selects_only_columns_of_dependency_shapes(sql, pen):
    """It selects the columns of conditions, and those written columns that some result contains."""
    counted(), skus()
    saved = pen(views=1)
    # On PostgreSQL the before-image read is part of the UPDATE.
    (select,) = [each for each in sql(lambda: saved.save(update_fields=["views"])) if "SELECT" in each]
    for column, is_read in {"id": True, "name": True, "views": True, "sku": False, "category_id": False}.items():
        assert (f"shop_product{quoted('.')}{column}" in select) == is_read


def quoted(text):
    quote = connection.ops.quote_name(" ")[0]
    return f"{quote}{text}{quote}"


@pytest.mark.parametrize("write", ["views", "name"])
def test_a_shape_that_this_process_does_not_know_invalidates_the_table_once(monkeypatch, pen, is_hit, write):
    """Another process registered the dependency shape, so the before-image read did not select its columns."""
    counted()
    saved = pen(views=1)
    monkeypatch.setattr(dependency_index, "forget_if_lacking", lambda *args: None)
    skus(), skus()
    setattr(saved, write, 10 if write == "views" else "fountain pen")
    saved.save(update_fields=[write])
    assert skus() == (["pens"] if write == "views" else [])
    assert counted() == (1 if write == "views" else 0)
    saved.views = 11
    saved.save(update_fields=["views"])
    assert not is_hit(skus)
    assert is_hit(counted)


def test_a_child_saved_onto_an_existing_parent_row_invalidates():
    """No query reads that parent row, so it is not read before the write."""
    person = Person.objects.create(name="Ada")

    def customers():
        return Customer.objects.filter(city="Turin").count(), Person.objects.filter(name="Grace").count()

    assert customers() == (0, 0)
    for _ in range(2):
        person.save()
    customer = Customer(person_ptr=person, name="Grace", city="Turin")
    customer.save()
    assert customers() == (1, 1)
    Customer.objects.nocache().get().save(update_fields=["city"])
    customer.city = "Pisa"
    customer.save(update_fields=["city"])
    assert customers() == (0, 1)


def test_a_save_that_inserts_a_deleted_row_again_invalidates(pen):
    """No query reads the changed column, and the row was deleted in the meantime."""
    counted()
    saved = pen(views=1)
    Product.objects.filter(pk=saved.pk).delete()
    assert counted() == 0
    saved.save()
    assert counted() == 1


@pytest.fixture
def received():
    """Collect the calls of receivers of cache_invalidated."""
    received = []

    def note(sender, obj_dict, **kwargs):
        received.append((sender, obj_dict))

    cache_invalidated.connect(note)
    yield received
    cache_invalidated.disconnect(note)


def test_receivers_of_cache_invalidated_get_all_columns(pen, received):
    """They also get columns that no dependency shape contains."""
    counted()
    saved = pen(views=1)
    received.clear()
    saved.views = 7
    saved.save(update_fields=["views"])
    assert [(old["views"], old["sku"]) for _, old in received] == [(1, "pens"), (7, "pens")]
