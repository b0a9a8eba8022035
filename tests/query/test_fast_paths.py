"""Query plans, the point lookup of get() and direct hydration change only the time that reads take."""

import datetime
import random
import uuid
from contextlib import contextmanager
from decimal import Decimal

import pytest
from django.core.exceptions import ObjectDoesNotExist
from django.db import models
from django.db.models import Avg, Count, F, Max, Q, Sum
from django.db.models.signals import post_init, pre_init
from django.test import override_settings

from cacheops_lite import invalidate_all
from cacheops_lite.query import compiler as query_compiler
from cacheops_lite.query import hydrator, plan_cache
from cacheops_lite.query.expression_identity import identity_of
from cacheops_lite.query.sql_template import SqlTemplate
from cacheops_lite.query.where_predicates import token_of_value
from cacheops_lite.reads import cache_policy, queryset_read
from tests.conftest import counted_reads
from tests.property import shop
from tests.shop.models import Category, Customer, Label, Product, Ticket, VisibleProduct, Warranty
from tests.support.fast_paths import switch, switched

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def populated(store):
    shop.populate(random.Random(1))
    Warranty.objects.create(product=Product.objects.first(), months=12)
    Ticket.objects.create(subject="x", customer=Customer.objects.first())


@contextmanager
def fast_paths(on):
    switch(on)
    try:
        yield
    finally:
        switch(True)


def comparable(value):
    """A result as comparable values: classes, attributes and states of instances, related ones included."""
    if isinstance(value, models.Model):
        state = {name: each for name, each in vars(value._state).items() if name != "fields_cache"}
        attributes = {
            name: each for name, each in vars(value).items() if name not in ("_state", "_prefetched_objects_cache")
        }
        related = {name: comparable_reference(each) for name, each in value._state.fields_cache.items()}
        return type(value), list(attributes.items()), state, related
    if isinstance(value, (list, tuple)):
        return type(value), [comparable(each) for each in value]
    if isinstance(value, dict):
        return [(name, comparable(each)) for name, each in value.items()]
    return type(value), value


def comparable_reference(value):
    return (type(value), value.pk) if isinstance(value, models.Model) else value


products = Product.objects
QUERIES = {
    "all": lambda: list(products.order_by("pk")),
    "sliced": lambda: list(products.order_by("pk")[1:4]),
    "filtered": lambda: list(products.filter(views=1, visible=True).order_by("pk")),
    "not visible": lambda: list(products.filter(views=1, visible=False).order_by("pk")),
    "in": lambda: list(products.filter(views__in=[1, 2]).order_by("pk")),
    "in three": lambda: list(products.filter(views__in=[1, 2, 3]).order_by("pk")),
    "null": lambda: list(products.filter(category=None).order_by("pk")),
    "not null": lambda: list(products.filter(category__isnull=False).order_by("pk")),
    "or": lambda: list(products.filter(Q(views=1) | Q(name="pen")).order_by("pk")),
    "excluded": lambda: list(products.exclude(views=1).order_by("pk")),
    "contains": lambda: list(products.filter(name__contains="e").order_by("pk")),
    "icontains": lambda: list(products.filter(name__icontains="e").order_by("pk")),
    "startswith": lambda: list(products.filter(name__startswith="e").order_by("pk")),
    "range": lambda: list(products.filter(views__range=(1, 2)).order_by("pk")),
    "same column twice": lambda: list(products.filter(Q(views=1) | Q(views=2), views__gt=1).order_by("pk")),
    "contradiction": lambda: list(products.filter(views=1).filter(views=2).order_by("pk")),
    "twice the same": lambda: list(products.filter(views=1).filter(views=1).order_by("pk")),
    "joined": lambda: list(products.filter(category__name="c0").order_by("pk")),
    "joined twice": lambda: list(products.filter(category__parent__name="c0").order_by("pk")),
    "joined in": lambda: list(products.filter(category__name__in=["c0", "c1"]).order_by("pk")),
    "ordered by join": lambda: list(products.order_by("category__name", "pk")),
    "many to many": lambda: list(products.filter(labels__text="new").distinct().order_by("pk")),
    "select_related": lambda: list(products.select_related("category__parent").order_by("pk")),
    "select_related back": lambda: list(products.select_related("warranty").order_by("pk")),
    "select_related of a child": lambda: list(Ticket.objects.select_related("customer")),
    "child": lambda: list(Customer.objects.order_by("pk")),
    "proxy": lambda: list(VisibleProduct.objects.filter(visible=True).order_by("pk")),
    "deferred": lambda: list(products.defer("text", "name").order_by("pk")),
    "only": lambda: list(products.only("name").order_by("pk")),
    "related manager": lambda: list(Category.objects.get(name="c0").products.order_by("pk")),
    "prefetched": lambda: [
        (each, list(each.labels.all())) for each in products.prefetch_related("labels").order_by("pk")
    ],
    "annotated": lambda: list(products.annotate(n=Count("labels"), twice=F("views") * 2).order_by("pk")),
    "annotated value": lambda: list(products.annotate(n=models.Value(1)).order_by("pk")),
    "another value": lambda: list(products.annotate(n=models.Value(2)).order_by("pk")),
    "grouped": lambda: list(products.values("visible").annotate(n=Count("pk"), m=Max("price")).order_by("visible")),
    "values": lambda: list(products.values("pk", "name").order_by("pk")),
    "values of join": lambda: list(products.values("pk", "category__name").order_by("pk")),
    "values_list": lambda: list(products.values_list("name", "pk").order_by("pk")),
    "flat": lambda: list(products.values_list("price", flat=True).order_by("pk")),
    "named": lambda: list(products.values_list("name", "views", named=True).order_by("pk")),
    "dates": lambda: list(products.exclude(day=None).dates("day", "month")),
    "extra": lambda: list(products.extra(select={"one": "1"}).order_by("pk")),
    "another extra": lambda: list(products.extra(select={"one": "2"}).order_by("pk")),
    "extra of a column": lambda: list(
        products.filter(views=1).extra(select={"v": "shop_product.views"}).order_by("pk")
    ),
    "extra with a value": lambda: list(
        products.filter(views=1).extra(select={"one": "%s"}, select_params=["1"]).order_by("pk")
    ),
    "extra that is masked": lambda: list(products.extra(select={"one": "1"}).values("pk").order_by("pk")),
    "extra condition": lambda: list(products.extra(where=["views = 1"]).order_by("pk")),
    "prefetched back": lambda: [
        (each, list(each.products.all())) for each in Label.objects.prefetch_related("products").order_by("pk")
    ],
    "prefetched to self": lambda: [
        (each, list(each.related.all())) for each in products.prefetch_related("related").order_by("pk")
    ],
    "prefetched and filtered": lambda: [
        (each, each.new)
        for each in products.prefetch_related(
            models.Prefetch("labels", Label.objects.filter(text="new"), to_attr="new")
        ).order_by("pk")
    ],
    "union": lambda: list(
        products.filter(views=1).values_list("pk").union(products.filter(views=2).values_list("pk")).order_by("id")
    ),
    "subquery": lambda: list(products.filter(category__in=Category.objects.filter(name="c0")).order_by("pk")),
    "in_bulk": lambda: list(products.in_bulk().values()),
    "first": lambda: products.order_by("pk").first(),
    "count": lambda: products.filter(views=1).count(),
    "count of a slice": lambda: products.order_by("pk")[:3].count(),
    "count of another": lambda: products.order_by("pk")[:2].count(),
    "exists": lambda: products.filter(name="pen").exists(),
    "exists not": lambda: products.filter(name="no such").exists(),
    "aggregate": lambda: products.filter(visible=True).aggregate(Sum("views"), m=Avg("price")),
    "aggregate of distinct": lambda: products.aggregate(n=Count("views", distinct=True)),
    "aggregate not distinct": lambda: products.aggregate(n=Count("views")),
    "filtered aggregate": lambda: products.aggregate(n=Count("pk", filter=Q(views=1))),
    "another filtered aggregate": lambda: products.aggregate(n=Count("pk", filter=Q(views=2))),
    "get": lambda: products.get(sku="sku1"),
    "get exactly": lambda: products.get(sku__exact="sku1"),
    "get by pk": lambda: products.get(pk=Product.objects.nocache().get(sku="sku2").pk),
    "get by text": lambda: products.get(pk=str(Product.objects.nocache().get(sku="sku2").pk)),
    "get of proxy": lambda: VisibleProduct.objects.get(sku="sku1"),
    "get of child": lambda: Customer.objects.get(pk=Customer.objects.nocache().first().pk),
    "get by uuid": lambda: Ticket.objects.get(pk=Ticket.objects.nocache().get().pk),
    "get of selected": lambda: products.select_related("category").get(sku="sku1"),
    "get filtered": lambda: products.filter(views__gte=0).get(sku="sku1"),
    "foreign key": lambda: products.nocache().filter(category__isnull=False)[0].category,
    "decimal": lambda: list(products.filter(price=Decimal("1.0")).order_by("pk")),
    "float": lambda: list(products.filter(weight=0).order_by("pk")),
    "date": lambda: list(products.filter(day=datetime.date(2026, 1, 1)).order_by("pk")),
    "datetime": lambda: list(products.filter(added=shop.INSTANT).order_by("pk")),
    "huge": lambda: list(products.filter(views=2**70).order_by("pk")),
}


@pytest.mark.parametrize("name", QUERIES)
def test_results_are_the_same_with_fast_paths_and_without(name):
    """On a miss and on a hit: values, types, attributes and their order, states and related instances."""
    query = QUERIES[name]
    with override_settings(CACHEOPS_ENABLED=False):
        true = comparable(query())
    for on in (True, False, True):
        with fast_paths(on):
            assert comparable(query()) == true
            with counted_reads() as reads:
                assert comparable(query()) == true
            assert not reads.misses


def test_the_identity_of_an_aggregate_depends_on_its_arguments_and_not_on_their_spelling():
    assert identity_of(Avg("views")) == identity_of(Avg(F("views")))
    several = [Avg("views"), Sum("views"), Avg("price"), Count("views"), Count("views", distinct=True)]
    several += [
        Count("views", filter=Q(views=1)),
        Count("views", filter=Q(views=2)),
        Avg("views", default=0),
    ]
    spellings = [identity_of(each) for each in several]
    assert len(set(spellings)) == len(several)
    assert [identity_of(each) for each in several] == spellings


def test_planned_reads_have_the_dependencies_of_compiled_reads(monkeypatch):
    """This applies to every query, also if the plan was made for other values."""
    checked = []
    planned = queryset_read._read_from_plan

    def checking(queryset, kind, compile_read, limits):
        read = planned(queryset, kind, compile_read, limits)
        if read is not None:
            query = queryset.query.clone()
            true = compile_read(query, token_of_value)
            assert set(read.dependencies) == true.dependencies, str(queryset.query)
            assert read.is_non_deterministic == true.is_non_deterministic
            checked.append(kind)
        return read

    monkeypatch.setattr(queryset_read, "_read_from_plan", checking)
    for seed in range(3):
        reads = [*QUERIES.values(), *shop.reads(random.Random(seed))]
        for query in reads:
            query()
    assert len(checked) > 150


def test_planned_misses_send_the_sql_of_django(monkeypatch):
    """The SQL, the parameters and the selected columns are equal, also if the plan was made for other values."""
    checked, plain = [], SqlTemplate.compiler

    def checking(composed, query, using):
        true = query.clone().get_compiler(using)
        sql, parameters = true.as_sql()
        compiler = plain(composed, query, using)
        if compiler is not None:
            assert compiler.as_sql() == (sql, parameters)
            for name in ("col_count", "has_extra_select", "annotation_col_map"):
                assert getattr(compiler, name) == getattr(true, name)
            assert [each[1:] for each in compiler.select] == [each[1:] for each in true.select]
            checked.append(sql)
        return compiler

    monkeypatch.setattr(SqlTemplate, "compiler", checking)
    for seed in range(4):
        invalidate_all()
        for query in [*QUERIES.values(), *shop.reads(random.Random(seed))]:
            query()
    assert len(checked) > 200
    assert len(set(checked)) > 50


@pytest.mark.parametrize("other", [-5, 10**30])
def test_a_miss_with_values_that_change_the_sql_is_compiled_by_django(other):
    """Django compiles a value outside the range of the column to another comparison or to none."""
    for views in (1, other, 2):
        assert [each.views for each in products.filter(views__lte=views)] == [
            each.views for each in products.nocache().filter(views__lte=views)
        ]


def test_planned_reads_of_different_queries_have_different_keys():
    """No two of these queries share a result, regardless of the order in which plans are made."""
    queries = [
        products.filter(name="a"),
        products.filter(sku="a"),
        products.filter(name__contains="a"),
        products.filter(name__icontains="a"),
        products.filter(name__startswith="a"),
        products.filter(name__endswith="a"),
        products.filter(name__iexact="a"),
        products.filter(name__gt="a"),
        products.filter(name="b"),
        products.filter(views=1),
        products.filter(views__in=[1]),
        products.filter(views__in=[1, 2]),
        products.filter(views__in=[12]),
        products.filter(views__range=(1, 2)),
        products.filter(views=1, name="a"),
        products.filter(Q(views=1) | Q(name="a")),
        products.exclude(views=1),
        products.filter(views=1)[:1],
        products.filter(views=1)[1:2],
        products.filter(views=1)[1:],
        products.filter(views=1).order_by("name"),
        products.filter(views=1).order_by("-name"),
        products.filter(views=1).distinct(),
        products.filter(views=1).values("pk"),
        products.filter(views=1).values_list("pk"),
        products.filter(views=1).values_list("pk", flat=True),
        products.filter(views=1).only("pk"),
        products.filter(views=1).select_related("category"),
        products.filter(visible=True),
        products.filter(visible=False),
        products.filter(category=None),
        products.annotate(n=models.Value(1)),
        products.annotate(n=models.Value(2)),
        products.annotate(n=Count("labels", filter=Q(labels__text="a"))),
        products.annotate(n=Count("labels", filter=Q(labels__text="b"))),
        products.filter(views=1).extra(select={"one": "1"}),
        products.filter(views=1).extra(select={"one": "2"}),
        products.filter(views=1).extra(select={"two": "1"}),
        products.filter(views=1).extra(select={"one": "%s"}, select_params=["1"]),
        products.filter(views=1).extra(select={"one": "%s"}, select_params=["2"]),
        VisibleProduct.objects.filter(views=1),
    ]
    names = set()
    for _ in range(2):
        for queryset in queries:
            policy = cache_policy.policy_of(queryset)
            names.add(queryset_read.rows_read(queryset, policy).name)
            if plan_cache._plans and random.random() < 0.3:
                plan_cache._plans.popitem()
    assert len(names) == len(queries)


def test_a_plan_is_made_once_per_fingerprint(monkeypatch):
    """Queries that differ only in values are not compiled again."""
    made = []
    compile_rows = query_compiler.compile_rows
    monkeypatch.setattr(query_compiler, "compile_rows", lambda *args: made.append(args) or compile_rows(*args))
    for views in range(5):
        list(products.filter(views=views, name="x").order_by("pk")[: views + 1])
    assert len(made) == 1


def test_the_number_of_plans_is_bounded(monkeypatch):
    """The least recently used plan is evicted first."""
    monkeypatch.setattr(plan_cache, "MAX_PLANS", 3)
    plan_cache._plans.clear()
    for name in ("name", "sku", "views", "price", "text"):
        list(products.order_by(name))
        list(products.order_by("pk"))
    assert len(plan_cache._plans) == 3
    assert any("pk" in str(key) for key in plan_cache._plans)


@pytest.mark.parametrize("signal", [pre_init, post_init])
def test_receivers_of_init_signals_are_called_for_cached_instances(signal):
    calls = []
    receiver = lambda sender, **kwargs: calls.append(sender)
    reads = [
        lambda: list(products.all()),
        lambda: products.get(sku="sku1"),
        lambda: products.select_related("category")[0],
    ]
    for read in reads:
        read()
    signal.connect(receiver, sender=Product)
    try:
        counts = []
        for _ in range(2):
            for read in reads:
                calls.clear()
                read()
                counts.append(len(calls))
    finally:
        signal.disconnect(receiver, sender=Product)
    assert counts == [8, 1, 1] * 2


@pytest.mark.parametrize("by_dict", [(), ("b",), ("c", "b"), ("def",)])
@pytest.mark.parametrize(
    "names", [(), ("a",), ("a", "b"), ("c", "b", "a"), ("not an identifier", "b"), ("class", "def")]
)
def test_the_attribute_setter_sets_all_columns_in_order(names, by_dict):
    """Any column name works, descriptors are bypassed, and a row of another length raises `ValueError`."""

    class Refusing:
        def __set__(self, instance, value):
            raise AssertionError

    made = type("Made", (), {name: Refusing() for name in by_dict})
    instance = made()
    instance.first = 0
    hydrator._attribute_setter(names, frozenset(by_dict))(instance, range(len(names)))
    assert list(vars(instance).items()) == [("first", 0), *zip(names, range(len(names)), strict=True)]
    for length in {0, 1, 3} - {len(names)}:
        with pytest.raises(ValueError, match=r"values to unpack|argument 2 is"):
            hydrator._attribute_setter(names, frozenset(by_dict))(made(), range(length))


def test_hydration_sets_foreign_keys_without_their_descriptor():
    """Like Django, hydration does not run the code that the descriptor runs when a key is changed."""
    assert hydrator._names_with_setters(Product) >= {"category_id"}
    for instances in (Product.objects.order_by("pk"), Product.objects.order_by("pk")):
        first = next(iter(instances))
        assert list(vars(first))[1:] == [field.attname for field in Product._meta.concrete_fields]


@pytest.mark.parametrize("override", ["__init__", "from_db", "__setattr__"])
def test_overridden_construction_methods_are_called_for_cached_rows(override):
    calls = []

    def overridden(self, *args, **kwargs):
        calls.append(override)
        return original(self, *args, **kwargs)

    original = getattr(Label, override)
    function = overridden
    if override == "from_db":
        function = classmethod(lambda cls, *args, **kwargs: calls.append(override) or original(*args, **kwargs))
    Label.objects.get(text="new"), list(Label.objects.all())
    hydrator._fast_model.cache_clear()
    setattr(Label, override, function)
    try:
        calls.clear()
        Label.objects.get(text="new")
        list(Label.objects.all())
        assert len(calls) >= 4
    finally:
        delattr(Label, override)
        hydrator._fast_model.cache_clear()


def test_does_not_exist_is_cached_until_the_row_is_created():
    """The error has the class and message of Django."""
    absent = uuid.uuid4()
    for _ in range(2):
        with pytest.raises(Ticket.DoesNotExist, match=r"^Ticket matching query does not exist\.$"):
            Ticket.objects.get(pk=absent)
    with counted_reads() as reads, pytest.raises(Ticket.DoesNotExist):
        Ticket.objects.get(pk=absent)
    assert (reads.hits, reads.misses) == (1, 0)
    Ticket.objects.create(pk=absent, subject="came")
    assert Ticket.objects.get(pk=absent).subject == "came"


@pytest.mark.parametrize("field", ["pk", "id", "sku", "sku__exact"])
@pytest.mark.parametrize(
    "value", ["x", 1.5, None, b"1", True, object(), "1 OR 1=1", 2**80, -(2**80), str(2**80), 2**40, "\x00", "", 0]
)
def test_get_with_unusual_values_returns_or_raises_what_django_does(value, field):
    def outcome():
        try:
            return comparable(products.get(**{field: value}))
        except Exception as error:
            return type(error), str(error)

    with override_settings(CACHEOPS_ENABLED=False):
        true = outcome()
    assert outcome() == outcome() == true


GETS = {
    "pk": lambda: products.get(pk=products.nocache().first().pk),
    "text of a pk": lambda: products.get(pk=str(products.nocache().first().pk)),
    "unique": lambda: products.get(sku=products.nocache().first().sku),
    "nothing": lambda: products.get(sku="nothing"),
    "uuid": lambda: Ticket.objects.get(pk=uuid.UUID(int=1)),
    "text of a uuid": lambda: Ticket.objects.get(pk=str(uuid.UUID(int=1))),
    "foreign key": lambda: products.nocache().exclude(category=None).first().category,
    "one-to-one": lambda: products.get(pk=products.nocache().first().pk).warranty,
}


@pytest.mark.parametrize("name", GETS)
def test_a_missed_get_sends_the_sql_of_django(monkeypatch, queries, name):
    """Statements, parameters and results are equal, whether the SQL is compiled once or for each read."""

    def sent():
        invalidate_all()
        with queries() as found:
            try:
                result = comparable(GETS[name]())
            except ObjectDoesNotExist as error:
                result = type(error), str(error)
        return [query["sql"] for query in found], result

    first, again = sent(), sent()
    monkeypatch.setattr(*switched("point lookups", False))
    assert first == again == sent()


def test_get_respects_the_conditions_of_its_queryset():
    """A queryset that is filtered or overrides `filter()` does not take the point lookup."""

    class Visible(models.QuerySet):
        def filter(self, *args, **kwargs):
            return super().filter(*args, visible=True, **kwargs)

    hidden = Product.objects.create(sku="hidden", visible=False)
    for queryset in (products.filter(visible=True), Visible(Product), products.exclude(pk=hidden.pk), products.none()):
        for _ in range(2):
            with pytest.raises(Product.DoesNotExist):
                queryset.get(pk=hidden.pk)
    assert products.get(pk=hidden.pk) == hidden
