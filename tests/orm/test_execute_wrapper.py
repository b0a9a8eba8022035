"""Writes without signals invalidate their tables; writes with signals invalidate only the results that they affect."""

import threading
from contextlib import suppress

import pytest
from django.apps import apps
from django.core.cache import caches
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, models, transaction
from django.db.migrations.operations import RunPython
from django.db.migrations.state import ProjectState
from django.db.models import F
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save

from cacheops_lite import no_invalidation
from cacheops_lite.schema import tracked_models
from cacheops_lite.writes.unit_of_work import unit_of_work_for
from tests.shop.models import Category, Customer, Label, Person, Product, Ticket

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def shop(store):
    for name in ("pens", "inks"):
        Product.objects.create(sku=name, name=name, category=Category.objects.create(name=name))


def raw(*statement):
    with connection.cursor() as cursor:
        cursor.execute(*statement)


def as_bytes(statement):
    """Return the statement as bytes, except for SQLite's driver, which accepts text only."""
    return statement if connection.vendor == "sqlite" else statement.encode()


def product(sku="pens"):
    return Product.objects.nocache().get(sku=sku)


def state():
    return sorted(Product.objects.values_list("sku", "name", "views", "category"))


def true_state():
    return sorted(Product.objects.nocache().values_list("sku", "name", "views", "category"))


WRITES = {
    "update": lambda: Product.objects.filter(sku="pens").update(name="x"),
    "update with an expression": lambda: Product.objects.update(views=F("views") + 1),
    "update through a relation": lambda: Product.objects.filter(category__name="pens").update(name="x"),
    "bulk_create": lambda: Product.objects.bulk_create([Product(sku=f"b{i}", name="b") for i in range(3)]),
    "bulk_create in batches": lambda: Product.objects.bulk_create(
        [Product(sku=f"b{i}", name="b") for i in range(3)], batch_size=1
    ),
    "bulk_create that ignores conflicts": lambda: Product.objects.bulk_create(
        [Product(sku="pens", name="b"), Product(sku="new", name="b")], ignore_conflicts=True
    ),
    "bulk_update": lambda: Product.objects.bulk_update([Product(pk=product().pk, views=5)], ["views"]),
    "get_or_create": lambda: Product.objects.get_or_create(sku="new", defaults={"name": "x"}),
    "update_or_create": lambda: Product.objects.update_or_create(sku="pens", defaults={"name": "x"}),
    "delete": lambda: Product.objects.filter(sku="pens").delete(),
    "raw delete": lambda: Product.objects.filter(sku="pens")._raw_delete("default"),
    "reverse add": lambda: Category.objects.nocache().get(name="pens").products.add(product("inks")),
    "reverse set": lambda: Category.objects.nocache().get(name="pens").products.set([product("inks")]),
    "reverse clear": lambda: Category.objects.nocache().get(name="pens").products.clear(),
    "raw SQL": lambda: raw("UPDATE shop_product SET name = %s", ["x"]),
    "raw SQL as bytes": lambda: raw(as_bytes("UPDATE shop_product SET name = 'x'")),
    "raw SQL in lower case with a comment": lambda: raw("/* odd */ UPDATE Shop_Product SET name = 'x'".lower()),
    "raw SQL with several tables": lambda: raw(
        "DELETE FROM shop_product WHERE category_id IN (SELECT id FROM shop_category WHERE name = 'pens')"
    ),
    "flush": lambda: call_command("flush", interactive=False, verbosity=0),
}


@pytest.mark.parametrize("in_transaction", [False, True])
@pytest.mark.parametrize("name", WRITES)
def test_every_kind_of_write_invalidates(name, in_transaction):
    """This applies in autocommit and at a commit."""
    before = state()
    if in_transaction:
        with transaction.atomic():
            WRITES[name]()
    else:
        WRITES[name]()
    assert state() == true_state() != before


@pytest.mark.parametrize("name", ["update", "bulk_create", "raw SQL"])
def test_a_write_that_is_rolled_back_invalidates_nothing(name, is_hit):
    state()
    with transaction.atomic():
        WRITES[name]()
        transaction.set_rollback(True)
    assert is_hit(state)


def test_a_write_keeps_results_of_other_tables(is_hit):
    """This applies to raw SQL and to tables without a model too."""
    labels = lambda: Label.objects.count()
    labels(), state()
    WRITES["update"]()
    WRITES["raw SQL"]()
    assert is_hit(labels)
    state()
    raw("CREATE TEMPORARY TABLE unknown (a int)")
    raw("INSERT INTO unknown VALUES (1)")
    raw("DROP TABLE unknown")
    assert is_hit(state)


def test_bulk_create_invalidates_only_results_that_its_rows_match(is_hit):
    pens, inks = (Category.objects.nocache().get(name=name).pk for name in ("pens", "inks"))
    reads = [lambda pk=pk: Product.objects.filter(category=pk).count() for pk in (pens, inks)]
    assert [read() for read in reads] == [1, 1]
    Product.objects.bulk_create([Product(sku=f"b{i}", name="b", category_id=pens) for i in range(3)])
    assert is_hit(reads[1])
    assert reads[0]() == 4


def test_foreign_keys_that_a_delete_sets_to_null_invalidate():
    """Django sends no signal for SET_NULL."""
    customer = Customer.objects.create(name="c", city="Oslo")
    Ticket.objects.create(subject="s", customer=customer)
    read = lambda: [ticket.customer_id for ticket in Ticket.objects.all()]
    assert read() == [customer.pk]
    customer.delete()
    assert read() == [None]


def test_an_update_of_a_child_invalidates_its_parent_too():
    """The update writes columns of both tables."""
    Customer.objects.create(name="c", city="Oslo")
    read = lambda: [person.name for person in Person.objects.all()]
    assert read() == ["c"]
    Customer.objects.update(name="d", city="Rome")
    assert read() == ["d"]
    assert [customer.city for customer in Customer.objects.all()] == ["Rome"]


@pytest.fixture
def receive():
    """Return ``receive(signal, function, sender)``, which connects a receiver until the test ends."""
    connected = []

    def connect(signal, function, sender):
        receiver = lambda **kwargs: function(**kwargs)
        signal.connect(receiver, sender=sender, weak=False)
        connected.append((signal, receiver, sender))

    yield connect
    for signal, receiver, sender in connected:
        signal.disconnect(receiver, sender=sender)


def raw_update(**values):
    """Return a receiver that updates all rows by raw SQL."""

    def write(**kwargs):
        raw("UPDATE shop_product SET views = views + 10")

    return write


def views_of(sku):
    """Return a read of one row by its primary key; changes of other rows do not invalidate it."""
    pk = product(sku).pk
    return lambda: list(Product.objects.filter(pk=pk).values_list("name", "views"))


@pytest.mark.parametrize("signal", [pre_save, post_save])
@pytest.mark.parametrize("in_transaction", [False, True])
@pytest.mark.parametrize("sku", ["pens", "new"])
def test_a_receiver_that_writes_during_a_save_invalidates(receive, signal, in_transaction, sku):
    """The save describes its own row only, so the receiver's write invalidates the whole table."""
    receive(signal, raw_update(), Product)
    inks = views_of("inks")
    assert inks() == [("inks", 0)]
    saved = Product(sku="new", name="x") if sku == "new" else product(sku)
    saved.name = "saved"
    if in_transaction:
        with transaction.atomic():
            saved.save()
    else:
        saved.save()
    assert inks() == [("inks", 10)]


@pytest.mark.parametrize("signal", [pre_delete, post_delete])
@pytest.mark.parametrize("statement", ["DELETE FROM shop_product WHERE sku = %s", raw_update])
def test_a_receiver_that_writes_during_a_delete_invalidates(receive, signal, statement):
    """The receiver updates all rows, or deletes another row."""
    write = raw_update() if statement is raw_update else lambda **kwargs: raw(statement, ["inks"])
    receive(signal, write, Product)
    inks = views_of("inks")
    inks()
    product().delete()
    assert inks() == ([("inks", 10)] if statement is raw_update else [])


@pytest.mark.parametrize("moment", ["pre_add", "post_add", "pre_remove", "post_remove"])
@pytest.mark.parametrize("verb", ["insert", "delete"])
def test_a_receiver_that_writes_during_a_many_to_many_change_invalidates(receive, moment, verb):
    """The receiver writes links of another object to the same table."""
    label, pen, ink = Label.objects.create(text="new"), product(), product("inks")
    through = Product.labels.through
    if verb == "delete":
        ink.labels.add(label)
    if moment.endswith("remove"):
        pen.labels.add(label)

    def write(action, **kwargs):
        if action == moment and verb == "insert":
            raw("INSERT INTO shop_product_labels (product_id, label_id) VALUES (%s, %s)", [ink.pk, label.pk])
        elif action == moment:
            raw("DELETE FROM shop_product_labels WHERE product_id = %s", [ink.pk])

    receive(m2m_changed, write, through)
    read = lambda: list(through.objects.filter(product=ink.pk).values_list("label", flat=True))
    read()
    (pen.labels.add if moment.endswith("add") else pen.labels.remove)(label)
    assert read() == ([label.pk] if verb == "insert" else [])


@pytest.mark.parametrize(("field", "value"), [("views", "many"), ("sku", "inks")])
def test_a_save_that_raises_leaves_no_operation_scope_open(field, value):
    """Django refuses one value; the database refuses the other."""
    pen = product()
    setattr(pen, field, value)
    with pytest.raises((ValueError, IntegrityError)):
        pen.save()
    assert unit_of_work_for("default").scope is None
    inks = views_of("inks")
    inks()
    raw("UPDATE shop_product SET views = views + 1")
    assert inks() == [("inks", 1)]


@pytest.mark.parametrize(
    ("signal", "step"),
    [
        (pre_save, lambda: product().save()),
        (post_save, lambda: product().save()),
        (pre_delete, lambda: product().delete()),
        (post_delete, lambda: product().delete()),
        (m2m_changed, lambda: product().labels.add(Label.objects.create(text="new"))),
    ],
)
@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_receiver_that_raises_leaves_no_operation_scope_open(receive, signal, step, in_transaction):
    """The transaction continues, or the connection is in autocommit."""

    def fail(**kwargs):
        raise RuntimeError

    receive(signal, fail, Product.labels.through if signal is m2m_changed else Product)
    inks = views_of("inks")
    if in_transaction:
        with transaction.atomic():
            with pytest.raises(RuntimeError), transaction.atomic():
                step()
            inks()
            raw_update()()
    else:
        with pytest.raises(RuntimeError):
            step()
        assert unit_of_work_for("default").scope is None
        inks()
        raw_update()()
    assert inks() == [("inks", 10)]


def test_a_save_that_raises_after_its_statement_invalidates_the_table(monkeypatch):
    """The exception comes between the statement and ``post_save``."""
    inks = views_of("inks")
    inks()
    ink = product("inks")
    ink.views = 7

    def fail(**kwargs):
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr("django.db.models.base.post_save.send", fail)
        with pytest.raises(RuntimeError):
            ink.save()
    assert inks() == [("inks", 7)]


def test_adding_a_duplicate_link_leaves_no_operation_scope_open():
    label, pen = Label.objects.create(text="new"), product()
    through = Product.labels.through
    read = lambda: through.objects.count()
    read()
    with pytest.raises(IntegrityError), transaction.atomic():
        pen.labels.add(label)
        through.objects.bulk_create([through(product=pen, label=label)])
    assert unit_of_work_for("default").scope is None
    assert read() == 0
    through.objects.bulk_create([through(product=pen, label=label)])
    assert read() == 1


def test_no_invalidation_applies_to_all_writes(is_hit):
    state()
    with no_invalidation:
        Product.objects.update(views=5)
        Product.objects.bulk_create([Product(sku="b", name="b")])
        raw("UPDATE shop_product SET name = 'x'")
    assert is_hit(state)


def test_a_disabled_cache_does_not_hinder_writes(settings, is_hit):
    settings.CACHEOPS_ENABLED = False
    for write in ("update", "bulk_create", "raw SQL", "delete"):
        WRITES[write]()
    assert state() == true_state()


def test_sql_composed_by_psycopg_invalidates():
    """The driver quotes its parts."""
    if connection.vendor != "postgresql":
        pytest.skip("psycopg only")
    from psycopg import sql

    state()
    raw(sql.SQL("UPDATE {} SET name = {}").format(sql.Identifier("shop_product"), sql.Literal("x")))
    assert state() == true_state()


def test_a_receiver_that_moves_the_saved_row_invalidates(receive):
    """The before and after images of the save are equal, but results that the receiver's write affected are
    invalidated.
    """
    count = lambda: Product.objects.filter(views=5).count()
    seen = []

    def move(instance, **kwargs):
        Product.objects.filter(pk=instance.pk).update(views=5)
        seen.append(count())

    receive(pre_save, move, Product)
    assert count() == 0
    product().save()
    assert seen == [1]
    assert count() == 0


def test_a_receiver_that_inserts_during_an_update_invalidates(receive):
    """The save updates an existing row, so its scope claims no insert."""
    label = Label.objects.create(text="text")
    receive(pre_save, lambda **kwargs: raw("INSERT INTO shop_label (text) VALUES ('raw')"), Label)
    count = lambda: Label.objects.filter(text="raw").count()
    assert count() == 0
    label.save()
    assert count() == 1


def test_a_receiver_that_adds_a_link_while_add_writes_nothing_invalidates(receive):
    """``add()`` of an existing link writes nothing itself."""
    label, pen, ink = Label.objects.create(text="new"), product(), product("inks")
    pen.labels.add(label)

    def write(action, **kwargs):
        if action == "pre_add":
            raw("INSERT INTO shop_product_labels (product_id, label_id) VALUES (%s, %s)", [ink.pk, label.pk])

    receive(m2m_changed, write, Product.labels.through)
    read = lambda: list(Product.labels.through.objects.filter(product=ink.pk).values_list("label", flat=True))
    assert read() == []
    pen.labels.add(label)
    assert read() == [label.pk]


@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_link_added_after_a_failed_add_invalidates(receive, in_transaction):
    """The operation scope of the failed ``add()`` ended with its atomic block."""
    label, pen, ink = Label.objects.create(text="new"), product(), product("inks")

    def fail(action, **kwargs):
        raise RuntimeError

    def add_raw():
        raw("INSERT INTO shop_product_labels (product_id, label_id) VALUES (%s, %s)", [ink.pk, label.pk])

    receive(m2m_changed, fail, Product.labels.through)
    read = lambda: list(Product.labels.through.objects.filter(product=ink.pk).values_list("label", flat=True))
    assert read() == []
    if in_transaction:
        with transaction.atomic():
            with pytest.raises(RuntimeError), transaction.atomic():
                pen.labels.add(label)
            add_raw()
    else:
        with pytest.raises(RuntimeError):
            pen.labels.add(label)
        add_raw()
    assert read() == [label.pk]


@pytest.mark.parametrize("sku", ["pens", "new"])
def test_a_field_that_writes_during_a_save_invalidates(monkeypatch, sku):
    """Fields that keep rows in order write in ``pre_save()``, between the signals."""
    saved = Product(sku="new", name="x") if sku == "new" else product(sku)
    inks = views_of("inks")
    inks()
    field = Product._meta.get_field("views")

    def pre_save(instance, add):
        monkeypatch.undo()
        raw_update()()
        return 3

    monkeypatch.setattr(field, "pre_save", pre_save)
    saved.save()
    assert inks() == [("inks", 10)]


def test_an_executemany_that_fails_in_the_middle_invalidates():
    """In autocommit the rows before the failed one are committed."""
    count = lambda: Label.objects.count()
    assert count() == 0
    with pytest.raises(IntegrityError), connection.cursor() as cursor:
        cursor.executemany("INSERT INTO shop_label (text) VALUES (%s)", [["a"], ["a"]])
    assert count() == Label.objects.nocache().count()


def texts():
    return sorted(Label.objects.values_list("text", flat=True))


@pytest.fixture
def labels():
    Label.objects.bulk_create(Label(text=text) for text in "ab")
    return texts()


@pytest.fixture
def procedure():
    """Create a stored procedure that renames labels, and return the name for ``callproc()``."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no procedures")
    update = "UPDATE shop_label SET text = concat('new ', text)"
    if connection.vendor == "postgresql":
        raw(f"CREATE OR REPLACE PROCEDURE rename_all() LANGUAGE SQL AS $$ {update} $$")
        raw(f"CREATE OR REPLACE FUNCTION rename_all_too() RETURNS void LANGUAGE SQL AS $$ {update} $$")
    else:
        raw("DROP PROCEDURE IF EXISTS rename_all")
        raw(f"CREATE PROCEDURE rename_all() {update}")
    yield "rename_all_too" if connection.vendor == "postgresql" else "rename_all"
    raw("DROP PROCEDURE rename_all")
    if connection.vendor == "postgresql":
        raw("DROP FUNCTION rename_all_too")


@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_procedure_that_writes_invalidates(labels, procedure, in_transaction):
    """The cache cannot know what a procedure writes, so every table is invalidated."""
    before = texts()
    if in_transaction:
        with transaction.atomic():
            raw("CALL rename_all()")
            assert texts() != before
    else:
        raw("CALL rename_all()")
    assert texts() == sorted(f"new {text}" for text in before)


@pytest.mark.parametrize("in_transaction", [False, True])
def test_callproc_invalidates(labels, procedure, in_transaction):
    """Django does not pass ``callproc()`` to execute wrappers."""

    def call():
        with connection.cursor() as cursor:
            cursor.callproc(procedure)

    before = texts()
    if in_transaction:
        with transaction.atomic():
            call()
            assert texts() != before
    else:
        call()
    assert texts() == sorted(f"new {text}" for text in before)


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("in_transaction", [False, True])
def test_copy_invalidates(labels, settings, in_transaction, debug):
    """It is a method of psycopg's cursor; with DEBUG, Django wraps the cursor once more."""
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL only")
    settings.DEBUG = debug

    def copy():
        with connection.cursor() as cursor, cursor.copy("COPY shop_label (text) FROM STDIN") as copying:
            copying.write_row(["copied"])

    before = texts()
    if in_transaction:
        with transaction.atomic():
            copy()
            assert "copied" in texts()
    else:
        copy()
    assert texts() == sorted([*before, "copied"])


@pytest.mark.parametrize(
    ("vendors", "statement"),
    [
        (("postgresql", "mysql"), "SET @a = 1; UPDATE shop_label SET text = 'x'"),
        (("postgresql", "mysql"), "BEGIN; UPDATE shop_label SET text = 'x'; COMMIT"),
        (("postgresql", "mysql"), "SELECT 1; TRUNCATE shop_product_labels; CALL rename_all()"),
        (("mysql",), "SET STATEMENT max_statement_time = 10 FOR UPDATE shop_label SET text = 'x'"),
        (("mysql",), "ANALYZE UPDATE shop_label SET text = 'x'"),
        (("mysql",), "BEGIN NOT ATOMIC UPDATE shop_label SET text = 'x'; END"),
        (("mysql",), "BEGIN NOT ATOMIC CALL rename_all(); END"),
        (("postgresql",), "EXPLAIN ANALYZE UPDATE shop_label SET text = 'x'"),
    ],
)
def test_a_write_behind_a_harmless_first_word_invalidates(procedure, vendors, statement):
    """The text has several statements, or a statement that runs another one."""
    if connection.vendor not in vendors:
        pytest.skip("for another database")
    if connection.vendor == "postgresql":
        statement = statement.replace("SET @a = 1", "SET LOCAL work_mem = 65536")
    Label.objects.create(text="a")
    assert texts() == texts() == ["a"]
    with connection.cursor() as cursor:
        cursor.execute(statement)
        while cursor.nextset():
            pass
    assert texts() == list(Label.objects.nocache().values_list("text", flat=True)) != ["a"]


@pytest.mark.parametrize("call", ["CALL slow()", "callproc", "SELECT 1; CALL slow()"])
def test_a_procedure_that_writes_after_its_first_result_invalidates(labels, call):
    """The server continues the procedure after the first result was fetched."""
    if connection.vendor != "mysql":
        pytest.skip("other databases return when the procedure has ended")
    steps = "SELECT 1; DO GET_LOCK('go', 20); UPDATE shop_label SET text = 'x'"
    raw(f"CREATE OR REPLACE PROCEDURE slow() BEGIN {steps}; END")
    locked, go, count = threading.Event(), threading.Event(), lambda: Label.objects.filter(text="x").count()

    def take_lock():
        raw("DO GET_LOCK('go', 20)")
        locked.set()
        go.wait(20)
        counts.append(count())
        connection.close()

    counts, lock_holder = [], threading.Thread(target=take_lock)
    Label.objects.filter(text="b").delete()
    lock_holder.start()
    assert locked.wait(20)
    with connection.cursor() as cursor:
        cursor.callproc("slow") if call == "callproc" else cursor.execute(call)
        go.set()
        lock_holder.join(20)
    raw("DROP PROCEDURE slow")
    assert counts == [0]
    assert count() == 1


@pytest.mark.parametrize("in_transaction", [False, True])
def test_executescript_and_stream_invalidate(labels, in_transaction):
    """These driver methods bypass execute wrappers: ``executescript()`` of SQLite, ``stream()`` of psycopg."""
    update = "UPDATE shop_label SET text = 'x' WHERE text = 'a'"

    def write():
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                cursor.executescript(f"{update};")
            else:
                assert len(list(cursor.stream(f"{update} RETURNING id"))) == 1

    if connection.vendor == "mysql":
        pytest.skip("this driver has no such method")
    if in_transaction:
        with transaction.atomic():
            write()
            assert texts() == ["b", "x"]
    else:
        write()
    assert texts() == ["b", "x"]


def test_a_select_by_stream_invalidates_nothing(labels, is_hit):
    if connection.vendor != "postgresql":
        pytest.skip("psycopg only")
    texts()
    with connection.cursor() as cursor:
        assert len(list(cursor.stream("SELECT * FROM shop_label"))) == 2
    assert is_hit(texts)


def test_a_delete_whose_receiver_commits_and_raises_invalidates(receive):
    """The delete is committed, although the operation does not finish."""

    def commit_and_fail(**kwargs):
        raw("COMMIT")
        raise RuntimeError

    receive(post_delete, commit_and_fail, Product)
    before = state()
    with suppress(RuntimeError, DatabaseError):
        product().delete()
    assert state() == true_state() != before


def test_a_raw_write_through_a_view_invalidates(labels):
    """No model has the view as its table, so every table is invalidated."""
    raw("CREATE VIEW a_view AS SELECT id, text FROM shop_label")
    if connection.vendor == "sqlite":
        # Views of SQLite are read-only without a trigger.
        update = "UPDATE shop_label SET text = NEW.text WHERE id = OLD.id"
        raw(f"CREATE TRIGGER through_it INSTEAD OF UPDATE ON a_view BEGIN {update}; END")
    try:
        assert texts() == texts() == ["a", "b"]
        raw("UPDATE a_view SET text = 'x' WHERE text = 'a'")
        assert texts() == ["b", "x"]
    finally:
        raw("DROP VIEW a_view")


def test_truncate_cascade_invalidates_the_referring_tables(labels):
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL only")
    assert len(state()) == 2
    raw("TRUNCATE shop_category CASCADE")
    assert state() == []


def test_writes_of_tables_that_are_not_cached_invalidate_nothing(is_hit, labels):
    """The tables belong to models without a profile and to migrations."""
    texts()
    raw("UPDATE django_migrations SET app = 'x' WHERE app = 'none'")
    raw("UPDATE shop_unwatched SET name = 'x'")
    assert is_hit(texts)


def test_django_s_database_cache_invalidates_nothing(is_hit, labels, settings):
    """Its table has no model and is written often."""
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "of_django_s_cache"}
    }
    tracked_models.known_tables.cache_clear()
    call_command("createcachetable", verbosity=0)
    try:
        texts()
        caches["default"].set("key", 1)
        assert caches["default"].get("key") == 1
        caches["default"].delete("key")
        assert is_hit(texts)
    finally:
        raw("DROP TABLE of_django_s_cache")
        tracked_models.known_tables.cache_clear()


def test_db_cascade_and_db_set_null_invalidate(store):
    """Django 6.1 adds them; each kind of delete triggers them."""
    from tests.shop import models

    if not hasattr(models, "Shelf"):
        pytest.skip("this Django has no cascades in the database")
    for delete in (
        lambda shelf: shelf.delete(),
        lambda shelf: models.Shelf.objects.filter(pk=shelf.pk).delete(),
        lambda shelf: raw("DELETE FROM shop_shelf"),
    ):
        shelf = models.Shelf.objects.create(name="s")
        box = models.Box.objects.create(shelf=shelf, name="b")
        models.Note.objects.create(box=box, text="n")
        read = lambda: (models.Box.objects.count(), list(models.Note.objects.values_list("text", "box")))
        assert read() == read() == (1, [("n", box.pk)])
        delete(shelf)
        assert read() == (0, [("n", None)])
        models.Note.objects.all().delete()


def test_a_change_of_the_schema_invalidates_the_table(is_hit):
    """This applies to the migration and to its reverse."""
    read = lambda: [label.text for label in Label.objects.all()]
    read()
    text = Label._meta.get_field("text")
    longer = models.CharField(max_length=60, unique=True)
    longer.set_attributes_from_name("text")
    longer.model = Label
    for old, new in ((text, longer), (longer, text)):
        assert is_hit(read)
        with connection.schema_editor() as editor:
            editor.alter_field(Label, old, new)
        assert not is_hit(read)


def test_a_data_migration_invalidates():
    """It writes through historical models, in bulk and row by row."""
    Label.objects.create(text="one")
    read = lambda: sorted(label.text for label in Label.objects.all())

    def rename(apps, editor):
        historical = apps.get_model("shop", "Label")
        assert historical is not Label
        historical.objects.update(text="all")
        added = historical.objects.create(text="two")
        added.text = "three"
        added.save()

    state = ProjectState.from_apps(apps)
    read()
    with connection.schema_editor(atomic=True) as editor:
        RunPython(rename).database_forwards("shop", editor, state, state)
    assert "all" in read()
    assert "three" in read()


def test_rows_of_insert_returning_can_be_fetched_later():
    """The invalidation does not commit before the rows are fetched."""
    if not connection.features.can_return_columns_from_insert:
        pytest.skip("it returns no rows")
    Label.objects.filter(text="new").count()
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO shop_label (text) VALUES ('new'), ('newer') RETURNING text")
        assert sorted(cursor.fetchall()) == [("new",), ("newer",)]
    assert Label.objects.filter(text="new").count() == 1
