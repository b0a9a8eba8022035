"""cached_as: changes of its samples (querysets, models and instances) invalidate the result of a function."""

import asyncio
import threading

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction

from cacheops_lite import cached_as, invalidate_obj
from cacheops_lite.signals import cache_read
from tests.conftest import run_async
from tests.shop.models import Category, Label, Product, Unwatched

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def shop(store):
    for name in ("pens", "inks"):
        Product.objects.create(sku=name, name=name, category=Category.objects.create(name=name))


def counting_function(*samples, **options):
    """Return a cached function that returns how often it was called."""
    calls = []

    @cached_as(*samples, **options)
    def func(*args, **kwargs):
        calls.append((args, kwargs))
        return len(calls)

    func.calls = calls
    return func


def test_a_result_is_cached_until_its_sample_changes():
    """Any row of a model, the matching rows of a queryset and the row of an instance count."""
    pen = Product.objects.get(sku="pens")
    of_model, of_pens = counting_function(Product), counting_function(Product.objects.filter(category=pen.category_id))
    of_pen, of_label = counting_function(pen), counting_function(Label)
    functions = [of_model, of_pens, of_pen, of_label]
    assert [func() for func in functions * 2] == [1] * 8
    ink = Product.objects.get(sku="inks")
    ink.views += 1
    ink.save()
    assert [func() for func in functions] == [2, 1, 1, 1]
    pen.views += 1
    pen.save()
    assert [func() for func in functions] == [3, 2, 2, 1]


def test_a_change_of_any_of_several_samples_invalidates_the_result():
    """Querysets, models and managers can be combined."""
    func = counting_function(Label.objects, Category, Product.objects.filter(name="pens"))
    assert (func(), func()) == (1, 1)
    Label.objects.create(text="new")
    assert (func(), func()) == (2, 2)
    Category.objects.create(name="new")
    assert (func(), func()) == (3, 3)


def test_results_are_cached_by_arguments_and_extra():
    """`extra` may be a value or a callable that gets the arguments."""
    func = counting_function(Label)
    assert [func(), func(1), func("1"), func(a=1), func(1)] == [1, 2, 3, 4, 2]
    current = ["en"]
    by_language = counting_function(Label, extra=lambda *args: current[0])
    assert by_language() == 1
    current[0] = "de"
    assert by_language() == 2
    assert {counting_function(Label, extra=extra)() for extra in ("a", "b")} == {1}


def test_functions_defined_on_the_same_line_are_distinguished_by_extra_and_samples():
    """Closures made by a function are an example."""

    def block(category, count):
        queryset = Product.objects.filter(category__name=category)

        @cached_as(queryset, extra=count)
        def names():
            return [p.name for p in queryset[:count]]

        return names()

    assert [block("pens", 1), block("inks", 1), block("pens", 0)] == [["pens"], ["inks"], []]
    assert block("inks", 1) == ["inks"]


def test_a_result_of_none_is_cached():
    calls = []

    @cached_as(Label)
    def nothing():
        calls.append(1)

    assert (nothing(), nothing(), len(calls)) == (None, None, 1)


def test_the_timeout_is_that_of_the_call_or_of_the_profile(store, settings):
    """It is in seconds; of several samples the shortest applies."""
    settings.CACHEOPS = {"shop.label": {"timeout": 50}, "shop.product": {"timeout": 40}}
    counting_function(Label, Product)()
    assert [store.ttl(key) for key in store.scan_iter(match="*cacheops:v:*")] == [40]
    store.flushdb()
    counting_function(Label, Product, timeout=7)()
    assert [store.ttl(key) for key in store.scan_iter(match="*cacheops:v:*")] == [7]


def test_a_result_invalidated_while_the_function_runs_is_not_cached():
    """`keep_fresh` is always on."""
    calls = []

    @cached_as(Label, keep_fresh=True)
    def texts():
        calls.append(1)
        found = list(Label.objects.nocache().values_list("text", flat=True))
        if len(calls) == 1:
            Label.objects.create(text="meanwhile")
        return found

    assert texts() == []
    assert texts() == ["meanwhile"]
    assert (texts(), len(calls)) == (["meanwhile"], 2)


def test_in_a_dirty_transaction_the_function_is_called():
    """Its result is not cached."""
    func = counting_function(Label)
    func()
    with transaction.atomic():
        Label.objects.create(text="x")
        assert (func(), func()) == (2, 3)
        transaction.set_rollback(True)
    assert func() == 1


def test_a_disabled_cache_calls_the_function(settings):
    """`CACHEOPS_ENABLED = False` disables it."""
    func = counting_function(Label)
    settings.CACHEOPS_ENABLED = False
    assert (func(), func()) == (1, 2)


def test_results_are_serialized_by_the_configured_serializer(settings):
    """A hit shows the effect of CACHEOPS_SERIALIZER."""

    class Upper:
        dumps = staticmethod(lambda data: data.upper().encode())
        loads = staticmethod(lambda data: data.decode())

    settings.CACHEOPS_SERIALIZER = Upper

    @cached_as(Label)
    def text():
        return "text"

    assert (text(), text()) == ("text", "TEXT")


def test_a_result_that_cannot_be_serialized_is_returned_logged_and_not_cached(caplog):
    func = cached_as(Label)(lambda: lambda: 5)
    assert func()() == func()() == 5
    assert "does not serialize" in caplog.text


def test_an_exception_is_raised_and_not_cached():
    """With a lock, the next call computes at once."""
    calls = []

    @cached_as(Label, lock=True)
    def failing():
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("failed")
        return "done"

    with pytest.raises(ValueError, match="failed"):
        failing()
    assert (failing(), failing(), len(calls)) == ("done", "done", 2)


def test_with_a_lock_one_of_several_concurrent_misses_computes():
    """The other threads wait for its result."""
    started, go_on, calls, results = threading.Event(), threading.Event(), [], []

    @cached_as(Label, lock=True)
    def slow():
        calls.append(1)
        started.set()
        assert go_on.wait(20)
        return len(calls)

    def run():
        try:
            results.append(slow())
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(4)]
    threads[0].start()
    assert started.wait(20)
    for thread in threads[1:]:
        thread.start()
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert results == [1, 1, 1, 1]


def test_a_caller_computes_after_waiting_in_vain_for_the_lock(monkeypatch, store):
    """The lock expires or the waiting time ends."""
    func = counting_function(Label, lock=True)
    from cacheops_lite.reads import cached_read
    from cacheops_lite.store import fill_lock

    monkeypatch.setattr(cached_read.fill_lock, "acquire_lock", lambda key, token: False)
    monkeypatch.setattr(fill_lock, "LOCK_SECONDS", 0)
    assert func() == 1


def test_coroutine_functions_are_cached():
    """They remain coroutine functions."""
    calls = []

    @cached_as(Label, lock=True)
    async def texts():
        calls.append(1)
        return [label.text async for label in Label.objects.nocache()]

    async def read_repeatedly():
        first = [await texts(), await texts()]
        await Label.objects.acreate(text="new")
        return [*first, await texts(), await texts()]

    assert asyncio.iscoroutinefunction(texts)
    assert run_async(read_repeatedly()) == [[], [], ["new"], ["new"]]
    assert len(calls) == 2


def test_with_a_lock_one_of_several_coroutines_computes(monkeypatch):
    """The others wait without blocking the event loop."""
    calls = []

    async def read_repeatedly():
        go_on = asyncio.Event()

        @cached_as(Label, lock=True)
        async def slow():
            calls.append(1)
            await go_on.wait()
            return "done"

        tasks = [asyncio.create_task(slow()) for _ in range(3)]
        while not calls:
            await asyncio.sleep(0)
        go_on.set()
        return await asyncio.gather(*tasks)

    assert run_async(read_repeatedly()) == ["done"] * 3
    assert len(calls) == 1


def test_a_disabled_cache_calls_the_coroutine_function(settings):
    settings.CACHEOPS_ENABLED = False
    func = cached_as(Label)(lambda: None)
    assert func() is None

    @cached_as(Label)
    async def one():
        return 1

    assert run_async(one()) == 1


def test_a_missing_or_invalid_sample_is_refused():
    """A sample is a queryset, model or saved instance; a list, which a paginator has for an empty page, is allowed."""
    with pytest.raises(TypeError, match="at least one queryset, model or instance"):
        cached_as()
    with pytest.raises(TypeError, match="not 5"):
        cached_as(5)
    with pytest.raises(TypeError, match="not saved"):
        cached_as(Label())
    with pytest.raises(ImproperlyConfigured, match="not enabled"):
        cached_as(Unwatched)
    with pytest.raises(ImproperlyConfigured, match="timeout"):
        cached_as(Label, timeout="5")
    func = lambda: 1
    assert cached_as([])(func) is func


def test_an_empty_sample_is_never_invalidated_and_one_of_unknown_tables_is_not_cached():
    """No row can match an empty queryset; changes of unknown tables cannot be seen."""
    of_none = counting_function(Label.objects.none())
    assert (of_none(), of_none()) == (1, 1)
    of_unknown_tables = counting_function(Product.objects.extra(where=["id IN (SELECT 1)"]))
    assert (of_unknown_tables(), of_unknown_tables()) == (1, 2)


def test_the_cache_read_signal_is_sent_for_functions():
    """It has the function and no sender."""
    received = []

    def receive(sender, func, hit, **kwargs):
        received.append((sender, func.__name__, hit))

    @cached_as(Label)
    def named():
        return 1

    cache_read.connect(receive)
    try:
        named(), named()
    finally:
        cache_read.disconnect(receive)
    assert received == [(None, "named", False), (None, "named", True)]


def test_invalidate_obj_invalidates_functions():
    """It invalidates them like querysets."""
    pen, ink = Product.objects.get(sku="pens"), Product.objects.get(sku="inks")
    func = counting_function(Product.objects.filter(category=pen.category_id))
    func()
    invalidate_obj(ink)
    assert func() == 1
    invalidate_obj(pen)
    assert func() == 2
