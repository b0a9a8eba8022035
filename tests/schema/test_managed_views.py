"""Managed models whose table is in fact a view, as in django-postgres-extra."""

from contextlib import suppress

import pytest
from django.db import DatabaseError, connection, connections, transaction

from cacheops_lite import cached_as
from cacheops_lite.schema import database_catalog, database_views
from cacheops_lite.utils import error_boundary
from cacheops_lite.utils.lru import LruMap
from tests.conftest import in_thread
from tests.property.differential import uncached
from tests.shop.models import Category, Club, Customer, Label, Membership, Person, Product, Unwatched

pytestmark = pytest.mark.django_db(transaction=True)

CLUBS = "CREATE VIEW shop_club AS SELECT id, text AS name FROM shop_label"
SPECIAL = "CREATE VIEW shop_club AS SELECT id, name FROM special_labels"
SPECIAL_LABELS = "CREATE VIEW special_labels AS SELECT id, text AS name FROM shop_label WHERE text <> 'none'"
TRIGGERS = {
    "INSERT": "INSERT INTO shop_label (text) VALUES (NEW.name);",
    "UPDATE": "UPDATE shop_label SET text = NEW.name WHERE id = OLD.id;",
    "DELETE": "DELETE FROM shop_label WHERE id = OLD.id;",
}


def run(*statements):
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def run_unseen(*statements):
    """Run statements that this process does not notice, as if another process ran them."""
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.cursor.execute(statement)


@pytest.fixture
def clubs(store):
    """Return a function that replaces the table of clubs by a view; the table is restored at the end."""
    run("ALTER TABLE shop_club RENAME TO shop_club_kept")

    def make(*definitions, by=run):
        by(*definitions)
        if connection.vendor == "sqlite":
            by(
                *(
                    f"CREATE TRIGGER t_{verb} INSTEAD OF {verb} ON shop_club BEGIN {do} END"
                    for verb, do in TRIGGERS.items()
                )
            )

    yield make
    for kind in ("MATERIALIZED VIEW", "VIEW", "TABLE"):
        with suppress(DatabaseError):
            run(f"DROP {kind} shop_club")
    run("DROP VIEW IF EXISTS special_labels", "ALTER TABLE shop_club_kept RENAME TO shop_club")


def names():
    return sorted(Club.objects.values_list("name", flat=True))


def texts():
    return sorted(Label.objects.values_list("text", flat=True))


def instance_or_none(model=Club, **condition):
    try:
        return str(model.objects.get(**condition))
    except model.DoesNotExist:
        return None


READS = {
    "values": names,
    "instances": lambda: [each.name for each in Club.objects.all()],
    "get": lambda: [each and Club.objects.get(pk=1).name for each in [instance_or_none(pk=1)]],
    "count": lambda: Club.objects.filter(name="a").count(),
    "raw": lambda: [each.name for each in Club.objects.raw("SELECT * FROM shop_club").cache()],
    "a subquery": lambda: [each.text for each in Label.objects.filter(text__in=Club.objects.values("name"))],
    "cached_as": cached_as(Club)(lambda: sorted(Club.objects.nocache().values_list("name", flat=True))),
}


@pytest.mark.parametrize("definitions", [[CLUBS], [SPECIAL_LABELS, SPECIAL]], ids=["a view", "a view of a view"])
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_write_to_a_table_is_seen_in_a_managed_view_of_it(clubs, is_hit, definitions, read):
    """Directly or through another view."""
    clubs(*definitions)
    label = Label.objects.create(pk=1, text="a")
    before = read()
    assert is_hit(read)
    label.text = "b"
    label.save()
    assert read() == uncached(read) != before
    label.delete()
    assert read() == uncached(read)


def save(club):
    club.name = "new"
    # SQLite does not count rows that triggers update, so that Django would insert.
    club.save(force_update=connection.vendor != "sqlite", force_insert=connection.vendor == "sqlite")


def bulk_update(club):
    club.name = "new"
    Club.objects.bulk_update([club], ["name"])


WRITES = {
    "save": save,
    "update": lambda club: Club.objects.filter(pk=club.pk).update(name="new"),
    "invalidated_update": lambda club: Club.objects.filter(pk=club.pk).invalidated_update(name="new"),
    "bulk_update": bulk_update,
    "create": lambda club: Club.objects.create(name="new"),
    "bulk_create": lambda club: Club.objects.bulk_create([Club(name="new")]),
    "delete": lambda club: club.delete(),
    "delete of all": lambda club: Club.objects.all()._raw_delete("default"),
    "raw": lambda club: run("UPDATE shop_club SET name = 'new'"),
}


@pytest.mark.parametrize("in_transaction", [False, True])
@pytest.mark.parametrize("name", WRITES)
def test_a_write_to_a_managed_view_is_seen_in_its_table(clubs, name, in_transaction):
    clubs(CLUBS)
    label = Label.objects.create(text="old")
    Category.objects.create(name="of another table")
    (club,) = Club.objects.all()
    read = lambda: (texts(), names(), Label.objects.filter(pk=label.pk).count())
    assert read() == (["old"], ["old"], 1)
    if in_transaction:
        with transaction.atomic():
            WRITES[name](club)
    else:
        WRITES[name](club)
    assert read() == uncached(read)
    assert read()[0] != ["old"]


def test_copy_into_a_managed_view_is_seen_in_its_table(clubs):
    """A trigger redirects the rows."""
    if connection.vendor != "postgresql":
        pytest.skip("no COPY")
    clubs(CLUBS)
    run(
        "CREATE OR REPLACE FUNCTION shop_copied() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO shop_label (text) VALUES (NEW.name); RETURN NEW; END $$",
        "CREATE TRIGGER copied INSTEAD OF INSERT ON shop_club FOR EACH ROW EXECUTE FUNCTION shop_copied()",
    )
    assert texts() == []
    with connection.cursor() as cursor, cursor.copy("COPY shop_club (name) FROM STDIN") as copy:
        copy.write("new\n")
    assert texts() == ["new"]


def test_a_managed_view_of_a_table_without_a_profile_is_not_cached(clubs):
    """Writes to that table are not tracked."""
    clubs("CREATE VIEW shop_club AS SELECT id, name FROM shop_unwatched")
    other = Unwatched.objects.create(name="a")
    assert (names(), instance_or_none(pk=other.pk) is None) == (["a"], False)
    Unwatched.objects.all().delete()
    assert (names(), instance_or_none(pk=other.pk)) == ([], None)


def test_a_view_created_before_the_process_is_found_on_the_first_connection(clubs, queries):
    """Finding it runs no query that Django would count."""
    clubs(CLUBS, by=run_unseen)
    forget_views()
    label = Label.objects.create(pk=1, text="a")
    connection.close()
    forget_views()
    with queries() as found:
        assert Club.objects.get(pk=1).name == "a"
    assert len(found) == 1
    with queries() as found:
        assert Club.objects.get(pk=1).name == "a"
        assert Club.objects.filter(pk=1).count() == 1
    # The point lookup is not used.
    assert len(found) == 1
    label.text = "b"
    label.save()
    assert Club.objects.get(pk=1).name == "b"


def forget_views():
    """Forget the views of the database, as at the start of the process."""
    database_views.forget("default")


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_views_are_tracked_per_database(clubs):
    """A view in one database is a table in the other."""
    clubs(CLUBS)
    Label.objects.create(pk=1, text="a")
    there = Club.objects.using("other").create(pk=1, name="there")
    assert (Club.objects.get(pk=1).name, Club.objects.using("other").get(pk=1).name) == ("a", "there")
    assert database_views.is_table(Club, "other")
    assert not database_views.is_table(Club, "default")
    there.delete()


@pytest.mark.parametrize("in_transaction", [False, True])
def test_an_unreadable_catalog_disables_caching_and_breaks_no_transaction(store, monkeypatch, caplog, in_transaction):
    """Each write then invalidates everything."""
    Label.objects.create(pk=1, text="a")
    monkeypatch.setattr(error_boundary, "_reported", LruMap(10))
    monkeypatch.setattr(
        database_catalog, "NAMES", dict.fromkeys(database_catalog.NAMES, "SELECT nonsense FROM nowhere")
    )
    forget_views()

    def use():
        assert texts() == ["a"]
        assert Label.objects.get(pk=1).text == "a"
        assert [each.text for each in Label.objects.raw("SELECT * FROM shop_label").cache()] == ["a"]
        run("UPDATE shop_label SET text = 'b'")
        assert texts() == ["b"]
        label = Label.objects.get(pk=1)
        label.text = "c"
        label.save()
        Label.objects.filter(pk=1).update(text="d")
        Label.objects.bulk_create([Label(pk=2, text="e")])

    try:
        with caplog.at_level("WARNING", "cacheops_lite"):
            if in_transaction:
                with transaction.atomic():
                    use()
            else:
                use()
        assert "views" in caplog.text
        assert texts() == uncached(texts) == ["d", "e"]
    finally:
        monkeypatch.undo()
        forget_views()
    assert texts() == ["d", "e"]


def test_an_aborted_transaction_raises_the_error_of_django(store, is_hit):
    """The catalog is not read in it."""
    if connection.vendor != "postgresql":
        pytest.skip("others go on")
    forget_views()
    with pytest.raises(DatabaseError, match="current transaction is aborted"), transaction.atomic():
        forget_views()
        with pytest.raises(DatabaseError, match="nonsense"):
            run("SELECT nonsense")
        texts()
    Label.objects.create(text="a")
    assert texts() == ["a"]
    assert is_hit(texts)


def test_a_failed_connection_raises_the_error_of_django(store, monkeypatch):
    connection.close()
    forget_views()

    def connect():
        raise DatabaseError("there is no database")

    monkeypatch.setattr(connection, "connect", connect)
    with pytest.raises(DatabaseError, match="there is no database"):
        texts()
    with pytest.raises(DatabaseError, match="there is no database"):
        Label.objects.get(pk=1)
    monkeypatch.undo()
    assert texts() == []


def test_views_created_in_a_transaction_are_visible_in_it_only(clubs, is_hit):
    """Other connections find committed views; a rollback to a savepoint restores the table."""
    if connection.vendor != "postgresql":
        pytest.skip("definitions are committed at once, or locked")
    clubs("CREATE TABLE shop_club (id bigint PRIMARY KEY, name varchar(50))")
    Label.objects.create(pk=1, text="a")
    with transaction.atomic():
        point = transaction.savepoint()
        run("DROP TABLE shop_club", CLUBS)
        assert not database_views.is_table(Club, "default")
        transaction.savepoint_rollback(point)
        assert database_views.is_table(Club, "default")
        assert in_thread(lambda: database_views.is_table(Club, "default"))
    assert database_views.is_table(Club, "default")
    run("DROP TABLE shop_club", CLUBS)
    assert names() == ["a"]
    Label.objects.update(text="b")
    assert names() == ["b"]


def test_writes_after_a_definition_do_not_read_the_catalog_again(clubs, monkeypatch):
    """A migration defines tables and fills them in one transaction."""
    clubs(CLUBS)
    catalog_reads = []
    original = database_views._read_views
    monkeypatch.setattr(database_views, "_read_views", lambda using: catalog_reads.append(using) or original(using))
    with transaction.atomic():
        run("ALTER TABLE shop_ticket RENAME TO shop_ticket_kept")
        run("ALTER TABLE shop_ticket_kept RENAME TO shop_ticket")
        Label.objects.create(text="first")
        catalog_reads.clear()
        for number in range(5):
            with transaction.atomic():
                Label.objects.create(text=str(number))
        assert catalog_reads == []
    assert names() == [*"01234", "first"]


def test_statements_that_only_name_a_partition_or_view_clear_no_catalog(store, monkeypatch):
    """Window functions have partitions, and a materialized view is refreshed often."""
    forgotten_databases = []
    assert texts() == []
    monkeypatch.setattr(database_views, "forget", forgotten_databases.append)
    run(
        "INSERT INTO shop_label (id, text) SELECT 1, 'view' WHERE 1 = 0",
        "UPDATE shop_label SET text = (SELECT MAX(n) FROM "
        "(SELECT rank() OVER (PARTITION BY name ORDER BY id) n FROM shop_club) t)",
    )
    if connection.vendor == "postgresql":
        run("CREATE MATERIALIZED VIEW names AS SELECT 1 AS one")
        forgotten_databases.clear()
        run("REFRESH MATERIALIZED VIEW names")
        assert forgotten_databases == []
        run("DROP MATERIALIZED VIEW names")
    else:
        assert forgotten_databases == []


@pytest.fixture
def people():
    """Replace the table of people, the parents of customers, by a view."""
    if connection.vendor == "sqlite":
        pytest.skip("needs views that can be written")
    label = "ALTER TABLE shop_person RENAME TO shop_person_kept"
    run(label, "CREATE VIEW shop_person AS SELECT id, name FROM shop_person_kept")
    yield
    run("DROP VIEW shop_person", "ALTER TABLE shop_person_kept RENAME TO shop_person")


def test_a_parent_model_on_a_view_is_invalidated_with_its_child(store, people):
    """In multi-table inheritance the part of the parent is not a row of its own there."""
    customer = Customer.objects.create(name="a", city="x")
    read = lambda: [(each.name, each.city) for each in Customer.objects.all()]
    parents = lambda: [each.name for each in Person.objects.all()]
    one = lambda: Person.objects.get(pk=customer.pk).name
    assert (read(), parents(), one()) == ([("a", "x")], ["a"], "a")
    customer.name, customer.city = "b", "y"
    customer.save()
    assert (read(), parents(), one()) == ([("b", "y")], ["b"], "b")
    Customer.objects.update(name="c", city="z")
    assert (read(), parents(), one()) == ([("c", "z")], ["c"], "c")
    customer.delete()
    assert (read(), parents()) == ([], [])


def test_rows_of_a_partition_with_a_managed_model_are_rows_of_its_parent(clubs):
    """A partition with an unmanaged model behaves the same."""
    if connection.vendor != "postgresql":
        pytest.skip("a partition has no name of its own")
    run(
        "ALTER TABLE shop_label RENAME TO shop_label_kept",
        "CREATE TABLE shop_label (id bigint, text varchar(50), name varchar(50)) PARTITION BY RANGE (id)",
        "CREATE TABLE shop_club PARTITION OF shop_label FOR VALUES FROM (1) TO (1000)",
    )
    try:
        Label.objects.create(pk=1, text="a")
        read = lambda: list(Club.objects.values_list("pk", "name"))
        assert (read(), texts()) == ([(1, None)], ["a"])
        Label.objects.create(pk=2, text="b")
        assert read() == [(1, None), (2, None)]
        Club.objects.filter(pk=1).delete()
        assert (read(), texts()) == ([(2, None)], ["b"])
    finally:
        run("ALTER TABLE shop_label DETACH PARTITION shop_club", "DROP TABLE shop_label")
        run("ALTER TABLE shop_label_kept RENAME TO shop_label")


def test_joins_and_foreign_keys_to_a_managed_view_are_invalidated(clubs):
    clubs(CLUBS)
    label = Label.objects.create(pk=1, text="a")
    person = Person.objects.create(name="p")
    if connection.vendor == "postgresql":
        run("ALTER TABLE shop_membership DISABLE TRIGGER ALL")
    run("SET foreign_key_checks = 0") if connection.vendor == "mysql" else None
    run("PRAGMA foreign_keys = OFF") if connection.vendor == "sqlite" else None
    try:
        Membership.objects.create(pk=1, club_id=1, person=person)
        reads = [
            lambda: [each.club.name for each in Membership.objects.select_related("club")],
            lambda: Membership.objects.get(pk=1).club.name,
            lambda: Membership.objects.filter(club__name="a").count(),
            lambda: [[each.name for each in person.club_set.all()] for person in Person.objects.all()],
        ]
        assert [read() for read in reads] == [["a"], "a", 1, [["a"]]]
        label.text = "b"
        label.save()
        assert [read() for read in reads] == [["b"], "b", 0, [["b"]]]
    finally:
        Membership.objects.all().delete()
        if connection.vendor == "postgresql":
            run("ALTER TABLE shop_membership ENABLE TRIGGER ALL")
        connection.close()


def test_a_virtual_table_is_invalidated_by_the_table_that_it_reads(clubs):
    """The full-text search of SQLite may read its columns from another table."""
    if connection.vendor != "sqlite":
        pytest.skip("no virtual tables")
    try:
        run("CREATE VIRTUAL TABLE shop_club USING fts5(id, text, content='shop_label', content_rowid='id')")
    except DatabaseError:
        pytest.skip("without fts5")
    Label.objects.create(pk=1, text="a")
    read = lambda: list(Club.objects.values_list("pk", flat=True))
    assert read() == [1]
    Label.objects.create(pk=2, text="b")
    assert read() == [1, 2]


def test_the_catalog_is_read_once_per_process_and_database(store, monkeypatch):
    """New connections, other threads and other models do not read it again."""
    assert texts() == []
    catalog_reads = []
    monkeypatch.setattr(database_views, "_read_views", lambda using: catalog_reads.append(using) or {})
    assert in_thread(texts) == []
    connections["default"].close()
    assert (texts(), Product.objects.count()) == ([], 0)
    assert catalog_reads == []
