"""The simple cache: one contract for values and calls, which each kind of Redis and the file cache fulfil."""

import asyncio
import datetime
import decimal
import enum
import functools
import logging
import threading
import uuid

import pytest
from django.http import HttpResponse
from django.test import RequestFactory, override_settings
from hypothesis import given
from hypothesis import strategies as st

from cacheops_lite.functions import CacheKey, CacheMiss, RedisCache, backend_api, redis_cache
from cacheops_lite.store import get_client, protocol
from tests.shop.models import Category, Product
from tests.support import services


def counted(decorate, func=lambda *args, **kwargs: None):
    """Return `func` decorated; it returns the number of its call and collects its calls."""
    calls = []

    @functools.wraps(func)
    def call(*args, **kwargs):
        func(*args, **kwargs)
        calls.append((args, kwargs))
        return len(calls)

    del call.__wrapped__
    decorated = decorate(call)
    decorated.calls = calls
    return decorated


# Values by key


@pytest.mark.parametrize("value", [None, False, 0, "", "text", b"bytes", 2**70, {"a": [1, (2, 3)]}, {1, 2}])
def test_get_returns_the_value_that_was_set(cache, value):
    """None is a value, too."""
    cache.set("key", value)
    assert cache.get("key") == value
    assert type(cache.get("key")) is type(value)
    assert cache.get("key", "default") == value


def test_a_miss_raises_cache_miss_or_returns_the_default(cache):
    """`CacheMiss` distinguishes a missing value from None."""
    with pytest.raises(CacheMiss, match="key"):
        cache.get("key")
    assert cache.get("key", None) is None


def test_delete_returns_whether_there_was_a_value(cache):
    """Deleting a missing key is no error."""
    cache.set("key", 1)
    assert cache.delete("key") is True
    assert cache.delete("key") is False
    assert not cache.has_key("key")


def test_has_key_and_in_return_whether_there_is_a_value(cache):
    """The value may be None."""
    cache.set("key", None)
    assert cache.has_key("key")
    assert "key" in cache
    assert "other" not in cache


def test_add_keeps_an_existing_value(cache):
    assert cache.add("key", 1) is True
    assert cache.add("key", 2) is False
    assert cache.get("key") == 1
    assert cache.add("other", 1, timeout=0) is False
    assert "other" not in cache


def test_get_or_set_computes_a_missing_value(cache):
    """A callable is called only on a miss."""
    assert cache.get_or_set("key", lambda: 1) == 1
    assert cache.get_or_set("key", lambda: 1 / 0) == 1
    assert cache.get_or_set("plain", 2) == cache.get("plain") == 2
    assert cache.get_or_set("nothing", None) is None
    assert "nothing" in cache
    assert cache.get_or_set("gone", 3, timeout=0) == 3
    assert "gone" not in cache


def test_get_or_set_returns_a_value_set_meanwhile_by_another_caller(cache):
    """Both callers get the same value."""

    def default():
        cache.set("key", "theirs")
        return "ours"

    assert cache.get_or_set("key", default) == "theirs"


def test_several_values_are_set_read_and_deleted_in_one_call(cache):
    """Missing keys are missing in the result; empty arguments are allowed."""
    assert cache.set_many({"a": 1, "b": None}) == []
    assert cache.get_many(key for key in ["a", "b", "c"]) == {"a": 1, "b": None}
    assert cache.delete_many(["a", "c"]) is None
    assert cache.get_many(["a", "b"]) == {"b": None}
    assert cache.get_many([]) == {}
    assert cache.set_many({}) == []
    assert cache.delete_many([]) is None


def test_set_many_with_an_invalid_item_stores_nothing(cache):
    """All items are checked before the first is stored."""
    with pytest.raises(TypeError):
        cache.set_many({"a": 1, 2: 2})
    with pytest.raises(Exception, match="pickle"):
        cache.set_many({"a": 1, "b": threading.Lock()})
    assert "a" not in cache


def test_counting_keeps_the_type_and_has_no_upper_bound(cache):
    """An integer is bounded neither by a Lua number nor by 64 bits."""
    cache.set("key", 2**80)
    assert cache.incr("key") == 2**80 + 1
    assert cache.incr("key", 2**90) == 2**90 + 2**80 + 1
    assert cache.decr("key", 2**90) == cache.get("key") == 2**80 + 1
    assert cache.decr("key", 2**81) == 1 - 2**80
    cache.set("key", 1)
    assert cache.incr("key", 0.5) == cache.get("key") == 1.5


def test_counting_needs_an_existing_number(cache):
    """A missing key raises the error of Django's caches; another value stays."""
    with pytest.raises(ValueError, match="'key'"):
        cache.incr("key")
    for value in ("1", None, True):
        cache.set("key", value)
        with pytest.raises(TypeError, match="value of 'key'"):
            cache.decr("key")
        assert cache.get("key") == value
    cache.set("key", 1)
    with pytest.raises(TypeError, match="delta of 'key'"):
        cache.incr("key", "1")
    with pytest.raises(TypeError, match="delta of 'key'"):
        cache.decr("key", None)


def test_counting_in_threads_is_atomic(cache):
    """It is repeated if another thread changed the value meanwhile."""
    cache.set("key", 2**64)

    def count():
        for _ in range(25):
            cache.incr("key")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.get("key") == 2**64 + 100


def test_clear_removes_all_values_and_results(cache):
    call = counted(cache.cached)
    call()
    cache.set("key", 1)
    cache.clear()
    assert "key" not in cache
    assert call() == 2


def test_the_cache_works_after_close(cache):
    """Closing only closes connections."""
    cache.set("key", 1)
    cache.close()
    assert cache.get("key") == 1


def test_each_method_has_an_async_variant(cache):
    """It has the same arguments and results."""

    async def default():
        return 7

    async def run():
        await cache.aset("a", 1, timeout=60)
        assert await cache.aget("a") == 1
        with pytest.raises(CacheMiss):
            await cache.aget("b")
        assert await cache.aadd("a", 2) is False
        assert await cache.aget_or_set("a", lambda: 1 / 0) == 1
        assert await cache.aget_or_set("c", default) == await cache.aget_or_set("c", 8) == 7
        assert await cache.aset_many({"d": 1}) == []
        assert await cache.aget_many(["a", "d"]) == {"a": 1, "d": 1}
        assert await cache.aincr("d", delta=3) == 4
        assert await cache.adecr("d") == 3
        assert await cache.atouch("d", 10) is True
        assert await cache.ahas_key("d") is True
        assert await cache.adelete("d") is True
        await cache.adelete_many(["a"])
        assert not await cache.ahas_key("a")
        await cache.aclear()
        assert not await cache.ahas_key("c")
        await cache.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("key", [1, None, b"key", ("a",)])
def test_a_key_that_is_not_a_string_is_refused(cache, key):
    """Otherwise it could collide with the key of its text."""
    for use in (cache.get, cache.delete, cache.has_key, cache.incr, cache.touch):
        with pytest.raises(TypeError, match="keys are strings"):
            use(key)
    with pytest.raises(TypeError, match="keys are strings"):
        cache.set(key, 1)
    with pytest.raises(TypeError, match="keys are strings"):
        cache.get_many([key])


def test_one_key_instead_of_several_is_refused(cache):
    """A string is a collection of its characters, which is never meant."""
    for use in (cache.get_many, cache.delete_many):
        with pytest.raises(TypeError, match="'abc' is one key"):
            use("abc")


@pytest.mark.parametrize(
    ("timeout", "error"),
    [(-1, ValueError), (-0.1, ValueError), (float("nan"), ValueError), ("1", TypeError), (True, TypeError)],
)
def test_an_invalid_timeout_is_refused(cache, timeout, error):
    """The message names the call."""
    with pytest.raises(error, match=r"set\('key'\) has timeout"):
        cache.set("key", 1, timeout)
    with pytest.raises(error, match=r"touch\('key'\) has timeout"):
        cache.touch("key", timeout)
    with pytest.raises(error, match=r"set_many\(\) has timeout"):
        cache.set_many({"key": 1}, timeout)
    with pytest.raises(error, match=r"cached\(\) has timeout"):
        cache.cached(timeout=timeout)
    with pytest.raises(error, match=r"cached_view\(\) has timeout"):
        cache.cached_view(timeout=timeout)
    assert "key" not in cache


@pytest.mark.parametrize("timeout", [10**30, float("inf")])
def test_a_huge_timeout_is_allowed(cache, timeout):
    """It is reduced to the maximum of the store."""
    cache.set("key", 1, timeout)
    assert cache.get("key") == 1


def test_a_timeout_of_zero_deletes_the_value(cache):
    """The former value is deleted, too."""
    cache.set("key", 1)
    cache.set("key", 2, timeout=0)
    assert "key" not in cache
    cache.set("key", 1)
    assert cache.touch("key", 0) is True
    assert "key" not in cache


@pytest.mark.parametrize("key", ["", " ", "k", "a" * 1000, "é", "\ud800", "a\nb", "{tag}", "*", "f:x", "#", "%23"])
def test_any_string_may_be_a_key(cache, key):
    """It may be short or long and have any characters, and does not collide with another key."""
    cache.set(key, "value")
    assert cache.get(key) == "value"
    others = ["x" + key, key + "x", key + " ", "k:" + key, "%" + key]
    assert cache.get_many(others) == {}


@given(st.lists(st.text(max_size=8) | st.text(min_size=195, max_size=205), unique=True, max_size=8))
def test_different_keys_have_different_names_in_the_store(keys):
    """This applies to escaped and to hashed keys."""
    assert len({backend_api._store_key(key) for key in keys}) == len(keys)


def test_keys_of_values_never_collide_with_keys_of_calls(cache):
    """This applies even to a key that looks like that of a call."""
    call = counted(cache.cached)
    call()
    for key in (call.key(), "c:" + call.key(), "cacheops:s:" + call.key()):
        assert cache.get(str(key), None) is None
        cache.set(str(key), "foreign")
        cache.delete(str(key))
    assert call() == 1


def test_set_refuses_a_value_that_cannot_be_serialized(cache):
    """The former value stays."""
    cache.set("key", 1)
    with pytest.raises(Exception, match="pickle"):
        cache.set("key", threading.Lock())
    assert cache.get("key") == 1


class JsonLike:
    """A serializer whose output differs from that of pickle."""

    @staticmethod
    def dumps(value):
        return repr(value).encode()

    @staticmethod
    def loads(data):
        return {b"1": 1, b"'a'": "a"}[data]


def test_the_configured_serializer_is_used(cache, settings, caplog):
    """Values written by another serializer are logged misses and raise no error."""
    cache.set("pickled", 1)
    settings.CACHEOPS_SERIALIZER = JsonLike
    cache.set("key", "a")
    assert cache.get("key") == "a"
    assert cache.get("pickled", None) is None
    assert "Can't decode" in caplog.text


# Calls


def test_results_of_calls_are_cached(cache):
    """This applies to each combination of arguments, and to decorators with and without parentheses."""
    for decorate in (cache.cached, cache.cached(), cache.cached(timeout=60), cache.cached(60)):
        call = counted(decorate)
        assert [call(1), call(1), call(2), call(1)] == [1, 1, 2, 1]
        cache.clear()


def test_a_result_of_none_is_cached(cache):
    """It is not mistaken for a miss."""
    calls = []

    @cache.cached
    def call(a):
        calls.append(a)

    assert call(1) is call(1) is None
    assert calls == [1]


def test_a_result_can_be_invalidated_read_set_and_deleted(cache):
    """It is identified by the arguments of the call."""
    call = counted(cache.cached(timeout=60))
    assert call(1) == call.key(1).get() == 1
    assert call(2) == 2
    call.invalidate(1)
    assert call(2) == 2
    assert call(1) == 3
    call.key(1).set(42)
    assert call(1) == call.key(1).get() == 42
    call.key(1).delete()
    with pytest.raises(CacheMiss):
        call.key(1).get()
    assert call(1) == 4
    assert isinstance(call.key(1), CacheKey)
    assert isinstance(call.key(1), str)


def test_coroutine_functions_are_cached(cache):
    """They remain coroutine functions."""
    calls = []

    @cache.cached(timeout=60)
    async def call(a, b=2):
        calls.append(a)
        return len(calls)

    async def run():
        assert await call(1) == await call(a=1) == await call(1, 2) == 1
        await call.ainvalidate(1)
        assert await call(1) == 2
        await call.key(1).aset(42)
        assert await call(1) == await call.key(1).aget() == 42
        await call.key(1).adelete()
        assert await call(1) == 3
        with override_settings(CACHEOPS_ENABLED=False):
            assert await call(1) == 4

    asyncio.run(run())
    assert asyncio.iscoroutinefunction(call)


def test_defaults_and_keywords_do_not_change_the_key(cache):
    """Calls with equal bound arguments share a result."""

    def func(a, b=2, *, c=3):
        pass

    call = counted(lambda _: cache.cached(func))
    names = {call.key(1), call.key(a=1), call.key(1, 2), call.key(1, b=2), call.key(b=2, a=1), call.key(1, c=3)}
    assert len(names) == 1
    assert call.key(1, 3) not in names
    assert call.key(1, c=4) not in names
    assert call.key(2, 1) != call.key(1, 2)


def test_a_default_that_cannot_be_pickled_is_allowed(cache):
    """It is an error only if a caller passes a similar object."""
    lock = threading.Lock()

    @cache.cached
    def call(a, lock=lock):
        return a

    assert call(1) == call(a=1) == 1
    assert call.key(1) != call.key(1, None)
    with pytest.raises(TypeError, match="can't be pickled"):
        call(1, threading.Lock())


def test_the_defaults_are_those_of_the_decorated_function(cache):
    """A wrapper may have other defaults than the function that it wraps."""

    def func(b=2):
        return b

    @cache.cached
    @functools.wraps(func)
    def call(b=3):
        return func(b)

    assert [call(), call(2), call(3)] == [3, 2, 3]
    assert call.key() == call.key(3)


def test_wrong_arguments_raise_the_error_of_the_function(cache):

    @cache.cached
    def call(a):
        return a

    with pytest.raises(TypeError, match="missing 1 required positional argument: 'a'"):
        call()
    with pytest.raises(TypeError, match="unexpected keyword argument 'b'"):
        call(1, b=2)


def test_extra_is_part_of_the_key(cache):
    """It is a value, or a callable that gets the arguments."""
    one, other = (cache.cached(extra=extra)(lambda a: None) for extra in (1, 2))
    assert one.key(1) != other.key(1)
    call = cache.cached(extra=lambda a: a % 2)(lambda a: None)
    assert call.key(1) != call.key(2)


def test_an_unsaved_instance_is_refused(cache):
    """Two unsaved instances cannot be distinguished."""
    call = counted(cache.cached)
    with pytest.raises(TypeError, match="not saved"):
        call(Product())
    assert call.calls == []


def test_a_result_that_cannot_be_serialized_is_returned_and_not_cached(cache, caplog):
    """The log names the function."""

    @cache.cached
    def call():
        return threading.Lock()

    assert call() is not call()
    assert "call" in caplog.text
    assert "does not serialize" in caplog.text


def test_a_disabled_cache_calls_the_function(cache, settings):
    """CACHEOPS_ENABLED makes decorators no-ops."""
    call = counted(cache.cached)
    settings.CACHEOPS_ENABLED = False
    assert [call(), call()] == [1, 2]


def test_exceptions_are_not_cached(cache):
    """The next call tries again."""
    outcomes = [None, ValueError()]

    @cache.cached
    def call():
        if error := outcomes.pop():
            raise error
        return "fine"

    with pytest.raises(ValueError):  # noqa: PT011
        call()
    assert call() == call() == "fine"


def func(a=None):
    pass


class Counter:
    def __init__(self, start):
        self.start = start

    def __call__(self, a):
        return self.start + a

    def add(self, a):
        return self.start + a

    @classmethod
    def from_class(cls, a):
        return cls.__name__


class Other(Counter):
    pass


def doubled(function):
    @functools.wraps(function)
    def wrapper(*args):
        return 2 * function(*args)

    return wrapper


def squared(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args) ** 2

    return wrapper


DIFFERENT_FUNCTIONS = [
    (functools.partial(divmod, 7), functools.partial(divmod, 8)),
    (functools.partial(Counter(1).add), functools.partial(Counter(2).add)),
    (Counter(1), Counter(2)),
    (Counter(1).add, Counter(2).add),
    (Counter.from_class, Other.from_class),
    (Counter(5).add, doubled(Counter(5).add)),
    (doubled(Counter(3).add), squared(Counter(3).add)),
    ("ab".count, "cd".count),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT_FUNCTIONS)
def test_similar_functions_have_different_keys(cache, one, other):
    """They are identified by their bound objects, their parts and their wrappers."""
    argument = "a" if one.__class__ is "".count.__class__ else 3
    calls = [cache.cached(one), cache.cached(other)]
    assert [call(argument) for call in calls] == [one(argument), other(argument)]
    assert calls[0].key(argument) != calls[1].key(argument)


def test_a_partial_has_the_key_of_the_full_call(cache):
    """Arguments may be bound early or passed late."""
    assert cache.cached(functools.partial(func, 1)).key() == cache.cached(func).key(1)


def test_methods_are_cached_by_instance(cache):
    """The instance is an argument like any other."""

    class Shop:
        calls = 0

        @cache.cached
        def products(self, category):
            Shop.calls += 1
            return category, Shop.calls

        def __reduce__(self):
            return (str, (self.name,))

        def __init__(self, name):
            self.name = name

    one, two = Shop("one"), Shop("two")
    assert one.products(1) == one.products(category=1) == (1, 1)
    assert two.products(1) == (1, 2)
    Shop.products.invalidate(one, 1)
    assert one.products(1) == (1, 3)


ARGUMENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**53 - 3, 2**53 + 3)
    | st.floats(allow_nan=False)
    | st.text(st.sampled_from("a1'\"&=,:()[]#\\ "), max_size=5)
    | st.binary(max_size=3)
    | st.decimals(allow_nan=False)
    | st.sampled_from([1, 1.0, True, "1", b"1", decimal.Decimal(1), datetime.date(1, 1, 1), "a=1", "x&b=2"])
    | st.builds(lambda pk: Product(pk=pk), st.integers(1, 2))
    | st.builds(lambda pk: Category(pk=pk), st.integers(1, 2))
    | st.builds(lambda label, pk: f"shop.{label}.{pk}", st.sampled_from(["Product", "product"]), st.integers(1, 2)),
    lambda inner: st.lists(inner, max_size=2) | st.tuples(inner) | st.dictionaries(st.text("ab", max_size=1), inner),
    max_leaves=4,
)
CALLS = st.tuples(
    st.lists(ARGUMENTS, max_size=2), st.dictionaries(st.sampled_from(["a", "b", "c"]), ARGUMENTS, max_size=2)
)


def canonical(value):
    """Return an object that is equal for equal values of equal types, including nested values."""
    kind = type(value)
    if isinstance(value, (list, tuple)):
        return kind, [canonical(item) for item in value]
    if isinstance(value, dict):
        return kind, sorted((repr(key), repr(canonical(item))) for key, item in value.items())
    if isinstance(value, (Product, Category)):
        return kind, value.pk
    if isinstance(value, decimal.Decimal):
        return kind, value.as_tuple()
    return kind, repr(value)


@given(CALLS, CALLS)
def test_only_equal_calls_share_a_key(one, other):
    """This applies to all types of arguments and all ways to pass them."""

    @redis_cache.cached
    def call(*args, **kwargs):
        pass

    keys = [call.key(*args, **kwargs) for args, kwargs in (one, other)]
    same = [(canonical(args), canonical(kwargs)) for args, kwargs in (one, other)]
    assert (keys[0] == keys[1]) == (same[0] == same[1])


@given(ARGUMENTS, ARGUMENTS, st.booleans(), st.booleans())
def test_arguments_passed_by_position_and_by_name_are_not_confused(a, b, by_name, other_by_name):
    """Calls share a key if and only if their bound arguments are equal."""

    @redis_cache.cached
    def call(a, b=None):
        pass

    def key(a, b, by_name):
        return call.key(b=b, a=a) if by_name else call.key(a, b)

    assert key(a, b, by_name) == key(a, b, other_by_name)
    assert (key(a, b, by_name) == key(b, a, other_by_name)) == (canonical(a) == canonical(b))
    assert (call.key(a) == key(a, b, by_name)) == (b is None)


class Size(enum.Enum):
    SMALL = 1


PAIRS = [
    (((1,), {}), (("1",), {})),
    (((2**53,), {}), ((2**53 + 1,), {})),
    (((2**64,), {}), ((2**64 + 1,), {})),
    (((), {"a": "x&b=2"}), ((), {"a": "x", "b": "2"})),
    (((Category(pk=1),), {}), (("shop.category.1",), {})),
    (((Category(pk=1),), {}), (("shop.Category.1",), {})),
    (((Category(pk=1),), {}), ((Product(pk=1),), {})),
    (((Category(pk=1),), {}), ((Category(pk="1"),), {})),
    (((1, 2), {}), (((1, 2),), {})),
    (((), {"a": 1}), ((("a", 1),), {})),
    ((({"a": 1},), {}), ((), {"a": 1})),
    (((Size.SMALL,), {}), (("SMALL",), {})),
    (((uuid.UUID(int=1),), {}), ((str(uuid.UUID(int=1)),), {})),
    (((None,), {}), (("None",), {})),
    (((), {}), ((None,), {})),
]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_similar_calls_have_different_results(cache, one, other):
    """Each pair has the same key in some known cache."""

    @cache.cached
    def call(*args, **kwargs):
        return args, kwargs

    for args, kwargs in (one, other):
        assert call(*args, **kwargs) == (args, kwargs)


# Redis


@pytest.mark.parametrize("value", [b"", b"1", b"foreign", b"\x80\x04.", b"col1", b"col1" + b"x" * 100])
def test_a_foreign_value_is_a_miss(store, caplog, value):
    """Other programs may use the same Redis; the miss is logged, and the value is replaced."""
    call = counted(redis_cache.cached)
    for key, use in (("cacheops:s:k:key", lambda: redis_cache.cache.get_or_set("key", 1)), (call.key(), call)):
        store.set(key, value)
        assert use() == 1
        assert "its signature is not valid" in caplog.text
        assert use() == 1
        assert store.get(key) != value


def test_a_truncated_value_is_a_miss(store, caplog):
    """This applies to any length, and to reads of several values and counting."""
    redis_cache.cache.set("key", 12345)
    whole = store.get("cacheops:s:k:key")
    for length in range(len(whole)):
        store.set("cacheops:s:k:key", whole[:length])
        assert redis_cache.cache.get("key", None) is None
    assert redis_cache.cache.get_many(["key"]) == {}
    assert not redis_cache.cache.has_key("key")
    assert redis_cache.cache.touch("key", 10) is False
    with pytest.raises(ValueError, match="no value"):
        redis_cache.cache.incr("key")
    assert caplog.records[0].levelno == logging.WARNING


def test_a_value_of_another_type_is_a_miss(store):
    """A list instead of a string raises no error, and is replaced."""
    store.rpush("cacheops:s:k:key", 1)
    assert redis_cache.cache.get("key", None) is None
    assert redis_cache.cache.get_many(["key"]) == {}
    assert redis_cache.cache.get_or_set("key", 1) == redis_cache.cache.get("key") == 1


def test_a_value_copied_to_another_key_is_a_miss(store):
    redis_cache.cache.set("key", 1)
    store.set("cacheops:s:k:other", store.get("cacheops:s:k:key"))
    assert redis_cache.cache.get("other", None) is None


@services.on_one_server
def test_clear_deletes_only_keys_of_the_simple_cache(store, settings):
    """It leaves the ORM cache, too."""
    lookup = protocol.read("cacheops:v:name", protocol.VersionSet("", [], ["t"]))
    protocol.create_versions(lookup, 60)
    assert protocol.fill(lookup, b"value", 60)
    others = set(store.scan_iter()) | {b"mine", b"cacheops:s", b"xcacheops:s:k:key"}
    for key in (b"mine", b"cacheops:s", b"xcacheops:s:k:key"):
        store.set(key, 1)
    redis_cache.cache.set_many({str(i): i for i in range(1500)})
    redis_cache.cache.clear()
    assert set(store.scan_iter()) == others
    redis_cache.cache.clear()


@override_settings(CACHEOPS_PREFIX=lambda query: "p*[a]?\\")
def test_clear_escapes_pattern_characters_in_the_prefix(store):
    redis_cache.cache.set("key", 1)
    store.set("pxa?cacheops:s:k:key", 1)
    redis_cache.cache.clear()
    assert list(store.scan_iter()) == [b"pxa?cacheops:s:k:key"]


def test_timeouts_are_set_in_redis(store):
    """Timeouts are seconds or fractions; None is for ever; counting keeps the remaining time, `touch` sets it."""
    redis_cache.cache.set("key", 1)
    assert store.pttl("cacheops:s:k:key") == -1
    redis_cache.cache.incr("key")
    assert store.pttl("cacheops:s:k:key") == -1
    redis_cache.cache.set("key", 1, timeout=0.5)
    assert 0 < store.pttl("cacheops:s:k:key") <= 500
    assert redis_cache.cache.touch("key", 60)
    redis_cache.cache.incr("key")
    assert 50 < store.ttl("cacheops:s:k:key") <= 60
    assert redis_cache.cache.touch("key")
    assert store.pttl("cacheops:s:k:key") == -1
    assert redis_cache.cache.touch("other") is False
    call = counted(redis_cache.cached(timeout=30))
    call()
    assert 20 < store.ttl(call.key()) <= 30
    call.key().set(2)
    assert 20 < store.ttl(call.key()) <= 30


WITHOUT_TIMEOUT = {
    "set": lambda: redis_cache.cache.set("key", 1),
    "add": lambda: redis_cache.cache.add("key", 1),
    "get_or_set": lambda: redis_cache.cache.get_or_set("key", 1),
    "set_many": lambda: redis_cache.cache.set_many({"key": 1}),
    "touch": lambda: [redis_cache.cache.set("key", 1, 7), redis_cache.cache.touch("key")],
    "cached": lambda: redis_cache.cached(lambda: 1)(),
    "key of cached": lambda: redis_cache.cached(lambda: 1).key().set(1),
    "cached_view": lambda: redis_cache.cached_view(lambda request: HttpResponse())(RequestFactory().get("/")),
    "a client": lambda: RedisCache(get_client()).set("key", 1),
}


@pytest.mark.parametrize("write", WITHOUT_TIMEOUT)
def test_what_has_no_timeout_gets_that_of_the_settings(store, settings, write):
    """None, the default, means that it never expires."""
    settings.CACHEOPS_PREFIX = "p:"
    for timeout in (None, 1000, 1e300):
        settings.CACHEOPS_SIMPLE_TIMEOUT = timeout
        WITHOUT_TIMEOUT[write]()
        found = {store.ttl(key) for key in store.scan_iter("p:cacheops:s:*")}
        assert found
        assert all(ttl == -1 if timeout is None else 990 <= ttl <= timeout for ttl in found)
        store.flushdb()


def test_a_value_that_should_stay_has_an_infinite_timeout(store, settings):
    """Also while the settings have one; counting keeps what a value has."""
    settings.CACHEOPS_SIMPLE_TIMEOUT = 1000
    redis_cache.cache.set("key", 1, timeout=float("inf"))
    redis_cache.cache.incr("key")
    assert store.ttl("cacheops:s:k:key") > 99 * 365 * 24 * 3600


def test_an_expired_value_is_a_miss(store):
    """This applies to `get` and `add`."""
    redis_cache.cache.set("key", 1, timeout=0.001)
    while store.exists("cacheops:s:k:key"):
        pass
    assert redis_cache.cache.get("key", None) is None
    assert redis_cache.cache.add("key", 2)


def test_counting_is_repeated_if_the_value_changes_meanwhile(store):
    """No change is lost."""
    redis_cache.cache.set("key", 1)
    overtaken = []

    def add(value):
        if not overtaken:
            overtaken.append(value)
            redis_cache.cache.set("key", 100)
        return value + 1

    assert redis_cache.cache.change("cacheops:s:k:key", add) == 101
    assert redis_cache.cache.get("key") == 101


def test_a_cache_may_have_a_client_of_its_own(store):
    """Otherwise it uses the configured client, which is made when first needed."""
    RedisCache(store).set("key", 1)
    assert redis_cache.cache.get("key") == 1


def test_importing_neither_connects_nor_reads_settings():
    """This applies to decorators at import time, too."""
    import subprocess
    import sys

    code = (
        "import socket, sys\n"
        "socket.socket.connect = lambda *args: 1 / 0\n"
        "import cacheops_lite.functions.filesystem_cache\n"
        "from cacheops_lite.simple import cached, cached_view\n"
        "cached(timeout=1)(lambda a: a)\n"
        "cached_view(timeout=1)(lambda request: request)\n"
        "from django.conf import settings\n"
        "sys.exit(settings.configured)\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
