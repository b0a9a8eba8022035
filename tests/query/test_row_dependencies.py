"""A table that only adds columns to a result is tracked by rows: other rows do not invalidate the result."""

import pytest
from django.db import connection
from django.db.models import Count, Exists, FilteredRelation, OuterRef, Q, Sum
from django.db.models.expressions import RawSQL
from django.db.models.functions import Lower

from cacheops_lite.query import row_dependencies
from cacheops_lite.query.compiler import compile_rows
from cacheops_lite.query.query_walk import QueryWalk
from cacheops_lite.store import keys
from tests.rich.models import Hall
from tests.shop.models import Category, Club, Customer, Label, Membership, Person, Product, Ticket, Warranty
from tests.support import fast_paths

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def shop(store):
    """Two products, each in a category of its own, and rows that belong to neither product."""
    pens, inks, _ = [Category.objects.create(name=name) for name in ("pens", "inks", "none")]
    pens.parent = inks
    pens.save()
    labels = [Label.objects.create(text=text) for text in ("new", "old")]
    for number, category in enumerate([pens, inks]):
        product = Product.objects.create(sku=f"sku{number}", name=f"n{number}", category=category)
        product.labels.add(labels[number])
    Warranty.objects.create(product=product, months=12)
    customers = [Customer.objects.create(name=f"c{number}", city="Oslo") for number in range(2)]
    Customer.objects.create(name="c2", city="Bergen")
    Ticket.objects.create(subject="t", customer=customers[0])
    Ticket.objects.create(subject="nobody's")
    club = Club.objects.create(name="club")
    for customer in customers:
        Membership.objects.create(club=club, person=customer)


def pens():
    return Category.objects.nocache().get(name="pens")


products = Product.objects.filter(sku="sku0")
READS = {
    "select_related": lambda: [each.category.name for each in products.select_related("category")],
    "of all rows": lambda: sorted(each.category.name for each in Product.objects.select_related("category")),
    "get": lambda: Product.objects.select_related("category").get(sku="sku0").category.name,
    "sorted": lambda: [each.category.name for each in products.select_related("category").order_by("category__name")],
    "sliced": lambda: [each.category.name for each in products.select_related("category").order_by("pk")[:5]],
    "values": lambda: list(products.values_list("category", "category__name")),
    "two levels": lambda: [
        (each.category.name, each.category.parent.name) for each in products.select_related("category__parent")
    ],
}


def rename(name):
    category = Category.objects.nocache().get(name=name)
    category.name = "renamed"
    category.save()


@pytest.mark.parametrize("name", READS)
def test_a_result_is_invalidated_by_its_joined_row_only(name, is_hit):
    """A write to another row of the joined table leaves it cached."""
    read = READS[name]
    read()
    rename("none")
    assert is_hit(read)
    Category.objects.create(name="one more")
    assert is_hit(read)
    Category.objects.filter(name="one more").delete()
    assert is_hit(read)
    rename("pens")
    assert not is_hit(read)
    assert "renamed" in str(read())


def test_joined_rows_of_the_second_level_invalidate():
    read = READS["two levels"]
    assert read() == [("pens", "inks")]
    rename("inks")
    assert read() == [("pens", "renamed")]


def test_a_changed_foreign_key_of_a_joined_row_invalidates(is_hit):
    """The next read joins another row."""
    read = READS["two levels"]
    read()
    Category.objects.filter(name="pens").update(parent=Category.objects.nocache().get(name="none"))
    assert read() == [("pens", "none")]
    rename("inks")
    assert is_hit(read)


def test_a_missing_one_to_one_row_invalidates_when_it_is_created(is_hit):
    """Other rows of that table leave the result cached."""
    read = lambda: [hasattr(each, "warranty") for each in products.select_related("warranty")]
    assert read() == [False]
    Warranty.objects.update(months=24)
    assert is_hit(read)
    Warranty.objects.create(product=Product.objects.nocache().get(sku="sku0"), months=1)
    assert read() == [True]


SINGLE = {
    "aggregate of a slice": lambda: Product.objects.select_related("category")[:4].aggregate(Sum("views")),
    "aggregate of values": lambda: Product.objects.values("name", "category", "category__name")[:4].aggregate(
        n=Count("pk")
    ),
    "count of a slice": lambda: Product.objects.select_related("category")[:4].count(),
    "exists": lambda: Product.objects.select_related("category").exists(),
}


@pytest.mark.parametrize("name", SINGLE)
def test_aggregates_counts_and_exists_are_not_tracked_by_rows(name, is_hit):
    """Their result is one value that does not contain the joined rows."""
    read = SINGLE[name]
    read()
    assert is_hit(read)


def test_a_null_foreign_key_depends_on_no_joined_row(is_hit, store):
    """A null key joins no row, whichever rows are created."""
    without_customer = lambda: [
        each.customer for each in Ticket.objects.filter(subject="nobody's").select_related("customer")
    ]
    with_customer = lambda: [
        each.customer.name for each in Ticket.objects.filter(subject="t").select_related("customer")
    ]
    assert without_customer() == [None]
    assert not list(store.scan_iter(match=f"{keys.version_key('', 'shop_customer:')}*=*"))
    assert with_customer() == ["c0"]
    customer = Customer.objects.get(name="c1")
    customer.name = "c3"
    customer.save()
    assert is_hit(without_customer)
    assert is_hit(with_customer)
    customer = Customer.objects.get(name="c0")
    customer.name = "c4"
    customer.save()
    assert is_hit(without_customer)
    assert with_customer() == ["c4"]


def test_a_many_to_many_manager_is_invalidated_by_its_rows_only(is_hit):
    """The intermediate table selects the rows; of the target table only the returned rows matter."""
    product = Product.objects.get(sku="sku0")
    read = lambda: [label.text for label in product.labels.all()]
    assert read() == ["new"]
    Label.objects.filter(text="old").update(text="older")
    Label.objects.create(text="unused")
    assert is_hit(read)
    product.labels.add(Label.objects.get(text="unused"))
    assert sorted(read()) == ["new", "unused"]
    Label.objects.filter(text="unused").update(text="used")
    assert sorted(read()) == ["new", "used"]


def test_a_prefetched_many_to_many_relation_is_invalidated_by_its_rows_only(is_hit):
    """Django prefetches it with a column of the intermediate table."""
    read = lambda: [[label.text for label in each.labels.all()] for each in products.prefetch_related("labels")]
    assert read() == [["new"]]
    Label.objects.filter(text="old").update(text="older")
    Label.objects.create(text="unused")
    assert is_hit(read)
    product = Product.objects.get(sku="sku0")
    product.labels.add(Label.objects.get(text="unused"))
    assert sorted(read()[0]) == ["new", "unused"]
    Label.objects.filter(text="unused").update(text="used")
    assert sorted(read()[0]) == ["new", "used"]


RAW_COLUMNS = {
    '"shop_category"."name"': False,
    '("shop_product"."name")': False,
    '"nobody"."name"': True,
    '"shop_product"."name" || 1': True,
    "1": True,
}


@pytest.mark.parametrize("sql", RAW_COLUMNS)
def test_a_raw_column_is_recognised_and_other_raw_sql_may_read_any_column(sql):
    """The column must belong to a table of the query."""
    if connection.vendor == "mysql":
        sql = sql.replace('"', "`")
    query = Product.objects.extra(select={"x": sql}).values("x", "category__name")
    walk = QueryWalk(query.query.get_compiler("default"))
    walk.as_sql()
    assert walk.may_read_any_column == RAW_COLUMNS[sql.replace("`", '"')]


def test_parent_rows_of_multi_table_inheritance_are_tracked_by_rows(is_hit):
    """The parent rows only add columns to the child rows."""
    read = lambda: [(each.name, each.city) for each in Customer.objects.filter(city="Bergen")]
    assert read() == [("c2", "Bergen")]
    Person.objects.filter(name="c0").update(name="c5")
    assert is_hit(read)
    Person.objects.filter(name="c2").update(name="c6")
    assert read() == [("c6", "Bergen")]


def test_a_write_to_an_unread_column_of_a_joined_row_leaves_the_result_cached(is_hit):
    read = lambda: list(products.values_list("category", "category__name"))
    read()
    Category.objects.filter(name="pens").update(parent=None)
    assert is_hit(read)


ROW_LEVEL_TABLES = {
    "no condition": (lambda: products.select_related("category"), {"shop_category"}),
    "a condition": (lambda: products.filter(category__name__startswith="p").select_related("category"), set()),
    "its order": (lambda: products.select_related("category").order_by("category__name"), {"shop_category"}),
    "its order and a cut": (lambda: products.select_related("category").order_by("category__name")[:5], set()),
    "a cut by another's order": (lambda: products.select_related("category").order_by("pk")[:5], {"shop_category"}),
    "DISTINCT": (lambda: products.values("category", "category__name").distinct(), set()),
    "an expression": (lambda: products.annotate(n=Lower("category__name")), set()),
    "a group": (lambda: products.values("category__name").annotate(n=Count("pk")), set()),
    "a group that tells": (lambda: products.values("category", "category__name").annotate(n=Count("pk")), set()),
    "raw SQL": (lambda: products.select_related("category").annotate(n=RawSQL("shop_category.name", [])), set()),
    "a value that is null where there is no row": (
        lambda: products.values("sku", "warranty__product", "warranty__months"),
        set(),
    ),
    "an inner query on the same columns": (
        lambda: products.filter(category__in=LATER_NAMES).values("category", "category__name"),
        set(),
    ),
    "a table between it and a condition": (lambda: Product.objects.filter(category__parent__name="inks"), set()),
    "a table between it and a cut": (
        lambda: products.select_related("category__parent").order_by("category__parent__name")[:1],
        set(),
    ),
    "a table between it and an order": (
        lambda: products.select_related("category__parent").order_by("category__parent__name"),
        {"shop_category"},
    ),
    "another table between it and a cut": (
        lambda: Warranty.objects.select_related("product__category").order_by("product__category__name")[:1],
        set(),
    ),
    "a table between it and a condition on an outer join": (
        lambda: products.filter(Q(category__parent__name="inks") | Q(views=5)),
        set(),
    ),
    "a parent between a child and a condition": (lambda: Hall.objects.filter(name__startswith="x"), set()),
    "a table whose inner join takes rows away": (lambda: inner_by_nullable(), {"shop_category"}),
    "many rows of it, cut": (lambda: products.values("pk", "labels__text")[1:], set()),
    "one row of it, cut": (lambda: products.values("pk", "warranty__months")[1:], {"shop_warranty"}),
    "a key that is given": (lambda: Product.objects.filter(category=1).select_related("category"), set()),
    "no value to tell it by": (lambda: products.values("category__name"), set()),
    "an inner query": (lambda: products.annotate(has=Exists(SAME_NAME)).select_related("category"), set()),
    "a filtered relation": (
        lambda: products.annotate(c=FilteredRelation("category", condition=Q(category__name="x"))).select_related("c"),
        set(),
    ),
    "a condition on the one, none on the other": (
        lambda: Membership.objects.filter(person__name__gt="a").select_related("person", "club"),
        {"shop_club"},
    ),
    "the far side of many to many": (lambda: Label.objects.filter(products=1), {"shop_label"}),
    "a join whose key is not among the values": (
        lambda: products.values("pk", "labels__text"),
        {"shop_product_labels"},
    ),
    "a child and its parent": (
        lambda: Ticket.objects.filter(subject="t").select_related("customer"),
        {"shop_customer", "shop_person"},
    ),
    "an inner join under an outer one": (lambda: inner_under_outer(), set()),
    "a union": (lambda: products.select_related("category").union(products.select_related("category")), set()),
}
LATER_NAMES = Category.objects.filter(name__regex="[b-z]")
SAME_NAME = Label.objects.filter(text=OuterRef("category__name"))


def inner_under_outer():
    """Django does not make this join, because it removes rows that the outer join keeps."""
    queryset = Ticket.objects.filter(subject="t").values("customer", "customer__city", "customer__name")
    aliases = queryset.query.alias_map
    aliases["shop_person"] = aliases["shop_person"].demote()
    return queryset


def inner_by_nullable():
    """Rows with a null key are left out, and appear when the key is set."""
    queryset = Warranty.objects.filter(months=1).values("product", "product__category", "product__category__name")
    aliases = queryset.query.alias_map
    aliases["shop_category"] = aliases["shop_category"].demote()
    return queryset


@pytest.mark.parametrize("name", ROW_LEVEL_TABLES)
def test_only_tables_that_only_add_columns_are_tracked_by_rows(name):
    """A table that decides which rows are returned, or in which slice, is tracked as a whole."""
    query, expected = ROW_LEVEL_TABLES[name]
    assert tables_tracked_by_rows(query()) == expected


def tables_tracked_by_rows(queryset):
    found = compile_rows(queryset).row_level
    usable = row_dependencies.usable_for(found, queryset.query.is_sliced)
    return {each.coarse.table for each in usable if each.sources}


def test_an_intermediate_row_that_adds_rows_to_the_result_is_seen():
    """It is the row of a category that had no product in the result."""
    read = lambda: sorted(each.name for each in Product.objects.filter(category__parent__name="inks"))
    assert read() == ["n0"]
    Category.objects.filter(name="inks").update(parent=Category.objects.nocache().get(name="inks"))
    assert read() == ["n0", "n1"]


def test_an_intermediate_row_that_changes_a_slice_is_seen():
    """The product of that row was not in the result."""
    read = lambda: [
        each.name
        for each in Product.objects.filter(category__isnull=False)
        .select_related("category__parent")
        .order_by("category__parent__name", "name")[:1]
    ]
    Category.objects.create(name="a")
    Category.objects.filter(name="inks").update(parent=Category.objects.nocache().get(name="none"))
    assert read() == ["n0"]
    Category.objects.filter(name="inks").update(parent=Category.objects.nocache().get(name="a"))
    assert read() == ["n1"]


def test_rows_added_before_an_offset_are_seen():
    """They shift the returned rows."""
    read = lambda: list(Product.objects.order_by("pk").values_list("sku", "labels__text")[1:2])
    assert read() == [("sku1", "old")]
    Product.objects.get(sku="sku0").labels.add(Label.objects.create(text="more"))
    assert read()[0][0] == "sku0"


def test_a_slice_ordered_by_a_joined_column_is_invalidated_by_any_row():
    """A row outside the slice may move into it."""
    read = lambda: [each.name for each in Product.objects.select_related("category").order_by("category__name")[:1]]
    assert read() == ["n1"]
    rename("inks")
    assert read() == ["n0"]
    renamed = Category.objects.get(name="renamed")
    renamed.name = "a"
    renamed.save()
    assert read() == ["n1"]


def test_a_foreign_key_without_a_database_constraint_is_not_tracked_by_rows(monkeypatch):
    """The key may refer to a missing row; the inner join then returns more rows when that row is created."""
    field = Membership._meta.get_field("club")
    queryset = Membership.objects.filter(level=1).select_related("club")
    assert tables_tracked_by_rows(queryset) == {"shop_club"}
    monkeypatch.setattr(field, "db_constraint", False)
    assert tables_tracked_by_rows(queryset) == set()
    monkeypatch.undo()
    monkeypatch.setattr(Membership._meta, "managed", False)
    assert tables_tracked_by_rows(queryset) == set()
    monkeypatch.undo()
    monkeypatch.setattr(type(connection.features), "supports_foreign_keys", False)
    assert tables_tracked_by_rows(queryset) == set()


def test_a_table_that_is_also_read_as_a_whole_is_not_tracked_by_rows():
    """The main table or a subquery reads the same columns of the table."""
    everything = Category.objects.select_related("parent")
    assert tables_tracked_by_rows(everything) == set()
    assert tables_tracked_by_rows(everything.filter(pk=1)) == {"shop_category"}


def test_more_rows_than_the_limit_are_tracked_as_a_table(is_hit, monkeypatch):
    """Up to the limit each row has a key."""
    read = READS["of all rows"]
    read()
    rename("none")
    assert is_hit(read)
    monkeypatch.setattr(row_dependencies, "MAX_ROWS", 1)
    Product.objects.filter(sku="sku0").update(name="n")
    read()
    assert is_hit(read)
    Category.objects.filter(name="renamed").update(name="again")
    assert not is_hit(read)


def test_values_without_a_hash_or_token_are_tracked_as_a_table():
    [found] = compile_rows(products.select_related("category")).row_level
    width = max(source.position for source in found.sources) + 1
    for value in ([1], "x", float("nan")):
        assert row_dependencies.resolve_rows([found], [(value,) * width], connection.vendor) == {found.coarse: None}
    assert row_dependencies.resolve_rows([found], [], connection.vendor) == {found.coarse: {((), "id"): set()}}
    assert row_dependencies.resolve_rows([found], [(7,) * width, (None,) * width], connection.vendor) == {
        found.coarse: {((), "id"): {"7"}}
    }


def test_a_broken_header_is_a_miss(store, is_hit):
    """The next read finds the rewritten value."""
    read = READS["select_related"]
    read()
    [key] = store.scan_iter(match="*cacheops:v:*")
    value = store.get(key)
    seal, length = value[:32], int(value[32:40])
    header = value[48 : 48 + length]
    for broken in (
        b"",
        value[:20],
        value[: 48 + length - 1],
        seal + b"x" * 100,
        seal + b"-0000001" + value[40:],
        seal + b"%08d%08d[{}][{}]" % (4, 4),
        value.replace(header, header.replace(b'"owner":', b'"owner":9')),
        value.replace(header, header.replace(b'"values"', b'"tokens"')),
        value.replace(header, b" " * length),
    ):
        store.set(key, broken)
        assert not is_hit(read), broken
        assert is_hit(read)


def test_a_lost_row_version_is_a_miss(store, is_hit):
    """Eviction and invalidation have the same effect."""
    read = READS["select_related"]
    read()
    found = list(store.scan_iter(match=f"{keys.version_key('', 'shop_category:id=')}*"))
    assert found
    store.delete(*found)
    assert not is_hit(read)
    assert is_hit(read)


def test_a_lost_dependency_index_is_a_miss(store, is_hit):
    """Without the index a writer cannot find the versions of single rows."""
    read = READS["select_related"]
    read()
    store.delete(keys.index_key("", "shop_category"))
    rename("pens")
    assert not is_hit(read)
    assert read() == ["renamed"]


def during_the_read(monkeypatch, happen):
    """Call `happen` between the answer of the database and the fill."""
    results = row_dependencies.resolve_rows

    def resolve_late(*args, **kwargs):
        monkeypatch.undo()
        happen()
        return results(*args, **kwargs)

    monkeypatch.setattr(row_dependencies, "resolve_rows", resolve_late)


@pytest.mark.parametrize("change", ["pens", "none"])
def test_a_write_to_the_table_during_the_read_is_seen(change, monkeypatch, is_hit):
    """The version of the whole table protects the fill until the versions of its rows are created."""
    read = READS["select_related"]
    during_the_read(monkeypatch, lambda: rename(change))
    assert read() == ["pens"]
    assert not is_hit(read)
    assert read() == ["renamed" if change == "pens" else "pens"]


def test_a_dependency_index_lost_during_the_read_is_not_recreated_by_the_fill(monkeypatch, is_hit, store):
    """A new index would lack the shapes of other results, which a write would then not invalidate."""
    other = lambda: Category.objects.filter(name="pens").count()
    assert other() == 1
    during_the_read(monkeypatch, lambda: store.delete(keys.index_key("", "shop_category")))
    READS["select_related"]()
    rename("pens")
    assert other() == 0


def test_with_row_dependencies_disabled_a_result_is_invalidated_by_its_table(monkeypatch, is_hit):
    """Only tests disable them."""
    monkeypatch.setattr(*fast_paths.switched("row-level dependencies", False))
    read = READS["select_related"]
    read()
    rename("none")
    assert not is_hit(read)


def test_row_level_dependency_shapes_are_known_to_the_process_that_registers_them(is_hit):
    """A save that needed no before-image read earlier makes one from now on."""

    def with_category(sku):
        return lambda: [each.category.name for each in Product.objects.filter(sku=sku).select_related("category")]

    ink = Category.objects.nocache().get(name="inks")
    Category.objects.filter(parent=None).exists()
    for _ in range(2):
        ink.save(update_fields=["name"])
    pens, inks = with_category("sku0"), with_category("sku1")
    pens(), inks()
    ink.name = "Indian inks"
    ink.save(update_fields=["name"])
    assert is_hit(pens)
    assert not is_hit(inks)
    assert inks() == ["Indian inks"]
