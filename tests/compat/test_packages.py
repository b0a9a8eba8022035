"""Third-party packages with query, compiler and join classes of their own: cached results equal uncached results."""

import pytest
from django.db.models import Count, F, IntegerField, Q, Sum, Value
from django_cte import CTE, with_cte

from tests.conftest import counted_reads
from tests.property.differential import uncached
from tests.shop.models import Branch, Category, Product

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def rows(store):
    root, other = Category.objects.create(name="root"), Category.objects.create(name="other")
    child = Category.objects.create(name="child", parent=root)
    for i, category in enumerate((root, other, child, child)):
        Product.objects.create(sku=f"s{i}", name=f"p{i}", category=category, views=i + 1)
    trunk = Branch.objects.create(name="trunk")
    twig = Branch.objects.create(name="twig", parent=trunk)
    Branch.objects.create(name="leaf", parent=twig)


def category(name):
    return Category.objects.nocache().get(name=name)


def below(name):
    """Return the categories below one, by a recursive query."""

    def make(cte):
        start = Category.objects.filter(name=name).values("id", "name", depth=Value(0, output_field=IntegerField()))
        step = cte.join(Category, parent=cte.col.id).values("id", "name", depth=cte.col.depth + Value(1))
        return start.union(step, all=True)

    cte = CTE.recursive(make, name="below")
    return with_cte(cte, select=cte.join(Category, id=cte.col.id).annotate(depth=cte.col.depth)).order_by("depth", "id")


def with_totals(**conditions):
    """Return categories with the totals of a CTE: an outer or inner join of a class of the package."""
    totals = CTE(Product.objects.values("category_id").annotate(total=Sum("views")), name="totals")
    joined = totals.join(Category.objects.filter(**conditions), id=totals.col.category_id)
    return with_cte(totals, select=joined.annotate(total=totals.col.total)).order_by("id")


def same_table_twice():
    """Return one category, joined with all categories, which a CTE reads."""
    everything = CTE(Category.objects.values("id", "name"), name="everything")
    joined = everything.join(Category.objects.filter(name="root"), ~Q(id=everything.col.id))
    return with_cte(everything, select=joined.annotate(other=everything.col.name)).order_by("other")


READS = {
    "recursive": lambda: [(each.name, each.depth) for each in below("root")],
    "recursive count": lambda: below("root").count(),
    "recursive exists": lambda: below("child").exists(),
    "recursive aggregate": lambda: below("root").aggregate(found=Count("name")),
    "recursive values": lambda: list(below("root").values_list("name", "depth")),
    "within a condition": lambda: list(Product.objects.filter(category__in=below("root").values("id")).values("sku")),
    "totals": lambda: [(each.name, each.total) for each in with_totals()],
    "totals of one": lambda: [(each.name, each.total) for each in with_totals(name="root")],
    "totals of one by get": lambda: with_totals().get(name="child").total,
    "first": lambda: getattr(with_totals().first(), "total", None),
    "same table twice": lambda: [(each.name, each.other) for each in same_table_twice()],
    "tree": lambda: [(each.name, each.tree_depth) for each in Branch.objects.all()],
    "tree count": lambda: Branch.objects.count(),
    "tree exists": lambda: Branch.objects.filter(name="leaf").exists(),
    "tree ancestors": lambda: [b.name for b in Branch.objects.order_by("pk").last().ancestors()] if leaf() else None,
    "tree descendants": lambda: [each.name for each in Branch.objects.get(name="trunk").descendants()],
    "tree aggregate": lambda: Branch.objects.aggregate(found=Count("pk")),
    "tree without fields": lambda: sorted(Branch.objects.without_tree_fields().values_list("name", flat=True)),
    "tree by siblings": lambda: [each.name for each in Branch.objects.order_siblings_by("-name")],
}


def leaf():
    return Branch.objects.nocache().filter(name="leaf").first()


WRITES = {
    "a name": lambda: Category.objects.filter(name="other").update(name="another"),
    "a branch moves": lambda: Category(pk=category("child").pk, name="child", parent=category("another")).save(),
    "and back": lambda: Category.objects.filter(name="child").update(parent=category("root")),
    "a new one": lambda: Category.objects.create(name="grandchild", parent=category("child")),
    "a product": lambda: Product.objects.filter(sku="s3").update(views=F("views") + 10),
    "a product goes elsewhere": lambda: Product.objects.filter(sku="s2").update(category=category("root")),
    "a product is deleted": lambda: Product.objects.filter(sku="s1").delete(),
    "a twig": lambda: Branch.objects.filter(name="twig").update(name="bough"),
    "another leaf": lambda: Branch.objects.create(name="second", parent=Branch.objects.nocache().get(name="bough")),
    "a leaf falls": lambda: leaf().delete(),
}


def test_cached_reads_equal_uncached_reads():
    for name, write in WRITES.items():
        for _ in range(2):
            for read in READS:
                assert READS[read]() == uncached(READS[read]), (name, read)
        write()
    for read in READS:
        assert READS[read]() == uncached(READS[read]), read


@pytest.mark.parametrize("read", ["totals", "same table twice"])
def test_a_query_whose_sql_names_all_tables_is_cached(read):
    """The classes of the query do not matter."""
    READS[read]()
    with counted_reads() as reads:
        READS[read]()
    assert (reads.hits, reads.misses) == (1, 0)
