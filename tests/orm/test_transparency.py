"""Transactions, locks, connections and errors behave as without the cache."""

import pytest
from django.core.exceptions import FieldError
from django.db import DatabaseError, connection, connections, transaction
from django.db.backends.signals import connection_created
from django.db.models import Count, F
from django.test import override_settings

from cacheops_lite import invalidate_all
from tests.conftest import in_thread
from tests.shop.models import Category, Label, Product

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def label(store):
    """Create a label and cache reads of it, so that writes read before images."""
    label = Label.objects.create(text="old")
    texts()
    list(Label.objects.filter(text="old"))
    return label


def texts():
    return sorted(Label.objects.values_list("text", flat=True))


def in_session(*statements):
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def save(label):
    label.text = "new"
    label.save()


def update(label):
    Label.objects.filter(pk=label.pk).update(text="new")


def raw(label):
    in_session("UPDATE shop_label SET text = 'new'")


def raw_insert(label):
    in_session("INSERT INTO shop_label (text) VALUES ('new')")


BY_STATEMENTS = {
    "BEGIN": ("BEGIN", "COMMIT", "ROLLBACK"),
    "commented": ("/* a comment */ begin", "commit", "rollback"),
    "START TRANSACTION": ("START TRANSACTION", "COMMIT", "ROLLBACK"),
    "SAVEPOINT": ("SAVEPOINT s", "RELEASE s", "ROLLBACK"),
    "by END": ("BEGIN", "END", "ROLLBACK"),
}
# Statements that the database does not know, or that mean something else there.
UNSUPPORTED = {
    "sqlite": {"START TRANSACTION"},
    "postgresql": {"SAVEPOINT"},
    "mysql": {"SAVEPOINT", "by END"},
}


@pytest.mark.parametrize("is_committed", [True, False])
@pytest.mark.parametrize("write", [save, update, raw, raw_insert], ids=lambda each: each.__name__)
@pytest.mark.parametrize("kind", BY_STATEMENTS)
def test_the_package_does_not_end_a_transaction_begun_by_sql(label, kind, write, is_committed):
    """Reads in it are not cached. Other sessions see its changes after the commit."""
    if kind in UNSUPPORTED[connection.vendor]:
        pytest.skip("not on this database")
    begin, commit, rollback = BY_STATEMENTS[kind]
    in_session(begin)
    try:
        write(label)
        expected = list(Label.objects.nocache().order_by("text").values_list("text", flat=True))
        assert expected != ["old"]
        assert texts() == expected
        if connection.vendor != "sqlite":
            assert in_thread(texts) == ["old"]
    finally:
        in_session(commit if is_committed else rollback)
    assert texts() == (expected if is_committed else ["old"])
    if connection.vendor != "sqlite":
        assert in_thread(texts) == texts()
    # The next write is in autocommit again.
    Label.objects.create(text="next")
    assert "next" in texts()


@pytest.mark.parametrize("is_committed", [True, False])
@pytest.mark.parametrize("write", [save, update, raw, raw_insert], ids=lambda each: each.__name__)
def test_the_package_does_not_end_a_transaction_begun_by_the_driver(label, write, is_committed):
    if connection.vendor == "mysql":
        pytest.skip("its driver does not report open transactions")
    connection.ensure_connection()
    driver = connection.connection
    driver.execute("BEGIN")
    write(label)
    driver.commit() if is_committed else driver.rollback()
    with override_settings(CACHEOPS_ENABLED=False):
        expected = texts()
    assert (expected != ["old"]) is is_committed
    assert texts() == expected


def test_a_read_in_a_transaction_begun_by_sql_is_not_cached(label):
    """It may return an older state than other sessions have committed."""
    if connection.vendor == "sqlite":
        pytest.skip("a writer blocks readers")
    invalidate_all()
    in_session("BEGIN", "SELECT COUNT(*) FROM shop_label")
    in_thread(lambda: Label.objects.update(text="new"))
    texts()
    in_session("ROLLBACK")
    assert texts() == ["new"]


def rows_that_raise():
    yield Label(text="a")
    raise KeyError("a bad line")


REFUSED = {
    "a joined F": lambda: Product.objects.update(name=F("category__name")),
    "an unknown F": lambda: Product.objects.update(name=F("nonsense")),
    "unsaved parents": lambda: Product.objects.bulk_create([Product(category=Category())]),
    "a generator that raises": lambda: Label.objects.bulk_create(rows_that_raise()),
    "a wrong batch_size": lambda: Label.objects.bulk_create([Label(text="a")], batch_size=-1),
    "wrong options": lambda: Label.objects.bulk_create([Label()], ignore_conflicts=True, update_conflicts=True),
}


@pytest.mark.parametrize("write", REFUSED.values(), ids=REFUSED)
def test_a_write_that_django_refuses_leaves_the_transaction_usable(label, write):
    """The package does not send a statement that fails."""
    list(Product.objects.all())
    list(Product.objects.filter(name="x"))
    with transaction.atomic():
        with pytest.raises((ValueError, KeyError, FieldError)):
            write()
        assert Label.objects.nocache().count() == 1


def test_an_invalid_value_raises_django_s_error_in_a_broken_transaction():
    """Django raises it before the package queries the database."""
    list(Product.objects.filter(views=1))
    product = Product.objects.create(sku="s", views=1)
    with transaction.atomic():
        transaction.set_rollback(True)
        product.views = ()
        with pytest.raises(TypeError, match="views"):
            product.save()


def test_writes_of_a_generator_given_to_bulk_create_commit_by_themselves(label):
    """They are committed even if the rows are refused, and raw SQL in the generator invalidates."""

    def rows():
        with transaction.atomic(durable=True):
            Category.objects.create(name="made meanwhile")
        in_session("INSERT INTO shop_label (text) VALUES ('by hand')")
        yield Label(text="old")

    with pytest.raises(DatabaseError):
        Label.objects.bulk_create(rows())
    assert Category.objects.nocache().exists()
    assert texts() == ["by hand", "old"]


def increment(category):
    Category.objects.filter(pk=category.pk).update(name="new")


def save_name(category):
    category.name = "new"
    category.save(update_fields=["name"])


@pytest.mark.parametrize("write", [save_name, increment, lambda category: category.save()])
def test_a_row_is_written_without_waiting_for_transactions_that_refer_to_it(label, write):
    """Otherwise two transactions that each add a child and write its parent would deadlock."""
    if connection.vendor != "postgresql":
        pytest.skip("it has no such locks")
    category = Category.objects.create(name="old")
    names = lambda: list(Category.objects.values_list("name", flat=True))
    names()

    def written():
        in_session("SET lock_timeout = '3s'")
        write(category)
        return True

    with transaction.atomic():
        # An insert of a row with a foreign key takes this lock.
        in_session(f"SELECT 1 FROM shop_category WHERE id = {category.pk} FOR KEY SHARE")
        assert in_thread(written)
    assert names() == [category.name if write is not increment else "new"]


@pytest.mark.parametrize("make", [lambda: connection.copy(), lambda: connections.create_connection("default")])
def test_a_write_by_a_second_connection_invalidates(label, make):
    """The second connection is in autocommit or commits by hand."""
    other = make()
    try:
        for text, by_hand in (("auto", False), ("by hand", True)):
            texts()
            other.set_autocommit(not by_hand)
            with other.cursor() as cursor:
                cursor.execute("UPDATE shop_label SET text = %s", [text])
            if by_hand:
                other.commit()
            assert texts() == [text]
    finally:
        other.close()


class AlternatingRouter:
    """Route reads to the two databases in turn."""

    turn = 0

    def db_for_read(self, model, **hints):
        AlternatingRouter.turn += 1
        return ("default", "other")[AlternatingRouter.turn % 2]

    def db_for_write(self, model, **hints):
        return "default"


READS = {
    "fetch": texts,
    "get": lambda: Label.objects.get().text,
    "count": lambda: Label.objects.filter(text="uncommitted").count(),
    "exists": lambda: Label.objects.filter(text="uncommitted").exists(),
    "aggregate": lambda: Label.objects.filter(text="uncommitted").aggregate(n=Count("pk")),
}


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_read_asks_the_router_once(label, read):
    """The database that is read is also the one whose uncommitted writes are checked."""
    Label.objects.using("other").create(text="old")
    with override_settings(CACHEOPS_ENABLED=False):
        expected = read()
    with override_settings(DATABASE_ROUTERS=["tests.orm.test_transparency.AlternatingRouter"]):
        for _ in range(4):
            invalidate_all()
            AlternatingRouter.turn += 1
            with transaction.atomic():
                Label.objects.using("default").update(text="uncommitted")
                read()
                transaction.set_rollback(True)
            assert [read(), read()] == [expected, expected]
    Label.objects.using("other").all().delete()


def test_an_isolation_level_set_by_a_receiver_of_connection_created_stops_fills(label):
    """The receiver runs before the statement guard is installed."""
    if connection.vendor == "sqlite":
        pytest.skip("it has none")
    statement = {
        "postgresql": "SET default_transaction_isolation = 'repeatable read'",
        "mysql": "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    }[connection.vendor]

    def isolate(connection, **kwargs):
        with connection.connection.cursor() as cursor:
            cursor.execute(statement)

    def reader():
        with transaction.atomic():
            Label.objects.nocache().count()
            in_thread(lambda: Label.objects.update(text="new"))
            texts()
        return True

    invalidate_all()
    connection_created.connect(isolate)
    try:
        assert in_thread(reader)
    finally:
        connection_created.disconnect(isolate)
    assert texts() == ["new"]
