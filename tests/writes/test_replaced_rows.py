"""Writes that replace rows invalidate the rows that they delete, and the rows that the database deletes with them."""

import pytest
from django.db import connection, models, transaction

from tests.property.differential import uncached
from tests.shop import models as shop

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]
has_database_cascades = pytest.mark.skipif(not hasattr(models, "DB_CASCADE"), reason="Django 6.1 brought DB_CASCADE")
SQLITE, POSTGRESQL, MARIADB = "sqlite", "postgresql", "mysql"


def only_on(*vendors):
    return pytest.mark.skipif(connection.vendor not in vendors, reason=f"of {', '.join(vendors)}")


def run(*statements):
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def drain(statement):
    with connection.cursor() as cursor:
        list(cursor.stream(statement))


def script(statement):
    with connection.cursor() as cursor:
        cursor.executescript(statement)


def many(statement, rows):
    with connection.cursor() as cursor:
        cursor.executemany(statement, rows)


# Each statement deletes the row of shelf 1, and so its boxes; the notes of those boxes get NULL.
DELETING = {
    "REPLACE": ((SQLITE, MARIADB), "REPLACE INTO shop_shelf (id, name) VALUES (1, 'x')"),
    "REPLACE without INTO": ((MARIADB,), "REPLACE shop_shelf (id, name) VALUES (1, 'x')"),
    "REPLACE with a modifier": ((MARIADB,), "REPLACE LOW_PRIORITY INTO shop_shelf SET id = 1, name = 'x'"),
    "REPLACE of what is selected": ((SQLITE, MARIADB), "REPLACE INTO shop_shelf SELECT 1, name FROM shop_shelf"),
    "INSERT OR REPLACE": ((SQLITE,), "INSERT OR REPLACE INTO shop_shelf (id, name) VALUES (1, 'x')"),
    "INSERT OR REPLACE in odd spelling": ((SQLITE,), "insert or\nreplace into Shop_Shelf (id, name) values (1, 'x')"),
    "INSERT OR REPLACE of a schema's table": (
        (SQLITE,),
        'INSERT OR REPLACE INTO "main"."shop_shelf" (id, name) VALUES (1, \'x\')',
    ),
    "REPLACE by WITH": (
        (SQLITE,),
        "WITH n AS (SELECT 1 AS id) INSERT OR REPLACE INTO shop_shelf SELECT id, 'x' FROM n",
    ),
    "UPDATE OR REPLACE": ((SQLITE,), "UPDATE OR REPLACE shop_shelf SET id = 1 WHERE id = 3"),
    "DELETE": ((SQLITE, POSTGRESQL, MARIADB), "DELETE FROM shop_shelf WHERE id = 1"),
    "DELETE in a common table expression": (
        (POSTGRESQL,),
        "WITH gone AS (DELETE FROM shop_shelf WHERE id = 1 RETURNING id) SELECT * FROM gone",
    ),
    "DELETE among other statements": (
        (POSTGRESQL,),
        "UPDATE shop_category SET name = 'x'; DELETE FROM shop_shelf WHERE id = 1",
    ),
    "MERGE": (
        (POSTGRESQL,),
        "MERGE INTO shop_shelf s USING (SELECT 1 AS id) n ON n.id = s.id WHEN MATCHED THEN DELETE",
    ),
    "TRUNCATE": ((POSTGRESQL,), "TRUNCATE shop_shelf CASCADE"),
}
OTHERWISE = {
    "stream()": (
        (POSTGRESQL,),
        lambda: drain("WITH gone AS (DELETE FROM shop_shelf WHERE id = 1 RETURNING id) SELECT * FROM gone"),
    ),
    "executescript()": ((SQLITE,), lambda: script("REPLACE INTO shop_shelf (id, name) VALUES (1, 'x');")),
    "executemany()": (
        (SQLITE, MARIADB),
        lambda: many("REPLACE INTO shop_shelf (id, name) VALUES (%s, %s)", [(1, "x"), (2, "x")]),
    ),
}
CASES = {
    name: (lambda what=what: run(what)) if isinstance(what, str) else what
    for name, (vendors, what) in {**DELETING, **OTHERWISE}.items()
    if connection.vendor in vendors
}


@pytest.fixture
def shelves():
    shop.Shelf.objects.create(pk=3, name="empty")
    for pk in (1, 2):
        shelf = shop.Shelf.objects.create(pk=pk, name=f"shelf {pk}")
        box = shop.Box.objects.create(pk=pk, shelf=shelf, name=f"box {pk}")
        shop.Note.objects.create(pk=pk, box=box, text=f"note {pk}")


def boxes():
    return sorted(shop.Box.objects.values_list("name", flat=True))


def notes():
    return sorted(shop.Note.objects.filter(box__isnull=True).values_list("text", flat=True))


def of_shelf():
    return shop.Box.objects.filter(shelf=1).count(), shop.Note.objects.filter(pk=1).values_list(
        "box", flat=True
    ).first()


def check_invalidates(write):
    before = boxes(), notes(), of_shelf()
    assert before == (["box 1", "box 2"], [], (1, 1))
    write()
    after = uncached(boxes), uncached(notes), uncached(of_shelf)
    assert after[:2] != before[:2]
    assert (boxes(), notes(), of_shelf()) == after


@has_database_cascades
@pytest.mark.parametrize("in_transaction", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_database_cascades_of_raw_sql_invalidate(shelves, name, in_transaction):
    """This applies to DB_CASCADE, and to DB_SET_NULL of the rows that are deleted by the cascade."""

    def write():
        with transaction.atomic():
            CASES[name]()

    if in_transaction and name == "executescript()":
        pytest.skip("it commits")
    check_invalidates(write if in_transaction else CASES[name])


@has_database_cascades
@only_on(POSTGRESQL, MARIADB)
@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("REPLACE INTO shop_tag (id, text) VALUES (1, 'x')", marks=only_on(MARIADB)),
        "DELETE FROM shop_tag WHERE id = 1",
        "the ORM",
    ],
)
def test_database_cascades_of_a_delete_through_a_view_invalidate(shelves, statement):
    """The shelf is deleted through a view of the table of shelves."""
    run("CREATE VIEW shop_tag AS SELECT id, name AS text FROM shop_shelf")
    try:
        if statement == "the ORM":
            check_invalidates(lambda: shop.Tag.objects.get(pk=1).delete())
        else:
            check_invalidates(lambda: run(statement))
    finally:
        run("DROP VIEW shop_tag")


@has_database_cascades
@only_on(SQLITE)
def test_database_cascades_of_a_trigger_of_a_view_invalidate(shelves):
    """For any write to the view, its trigger may delete rows of the underlying table."""
    run(
        "CREATE VIEW shop_tag AS SELECT id, name AS text FROM shop_shelf",
        "CREATE TRIGGER tag_update INSTEAD OF UPDATE ON shop_tag BEGIN DELETE FROM shop_shelf WHERE id = OLD.id; END",
    )
    try:
        check_invalidates(lambda: shop.Tag.objects.filter(pk=1).update(text="x"))
    finally:
        run("DROP VIEW shop_tag")


@pytest.fixture
def replacing_labels():
    """A table of labels with ON CONFLICT REPLACE constraints: a plain INSERT or UPDATE deletes the conflicting rows."""
    run(
        "ALTER TABLE shop_label RENAME TO shop_label_kept",
        """CREATE TABLE shop_label (id integer PRIMARY KEY ON CONFLICT REPLACE,
            text varchar(50) NOT NULL DEFAULT 'none' UNIQUE ON CONFLICT REPLACE)""",
    )
    yield
    run("DROP TABLE shop_label", "ALTER TABLE shop_label_kept RENAME TO shop_label")


def rename(pk, text):
    label = shop.Label.objects.get(pk=pk)
    label.text = text
    label.save()


@only_on(SQLITE)
@pytest.mark.parametrize(
    "write",
    [
        lambda: shop.Label.objects.create(pk=3, text="a"),
        lambda: shop.Label.objects.bulk_create([shop.Label(pk=3, text="a")]),
        lambda: shop.Label.objects.filter(pk=2).update(text="a"),
        lambda: rename(2, "a"),
        lambda: shop.Label.objects.bulk_update([shop.Label(pk=2, text="a")], ["text"]),
        lambda: run("UPDATE shop_label SET text = 'a' WHERE id = 2"),
    ],
    ids=["create", "bulk_create", "update", "save", "bulk_update", "raw"],
)
def test_rows_deleted_by_on_conflict_replace_are_invalidated(replacing_labels, write):
    """ON CONFLICT REPLACE is a constraint of SQLite."""
    for pk, text in ((1, "a"), (2, "b")):
        shop.Label.objects.create(pk=pk, text=text)

    def read():
        found = [shop.Label.objects.filter(pk=pk).values_list("text", flat=True).first() for pk in (1, 2, 3)]
        return (
            found,
            shop.Label.objects.filter(pk=1).exists(),
            [each.pk for each in shop.Label.objects.filter(text="a")],
        )

    def got():
        try:
            return shop.Label.objects.get(pk=1).text
        except shop.Label.DoesNotExist:
            return None

    assert (read(), got()) == ((["a", "b", None], True, [1]), "a")
    write()
    assert (read(), got()) == (uncached(read), None)


def test_a_raw_upsert_during_bulk_create_invalidates(monkeypatch):
    """The images of the inserted rows do not cover the row that the upsert updates."""
    shop.Label.objects.create(pk=1, text="a")
    upsert = {
        MARIADB: "INSERT INTO shop_label (id, text) VALUES (1, 'x') ON DUPLICATE KEY UPDATE text = VALUES(text)"
    }.get(
        connection.vendor,
        "INSERT INTO shop_label (id, text) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET text = excluded.text",
    )
    field = shop.Label._meta.get_field("text")

    def read():
        return shop.Label.objects.filter(pk=1).values_list("text", flat=True).first()

    def pre_save(instance, add):
        run(upsert)
        return instance.text

    assert read() == "a"
    monkeypatch.setattr(field, "pre_save", pre_save)
    shop.Label.objects.bulk_create([shop.Label(pk=2, text="b")])
    assert read() == "x"


@only_on(MARIADB)
@pytest.mark.parametrize("row", [{"views": 10**12}, {"name": "n" * 101}, {"price": "12345678.9"}])
def test_values_adjusted_by_insert_ignore_are_invalidated(row):
    """INSERT IGNORE of MariaDB and MySQL stores the nearest value that the column accepts."""
    stored = {"views": 2**31 - 1, "name": "n" * 100, "price": "999999.99"}
    ((name, _),) = row.items()

    def read():
        return shop.Product.objects.filter(**{name: stored[name]}).count()

    assert read() == 0
    shop.Product.objects.bulk_create([shop.Product(sku="a", **row)], ignore_conflicts=True)
    assert read() == uncached(read) == 1
