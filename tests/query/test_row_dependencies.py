"""Of a table that only adds columns to a result, the result falls by the rows that came back."""

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

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def shop(store):
    """Two products, in one category each, and things that belong to neither."""
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
def test_a_result_falls_with_a_row_that_came_back_and_not_with_others(name, is_hit):
    """One row of the joined table is in it, another is not."""
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


def test_rows_of_the_second_level_count():
    """What a joined row refers to came back as well."""
    read = READS["two levels"]
    assert read() == [("pens", "inks")]
    rename("inks")
    assert read() == [("pens", "renamed")]


def test_a_row_that_refers_to_another_falls(is_hit):
    """The joined row is another one then."""
    read = READS["two levels"]
    read()
    Category.objects.filter(name="pens").update(parent=Category.objects.nocache().get(name="none"))
    assert read() == [("pens", "none")]
    rename("inks")
    assert is_hit(read)


def test_a_row_that_is_not_there_yet_counts(is_hit):
    """A reverse one-to-one that finds nobody falls when one comes, and with no other."""
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
def test_what_yields_no_rows_is_not_narrowed(name, is_hit):
    """It is a single value, of which no row can be asked."""
    read = SINGLE[name]
    read()
    assert is_hit(read)


def test_nobody_is_no_row(is_hit, store):
    """A null foreign key joins nothing, whatever comes."""
    nobody = lambda: [each.customer for each in Ticket.objects.filter(subject="nobody's").select_related("customer")]
    somebody = lambda: [each.customer.name for each in Ticket.objects.filter(subject="t").select_related("customer")]
    assert nobody() == [None]
    assert not list(store.scan_iter(match=f"{keys.version_key('', 'shop_customer:')}*=*"))
    assert somebody() == ["c0"]
    customer = Customer.objects.get(name="c1")
    customer.name = "c3"
    customer.save()
    assert is_hit(nobody)
    assert is_hit(somebody)
    customer = Customer.objects.get(name="c0")
    customer.name = "c4"
    customer.save()
    assert is_hit(nobody)
    assert somebody() == ["c4"]


def test_a_many_to_many_manager_falls_with_its_own(is_hit):
    """The rows are found by the table between: of the far one only those that came back matter."""
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


def test_prefetched_rows_fall_with_their_own(is_hit):
    """Of many-to-many relations, which Django prefetches with a column of the table between."""
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
def test_a_raw_column_is_a_column_and_other_raw_sql_reads_all(sql):
    """Of a table that the query has."""
    if connection.vendor == "mysql":
        sql = sql.replace('"', "`")
    query = Product.objects.extra(select={"x": sql}).values("x", "category__name")
    walk = QueryWalk(query.query.get_compiler("default"))
    walk.as_sql()
    assert walk.may_read_any_column == RAW_COLUMNS[sql.replace("`", '"')]


def test_parents_of_children_fall_by_row(is_hit):
    """Multi-table inheritance: the parent's rows only add columns to the child's."""
    read = lambda: [(each.name, each.city) for each in Customer.objects.filter(city="Bergen")]
    assert read() == [("c2", "Bergen")]
    Person.objects.filter(name="c0").update(name="c5")
    assert is_hit(read)
    Person.objects.filter(name="c2").update(name="c6")
    assert read() == [("c6", "Bergen")]


def test_columns_that_are_not_read_keep_it(is_hit):
    """Of the rows that came back, too."""
    read = lambda: list(products.values_list("category", "category__name"))
    read()
    Category.objects.filter(name="pens").update(parent=None)
    assert is_hit(read)


NARROWED = {
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
        lambda: products.filter(category__in=Category.objects.filter(name__gt="a")).values(
            "category", "category__name"
        ),
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
LATER_NAMES = Category.objects.filter(name__gt="a")
SAME_NAME = Label.objects.filter(text=OuterRef("category__name"))


def inner_under_outer():
    """Which Django does not make, as it takes away rows that the outer one keeps."""
    queryset = Ticket.objects.filter(subject="t").values("customer", "customer__city", "customer__name")
    aliases = queryset.query.alias_map
    aliases["shop_person"] = aliases["shop_person"].demote()
    return queryset


def inner_by_nullable():
    """Rows of which the key is null are left out, and come when it is set."""
    queryset = Warranty.objects.filter(months=1).values("product", "product__category", "product__category__name")
    aliases = queryset.query.alias_map
    aliases["shop_category"] = aliases["shop_category"].demote()
    return queryset


@pytest.mark.parametrize("name", NARROWED)
def test_what_only_adds_columns_is_narrowed(name):
    """And nothing that has a say in which rows there are."""
    query, expected = NARROWED[name]
    assert tables(query()) == expected


def tables(queryset):
    found = compile_rows(queryset).row_level
    return {each.coarse.table for each in row_dependencies.usable_for(found, queryset.query.is_sliced)}


def test_a_table_between_two_others_that_lets_rows_in_is_seen():
    """Of a category that had no product in the result."""
    read = lambda: sorted(each.name for each in Product.objects.filter(category__parent__name="inks"))
    assert read() == ["n0"]
    Category.objects.filter(name="inks").update(parent=Category.objects.nocache().get(name="inks"))
    assert read() == ["n0", "n1"]


def test_a_table_between_that_changes_what_is_cut_off_is_seen():
    """The row that it belongs to was not in the result."""
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


def test_rows_before_an_offset_that_become_more_are_seen():
    """They shift those that came back."""
    read = lambda: list(Product.objects.order_by("pk").values_list("sku", "labels__text")[1:2])
    assert read() == [("sku1", "old")]
    Product.objects.get(sku="sku0").labels.add(Label.objects.create(text="more"))
    assert read()[0][0] == "sku0"


def test_a_slice_by_a_joined_order_falls_with_any_row():
    """A row that was cut off may come first then."""
    read = lambda: [each.name for each in Product.objects.select_related("category").order_by("category__name")[:1]]
    assert read() == ["n1"]
    rename("inks")
    assert read() == ["n0"]
    rename_back = Category.objects.get(name="renamed")
    rename_back.name = "a"
    rename_back.save()
    assert read() == ["n1"]


def test_a_key_that_no_constraint_watches_over_is_not_trusted(monkeypatch):
    """A row may come for which others waited, that the join left out."""
    field = Membership._meta.get_field("club")
    queryset = Membership.objects.filter(level=1).select_related("club")
    assert tables(queryset) == {"shop_club"}
    monkeypatch.setattr(field, "db_constraint", False)
    assert tables(queryset) == set()
    monkeypatch.undo()
    monkeypatch.setattr(Membership._meta, "managed", False)
    assert tables(queryset) == set()
    monkeypatch.undo()
    monkeypatch.setattr(type(connection.features), "supports_foreign_keys", False)
    assert tables(queryset) == set()


def test_a_table_that_is_also_asked_for_as_a_whole_rests_on_any_row():
    """A subquery, or the main table, reads the same columns of it."""
    everything = Category.objects.select_related("parent")
    assert tables(everything) == set()
    assert tables(everything.filter(pk=1)) == {"shop_category"}


def test_many_rows_count_as_the_table(is_hit, monkeypatch):
    """Up to a bound each is a key."""
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


def test_values_that_can_not_be_told_count_as_the_table():
    """Without a hash, or without a token."""
    [found] = compile_rows(products.select_related("category")).row_level
    width = max(source.position for source in found.sources) + 1
    for value in ([1], "x", float("nan")):
        assert row_dependencies.resolve_rows([found], [(value,) * width], connection.vendor) == {found.coarse: None}
    assert row_dependencies.resolve_rows([found], [], connection.vendor) == {found.coarse: {"id": set()}}
    assert row_dependencies.resolve_rows([found], [(7,) * width, (None,) * width], connection.vendor) == {
        found.coarse: {"id": {"7"}}
    }


def test_a_hit_is_one_round_trip_and_what_is_broken_is_a_miss(store, is_hit):
    """Whatever stands in the place of the header."""
    read = READS["select_related"]
    read()
    [key] = store.scan_iter(match="cacheops:v:*")
    value = store.get(key)
    digest, length = value[:16], int(value[16:24])
    header = value[24 : 24 + length]
    for broken in (
        b"",
        value[:20],
        value[: 24 + length - 1],
        digest + b"x" * 100,
        digest + b"-0000001" + value[24:],
        digest + b"%08d[{}]" % 4,
        value.replace(header, header.replace(b'"owner":', b'"owner":9')),
        value.replace(header, header.replace(b'"values"', b'"tokens"')),
        value.replace(header, b" " * length),
    ):
        store.set(key, broken)
        assert not is_hit(read), broken
        assert is_hit(read)


def test_losing_a_stamp_of_a_row_is_a_miss(store, is_hit):
    """Evicted or dropped, it is the same."""
    read = READS["select_related"]
    read()
    found = list(store.scan_iter(match=f"{keys.version_key('', 'shop_category:id=')}*"))
    assert found
    store.delete(*found)
    assert not is_hit(read)
    assert is_hit(read)


def test_losing_the_registry_is_a_miss(store, is_hit):
    """Nobody could tell a change of the row from others."""
    read = READS["select_related"]
    read()
    store.delete(keys.index_key("", "shop_category"))
    rename("pens")
    assert not is_hit(read)
    assert read() == ["renamed"]


def while_it_is_read(monkeypatch, happen):
    """Have something happen between the database's answer and the fill."""
    results = row_dependencies.resolve_rows

    def narrow_late(*args, **kwargs):
        monkeypatch.undo()
        happen()
        return results(*args, **kwargs)

    monkeypatch.setattr(row_dependencies, "resolve_rows", narrow_late)


@pytest.mark.parametrize("change", ["pens", "none"])
def test_a_change_of_the_table_during_the_read_is_seen(change, monkeypatch, is_hit):
    """The version on any row watches until those of single rows are made."""
    read = READS["select_related"]
    while_it_is_read(monkeypatch, lambda: rename(change))
    assert read() == ["pens"]
    assert not is_hit(read)
    assert read() == ["renamed" if change == "pens" else "pens"]


def test_a_registry_that_is_lost_during_the_read_is_not_begun_anew(monkeypatch, is_hit, store):
    """It would lack the shapes of other results, which then outlived a change."""
    other = lambda: Category.objects.filter(name="pens").count()
    assert other() == 1
    while_it_is_read(monkeypatch, lambda: store.delete(keys.index_key("", "shop_category")))
    READS["select_related"]()
    rename("pens")
    assert other() == 0


def test_without_narrowing_a_result_falls_with_its_table(monkeypatch, is_hit):
    """The switch that tests have."""
    monkeypatch.setattr(row_dependencies, "ENABLED", False)
    read = READS["select_related"]
    read()
    rename("none")
    assert not is_hit(read)


def test_schemes_of_rows_that_came_back_are_known_to_who_registers_them(is_hit):
    """A save that need not have looked before looks from now on."""

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
