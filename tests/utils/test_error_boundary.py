"""What this package does beyond Django never breaks what Django alone would do: it is not cached, or invalidates more.

Django alone would not deepcopy, pickle, compare, hash or print the application's values, nor compose a query twice.
"""

import decimal
import logging
import pickle
import signal

import pytest
from django.db import connection
from django.db.models import Count, IntegerField, Manager, Max, QuerySet, Value
from django.db.models.expressions import Func
from django.db.models.sql.query import Query

from cacheops_lite import cached_as, invalidate_all
from cacheops_lite.query.compiler import compile_rows
from cacheops_lite.query.query_walk import QueryWalk
from cacheops_lite.reads import cached_read
from cacheops_lite.store.client import get_client
from cacheops_lite.utils import error_boundary
from tests.shop.fields import ShownByField
from tests.shop.models import Label, Product, Shown

pytestmark = pytest.mark.django_db(transaction=True)


class Refusal(Exception):
    """Of a value to be asked for something."""


def refuse(self, *args):
    raise Refusal


def delegate(self, name):
    # A plain wrapper, which asks itself for what it lacks: copying it recurses without end.
    return getattr(self.inner, name)


METHODS = {
    **dict.fromkeys(("__deepcopy__", "__copy__", "__reduce_ex__", "__getstate__", "__sizeof__"), refuse),
    **dict.fromkeys(
        ("__repr__", "__str__", "__format__", "__hash__", "__eq__", "__lt__", "__bool__", "__len__"), refuse
    ),
    "__getattr__": delegate,
}

# Django itself asks every value for attributes that it lacks, before it writes or compares it.
WRITTEN = [name for name in METHODS if name != "__getattr__"]


def odd_class(name, base=object):
    """A class whose instances raise where `name` is called."""

    def initialize(self, text=""):
        self.__dict__["text"] = text

    return type("Odd", (base,), {"__init__": initialize, name: METHODS[name], "raises": True})


@pytest.fixture(autouse=True)
def rows(store):
    error_boundary._reported.clear()
    cached_read._unstorable.clear()
    Shown.objects.bulk_create([Shown(value=f"text {i}", number=i) for i in (1, 2)])
    yield
    ShownByField.kind = None


def text_of(value):
    return vars(value)["text"]


READS = {
    "get": lambda: [text_of(Shown.objects.get(number=1).value)],
    "get by key": lambda: [text_of(Shown.objects.get(pk=Shown.objects.values_list("pk")[0][0]).value)],
    "fetch": lambda: [text_of(shown.value) for shown in Shown.objects.order_by("number")],
    "fetch in a way that has no plan": lambda: [
        text_of(shown.value) for shown in Shown.objects.extra(where=["number > 0"]).order_by("number")
    ],
    "values": lambda: [text_of(value) for value in Shown.objects.order_by("number").values_list("value", flat=True)],
    "raw": lambda: [text_of(s.value) for s in Shown.objects.raw("SELECT * FROM shop_shown ORDER BY number").cache()],
    "max": lambda: [text_of(Shown.objects.aggregate(found=Max("value"))["found"])],
    "in_bulk": lambda: [text_of(each.value) for each in Shown.objects.in_bulk().values()],
    "iterator": lambda: [text_of(each.value) for each in Shown.objects.order_by("number").cache().iterator()],
}


@pytest.mark.parametrize("method", METHODS)
def test_values_that_refuse_are_read_as_without_a_cache(method):
    """Whatever a value raises when it is copied, pickled, printed or compared; the next read sees what is written."""
    for name, read in READS.items():
        ShownByField.kind = odd_class(method)
        found = [read() for _ in range(3)]
        assert found[0], name
        assert found[1] == found[2] == found[0], name
        Shown.objects.filter(number__gt=0).update(value=f"by {name}")
        assert set(read()) == {f"by {name}"}, name


@pytest.mark.parametrize("method", WRITTEN)
def test_instances_with_values_that_refuse_are_written_as_without_a_cache(method):
    """What can't be described invalidates the table."""
    ShownByField.kind = None
    texts = lambda: sorted(Shown.objects.values_list("value", flat=True))
    narrow = lambda: list(Shown.objects.filter(value="text 1"))
    assert texts() == ["text 1", "text 2"]
    assert len(narrow()) == 1
    kind = odd_class(method)
    shown = Shown.objects.nocache().get(number=1)
    shown.value = kind("saved")
    shown.save()
    assert (texts(), narrow()) == (["saved", "text 2"], [])
    Shown.objects.filter(number=1).update(value=kind("updated"))
    assert texts() == ["text 2", "updated"]
    Shown.objects.bulk_create([Shown(value=kind("created"), number=3)])
    assert texts() == ["created", "text 2", "updated"]
    shown.value = kind("bulk")
    Shown.objects.bulk_update([shown], ["value"])
    assert texts() == ["bulk", "created", "text 2"]
    ShownByField.kind = kind
    Shown.objects.get(number=1).delete()
    Shown.objects.filter(number=3).delete()
    ShownByField.kind = None
    assert texts() == ["text 2"]


@pytest.mark.parametrize("method", WRITTEN)
def test_conditions_on_values_that_refuse_are_asked_as_without_a_cache(method):
    ShownByField.kind = None
    value = odd_class(method)("text 1")
    for read in (
        lambda: Shown.objects.filter(value=value).count(),
        lambda: len(Shown.objects.filter(value=value)),
        lambda: Shown.objects.filter(value=value).exists(),
        lambda: Shown.objects.get(value=value).number,
        lambda: len(Shown.objects.filter(value__in=[value])),
    ):
        assert [int(read()), int(read())] == [1, 1]


@pytest.mark.parametrize("method", METHODS)
def test_functions_may_return_what_refuses(method):
    kind = odd_class(method)

    @cached_as(Shown)
    def report():
        return kind("report")

    assert [text_of(report()) for _ in range(3)] == ["report"] * 3


class OddFunc(Func):
    """An expression that refuses what Django does not ask of one."""

    function, output_field = "ABS", IntegerField()
    __repr__ = __str__ = __deepcopy__ = refuse


def test_expressions_that_refuse_are_composed_as_without_a_cache():
    for _ in range(2):
        assert [s.found for s in Shown.objects.annotate(found=OddFunc("number")).order_by("pk")] == [1, 2]
        assert Shown.objects.aggregate(found=Max(OddFunc("number"))) == {"found": 2}


class CountingQuery(Query):
    """Keeps state in chain(), and changes itself when it is composed."""

    composed = 0

    def chain(self, klass=None):
        copied = super().chain(klass)
        copied.mark = getattr(self, "mark", "")
        return copied

    def get_compiler(self, using=None, connection=None, elide_empty=True):
        assert self.mark == "made", "made by clone()"
        compiler = super().get_compiler(using, connection, elide_empty)
        as_sql = compiler.as_sql

        def composing(*args, **kwargs):
            self.composed += 1
            assert self.composed == 1, "composed a second time"
            return as_sql(*args, **kwargs)

        compiler.as_sql = composing
        return compiler


class OwnAggregates(Query):
    """Computes in its own way."""

    def get_aggregation(self, using, aggregate_exprs):
        return dict.fromkeys(aggregate_exprs, 42)

    def has_results(self, using):
        return True


def marked():
    queryset = Shown.objects.order_by("number")
    queryset.query.__class__ = CountingQuery
    queryset.query.mark = "made"
    return queryset


def test_queries_of_other_classes_are_copied_as_django_copies_them_and_composed_once():
    for _ in range(2):
        assert [shown.number for shown in marked()] == [1, 2]
        assert len(marked().filter(number=2)) == 1
        assert marked().get(number=2).number == 2
    Shown.objects.filter(number=2).delete()
    assert [shown.number for shown in marked()] == [1]


def test_queries_that_compute_in_their_own_way_are_left_to_it():
    for _ in range(2):
        queryset = Shown.objects.filter(number=7)
        queryset.query.__class__ = OwnAggregates
        assert (queryset.count(), queryset.aggregate(found=Count("pk")), queryset.exists()) == (42, {"found": 42}, True)


FAULTS = [ValueError, AttributeError, RecursionError, KeyError, AssertionError]


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_the_analysis_raises_the_query_is_answered(monkeypatch, caplog, fault):
    """It is not cached, and says so once for each place that asks."""

    def failing(*args):
        raise fault("on purpose")

    reads = [
        lambda: [shown.number for shown in Shown.objects.order_by("number")],
        lambda: Shown.objects.count(),
        lambda: Shown.objects.aggregate(found=Max("number")),
        lambda: Shown.objects.exists(),
        lambda: Shown.objects.get(number=1).number,
    ]
    true = [read() for read in reads]
    invalidate_all()
    monkeypatch.setattr(QueryWalk, "as_sql", failing)
    monkeypatch.setattr("cacheops_lite.query.plan_cache.ENABLED", False)
    with caplog.at_level(logging.WARNING, "cacheops_lite"):
        for _ in range(3):
            assert [read() for read in reads] == true
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == len(reads)
    assert all(__file__ in each and f"{fault.__name__}: " in each for each in said)


def test_what_can_t_be_stored_is_not_tried_again_and_not_logged_again(caplog):
    """Until a minute is over: then the value may be another one."""
    ShownByField.kind = odd_class("__reduce_ex__")
    tried = []
    kind = ShownByField.kind
    kind.__reduce_ex__ = lambda self, protocol: tried.append(1) or refuse(self)
    with caplog.at_level(logging.WARNING, "cacheops_lite"):
        for number in (1, 2, 1, 2):
            assert list(Shown.objects.filter(number=number).order_by("number"))
    assert len(tried) == 1
    assert len(caplog.records) == 1
    assert "does not serialize" in caplog.text
    assert not caplog.records[0].exc_info
    # By then all is well.
    ShownByField.kind = None
    cached_read._unstorable.clear()
    read = lambda: [shown.value for shown in Shown.objects.filter(number=1).order_by("number")]
    assert read() == read() == ["text 1"]


def test_what_is_stored_and_can_t_be_made_a_result_is_a_miss(caplog):
    """Rows that were damaged, or of another layout."""
    read = lambda: [label.text for label in Label.objects.order_by("pk")]
    Label.objects.create(text="a")
    assert read() == ["a"]
    client = get_client()
    for key in client.scan_iter(match="*cacheops:v:*"):
        value = client.get(key)
        client.set(key, value[:16] + pickle.dumps([("too",), 7]))
    assert read() == ["a"]


class Cash(decimal.Decimal):
    """Its reduction, which copies and pickles rest on, is that of its base: it loses attributes."""


def cash(text):
    made = Cash(1)
    made.text = text
    return made


def test_values_that_lose_attributes_when_they_are_pickled_are_not_cached():
    """A hit would show another value than a miss."""
    ShownByField.kind = staticmethod(cash)
    for _ in range(3):
        assert [shown.value.text for shown in Shown.objects.order_by("number")] == ["text 1", "text 2"]
        assert Shown.objects.get(number=1).value.text == "text 1"
        assert Shown.objects.aggregate(found=Max("value"))["found"].text == "text 2"


class TimeLimit(Exception):
    """As Celery's: an ordinary exception, raised by a signal handler wherever the code is."""


def strike(number, frame):
    raise TimeLimit


@pytest.fixture
def time_limit():
    """Raises the signal of a time limit."""
    before = signal.signal(signal.SIGUSR1, strike)
    yield lambda *args: signal.raise_signal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def test_a_time_limit_that_strikes_in_the_analysis_is_not_taken_for_its_failure(monkeypatch, time_limit):
    monkeypatch.setattr(QueryWalk, "as_sql", time_limit)
    with pytest.raises(TimeLimit):
        list(Product.objects.filter(name="struck"))
    monkeypatch.undo()
    monkeypatch.setattr("cacheops_lite.store.serializers.pickle.dumps", time_limit)
    with pytest.raises(TimeLimit):
        list(Product.objects.filter(name="struck"))
    assert not issubclass(TimeLimit, KeyboardInterrupt)


def test_any_kind_of_signal_handler_is_recognized():
    class Handler:
        def __call__(self, number, frame):
            raise TimeLimit

        def method(self, number, frame):
            raise TimeLimit

    handler = Handler()
    before = signal.getsignal(signal.SIGUSR2)
    try:
        for each in (handler, handler.method, lambda number, frame: strike(number, frame)):
            signal.signal(signal.SIGUSR2, each)
            with pytest.raises(TimeLimit):
                error_boundary.call_or_default("struck", lambda: signal.raise_signal(signal.SIGUSR2), None)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert error_boundary.call_or_default("failed", lambda: strike(None, None), "otherwise") == "otherwise"


def test_composing_for_the_analysis_leaves_the_queryset_as_it_was():
    """Joins that composing adds are added to a copy."""
    queryset = Product.objects.select_related("category").order_by("category__name", "pk")
    before = dict(queryset.query.alias_map)
    compile_rows(queryset)
    assert dict(queryset.query.alias_map) == before
    union = Label.objects.values("pk").union(Product.objects.values("pk")).order_by("id")
    selected = [dict(part.selected) for part in union.query.combined_queries]
    compile_rows(union)
    assert [part.selected for part in union.query.combined_queries] == selected


def test_statements_that_can_t_be_read_are_executed_and_invalidate_all_tables():
    """Objects that a driver composes; texts that sqlparse refuses."""
    assert Shown.objects.count() == 2

    class Unreadable:
        def __getattr__(self, name):
            raise Refusal

    sent = []

    def executing(sql, params, many, context):
        sent.append(sql)
        with connection.wrap_database_errors:
            return context["cursor"].cursor.execute("DELETE FROM shop_shown WHERE number = 1")

    from cacheops_lite.orm.execute_wrapper import statement_guard

    unreadable = Unreadable()
    with connection.cursor() as cursor:
        statement_guard(executing, unreadable, None, False, {"connection": connection, "cursor": cursor})
    assert sent == [unreadable]
    assert Shown.objects.count() == 1


def test_a_queryset_of_the_application_s_own_is_asked_as_django_asks_it():
    """Its chain() may count, or keep state."""

    class Counting(QuerySet):
        def _clone(self):
            copied = super()._clone()
            copied.mark = self.mark
            return copied

    class Objects(Manager.from_queryset(Counting)):
        def get_queryset(self):
            found = super().get_queryset()
            found.mark = "made"
            return found

    objects = Objects()
    objects.model = Shown
    for _ in range(2):
        assert [shown.number for shown in objects.filter(number=1)] == [1]
        assert objects.filter(number=1).annotate(one=Value(1)).count() == 1
