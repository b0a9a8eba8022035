"""Defects of django-cacheops 7.2 that must not return: one test each, through the public API alone."""

import os

import pytest
from django.core.management import CommandError, call_command
from django.http import HttpResponse
from django.test import RequestFactory, override_settings

from cacheops_lite import CacheMiss, cached, cached_as, cached_view, invalidate_all
from cacheops_lite.functions.filesystem_cache import FileCache
from tests.shop.models import Label, Product

pytestmark = pytest.mark.django_db(transaction=True)
requests = RequestFactory()


@cached
def echo(*args, **kwargs):
    """Return the arguments of the call."""
    return repr((args, kwargs))


@cached_as(Label)
def echo_as_labels(*args, **kwargs):
    """Return the arguments of the call."""
    return repr((args, kwargs))


def have_separate_results(*calls):
    """Return whether each of these calls has its own result."""
    wanted = [repr(call) for call in calls]
    found = [[func(*args, **kwargs) for args, kwargs in calls] for func in (echo, echo_as_labels) for _ in range(2)]
    return all(each == wanted for each in found)


def texts():
    return sorted(label.text for label in Label.objects.filter(text__gt=""))


@pytest.mark.parametrize("insideout", [True, False])
def test_switching_insideout_on_a_live_redis_breaks_no_read(store, insideout):
    """Each mode reads, or misses, and invalidates the values of the other mode."""
    label = Label.objects.create(text="old")
    with override_settings(CACHEOPS_INSIDEOUT=insideout):
        assert (texts(), Label.objects.count()) == (["old"], 1)
    with override_settings(CACHEOPS_INSIDEOUT=not insideout):
        assert (texts(), Label.objects.count()) == (["old"], 1)
        label.text = "new"
        label.save()
        assert texts() == ["new"]
    with override_settings(CACHEOPS_INSIDEOUT=insideout):
        assert texts() == ["new"]


@pytest.mark.parametrize("break_value", [lambda value: value[:-3], lambda value: value[:5], lambda value: b"foreign"])
def test_a_foreign_or_truncated_value_is_a_miss(store, break_value):
    Label.objects.create(text="x")
    echo_as_labels()
    assert texts() == ["x"]
    broken_keys = list(store.scan_iter(match="*cacheops:v:*"))
    assert len(broken_keys) == 2
    for key in broken_keys:
        store.set(key, break_value(store.get(key)))
    assert texts() == ["x"]
    assert echo_as_labels() == "((), {})"


@pytest.mark.parametrize("aggregates", [["views"], [None], [Product]])
def test_aggregate_of_a_non_expression_raises_the_error_of_django(store, aggregates):
    """It does not raise AttributeError."""
    with pytest.raises(TypeError) as ours:
        Product.objects.aggregate(*aggregates)
    with pytest.raises(TypeError) as django_s:
        Product.objects.nocache().aggregate(*aggregates)
    assert str(ours.value) == str(django_s.value)
    assert "non-expression" in str(ours.value)


def test_a_lock_is_never_unpickled(store):
    """A reader without a lock computes the value, even while another reader computes it under the lock."""
    depth = []

    def compute():
        depth.append(1)
        return without_lock() if len(depth) == 1 else "computed"

    under_lock, without_lock = cached_as(Label, lock=True)(compute), cached_as(Label, lock=False)(compute)
    assert under_lock() == "computed"
    assert len(depth) == 2


def test_big_integers_have_different_keys(store, is_hit):
    """This applies to arguments and to conditions with integers that a double cannot represent exactly."""
    big = 2**53
    assert have_separate_results(((big,), {}), ((big + 1,), {}))
    one, other = (Product.objects.create(pk=pk, sku=str(pk), name="x") for pk in (big, big + 1))
    reads = [lambda pk=pk: Product.objects.filter(pk=pk).count() for pk in (big, big + 1)]
    assert [read() for read in reads] == [1, 1]
    one.delete()
    assert is_hit(reads[1])
    assert [read() for read in reads] == [0, 1]
    other.delete()
    assert [read() for read in reads] == [0, 0]


def test_an_argument_that_looks_like_two_arguments_is_one_argument(store):
    """a='x&b=2' is not a='x', b='2'."""
    assert have_separate_results(((), {"a": "x&b=2"}), ((), {"a": "x", "b": "2"}), (("x", "2"), {}), (("x&2",), {}))


def test_a_condition_that_looks_like_two_conditions_is_one_condition(store, is_hit):
    """name='x&sku=2' is not name='x', sku='2'."""
    read = lambda: len(Product.objects.filter(name="x&sku=2"))
    assert (len(Product.objects.filter(name="x", sku="2")), read()) == (0, 0)
    Product.objects.create(name="x", sku="2")
    assert is_hit(read)
    Product.objects.create(name="x&sku=2", sku="3")
    assert read() == 1


def test_an_instance_and_its_label_are_different_arguments(store):
    """f(obj) is not f('app.model.1')."""
    label = Label.objects.create(text="x")
    names = (f"shop.label.{label.pk}", f"shop.Label.{label.pk}", str(label), repr(label))
    lookalikes = [(name,) for name in names] + [(label.pk,)]
    for args in lookalikes:
        assert have_separate_results(((label,), {}), (args, {}))
        assert have_separate_results(((label,), {"extra": 1}), ((*args,), {"extra": 1}))


def test_override_settings_changes_profiles_at_once(store, is_hit, reads):
    """They change back at the end of the override as well."""
    read = lambda: Label.objects.count()
    read()
    assert is_hit(read)
    before = reads.hits + reads.misses
    with override_settings(CACHEOPS={"shop.label": {"ops": "get", "timeout": 5}}):
        read()
    with override_settings(CACHEOPS={}):
        read()
    assert reads.hits + reads.misses == before
    with override_settings(CACHEOPS={"shop.label": {"ops": "count", "timeout": 7}}):
        invalidate_all()
        read()
        assert is_hit(read)
        (value,) = store.scan_iter(match="*cacheops:v:*")
        assert store.ttl(value) <= 7


@pytest.mark.parametrize("truncated", [False, True])
def test_a_stale_file_is_replaced_by_set(tmp_path, truncated):
    cache = FileCache(tmp_path)
    cache.set("key", "old")
    (path,) = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"]
    if truncated:
        path.write_bytes(path.read_bytes()[:10])
    else:
        os.utime(path, (1, 1))
    with pytest.raises(CacheMiss):
        cache.get("key")
    cache.set("key", "new")
    assert cache.get("key") == "new"


def test_the_key_of_a_call_returns_its_result(store):
    """A missing result raises CacheMiss instead of returning None."""
    with pytest.raises(CacheMiss):
        echo.key(1).get()
    echo(1)
    assert echo.key(1).get() == "((1,), {})"


def test_cleanfilecache_passes_no_path_to_a_shell(tmp_path, monkeypatch):
    """Special characters have no meaning in a path."""
    monkeypatch.chdir(tmp_path)
    for path in ("; mkdir made; :", "$(mkdir made)"):
        with pytest.raises(CommandError):
            call_command("cleanfilecache", path)
        os.mkdir(path)
        call_command("cleanfilecache", path)
        os.rmdir(path)
    assert os.listdir(tmp_path) == []


def test_invalidate_all_leaves_keys_of_other_applications(store):
    store.set("mine", 1)
    Label.objects.count()
    echo()
    assert store.dbsize() > 1
    invalidate_all()
    assert list(store.scan_iter()) == [b"mine"]


def test_get_and_head_requests_have_different_pages(store):
    view = cached_view(lambda request: HttpResponse("" if request.method == "HEAD" else "body"))
    for _ in range(2):
        assert view(requests.head("/")).content == b""
        assert view(requests.get("/")).content == b"body"


@pytest.mark.parametrize("status", [500, 503, 404, 302])
def test_an_error_page_is_not_cached(store, status):
    """The next request calls the view."""
    statuses = [status, 200]
    view = cached_view(60)(lambda request: HttpResponse(status=statuses.pop(0)))
    assert [view(requests.get("/")).status_code for _ in range(3)] == [status, 200, 200]
