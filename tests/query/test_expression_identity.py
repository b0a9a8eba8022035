"""Query fingerprints distinguish queries whose expressions, orders, arguments or samples differ in small ways."""

import datetime

import pytest
from django.db.models import (
    BooleanField,
    Case,
    CharField,
    Count,
    ExpressionWrapper,
    F,
    Func,
    IntegerField,
    Max,
    Prefetch,
    Q,
    TextField,
    Transform,
    When,
)
from django.db.models.functions import Lower
from django.utils import timezone, translation

from cacheops_lite import cached_as
from tests.property.differential import uncached
from tests.rich import models as rich
from tests.shop import fields
from tests.shop.models import Label, Odd, Product

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]


def assert_results_are_distinct(reads):
    """Each read returns what the database returns, and the first two results differ."""
    expected = [uncached(read) for read in reads]
    assert expected[0] != expected[1]
    assert [read() for read in reads] == expected


def within(context, *arguments):
    def reading(read):
        def reader():
            with context(*arguments):
                return read()

        return reader

    return reading


def skus(*order):
    ordered = Product.objects.order_by(*order) if order else Product.objects.all()
    return lambda: list(ordered.values_list("sku", flat=True))


def annotated(expression):
    return lambda: list(Product.objects.annotate(x=expression).order_by("pk").values_list("x", flat=True))


def test_json_true_and_a_list_of_one_element_have_different_keys():
    """Compiled lookups of both have the same shape but different parameters."""
    product = Product.objects.create(sku="a", facts=[7], views=4)
    reads = [lambda facts=facts: list(Product.objects.filter(facts=facts, views=5)) for facts in (True, [7])]
    assert [read() for read in reads] == [[], []]
    product.views = 5
    product.save()
    assert [read() for read in reads] == [[], [product]]


@pytest.mark.parametrize(
    "expression",
    [
        Case(When(items__level__isnull=True, then=F("name")), default=F("code")),
        Count("pk", filter=Q(items__level__isnull=True)),
    ],
    ids=["when", "filter"],
)
def test_expressions_over_different_joins_have_different_fingerprints(expression):
    """The conditions inside the expressions name the same columns, but resolve to different joins."""
    owner = rich.Owner.objects.create(name="name", code="code")
    rich.Item.objects.create(title="1", number=1, owner=owner, fallback=None, level=None)
    rich.Item.objects.create(title="2", number=2, owner=owner, fallback=None, level=1)
    one = rich.Owner.objects.filter(items__number=1)
    assert_results_are_distinct(
        [
            lambda: list(one.filter(items__number=2).annotate(x=expression).values_list("x", flat=True)),
            lambda: list(one.annotate(x=expression).filter(items__number=2).values_list("x", flat=True)),
        ]
    )


BY_ZONE = {
    "case": lambda: annotated(Case(When(added__hour=F("views"), then=F("name")), default=F("sku")))(),
    "count": lambda: Product.objects.aggregate(x=Count("pk", filter=Q(added__hour=F("views")))),
}


@pytest.mark.parametrize("name", BY_ZONE)
def test_conditions_inside_expressions_depend_on_the_time_zone(name):
    """On MariaDB the SQL has no parameter for the time zone if it is UTC."""
    for sku, hour in ("a", 5), ("b", 20):
        added = datetime.datetime(2020, 1, 5, hour, tzinfo=datetime.timezone.utc)
        Product.objects.create(sku=sku, name=f"n{sku}", views=5, added=added)
    zones = datetime.timezone.utc, datetime.timezone(datetime.timedelta(hours=10))
    assert_results_are_distinct([within(timezone.override, zone)(BY_ZONE[name]) for zone in zones])


def test_an_expression_is_identified_by_its_current_state():
    """The order, the template or the source expressions may be changed after construction."""
    for n in range(3):
        Product.objects.create(sku=str(n), views=n, name="a")
    up, down = F("views").asc(), F("views").asc()
    down.desc()
    assert_results_are_distinct([skus(up), skus(down)])
    plain, twice = (Func(F("views"), function="", output_field=IntegerField()) for _ in range(2))
    twice.extra["template"] = "(2 * %(expressions)s)"
    assert_results_are_distinct([annotated(plain), annotated(twice)])
    views, key = Max("views"), Max("views")
    key.set_source_expressions([F("pk"), *key.get_source_expressions()[1:]])
    assert_results_are_distinct([lambda each=each: Product.objects.aggregate(x=each) for each in (views, key)])


@pytest.mark.parametrize("ordering", [["-sku"], [F("sku").desc()], None])
def test_a_changed_default_ordering_of_a_model_is_respected(monkeypatch, ordering):
    """Tests may change `Meta.ordering` at run time."""
    for sku in "ab":
        Product.objects.create(sku=sku)
    for each in (["sku"], ordering):
        monkeypatch.setattr(Product._meta, "ordering", each)
        assert skus()() == list(Product.objects.nocache().values_list("sku", flat=True))


class ByLanguage(Func):
    """Selects its first expression in English and its second one in other languages, like translated columns."""

    output_field = TextField()

    def as_sql(self, compiler, connection, **kwargs):
        one, other = self.get_source_expressions()
        return compiler.compile(one if translation.get_language() == "en" else other)


class LanguageOrder(Transform):
    lookup_name = "languageorder"
    output_field = IntegerField()

    def as_sql(self, compiler, connection):
        sql, parameters = compiler.compile(self.lhs)
        function = "unicode" if connection.vendor == "sqlite" else "ASCII"
        return f"{function}({sql}){'' if translation.get_language() == 'en' else ' * -1'}", parameters


def chosen():
    return ByLanguage("name", "text")


BY_LANGUAGE = {
    "alone": annotated(chosen()),
    "within Django's": annotated(Lower(chosen())),
    "in a condition": annotated(Case(When(Q(name=chosen()), then=F("name")), default=F("sku"))),
    "in order": skus(chosen().asc()),
    "in an aggregate": lambda: Product.objects.aggregate(x=Max(chosen())),
    "a transform in order": skus("name__languageorder"),
    "Meta.ordering": skus(),
}
LANGUAGES = [within(translation.override, language) for language in ("en", "de")]


@pytest.fixture
def language_order():
    CharField.register_lookup(LanguageOrder)
    yield
    CharField._unregister_lookup(LanguageOrder)


@pytest.mark.parametrize("name", BY_LANGUAGE)
def test_third_party_sql_is_compiled_for_each_read(name, monkeypatch, language_order):
    """It may depend on the active language, wherever it stands in the query."""
    Product.objects.create(sku="a", name="A", text="z")
    Product.objects.create(sku="b", name="B", text="y")
    if name == "Meta.ordering":
        monkeypatch.setattr(Product._meta, "ordering", [chosen()])
    assert_results_are_distinct([language(BY_LANGUAGE[name]) for language in LANGUAGES])


SHOWN = {
    "all": lambda: [each.shown for each in Odd.objects.all()],
    "filtered": lambda: [each.shown for each in Odd.objects.filter(number=0)],
    "values": lambda: list(Odd.objects.filter(number=0).values_list("shown", flat=True)),
    "get": lambda: Odd.objects.get(pk=1).shown,
}


@pytest.mark.parametrize("name", SHOWN)
def test_third_party_select_format_is_called_for_each_read(name, monkeypatch):
    def select_format(self, compiler, sql, params):
        return (f"UPPER({sql})" if translation.get_language() == "de" else f"LOWER({sql})"), params

    monkeypatch.setattr(fields.ShownLowerField, "select_format", select_format)
    Odd.objects.create(pk=1, shown="Aa")
    assert_results_are_distinct([language(SHOWN[name]) for language in LANGUAGES])


def prefetched(product):
    return sorted(getattr(product, "_prefetched_objects_cache", {}))


QUERYSETS = {
    "prefetches": (prefetched, [Product.objects.all(), Product.objects.prefetch_related("labels")]),
    "prefetched querysets": (
        lambda product: [label.text for label in product.labels.all()],
        [Product.objects.prefetch_related(Prefetch("labels", Label.objects.filter(text=text))) for text in "lm"],
    ),
    "output fields": (
        lambda product: type(product.x),
        [
            Product.objects.annotate(x=ExpressionWrapper(F("views"), output_field=field))
            for field in (IntegerField(), BooleanField())
        ],
    ),
}


@pytest.mark.parametrize("name", QUERYSETS)
def test_querysets_with_different_prefetches_or_output_fields_are_different_arguments(name):
    shown, querysets = QUERYSETS[name]
    product = Product.objects.create(sku="a", name="abc", views=1)
    product.labels.add(Label.objects.create(text="l"))

    @cached_as(Product)
    def show(queryset):
        return [shown(each) for each in queryset]

    expected = [uncached(lambda each=each: show(each.all())) for each in querysets]
    assert [show(each.all()) for each in querysets] == expected


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_instances_of_different_databases_are_different_arguments_if_not_db_agnostic(settings):
    """By default databases are assumed to have the same rows."""
    settings.CACHEOPS = {"shop.*": {"ops": "all", "timeout": 60, "db_agnostic": False}}
    one = Product.objects.create(pk=1, sku="a", name="one")
    two = Product.objects.using("other").create(pk=1, sku="a", name="two")

    @cached_as(Product)
    def name_of(product):
        return product.name

    assert [name_of(one), name_of(two)] == ["one", "two"]


def test_results_are_keyed_by_the_order_and_the_prefetches_of_samples():
    """The order counts even if one sample is empty."""
    product = Product.objects.create(sku="a")
    product.labels.add(Label.objects.create(text="l"))

    def counts(*samples):
        return cached_as(*samples)(lambda: [len(each) for each in samples])()

    some, none = Product.objects.filter(pk=product.pk), Product.objects.filter(pk__in=[])
    assert counts(some.all(), none.all()) == [1, 0]
    assert counts(none.all(), some.all()) == [0, 1]

    def listed(queryset):
        return cached_as(queryset)(lambda: list(queryset))()

    listed(Product.objects.all())
    (found,) = listed(Product.objects.prefetch_related(Prefetch("labels", to_attr="chosen")))
    assert [label.text for label in found.chosen] == ["l"]


def test_an_overridden_do_update_is_invalidated_by_the_values_that_it_writes(monkeypatch):
    """Models with a version counter override `_do_update()`."""
    original = Product._do_update

    def _do_update(self, base_qs, using, pk_val, values, *rest):
        values = [(field, None, F("views") + 1 if field.name == "views" else value) for field, _, value in values]
        return original(self, base_qs, using, pk_val, values, *rest)

    product = Product.objects.create(sku="a", views=1)
    monkeypatch.setattr(Product, "_do_update", _do_update)
    reads = [lambda views=views: Product.objects.filter(views=views).count() for views in (1, 2)]
    assert [read() for read in reads] == [1, 0]
    product.name = "x"
    product.save()
    assert [read() for read in reads] == [0, 1]
