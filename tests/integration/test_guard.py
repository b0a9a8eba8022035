"""Writes without signals drop their tables; those that signals describe stay precise, whatever happens around them."""

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
from cacheops_lite.writes.unit_of_work import unit_of_work_on
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
    """As drivers other than SQLite's take it too."""
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
    "raw SQL that is odd": lambda: raw("/* odd */ UPDATE Shop_Product SET name = 'x'".lower()),
    "raw SQL with several tables": lambda: raw(
        "DELETE FROM shop_product WHERE category_id IN (SELECT id FROM shop_category WHERE name = 'pens')"
    ),
    "flush": lambda: call_command("flush", interactive=False, verbosity=0),
}


@pytest.mark.parametrize("in_transaction", [False, True])
@pytest.mark.parametrize("name", WRITES)
def test_every_write_is_noticed(name, in_transaction):
    """Described or not, in autocommit and at commit."""
    before = state()
    if in_transaction:
        with transaction.atomic():
            WRITES[name]()
    else:
        WRITES[name]()
    assert state() == true_state() != before


@pytest.mark.parametrize("name", ["update", "bulk_create", "raw SQL"])
def test_a_write_that_is_rolled_back_drops_nothing(name, is_hit):
    """As if it had never been."""
    state()
    with transaction.atomic():
        WRITES[name]()
        transaction.set_rollback(True)
    assert is_hit(state)


def test_a_write_of_one_table_leaves_others_in_place(is_hit):
    """Also raw SQL, and tables that nobody caches cost nothing."""
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


def test_bulk_create_drops_only_what_its_rows_match(is_hit):
    """Rows that are made in bulk have images."""
    pens, inks = (Category.objects.nocache().get(name=name).pk for name in ("pens", "inks"))
    reads = [lambda pk=pk: Product.objects.filter(category=pk).count() for pk in (pens, inks)]
    assert [read() for read in reads] == [1, 1]
    Product.objects.bulk_create([Product(sku=f"b{i}", name="b", category_id=pens) for i in range(3)])
    assert is_hit(reads[1])
    assert reads[0]() == 4


def test_foreign_keys_that_a_delete_sets_are_noticed():
    """SET_NULL sends no signals."""
    customer = Customer.objects.create(name="c", city="Oslo")
    Ticket.objects.create(subject="s", customer=customer)
    read = lambda: [ticket.customer_id for ticket in Ticket.objects.all()]
    assert read() == [customer.pk]
    customer.delete()
    assert read() == [None]


def test_an_update_of_a_child_drops_its_parent_too():
    """Its columns lie in both tables."""
    Customer.objects.create(name="c", city="Oslo")
    read = lambda: [person.name for person in Person.objects.all()]
    assert read() == ["c"]
    Customer.objects.update(name="d", city="Rome")
    assert read() == ["d"]
    assert [customer.city for customer in Customer.objects.all()] == ["Rome"]


@pytest.fixture
def receive():
    """``receive(signal, function, sender)``: a receiver for the time of a test."""
    connected = []

    def connect(signal, function, sender):
        receiver = lambda **kwargs: function(**kwargs)
        signal.connect(receiver, sender=sender, weak=False)
        connected.append((signal, receiver, sender))

    yield connect
    for signal, receiver, sender in connected:
        signal.disconnect(receiver, sender=sender)


def others(**values):
    """A write of all rows without signals, in a receiver of a signal."""

    def write(**kwargs):
        raw("UPDATE shop_product SET views = views + 10")

    return write


def views_of(sku):
    """A read of one row by its key, which changes of other rows leave in place."""
    pk = product(sku).pk
    return lambda: list(Product.objects.filter(pk=pk).values_list("name", "views"))


@pytest.mark.parametrize("signal", [pre_save, post_save])
@pytest.mark.parametrize("in_transaction", [False, True])
@pytest.mark.parametrize("sku", ["pens", "new"])
def test_what_receivers_write_during_a_save_is_noticed(receive, signal, in_transaction, sku):
    """The save describes its own row, and theirs are dropped."""
    receive(signal, others(), Product)
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
@pytest.mark.parametrize("statement", ["DELETE FROM shop_product WHERE sku = %s", others])
def test_what_receivers_write_during_a_delete_is_noticed(receive, signal, statement):
    """Updates and raw deletes alike."""
    write = others() if statement is others else lambda **kwargs: raw(statement, ["inks"])
    receive(signal, write, Product)
    inks = views_of("inks")
    inks()
    product().delete()
    assert inks() == ([("inks", 10)] if statement is others else [])


@pytest.mark.parametrize("moment", ["pre_add", "post_add", "pre_remove", "post_remove"])
@pytest.mark.parametrize("verb", ["insert", "delete"])
def test_what_receivers_write_during_a_many_to_many_change_is_noticed(receive, moment, verb):
    """Into the same table, with rows of another object."""
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
def test_a_save_that_fails_leaves_nothing_open(field, value):
    """Neither one that Django refuses nor one that the database does."""
    pen = product()
    setattr(pen, field, value)
    with pytest.raises((ValueError, IntegrityError)):
        pen.save()
    assert unit_of_work_on(connection).scope is None
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
def test_a_receiver_that_fails_leaves_nothing_open(receive, signal, step, in_transaction):
    """In any of the signals, in a transaction that goes on or in autocommit."""

    def fail(**kwargs):
        raise RuntimeError

    receive(signal, fail, Product.labels.through if signal is m2m_changed else Product)
    inks = views_of("inks")
    if in_transaction:
        with transaction.atomic():
            with pytest.raises(RuntimeError), transaction.atomic():
                step()
            inks()
            others()()
    else:
        with pytest.raises(RuntimeError):
            step()
        assert unit_of_work_on(connection).scope is None
        inks()
        others()()
    assert inks() == [("inks", 10)]


def test_a_save_that_was_written_and_not_described_drops_its_table(monkeypatch):
    """Whatever came between its statement and its signal."""
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


def test_links_that_fail_leave_nothing_open():
    """Of two that are added the second one is refused."""
    label, pen = Label.objects.create(text="new"), product()
    through = Product.labels.through
    read = lambda: through.objects.count()
    read()
    with pytest.raises(IntegrityError), transaction.atomic():
        pen.labels.add(label)
        through.objects.bulk_create([through(product=pen, label=label)])
    assert unit_of_work_on(connection).scope is None
    assert read() == 0
    through.objects.bulk_create([through(product=pen, label=label)])
    assert read() == 1


def test_no_invalidation_holds_for_all_writes(is_hit):
    """Whatever they are."""
    state()
    with no_invalidation:
        Product.objects.update(views=5)
        Product.objects.bulk_create([Product(sku="b", name="b")])
        raw("UPDATE shop_product SET name = 'x'")
    assert is_hit(state)


def test_a_disabled_cache_lets_all_writes_pass(settings, is_hit):
    """Without a word to Redis."""
    settings.CACHEOPS_ENABLED = False
    for write in ("update", "bulk_create", "raw SQL", "delete"):
        WRITES[write]()
    assert state() == true_state()


def test_sql_that_psycopg_composed_is_understood():
    """Its parts are quoted by the driver."""
    if connection.vendor != "postgresql":
        pytest.skip("psycopg's")
    from psycopg import sql

    state()
    raw(sql.SQL("UPDATE {} SET name = {}").format(sql.Identifier("shop_product"), sql.Literal("x")))
    assert state() == true_state()


def test_a_receiver_that_moves_the_row_itself_is_noticed(receive):
    """What its state matched falls, although the save's own old and new images are equal."""
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


def test_a_receiver_that_inserts_during_an_update_is_noticed(receive):
    """A save of a row that was there inserts nothing."""
    label = Label.objects.create(text="text")
    receive(pre_save, lambda **kwargs: raw("INSERT INTO shop_label (text) VALUES ('raw')"), Label)
    count = lambda: Label.objects.filter(text="raw").count()
    assert count() == 0
    label.save()
    assert count() == 1


def test_a_receiver_that_links_while_there_is_nothing_to_link_is_noticed(receive):
    """add() of what is there already writes nothing itself."""
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
def test_links_after_links_that_failed_are_noticed(receive, in_transaction):
    """The frame of the failed ones is over with their atomic block."""
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
def test_what_a_field_writes_during_a_save_is_noticed(monkeypatch, sku):
    """Some keep order among rows that way, between the signals."""
    saved = Product(sku="new", name="x") if sku == "new" else product(sku)
    inks = views_of("inks")
    inks()
    field = Product._meta.get_field("views")

    def pre_save(instance, add):
        monkeypatch.undo()
        others()()
        return 3

    monkeypatch.setattr(field, "pre_save", pre_save)
    saved.save()
    assert inks() == [("inks", 10)]


def test_several_writes_of_which_one_fails_are_noticed():
    """In autocommit those before it are done."""
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


def check_seen(write, before):
    """`write` is seen in autocommit and in a transaction, where a read does not fill meanwhile."""
    write()
    assert texts() == sorted(Label.objects.nocache().values_list("text", flat=True)) != before


@pytest.fixture
def procedure():
    """A stored procedure that renames labels, behind the database's own language."""
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
def test_what_a_procedure_writes_is_noticed(labels, procedure, in_transaction):
    """Nobody can tell what it does: every table falls."""
    before = texts()
    if in_transaction:
        with transaction.atomic():
            raw("CALL rename_all()")
            assert texts() != before
    else:
        raw("CALL rename_all()")
    assert texts() == sorted(f"new {text}" for text in before)


@pytest.mark.parametrize("in_transaction", [False, True])
def test_what_callproc_does_is_noticed(labels, procedure, in_transaction):
    """It passes no execute wrapper."""

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
def test_what_copy_brings_is_noticed(labels, settings, in_transaction, debug):
    """By psycopg's own method, also through the cursors of DEBUG."""
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL's")
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
def test_statements_that_begin_like_harmless_ones_are_noticed(procedure, vendors, statement):
    """Several in one, and such as run others."""
    if connection.vendor not in vendors:
        pytest.skip("another database's")
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
def test_what_a_procedure_writes_after_its_first_result_is_noticed(labels, call):
    """The server goes on with it when the first result has long been fetched."""
    if connection.vendor != "mysql":
        pytest.skip("others return when all is done")
    steps = "SELECT 1; DO GET_LOCK('go', 20); UPDATE shop_label SET text = 'x'"
    raw(f"CREATE OR REPLACE PROCEDURE slow() BEGIN {steps}; END")
    locked, go, count = threading.Event(), threading.Event(), lambda: Label.objects.filter(text="x").count()

    def hold():
        raw("DO GET_LOCK('go', 20)")
        locked.set()
        go.wait(20)
        counts.append(count())
        connection.close()

    counts, holder = [], threading.Thread(target=hold)
    Label.objects.filter(text="b").delete()
    holder.start()
    assert locked.wait(20)
    with connection.cursor() as cursor:
        cursor.callproc("slow") if call == "callproc" else cursor.execute(call)
        go.set()
        holder.join(20)
    raw("DROP PROCEDURE slow")
    assert counts == [0]
    assert count() == 1


@pytest.mark.parametrize("in_transaction", [False, True])
def test_what_a_driver_s_own_methods_write_is_noticed(labels, in_transaction):
    """They pass no execute wrapper: executescript of SQLite's, stream of psycopg's."""
    update = "UPDATE shop_label SET text = 'x' WHERE text = 'a'"

    def write():
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                cursor.executescript(f"{update};")
            else:
                assert len(list(cursor.stream(f"{update} RETURNING id"))) == 1

    if connection.vendor == "mysql":
        pytest.skip("this driver has none")
    if in_transaction:
        with transaction.atomic():
            write()
            assert texts() == ["b", "x"]
    else:
        write()
    assert texts() == ["b", "x"]


def test_rows_that_a_driver_streams_drop_nothing(labels, is_hit):
    """Only a statement that may write does."""
    if connection.vendor != "postgresql":
        pytest.skip("psycopg's")
    texts()
    with connection.cursor() as cursor:
        assert len(list(cursor.stream("SELECT * FROM shop_label"))) == 2
    assert is_hit(texts)


def test_a_delete_that_a_receiver_commits_and_has_fail_is_noticed(receive):
    """It is not described to its end, and can't be undone."""

    def commit_and_fail(**kwargs):
        raw("COMMIT")
        raise RuntimeError

    receive(post_delete, commit_and_fail, Product)
    before = state()
    with suppress(RuntimeError, DatabaseError):
        product().delete()
    assert state() == true_state() != before


def test_a_write_through_a_view_is_noticed(labels):
    """Django does not know it, so that every table falls."""
    raw("CREATE VIEW a_view AS SELECT id, text FROM shop_label")
    if connection.vendor == "sqlite":
        # By itself a view is read-only there.
        update = "UPDATE shop_label SET text = NEW.text WHERE id = OLD.id"
        raw(f"CREATE TRIGGER through_it INSTEAD OF UPDATE ON a_view BEGIN {update}; END")
    try:
        assert texts() == texts() == ["a", "b"]
        raw("UPDATE a_view SET text = 'x' WHERE text = 'a'")
        assert texts() == ["b", "x"]
    finally:
        raw("DROP VIEW a_view")


def test_a_truncation_that_goes_on_to_other_tables_is_noticed(labels):
    """CASCADE empties those that refer to it."""
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL's")
    assert len(state()) == 2
    raw("TRUNCATE shop_category CASCADE")
    assert state() == []


def test_writes_of_foreign_tables_leave_ours_alone(is_hit, labels):
    """Those of models without a profile, and of migrations."""
    texts()
    raw("UPDATE django_migrations SET app = 'x' WHERE app = 'nobody'")
    raw("UPDATE shop_unwatched SET name = 'x'")
    assert is_hit(texts)


def test_a_cache_in_the_database_leaves_ours_alone(is_hit, labels, settings):
    """Its table has no model, and is written all the time."""
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


def test_what_the_database_deletes_by_itself_is_noticed(store):
    """DB_CASCADE, DB_SET_NULL: of Django 6.1, by every kind of delete."""
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


def test_a_change_of_the_schema_starts_a_new_generation(is_hit):
    """As migrations make it, and it may be undone."""
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


def test_a_data_migration_is_seen():
    """Its models are others than the project's; in bulk, and one by one."""
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


def test_a_raw_write_whose_rows_are_fetched_later_is_done_as_ever():
    """It can't be committed before they are."""
    if not connection.features.can_return_columns_from_insert:
        pytest.skip("it returns no rows")
    Label.objects.filter(text="new").count()
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO shop_label (text) VALUES ('new'), ('newer') RETURNING text")
        assert sorted(cursor.fetchall()) == [("new",), ("newer",)]
    assert Label.objects.filter(text="new").count() == 1
