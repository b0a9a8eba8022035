"""An error in what the package does beyond Django is not raised: the read is not cached, or the write invalidates more.

Django alone does not deepcopy, pickle, compare, hash or print values of the application, nor compile a query twice.
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
from cacheops_lite.reads import unstorable
from cacheops_lite.store.client import get_client
from cacheops_lite.utils import error_boundary
from tests.shop.fields import ShownByField
from tests.shop.models import Label, Product, Shown
from tests.support import fast_paths

pytestmark = pytest.mark.django_db(transaction=True)


class Refusal(Exception):
    """Raised by a value for a method that Django alone would not call."""


def refuse(self, *args):
    raise Refusal


def delegate(self, name):
    # A plain wrapper, which looks up missing attributes in itself: copying it recurses infinitely.
    return getattr(self.inner, name)


METHODS = {
    **dict.fromkeys(("__deepcopy__", "__copy__", "__reduce_ex__", "__getstate__", "__sizeof__"), refuse),
    **dict.fromkeys(
        ("__repr__", "__str__", "__format__", "__hash__", "__eq__", "__lt__", "__bool__", "__len__"), refuse
    ),
    "__getattr__": delegate,
}

# Before Django writes or compares a value it looks up attributes that may be missing.
METHODS_OF_WRITTEN_VALUES = [name for name in METHODS if name != "__getattr__"]


def odd_class(name, base=object):
    """Return a class whose instances raise in the method `name`."""

    def initialize(self, text=""):
        self.__dict__["text"] = text

    return type("Odd", (base,), {"__init__": initialize, name: METHODS[name], "raises": True})


@pytest.fixture(autouse=True)
def rows(store):
    error_boundary._reported.clear()
    unstorable._unstorable.clear()
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
def test_values_that_raise_are_read_as_without_a_cache(method):
    """The value raises when it is copied, pickled, printed or compared; writes are seen by the next read."""
    for name, read in READS.items():
        ShownByField.kind = odd_class(method)
        found = [read() for _ in range(3)]
        assert found[0], name
        assert found[1] == found[2] == found[0], name
        Shown.objects.filter(number__gt=0).update(value=f"by {name}")
        assert set(read()) == {f"by {name}"}, name


@pytest.mark.parametrize("method", METHODS_OF_WRITTEN_VALUES)
def test_instances_with_values_that_raise_are_written_as_without_a_cache(method):
    """A value without a token invalidates the table."""
    ShownByField.kind = None
    texts = lambda: sorted(Shown.objects.values_list("value", flat=True))
    by_value = lambda: list(Shown.objects.filter(value="text 1"))
    assert texts() == ["text 1", "text 2"]
    assert len(by_value()) == 1
    kind = odd_class(method)
    shown = Shown.objects.nocache().get(number=1)
    shown.value = kind("saved")
    shown.save()
    assert (texts(), by_value()) == (["saved", "text 2"], [])
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


@pytest.mark.parametrize("method", METHODS_OF_WRITTEN_VALUES)
def test_conditions_with_values_that_raise_are_queried_as_without_a_cache(method):
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
def test_functions_may_return_values_that_raise(method):
    kind = odd_class(method)

    @cached_as(Shown)
    def report():
        return kind("report")

    assert [text_of(report()) for _ in range(3)] == ["report"] * 3


class OddFunc(Func):
    """An expression that raises in methods that Django does not call."""

    function, output_field = "ABS", IntegerField()
    __repr__ = __str__ = __deepcopy__ = refuse


def test_expressions_that_raise_are_compiled_as_without_a_cache():
    for _ in range(2):
        assert [s.found for s in Shown.objects.annotate(found=OddFunc("number")).order_by("pk")] == [1, 2]
        assert Shown.objects.aggregate(found=Max(OddFunc("number"))) == {"found": 2}


class CountingQuery(Query):
    """Has state that chain() copies, and changes when it is compiled."""

    compiled = 0

    def chain(self, klass=None):
        copied = super().chain(klass)
        copied.mark = getattr(self, "mark", "")
        return copied

    def get_compiler(self, using=None, connection=None, elide_empty=True):
        assert self.mark == "made", "made by clone()"
        compiler = super().get_compiler(using, connection, elide_empty)
        as_sql = compiler.as_sql

        def as_sql_once(*args, **kwargs):
            self.compiled += 1
            assert self.compiled == 1, "composed a second time"
            return as_sql(*args, **kwargs)

        compiler.as_sql = as_sql_once
        return compiler


class OwnAggregates(Query):
    """Computes aggregates by its own code."""

    def get_aggregation(self, using, aggregate_exprs):
        return dict.fromkeys(aggregate_exprs, 42)

    def has_results(self, using):
        return True


def marked_queryset():
    queryset = Shown.objects.order_by("number")
    queryset.query.__class__ = CountingQuery
    queryset.query.mark = "made"
    return queryset


def test_custom_query_classes_are_chained_like_in_django_and_compiled_once():
    for _ in range(2):
        assert [shown.number for shown in marked_queryset()] == [1, 2]
        assert len(marked_queryset().filter(number=2)) == 1
        assert marked_queryset().get(number=2).number == 2
    Shown.objects.filter(number=2).delete()
    assert [shown.number for shown in marked_queryset()] == [1]


def test_custom_query_classes_with_their_own_aggregation_use_it():
    for _ in range(2):
        queryset = Shown.objects.filter(number=7)
        queryset.query.__class__ = OwnAggregates
        assert (queryset.count(), queryset.aggregate(found=Count("pk")), queryset.exists()) == (42, {"found": 42}, True)


FAULTS = [ValueError, AttributeError, RecursionError, KeyError, AssertionError]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_query_whose_analysis_raises_is_not_cached_and_returns_its_result(monkeypatch, caplog, fault):
    """A warning is logged once per calling line."""

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
    monkeypatch.setattr(*fast_paths.switched("plans", False))
    with caplog.at_level(logging.WARNING, "cacheops_lite"):
        for _ in range(3):
            assert [read() for read in reads] == true
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == len(reads)
    assert all(__file__ in each and f"{fault.__name__}: " in each for each in messages)


def test_a_result_that_cannot_be_stored_is_neither_retried_nor_logged_again(caplog):
    """After a minute it is tried again, as its values may have changed."""
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
    # The minute is over, and the value can be pickled.
    ShownByField.kind = None
    unstorable._unstorable.clear()
    read = lambda: [shown.value for shown in Shown.objects.filter(number=1).order_by("number")]
    assert read() == read() == ["text 1"]


def test_stored_rows_that_cannot_be_hydrated_are_a_miss(caplog):
    """They are damaged or have another layout."""
    read = lambda: [label.text for label in Label.objects.order_by("pk")]
    Label.objects.create(text="a")
    assert read() == ["a"]
    client = get_client()
    for key in client.scan_iter(match="*cacheops:v:*"):
        value = client.get(key)
        client.set(key, value[:16] + pickle.dumps([("too",), 7]))
    assert read() == ["a"]


class Cash(decimal.Decimal):
    """Its reduction, which copies and pickles use, is that of its base: it loses attributes."""


def cash(text):
    made = Cash(1)
    made.text = text
    return made


def test_values_that_lose_attributes_when_they_are_pickled_are_not_cached():
    """A hit would return another value than a miss."""
    ShownByField.kind = staticmethod(cash)
    for _ in range(3):
        assert [shown.value.text for shown in Shown.objects.order_by("number")] == ["text 1", "text 2"]
        assert Shown.objects.get(number=1).value.text == "text 1"
        assert Shown.objects.aggregate(found=Max("value"))["found"].text == "text 2"


class TimeLimit(Exception):
    """Like Celery's: an ordinary exception, which a signal handler raises at any point of the code."""


def raise_time_limit(number, frame):
    raise TimeLimit


@pytest.fixture
def time_limit():
    """Return a function that raises the signal of the time limit."""
    before = signal.signal(signal.SIGUSR1, raise_time_limit)
    yield lambda *args: signal.raise_signal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def test_a_time_limit_during_the_analysis_is_raised(monkeypatch, time_limit):
    monkeypatch.setattr(QueryWalk, "as_sql", time_limit)
    with pytest.raises(TimeLimit):
        list(Product.objects.filter(name="struck"))
    monkeypatch.undo()
    monkeypatch.setattr("cacheops_lite.store.serializers.pickle.dumps", time_limit)
    with pytest.raises(TimeLimit):
        list(Product.objects.filter(name="struck"))
    assert not issubclass(TimeLimit, KeyboardInterrupt)


def test_exceptions_of_any_kind_of_signal_handler_are_raised():
    class Handler:
        def __call__(self, number, frame):
            raise TimeLimit

        def method(self, number, frame):
            raise TimeLimit

    handler = Handler()
    before = signal.getsignal(signal.SIGUSR2)
    try:
        for each in (handler, handler.method, lambda number, frame: raise_time_limit(number, frame)):
            signal.signal(signal.SIGUSR2, each)
            with pytest.raises(TimeLimit):
                error_boundary.call_or_default("struck", lambda: signal.raise_signal(signal.SIGUSR2), None)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert error_boundary.call_or_default("failed", lambda: raise_time_limit(None, None), "otherwise") == "otherwise"


def test_compiling_for_the_analysis_does_not_change_the_queryset():
    """Joins added by compilation are added to a copy."""
    queryset = Product.objects.select_related("category").order_by("category__name", "pk")
    before = dict(queryset.query.alias_map)
    compile_rows(queryset)
    assert dict(queryset.query.alias_map) == before
    union = Label.objects.values("pk").union(Product.objects.values("pk")).order_by("id")
    selected = [dict(part.selected) for part in union.query.combined_queries]
    compile_rows(union)
    assert [part.selected for part in union.query.combined_queries] == selected


def test_statements_that_cannot_be_parsed_are_executed_and_invalidate_all_tables():
    """Examples are objects that a driver composes and texts that sqlparse refuses."""
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


def test_a_custom_queryset_class_is_cloned_like_in_django():
    """Its `_clone()` may count or copy state."""

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
