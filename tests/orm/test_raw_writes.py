"""Raw SQL of every kind that a database accepts invalidates, at its commit."""

import pytest
from django.db import connection, transaction

from tests.conftest import counted_reads
from tests.property.differential import uncached
from tests.shop.models import Category, Label, Product

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def shop(store):
    """Create labels 1 to 3 and a product in a category."""
    Label.objects.bulk_create(Label(pk=pk, text=text) for pk, text in enumerate("abc", start=1))
    Product.objects.create(pk=1, sku="s", name="a", category=Category.objects.create(pk=1, name="a"))


def run(*statements):
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def many(statement, rows):
    with connection.cursor() as cursor:
        cursor.executemany(statement, rows)


SQLITE, POSTGRESQL, MARIADB = "sqlite", "postgresql", "mysql"
ALL = (SQLITE, POSTGRESQL, MARIADB)
# Each case: the databases that support it, and statements that change labels.
STATEMENTS = {
    "INSERT": (ALL, "INSERT INTO shop_label (id, text) VALUES (9, 'x')"),
    "INSERT of a SELECT": (ALL, "INSERT INTO shop_label (id, text) SELECT id + 10, sku FROM shop_product"),
    "an upsert": (
        (SQLITE, POSTGRESQL),
        "INSERT INTO shop_label (id, text) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET text = excluded.text",
    ),
    "ON DUPLICATE KEY": (
        (MARIADB,),
        "INSERT INTO shop_label (id, text) VALUES (1, 'x') ON DUPLICATE KEY UPDATE text = VALUES(text)",
    ),
    "REPLACE": ((SQLITE, MARIADB), "REPLACE INTO shop_label (id, text) VALUES (1, 'x')"),
    "INSERT OR REPLACE": ((SQLITE,), "INSERT OR REPLACE INTO shop_label (id, text) VALUES (1, 'x')"),
    "UPDATE": (ALL, "UPDATE shop_label SET text = 'x' WHERE id = 1"),
    "UPDATE in odd spelling": (ALL, "\n\t update/**/SHOP_LABEL -- of all\n set text = 'x' WHERE id = 1".lower()),
    "UPDATE OR": ((SQLITE,), "UPDATE OR IGNORE shop_label SET text = 'x' WHERE id = 1"),
    "UPDATE by another table": (
        (SQLITE, POSTGRESQL),
        "UPDATE shop_label SET text = sku FROM shop_product WHERE shop_product.id = shop_label.id",
    ),
    "UPDATE of a schema's table": (
        (POSTGRESQL,),
        'UPDATE ONLY "public"."shop_label" AS l SET text = \'x\' WHERE id = 1',
    ),
    "UPDATE of two tables": (
        (MARIADB,),
        "UPDATE shop_product p JOIN shop_label l ON l.id = p.id SET l.text = 'x', p.name = 'x'",
    ),
    "DELETE": (ALL, "DELETE FROM shop_label WHERE id = 1"),
    "DELETE by another table": ((POSTGRESQL,), "DELETE FROM shop_label l USING shop_product p WHERE p.id = l.id"),
    "DELETE of two tables": (
        (MARIADB,),
        "DELETE l, p FROM shop_label l JOIN shop_product p ON p.id = l.id",
    ),
    "MERGE": (
        (POSTGRESQL,),
        "MERGE INTO shop_label l USING shop_product p ON p.id = l.id WHEN MATCHED THEN UPDATE SET text = p.sku",
    ),
    "MERGE that deletes": (
        (POSTGRESQL,),
        "MERGE INTO shop_label l USING shop_product p ON p.id = l.id WHEN MATCHED THEN DELETE",
    ),
    "TRUNCATE": ((POSTGRESQL,), "TRUNCATE shop_product_labels, shop_label"),
    "a common table expression": (
        (SQLITE, POSTGRESQL),
        "WITH n AS (SELECT 'x' AS word) UPDATE shop_label SET text = (SELECT word FROM n) WHERE id = 1",
    ),
    "a writing common table expression": (
        (POSTGRESQL,),
        "WITH gone AS (DELETE FROM shop_label WHERE id = 1 RETURNING id) SELECT COUNT(*) FROM gone",
    ),
    "RETURNING": ((SQLITE, POSTGRESQL), "UPDATE shop_label SET text = 'x' WHERE id = 1 RETURNING text"),
    "DO": ((POSTGRESQL,), "DO $$ BEGIN UPDATE shop_label SET text = 'x' WHERE id = 1; END $$"),
    "a prepared statement": (
        (POSTGRESQL,),
        "PREPARE renaming AS UPDATE shop_label SET text = 'x' WHERE id = 1",
        "EXECUTE renaming",
        "DEALLOCATE renaming",
    ),
    "a statement prepared from a string": (
        (MARIADB,),
        "PREPARE renaming FROM 'UPDATE shop_label SET text = ''x'' WHERE id = 1'",
        "EXECUTE renaming",
        "DEALLOCATE PREPARE renaming",
    ),
    "EXECUTE IMMEDIATE": ((MARIADB,), "EXECUTE IMMEDIATE 'UPDATE shop_label SET text = ''x'' WHERE id = 1'"),
}
# These statements may commit: they invalidate at once.
MAY_COMMIT = ["DO", "a statement prepared from a string", "EXECUTE IMMEDIATE"]
CASES = [(name, *case) for name, (vendors, *case) in STATEMENTS.items() if connection.vendor in vendors]


@pytest.mark.parametrize("in_transaction", [False, True])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_a_raw_statement_invalidates_at_once_or_at_its_commit(case, in_transaction):
    """In autocommit it invalidates at once; in a transaction at the commit, and not after a rollback."""
    read = lambda: list(Label.objects.order_by("pk").values_list("pk", "text"))
    products = lambda: list(Product.objects.values_list("name", flat=True))
    before = read(), products()
    if in_transaction:
        with transaction.atomic():
            run(*case[1:])
            assert read() == uncached(read) != before[0]
            transaction.set_rollback(True)
        with counted_reads() as counted:
            assert (read(), products()) == before
        assert (case[0] in MAY_COMMIT) == bool(counted.misses)
    else:
        run(*case[1:])
        assert read() == uncached(read) != before[0]
        assert products() == uncached(products)


@pytest.mark.parametrize("in_transaction", [False, True])
def test_executemany_invalidates(in_transaction):
    read = lambda: list(Label.objects.order_by("pk").values_list("pk", "text"))
    read()
    rows = [["x", 1], ["y", 2]]
    if in_transaction:
        with transaction.atomic():
            many("UPDATE shop_label SET text = %s WHERE id = %s", rows)
    else:
        many("UPDATE shop_label SET text = %s WHERE id = %s", rows)
    assert read() == [(1, "x"), (2, "y"), (3, "c")]
