"""Models on database views: writes to the underlying tables, and writes through a view, are invalidated."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection

from cacheops_lite import cached_as, invalidate_model
from tests.shop.models import Category, Label, Listed, ListedTwice, Product, Tag, Unwatched

pytestmark = pytest.mark.django_db(transaction=True)

LISTED = """CREATE VIEW shop_listed AS SELECT p.id AS id, p.name AS name, c.name AS category
    FROM shop_product p LEFT JOIN shop_category c ON c.id = p.category_id"""
LISTED_TWICE = "CREATE VIEW shop_listedtwice AS SELECT id, name FROM shop_listed WHERE category <> 'none'"
TAGS = "CREATE VIEW shop_tag AS SELECT id, text FROM shop_label"
# Rows of a view with DISTINCT can't be locked.
DISTINCT_TAGS = "CREATE VIEW shop_tag AS SELECT DISTINCT id, text FROM shop_label"
TAGS_OF_OTHERS = "CREATE VIEW shop_tag AS SELECT id, name AS text FROM shop_unwatched"
FUNCTION = """CREATE OR REPLACE FUNCTION shop_write_tag() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    {} RETURN {}; END $$"""
STATEMENTS = {
    "INSERT": "INSERT INTO shop_label (text) VALUES (NEW.text);",
    "UPDATE": "UPDATE shop_label SET text = NEW.text WHERE id = OLD.id;",
    "DELETE": "DELETE FROM shop_label WHERE id = OLD.id;",
}


def execute(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.fixture
def views(store):
    """Return a function that creates views, which are dropped at the end."""

    def make(*definitions):
        for each in definitions:
            execute(each)

    yield make
    for name in ("shop_listedtwice", "shop_listed", "shop_tag", "shop_product_names"):
        execute(f"DROP VIEW IF EXISTS {name}")


def write_by_triggers():
    """Create triggers that redirect writes of tags to labels."""
    for verb, statement in STATEMENTS.items():
        if connection.vendor == "sqlite":
            execute(f"CREATE TRIGGER tag_{verb} INSTEAD OF {verb} ON shop_tag BEGIN {statement} END")
        else:
            execute(FUNCTION.format(statement, "OLD" if verb == "DELETE" else "NEW").replace("_tag", f"_tag_{verb}"))
            execute(
                f"CREATE TRIGGER tag_{verb} INSTEAD OF {verb} ON shop_tag FOR EACH ROW "
                f"EXECUTE FUNCTION shop_write_tag_{verb}()"
            )


def listed():
    return list(Listed.objects.order_by("pk").values_list("name", "category"))


def name_or_none(model, **condition):
    try:
        return str(model.objects.get(**condition).name)
    except model.DoesNotExist:
        return None


@pytest.mark.parametrize(
    "read",
    [
        listed,
        lambda: [each.name for each in Listed.objects.all()],
        lambda: name_or_none(Listed, pk=1),
        lambda: Listed.objects.filter(category="pens").count(),
        lambda: sorted(ListedTwice.objects.values_list("name", flat=True)),
        lambda: [each.name for each in Listed.objects.raw("SELECT * FROM shop_listed").cache()],
        lambda: [each.text for each in Label.objects.filter(pk__in=Listed.objects.values("pk"))],
        cached_as(Listed)(lambda: len(Listed.objects.nocache())),
    ],
)
def test_a_write_to_a_table_is_seen_in_a_view_of_it(views, is_hit, read):
    """This includes a view of another view."""
    views(LISTED, LISTED_TWICE)
    pens = Category.objects.create(name="pens")
    product = Product.objects.create(pk=1, sku="a", name="a", category=pens)
    Label.objects.create(pk=2, text="of the second")
    before = read()
    assert is_hit(read)
    assert read() == before
    product.name = "b"
    product.save()
    Product.objects.create(pk=2, sku="c", name="c", category=pens)
    after = read()
    assert after != before
    assert is_hit(read)
    pens.delete()
    assert read() != after


def save(tag):
    tag.text = "new"
    tag.save()


def update(tag):
    Tag.objects.filter(pk=tag.pk).update(text="new")


def invalidated_update(tag):
    Tag.objects.filter(pk=tag.pk).invalidated_update(text="new")


def delete(tag):
    tag.delete()


def delete_all(tag):
    Tag.objects.all().delete()


def create(tag):
    Tag.objects.create(text="new")


def create_many(tag):
    Tag.objects.bulk_create([Tag(text="new")])


def raw(tag):
    execute("UPDATE shop_tag SET text = 'new'")


@pytest.mark.parametrize("definition", [TAGS, DISTINCT_TAGS])
@pytest.mark.parametrize(
    "write", [save, update, invalidated_update, delete, delete_all, create, create_many, raw], ids=lambda f: f.__name__
)
def test_a_write_to_a_view_is_seen_in_the_table_that_it_reads(views, definition, write):
    """This applies also if the rows of the view can't be locked."""
    if definition is DISTINCT_TAGS and connection.vendor == "mysql":
        pytest.skip("it can't be written")
    if write is save and connection.vendor == "sqlite":
        pytest.skip("it does not count what triggers update, so that Django inserts")
    views(definition)
    if definition is DISTINCT_TAGS or connection.vendor == "sqlite":
        write_by_triggers()

    def read():
        return sorted(Label.objects.values_list("text", flat=True)), sorted(Tag.objects.values_list("text", flat=True))

    Label.objects.create(text="old")
    (tag,) = Tag.objects.all()
    assert read() == (["old"], ["old"])
    write(tag)
    texts = sorted(Label.objects.nocache().values_list("text", flat=True))
    assert texts != ["old"]
    assert read() == (texts, texts)


def test_a_write_to_a_view_without_a_profile_is_seen_in_its_table(views, settings):
    """Only the table has a profile."""
    views(TAGS)
    if connection.vendor == "sqlite":
        write_by_triggers()
    settings.CACHEOPS = {"shop.label": {"ops": "all", "timeout": 60}}
    label = Label.objects.create(text="old")
    assert Label.objects.get(pk=label.pk).text == "old"
    update(Tag.objects.get())
    assert Label.objects.get(pk=label.pk).text == "new"


def test_a_view_of_a_table_without_a_profile_is_not_cached(views, caplog):
    """Writes to that table are not tracked."""
    views(TAGS_OF_OTHERS)
    with caplog.at_level("INFO", "cacheops_lite"):
        assert list(Tag.objects.all()) == []
    assert "a table whose model has no profile, so its writes are not followed: shop.Unwatched" in caplog.text
    other = Unwatched.objects.create(name="a")
    assert [each.text for each in Tag.objects.all()] == ["a"]
    assert Tag.objects.get(pk=other.pk).text == "a"
    Unwatched.objects.all().delete()
    assert list(Tag.objects.all()) == []
    assert not Tag.objects.filter(pk=other.pk).exists()
    with pytest.raises(ImproperlyConfigured, match="no profile covers the tables shop_unwatched"):
        Tag.objects.raw("SELECT * FROM shop_tag").cache()


def test_an_unmanaged_table_is_invalidated_as_precisely_as_a_managed_one(store, is_hit):
    """It is distinguished from a view."""
    key = {"sqlite": "integer PRIMARY KEY", "postgresql": "serial PRIMARY KEY"}.get(
        connection.vendor, "integer AUTO_INCREMENT PRIMARY KEY"
    )
    execute(f"CREATE TABLE shop_tag (id {key}, text varchar(50))")
    try:
        one, other = (Tag.objects.create(text=text) for text in ("one", "other"))

        def read():
            return Tag.objects.get(pk=other.pk).text

        read()
        save(one)
        Label.objects.create(text="of another table")
        assert is_hit(read)
        save(other)
        assert read() == "new"
    finally:
        execute("DROP TABLE shop_tag")


def test_a_view_that_depends_on_the_time_is_cached_only_by_cache(views, is_hit):
    """Here the time is read in a view that the view reads."""
    views(f"{LISTED} WHERE p.added IS NULL OR p.added < CURRENT_TIMESTAMP", LISTED_TWICE)
    with pytest.raises(AssertionError, match="does not read through the cache"):
        is_hit(lambda: list(ListedTwice.objects.all()))
    list(ListedTwice.objects.cache())
    assert is_hit(lambda: list(ListedTwice.objects.cache()))


def test_rows_of_an_inheriting_table_are_rows_of_its_parent(store):
    """PostgreSQL partitions behave the same."""
    if connection.vendor != "postgresql":
        pytest.skip("no table inherits")
    execute("CREATE TABLE shop_tag () INHERITS (shop_label)")
    try:

        def read():
            found = [sorted(model.objects.values_list("text", flat=True)) for model in (Label, Tag)]
            assert found == [sorted(model.objects.nocache().values_list("text", flat=True)) for model in (Label, Tag)]
            return found

        Label.objects.create(pk=1, text="label")
        assert read() == [["label"], []]
        tag = Tag.objects.create(pk=2, text="tag")
        assert read() == [["label", "tag"], ["tag"]]
        save(tag)
        assert read() == [["label", "new"], ["new"]]
        label = Label.objects.get(pk=2)
        label.text = "newer"
        label.save()
        assert read() == [["label", "newer"], ["newer"]]
        label.delete()
        assert read() == [["label"], []]
    finally:
        execute("DROP TABLE shop_tag")


def test_a_view_in_a_schema_that_is_added_to_the_search_path_is_found(views):
    """Projects with a schema per tenant change the search path at run time."""
    if connection.vendor != "postgresql":
        pytest.skip("no schemas")
    views("CREATE SCHEMA tenant", TAGS.replace("VIEW shop_tag", "VIEW tenant.shop_tag"))
    try:
        # This reads the views of the database.
        assert Tag.objects.raw("SELECT 1 AS id, 'x' AS text").cache(tables=["shop_tag"])
        execute("SET search_path = tenant, public")
        assert list(Tag.objects.all()) == []
        Label.objects.create(text="label")
        assert [each.text for each in Tag.objects.all()] == ["label"]
    finally:
        execute("SET search_path = public")
        execute("DROP SCHEMA tenant CASCADE")


def test_a_recreated_view_has_new_dependencies(views):
    """A migration may recreate a view, which then reads another table."""
    views(TAGS)
    Label.objects.create(text="label")

    def uncached():
        return sorted(Tag.objects.nocache().values_list("text", flat=True))

    like_tags = cached_as(Tag)(uncached)

    def read():
        found = sorted(Tag.objects.values_list("text", flat=True))
        assert like_tags() == found
        return found

    assert read() == ["label"]
    execute("DROP VIEW shop_tag")
    execute(TAGS.replace("text FROM shop_label", "name AS text FROM shop_category"))
    assert read() == []
    Category.objects.create(name="category")
    assert read() == ["category"]


NAMES = "CREATE VIEW shop_product_names AS SELECT id, text FROM shop_label"
BY_HAND = {
    "postgresql": [
        "UPDATE shop_product_names SET text = 'new'",
        "UPDATE public.shop_product_names SET text = 'new' FROM shop_product",
        "WITH p AS (SELECT * FROM shop_product) UPDATE shop_product_names SET text = 'new' FROM p",
        "WITH q AS (SELECT '5\"'), u AS (UPDATE shop_label SET text = 'new' RETURNING id), w AS (SELECT '\"') SELECT 1",
        "WITH q AS (SELECT '`'), u AS (UPDATE shop_label SET text = 'new' RETURNING id), w AS (SELECT '`') SELECT 1",
        "MERGE INTO shop_product_names n USING shop_product p ON n.id = -p.id WHEN MATCHED THEN DELETE",
        "WITH shop_product_names AS (SELECT 1) UPDATE public.shop_product_names SET text = 'new' FROM shop_product",
        "WITH shop_product_names AS (SELECT 1) UPDATE shop_product_names SET text = 'new' FROM shop_product",
        "EXPLAIN ANALYZE EXECUTE rename",
    ],
    "mysql": [
        "UPDATE shop_product_names SET text = 'new'",
        "UPDATE shop_product_names AS n SET text = CONCAT('new', (SELECT COUNT(*) FROM shop_product))",
        "UPDATE shop_product_names n LEFT JOIN shop_product p ON p.id = n.id SET n.text = 'new'",
        "UPDATE shop_product p RIGHT JOIN shop_product_names n ON p.id = n.id SET n.text = 'new'",
        "UPDATE shop_product p RIGHT JOIN (shop_product_names n) ON p.id = n.id SET n.text = 'new'",
        "INSERT IGNORE shop_product_names (text) SELECT CONCAT('new', COUNT(*)) FROM shop_product",
        "REPLACE shop_product_names (id, text) SELECT 100, CONCAT('newer', COUNT(*)) FROM shop_product",
    ],
    "sqlite": ["/* it's new */ UPDATE shop_label SET text = 'new'"],
}


def test_raw_writes_to_views_and_to_tables_between_quotes_are_seen(views):
    """The name of the view contains the name of another table."""
    views(NAMES)
    Label.objects.create(text="old")
    if connection.vendor == "postgresql":
        execute("PREPARE rename AS UPDATE shop_label SET text = 'new'")

    def read():
        return list(Label.objects.values_list("text", flat=True))

    for statement in BY_HAND[connection.vendor]:
        if statement.startswith("MERGE") and connection.pg_version < 170000:
            continue
        Label.objects.all().delete()
        Label.objects.create(text="old")
        assert read() == ["old"]
        execute(statement)
        assert read() == list(Label.objects.nocache().values_list("text", flat=True)), statement
    if connection.vendor == "postgresql":
        execute("DEALLOCATE rename")


def test_flush_and_manual_invalidation_include_views(views):
    views(LISTED)
    Product.objects.create(sku="a", name="a")
    assert listed() == [("a", None)]
    with connection.cursor() as cursor:
        # This bypasses the statement guard.
        cursor.cursor.execute("UPDATE shop_product SET name = 'b'")
    assert listed() == [("a", None)]
    invalidate_model(Listed)
    assert listed() == [("b", None)]
    call_command("flush", interactive=False, verbosity=0)
    assert listed() == []
