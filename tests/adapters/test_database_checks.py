"""The system check for columns that the database compares in another way than their fields declare."""

import contextlib

import pytest
from django.core.checks import Tags, run_checks
from django.db import DatabaseError, connection, models

from cacheops_lite import database_checks
from cacheops_lite.schema import database_columns
from tests.property.differential import uncached
from tests.shop.models import Club, Product, Ticket

pytestmark = pytest.mark.django_db(transaction=True)


def column_warnings():
    checked = run_checks(tags=[Tags.database], databases=["default"])
    return [each for each in checked if each.id == "cacheops_lite.W006"]


def execute(*statements):
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def test_columns_that_compare_as_their_fields_declare_are_not_reported():
    """The models of the tests do, also those with other collations and types."""
    assert column_warnings() == []


# Since Django 6.1 its own checks of fields query the features of each database.
@pytest.mark.django_db(transaction=True, databases=["default", "replica", "other"])
def test_checks_without_databases_do_not_query_them():
    """The columns are only checked if the call names databases."""
    assert not [each for each in run_checks() if each.id == "cacheops_lite.W006"]


# The column, its type, and the text of the warning.
POSTGRESQL = [
    ("shop_club.name", "citext", "differ only in case"),
    ("shop_club.name", "spelling", "differ only in case"),
    ("shop_club.name", "nested_spelling", "differ only in case"),
    ("shop_club.name", "varchar(50) COLLATE caseless", "collation caseless"),
    ("shop_club.name", "char(50)", "pads texts"),
    ("shop_club.name", "varchar(20)", "cuts off spaces after 20"),
    ("shop_club.name", "short", "cuts off spaces after 9"),
    ("shop_club.name", "name", "63 bytes"),
    ("shop_club.name", "xml", "not the type that the field stores"),
    ("shop_club.name", "varchar(50)", None),
    ("shop_club.name", "varchar(51)", None),
    ("shop_club.name", "varchar", None),
    ("shop_club.name", "text", None),
    ("shop_club.name", 'text COLLATE "C"', None),
    ("shop_club.name", "size", None),
    ("shop_ticket.id", "varchar(36)", "not the type that the field stores"),
    ("shop_product.views", "double precision", "not exact integers"),
    ("shop_product.views", "real", "6 digits"),
    ("shop_product.views", "numeric", None),
    ("shop_product.views", "bigint", None),
    ("shop_product.price", "money", "cents"),
    ("shop_product.price", "numeric", "1.0 and 1.00"),
    ("shop_product.price", "numeric(8, 1)", "rounds to 1 decimal places"),
    ("shop_product.price", "numeric(8, 3)", None),
    ("shop_product.price", "integer", "rounds to 0 decimal places"),
    ("shop_product.weight", "real", "6 digits"),
    ("shop_product.weight", "numeric", "more or fewer digits"),
    ("shop_product.day", "timestamptz", "not the type that the field stores"),
    ("shop_product.added", "timestamptz(0)", "keeps 0 decimal places of a second"),
    ("shop_product.added", "timestamptz(6)", None),
    ("shop_product.added", "timestamp", "no time zone"),
    ("shop_product.category_id", "numeric(10, 0)", None),
]
MYSQL = [
    ("shop_club.name", "varchar(50) COLLATE utf8mb4_bin", None),
    ("shop_club.name", "char(50)", None),
    ("shop_club.name", "text", None),
    ("shop_club.name", "binary(50)", "pads texts"),
    ("shop_product.views", "double", "not exact integers"),
    ("shop_product.views", "varchar(20)", "not the type that the field stores"),
    ("shop_product.views", "bigint unsigned", None),
    ("shop_product.views", "year", "1970"),
    ("shop_product.visible", "bit(1)", "bytes"),
    ("shop_product.price", "decimal(8, 1)", "rounds to 1 decimal places"),
    ("shop_product.price", "decimal(9, 3)", None),
    ("shop_product.price", "double", "not exact integers"),
    ("shop_product.weight", "float", "6 digits"),
    ("shop_product.weight", "double(8, 2)", "rounds to 2 decimal places"),
    ("shop_product.added", "datetime", "keeps 0 decimal places of a second"),
    ("shop_product.added", "datetime(3)", "keeps 3 decimal places of a second"),
    ("shop_product.added", "timestamp(6) NULL", "time zone"),
    ("shop_product.day", "datetime", "not the type that the field stores"),
]
SQLITE = [
    ("shop_club.name", "varchar(50) COLLATE NOCASE", "collation NOCASE"),
    ("shop_club.name", "varchar(50) COLLATE RTRIM", "collation RTRIM"),
    ("shop_club.name", "string", "converts texts to numbers"),
    ("shop_club.name", "int", "converts texts to numbers"),
    ("shop_club.name", "real", "15 digits"),
    ("shop_club.name", "text", None),
    ("shop_club.name", "blob", None),
    ("shop_ticket.id", "uuid", "converts texts to numbers"),
    ("shop_product.views", "double", "15 digits"),
    ("shop_product.views", "decimal", None),
    ("shop_product.visible", "varchar(1)", "converts numbers to texts"),
    ("shop_product.price", "text", "converts numbers to texts"),
    ("shop_product.price", "real", None),
    ("shop_product.weight", "decimal", None),
    ("shop_product.weight", "text", "converts numbers to texts"),
    ("shop_product.day", "text", None),
    ("shop_product.added", "varchar(30)", None),
]
CASES = {"postgresql": POSTGRESQL, "mysql": MYSQL, "sqlite": SQLITE}[connection.vendor]
MODELS = {"shop_club": Club, "shop_ticket": Ticket, "shop_product": Product}
TYPES = [
    "CREATE EXTENSION IF NOT EXISTS citext",
    "CREATE DOMAIN spelling AS citext",
    "CREATE DOMAIN nested_spelling AS spelling",
    "CREATE DOMAIN short AS varchar(9)",
    "CREATE TYPE size AS ENUM ('big', 'small')",
    "CREATE COLLATION caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
]
NO_TYPES = [
    "DROP DOMAIN nested_spelling, spelling, short",
    "DROP TYPE size",
    "DROP COLLATION caseless",
]


@contextlib.contextmanager
def altered_column(place, kind):
    """Replace the table temporarily by one whose column has another type."""
    table, column = place.split(".")
    quote = connection.ops.quote_name
    columns = [f"{quote(name)} {kind if name == column else typed}" for name, typed in columns_of(table)]
    execute(f"ALTER TABLE {table} RENAME TO {table}_kept")
    try:
        execute(*(TYPES if connection.vendor == "postgresql" else ()))
        execute(f"CREATE TABLE {table} ({', '.join(columns)})")
        yield MODELS[table]
    finally:
        with contextlib.suppress(DatabaseError):
            execute(f"DROP TABLE {table}")
        execute(f"ALTER TABLE {table}_kept RENAME TO {table}")
        execute(*(NO_TYPES if connection.vendor == "postgresql" else ()))


def columns_of(table):
    fields = MODELS[table]._meta.local_concrete_fields
    return [
        (
            connection.ops.quote_name(each.column).strip('"`'),
            each.db_parameters(connection)["type"].replace(" AUTO_INCREMENT", ""),
        )
        for each in fields
    ]


@pytest.mark.parametrize(("place", "kind", "problem"), CASES)
def test_a_column_that_compares_otherwise_is_reported(place, kind, problem):
    """The cause may be its type, also behind a domain, its size or its collation; other columns are not reported."""
    with altered_column(place, kind) as model:
        messages = column_warnings()
    if problem is None:
        assert messages == []
        return
    (message,) = messages
    column = place.partition(".")[2]
    assert place in message.msg
    assert problem in message.msg
    assert message.obj is next(each for each in model._meta.local_concrete_fields if each.column == column)
    assert "CACHEOPS_SKIP_FIELDS" in message.hint
    assert column_warnings() == []


def test_a_column_with_another_collation_than_its_binary_field_is_reported():
    """On MariaDB, fields without a collation are compared coarsely enough for all collations."""
    if connection.vendor != "mysql":
        pytest.skip("the other databases do not treat such fields differently")
    field = Club._meta.get_field("name")
    field.db_collation = "utf8mb4_bin"
    try:
        from cacheops_lite.schema import columns

        columns.tokenizer.cache_clear()
        columns.comparison_tokenizer.cache_clear()
        with altered_column("shop_club.name", "varchar(50) COLLATE utf8mb4_general_ci"):
            (message,) = column_warnings()
        assert "utf8mb4_general_ci" in message.msg
    finally:
        field.db_collation = None
        columns.tokenizer.cache_clear()
        columns.comparison_tokenizer.cache_clear()


def test_columns_of_views_are_not_reported(store):
    """A view is invalidated by any write to the tables that it reads."""
    if connection.vendor == "mysql":
        pytest.skip("MySQL has no type that compares more coarsely")
    kind = "CAST(text AS char(50))" if connection.vendor == "postgresql" else "text COLLATE NOCASE"
    execute(f"CREATE VIEW shop_tag AS SELECT id, {kind} AS text FROM shop_label")
    try:
        assert column_warnings() == []
    finally:
        execute("DROP VIEW shop_tag")


def test_an_unreadable_catalog_raises_no_error(monkeypatch, caplog):
    """Migrations continue."""

    def fail(*args):
        raise DatabaseError("permission denied")

    monkeypatch.setattr("cacheops_lite.database_checks.columns_of", fail)
    with caplog.at_level("WARNING", "cacheops_lite"):
        assert column_warnings() == []
    assert "permission denied" in caplog.text


def test_a_reported_column_can_give_a_stale_result(store):
    """A column that pads also finds values with other trailing spaces, which its field does not know."""
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL's")
    execute("ALTER TABLE shop_club ALTER name TYPE char(50)")
    try:
        assert column_warnings() != []
        read = lambda: Club.objects.filter(name="a ").count()
        assert read() == 0
        Club.objects.create(name="a")
        assert (read(), uncached(read)) == (0, 1)
    finally:
        execute("ALTER TABLE shop_club ALTER name TYPE varchar(50)")


@pytest.mark.parametrize(
    ("declared", "affinity"),
    [
        ("BIGINT", "integer"),
        ("varchar(3)", "text"),
        ("CHARINT", "integer"),
        ("", "blob"),
        ("DOUBLE PRECISION", "real"),
        ("decimal(3, 1)", "numeric"),
        ("STRING", "numeric"),
    ],
)
def test_affinities_follow_the_rules_of_sqlite(declared, affinity):
    """The first rule that matches applies."""
    assert database_columns.affinity(declared) == affinity


@pytest.mark.parametrize(
    ("definition", "collations"),
    [
        ('CREATE TABLE "t" ("a" text COLLATE NOCASE, "b" text)', {"a": "NOCASE"}),
        (
            "CREATE TABLE t (a text collate nocase NOT NULL,\n b varchar(1, 2) COLLATE rtrim)",
            {"a": "NOCASE", "b": "RTRIM"},
        ),
        ("CREATE TABLE t ([a b] text -- COLLATE NOCASE\n, `c` text COLLATE own)", {"c": "OWN"}),
        ("CREATE TABLE t (a text DEFAULT ', b COLLATE NOCASE', CHECK (a IN ('x', 'y')))", {}),
    ],
)
def test_collations_are_parsed_from_table_definitions(definition, collations):
    """The definitions may be written by hand."""
    assert database_columns.collations_in(definition) == collations


@pytest.mark.parametrize(
    ("kind", "field", "problem"),
    [
        ("time(0)", models.TimeField(), "keeps 0 decimal places of a second"),
        ("time", models.TimeField(), None),
        ("time with time zone", models.TimeField(), "not the type that the field stores"),
        ("interval", models.DurationField(), None),
        ("interval(3)", models.DurationField(), "keeps 3 decimal places of a second"),
        ("interval day to minute", models.DurationField(), "keeps 0 decimal places of a second"),
        ("numeric(5, -2)", models.IntegerField(), "rounds to -2 decimal places"),
        ("numeric(5, 2)", models.DecimalField(max_digits=5, decimal_places=2), None),
        ("numeric", models.DecimalField(), None),
        ("numeric(5, 2)", models.DecimalField(), "rounds to 2 decimal places"),
        ("integer", models.DecimalField(max_digits=5, decimal_places=0), None),
        ("uuid", models.UUIDField(), None),
        ("char(3)", models.CharField(max_length=3), "pads texts"),
    ],
)
def test_limits_of_types_are_read_from_the_catalog(kind, field, problem):
    """PostgreSQL's catalog stores them in one number."""
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL's")
    execute(f"CREATE TABLE made_by_hand (value {kind})")
    try:
        column = database_columns.columns_of(connection, {"made_by_hand"})["made_by_hand", "value"]
    finally:
        execute("DROP TABLE made_by_hand")
    reported = database_checks.problem_of(column, field, "postgresql")
    assert reported is None if problem is None else problem in reported
