"""cached_as: results of functions fall like the querysets, models and instances that they are cached like."""

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


def counted(*samples, **options):
    """A cached function that returns how often it was called."""
    calls = []

    @cached_as(*samples, **options)
    def func(*args, **kwargs):
        calls.append((args, kwargs))
        return len(calls)

    func.calls = calls
    return func


def test_a_result_is_kept_until_its_sample_changes():
    """Of a model, any row; of a queryset, those that match; of an instance, its own."""
    pen = Product.objects.get(sku="pens")
    of_model, of_pens = counted(Product), counted(Product.objects.filter(category=pen.category_id))
    of_pen, of_label = counted(pen), counted(Label)
    functions = [of_model, of_pens, of_pen, of_label]
    assert [func() for func in functions * 2] == [1] * 8
    ink = Product.objects.get(sku="inks")
    ink.views += 1
    ink.save()
    assert [func() for func in functions] == [2, 1, 1, 1]
    pen.views += 1
    pen.save()
    assert [func() for func in functions] == [3, 2, 2, 1]


def test_several_samples_each_drop_the_result():
    """Querysets, models and managers together."""
    func = counted(Label.objects, Category, Product.objects.filter(name="pens"))
    assert (func(), func()) == (1, 1)
    Label.objects.create(text="new")
    assert (func(), func()) == (2, 2)
    Category.objects.create(name="new")
    assert (func(), func()) == (3, 3)


def test_arguments_and_extra_tell_results_apart():
    """Extra may be a value or a callable that gets the arguments."""
    func = counted(Label)
    assert [func(), func(1), func("1"), func(a=1), func(1)] == [1, 2, 3, 4, 2]
    current = ["en"]
    by_language = counted(Label, extra=lambda *args: current[0])
    assert by_language() == 1
    current[0] = "de"
    assert by_language() == 2
    assert {counted(Label, extra=extra)() for extra in ("a", "b")} == {1}


def test_functions_at_one_place_are_told_apart_by_extra_and_samples():
    """As closures made in a function are."""

    def block(category, count):
        queryset = Product.objects.filter(category__name=category)

        @cached_as(queryset, extra=count)
        def names():
            return [p.name for p in queryset[:count]]

        return names()

    assert [block("pens", 1), block("inks", 1), block("pens", 0)] == [["pens"], ["inks"], []]
    assert block("inks", 1) == ["inks"]


def test_none_and_other_empty_values_are_results():
    """A miss is something else."""
    calls = []

    @cached_as(Label)
    def nothing():
        calls.append(1)

    assert (nothing(), nothing(), len(calls)) == (None, None, 1)


def test_the_timeout_is_given_or_the_profile_s(store, settings):
    """In seconds; of several samples the least counts."""
    settings.CACHEOPS = {"shop.label": {"timeout": 50}, "shop.product": {"timeout": 40}}
    counted(Label, Product)()
    assert [store.ttl(key) for key in store.scan_iter(match="cacheops:v:*")] == [40]
    store.flushdb()
    counted(Label, Product, timeout=7)()
    assert [store.ttl(key) for key in store.scan_iter(match="cacheops:v:*")] == [7]


def test_what_is_invalidated_while_the_function_runs_is_not_kept():
    """keep_fresh is always on."""
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
    """And what it returns is not kept."""
    func = counted(Label)
    func()
    with transaction.atomic():
        Label.objects.create(text="x")
        assert (func(), func()) == (2, 3)
        transaction.set_rollback(True)
    assert func() == 1


def test_a_disabled_cache_calls_the_function(settings):
    """CACHEOPS_ENABLED = False."""
    func = counted(Label)
    settings.CACHEOPS_ENABLED = False
    assert (func(), func()) == (1, 2)


def test_results_go_through_the_serializer(settings):
    """CACHEOPS_SERIALIZER: what it does to them shows on a hit."""

    class Upper:
        dumps = staticmethod(lambda data: data.upper().encode())
        loads = staticmethod(lambda data: data.decode())

    settings.CACHEOPS_SERIALIZER = Upper

    @cached_as(Label)
    def text():
        return "text"

    assert (text(), text()) == ("text", "TEXT")


def test_what_does_not_serialize_is_returned_and_not_kept(caplog):
    """And logged."""
    func = cached_as(Label)(lambda: lambda: 5)
    assert func()() == func()() == 5
    assert "does not serialize" in caplog.text


def test_a_raising_function_keeps_nothing():
    """Its error comes through, and with a lock the next call computes at once."""
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


def test_with_a_lock_one_computes_and_the_others_wait_for_it():
    """Of several threads that miss at once."""
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


def test_when_the_holder_dies_another_one_computes(monkeypatch, store):
    """Its lock expires, or the waiting ends."""
    func = counted(Label, lock=True)
    from cacheops_lite.reads import cached_read
    from cacheops_lite.store import fill_lock

    monkeypatch.setattr(cached_read.fill_lock, "acquire_lock", lambda key, token: False)
    monkeypatch.setattr(fill_lock, "LOCK_SECONDS", 0)
    assert func() == 1


def test_coroutine_functions_are_cached_too():
    """And stay coroutine functions."""
    calls = []

    @cached_as(Label, lock=True)
    async def texts():
        calls.append(1)
        return [label.text async for label in Label.objects.nocache()]

    async def history():
        first = [await texts(), await texts()]
        await Label.objects.acreate(text="new")
        return [*first, await texts(), await texts()]

    assert asyncio.iscoroutinefunction(texts)
    assert run_async(history()) == [[], [], ["new"], ["new"]]
    assert len(calls) == 2


def test_coroutines_that_miss_at_once_wait_for_one(monkeypatch):
    """Without blocking the event loop."""
    calls = []

    async def history():
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

    assert run_async(history()) == ["done"] * 3
    assert len(calls) == 1


def test_a_coroutine_in_a_disabled_cache_is_just_called(settings):
    """As without the decorator."""
    settings.CACHEOPS_ENABLED = False
    func = cached_as(Label)(lambda: None)
    assert func() is None

    @cached_as(Label)
    async def one():
        return 1

    assert run_async(one()) == 1


def test_nothing_to_cache_like_is_an_error():
    """So is what is no queryset, model or saved instance; a list, as a paginator has for an empty page, is not."""
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


def test_an_empty_sample_never_falls_and_an_unanalysable_one_is_not_cached():
    """Nothing can change what no row can match; what rests on unknown tables can't be kept."""
    never = counted(Label.objects.none())
    assert (never(), never()) == (1, 1)
    unknown = counted(Product.objects.extra(where=["id IN (SELECT 1)"]))
    assert (unknown(), unknown()) == (1, 2)


def test_receivers_of_cache_read_hear_of_functions():
    """With the function, and no sender."""
    heard = []

    def note(sender, func, hit, **kwargs):
        heard.append((sender, func.__name__, hit))

    @cached_as(Label)
    def named():
        return 1

    cache_read.connect(note)
    try:
        named(), named()
    finally:
        cache_read.disconnect(note)
    assert heard == [(None, "named", False), (None, "named", True)]


def test_invalidating_an_object_by_hand_drops_functions():
    """As it does querysets."""
    pen, ink = Product.objects.get(sku="pens"), Product.objects.get(sku="inks")
    func = counted(Product.objects.filter(category=pen.category_id))
    func()
    invalidate_obj(ink)
    assert func() == 1
    invalidate_obj(pen)
    assert func() == 2
