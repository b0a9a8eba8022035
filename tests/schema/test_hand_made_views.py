"""Raw SQL that names tables in unusual ways, or creates views, is read and invalidated correctly."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, IntegrityError, connection, transaction

from tests.conftest import in_thread
from tests.property.differential import uncached
from tests.shop.models import Category, Label, Tag

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store", "drop_created_objects")]


def only_on(*vendors):
    return pytest.mark.skipif(connection.vendor not in vendors, reason=f"of {', '.join(vendors)}")


def sql(text):
    with connection.cursor() as cursor:
        cursor.execute(text)


@pytest.fixture
def drop_created_objects():
    yield
    # This drops temporary tables as well.
    connection.close()
    kinds = ("MATERIALIZED VIEW", "VIEW", "TABLE")
    for text in [f"DROP {kind} {name}" for name in ("shop_tag", "made_by_hand") for kind in kinds]:
        try:
            sql(text)
        except DatabaseError:
            continue


def labels():
    return sorted(Label.objects.values_list("text", flat=True))


def tags():
    return sorted(Tag.objects.values_list("text", flat=True))


RAW = [
    "WITH x AS (SELECT 1 AS one) SELECT v.id, v.name AS text FROM made_by_hand AS v, x",
    "SELECT v.id, v.name AS text FROM (made_by_hand v JOIN shop_label c ON c.id = v.id)",
    "SELECT v.id, v.name AS text FROM ((made_by_hand v CROSS JOIN shop_label c))",
    "SELECT v.id, v.name AS text FROM (made_by_hand v)",
    "SELECT v.id, v.name AS text FROM (made_by_hand) AS v",
]


@pytest.mark.parametrize("text", RAW)
def test_a_raw_query_of_a_view_is_not_cached(text):
    """The tables that the view reads are unknown, whatever the syntax around its name."""
    Category.objects.create(id=1, name="a")
    Label.objects.create(id=1, text="a")
    sql("CREATE VIEW made_by_hand AS SELECT * FROM shop_category")
    try:
        assert [each.text for each in Label.objects.raw(text)] == ["a"]
    except DatabaseError as error:
        pytest.skip(f"not understood here: {error}")
    with pytest.raises(ImproperlyConfigured):
        list(Label.objects.raw(text).cache())


def test_a_raw_query_with_ctes_is_cached():
    """The names of CTEs are not tables."""
    Label.objects.create(text="a")
    text = "WITH x AS (SELECT id, text FROM shop_label), y AS (SELECT * FROM x) SELECT * FROM y AS z"
    read = lambda: [each.text for each in Label.objects.raw(text).cache()]
    assert read() == ["a"]
    Label.objects.update(text="b")
    assert read() == ["b"]


@only_on("postgresql")
@pytest.mark.parametrize(
    "text",
    [
        "WITH x AS (SELECT name FROM shop_category) DELETE FROM made_by_hand AS v USING x WHERE v.text = x.name",
        "WITH x AS (SELECT 1) UPDATE made_by_hand AS v SET text = 'b'",
    ],
)
def test_a_write_to_a_view_with_an_alias_is_seen(text):
    """The name of the view stands before AS, like the names of CTEs."""
    Label.objects.create(text="a")
    Category.objects.create(name="a")
    sql("CREATE VIEW made_by_hand AS SELECT * FROM shop_label")
    assert labels() == ["a"]
    sql(text)
    assert labels() == uncached(labels) != ["a"]


@only_on("postgresql")
@pytest.mark.parametrize("name", ["SHOP_TAG", "Shop_Tag"])
def test_a_write_to_a_view_in_capitals_is_seen(name):
    """PostgreSQL ignores the case of unquoted names."""
    Label.objects.create(text="a")
    sql("CREATE VIEW shop_tag AS SELECT id, text FROM shop_label")
    assert labels() == ["a"]
    sql(f"UPDATE {name} SET text = 'b'")
    assert labels() == ["b"]


@only_on("postgresql")
@pytest.mark.parametrize("how", ["", "CONCURRENTLY "])
def test_a_view_of_a_materialized_view_is_invalidated_by_its_refresh(how):
    """A write to the underlying table leaves it unchanged."""
    Label.objects.create(text="a")
    sql("CREATE MATERIALIZED VIEW made_by_hand AS SELECT id, text FROM shop_label")
    sql("CREATE UNIQUE INDEX ON made_by_hand (id)")
    sql("CREATE VIEW shop_tag AS SELECT id, text FROM made_by_hand")
    assert tags() == ["a"]
    Label.objects.update(text="b")
    assert tags() == ["a"]
    sql(f"REFRESH MATERIALIZED VIEW {how}made_by_hand")
    assert tags() == uncached(tags) == ["b"]
    sql("DROP VIEW shop_tag")


@only_on("mysql")
@pytest.mark.parametrize("how", ["ANALYZE", "ANALYZE FORMAT=JSON"])
def test_a_write_under_analyze_is_seen(how):
    """ANALYZE executes the write; REPLACE is also the name of a function."""
    Label.objects.create(id=1, text="a")
    assert labels() == ["a"]
    with connection.cursor() as cursor:
        cursor.execute(f"{how} REPLACE shop_label (id, text) VALUES (1, 'b')")
        cursor.fetchall()
    assert labels() == uncached(labels) == ["b"]


@only_on("sqlite")
@pytest.mark.parametrize("in_transaction", [True, False])
def test_rows_that_a_failed_write_keeps_are_seen(in_transaction):
    """OR FAIL keeps the rows before the one that fails."""
    Label.objects.create(id=9, text="a")
    assert labels() == ["a"]
    failing = "INSERT OR FAIL INTO shop_label (id, text) VALUES (1, 'b'), (2, 'a')"
    if in_transaction:
        with transaction.atomic(), pytest.raises(IntegrityError):
            sql(failing)
    else:
        with pytest.raises(IntegrityError):
            sql(failing)
    assert labels() == uncached(labels) == ["a", "b"]


def make_and_drop():
    sql("CREATE TEMPORARY TABLE shop_label (id integer)")
    sql("DROP TABLE shop_label")


def make_and_reconnect():
    sql("CREATE TEMPORARY TABLE shop_label (id integer)")
    connection.close()


def fail_to_make():
    with pytest.raises(DatabaseError):
        sql("CREATE TEMPORARY TABLE shop_label (id nonsense((")


def make_and_undo():
    if connection.vendor == "mysql":
        pytest.skip("they stay")
    with transaction.atomic():
        sql("CREATE TEMPORARY TABLE shop_label (id integer)")
        transaction.set_rollback(True)


@pytest.mark.parametrize("how", [make_and_drop, make_and_reconnect, fail_to_make, make_and_undo])
def test_a_dropped_temporary_table_no_longer_shadows_the_table_of_a_model(how):
    """Writes under that name invalidate again."""
    Label.objects.create(text="a")
    assert labels() == ["a"]
    how()
    assert labels() == ["a"]
    sql("UPDATE shop_label SET text = 'b'")
    assert labels() == ["b"]
    assert in_thread(labels) == ["b"]


def test_a_temporary_table_shadows_the_table_of_a_model_in_its_session_only():
    """Its rows are not shared with other sessions through the cache."""
    Label.objects.create(text="a")
    sql("CREATE TEMPORARY TABLE shop_label (id integer, text varchar(50))")
    assert labels() == uncached(labels) == []
    assert in_thread(labels) == ["a"]
    assert labels() == []


def by_script():
    with connection.cursor() as cursor:
        cursor.executescript("CREATE VIEW shop_tag AS SELECT id, text FROM shop_label;")


def by_another_name():
    sql("CREATE VIEW made_by_hand AS SELECT id, text FROM shop_label")
    kind = "ALTER TABLE made_by_hand RENAME TO" if connection.vendor == "postgresql" else "RENAME TABLE made_by_hand TO"
    sql(f"{kind} shop_tag")


def by_undoing():
    sql("CREATE VIEW shop_tag AS SELECT id, text FROM shop_label")
    with transaction.atomic():
        sql("DROP VIEW shop_tag")
        sql("CREATE TABLE shop_tag (id integer, text varchar(50))")
        sql("INSERT INTO shop_tag VALUES (1, 'x')")
        assert tags() == ["x"]
        transaction.set_rollback(True)


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(by_script, marks=only_on("sqlite")),
        pytest.param(by_another_name, marks=only_on("postgresql", "mysql")),
        pytest.param(by_undoing, marks=only_on("sqlite", "postgresql")),
    ],
)
def test_a_view_is_found_however_it_was_created(how):
    """This applies also if the process has seen before that the view does not exist."""
    Label.objects.create(text="a")
    with pytest.raises(DatabaseError):
        tags()
    how()
    assert tags() == ["a"]
    Label.objects.update(text="b")
    assert tags() == ["b"]
