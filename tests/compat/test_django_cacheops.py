"""Code that projects written for django-cacheops contain works unchanged."""

from __future__ import annotations

import pickle
import sys
from contextlib import nullcontext
from types import ModuleType

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ImproperlyConfigured
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpResponse
from django.test import Client, RequestFactory, override_settings

from cacheops_lite import (
    CacheMiss,
    FileCache,
    RedisCache,
    cache,
    cached,
    cached_as,
    cached_view_as,
    file_cache,
    invalidate_all,
    invalidate_model,
    invalidate_obj,
    no_invalidation,
    simple,
)
from cacheops_lite.redis import redis_client
from cacheops_lite.testing import as_autocommit
from tests.shop.models import Category, Label, Product

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "replica", "other"])
requests = RequestFactory()


def numbered(decorate):
    """Return a decorated function that returns the number of its calls."""
    calls = []
    return decorate(lambda *args, **kwargs: calls.append(1) or len(calls))


# Names.


def test_redis_client_uses_the_current_settings(store):
    """The settings count at the time of use, not at the time of the import."""
    redis_client.set("mine", "x")
    assert store.get("mine") == redis_client.get("mine") == b"x"
    with redis_client.pipeline() as pipe:
        pipe.delete("mine")
        assert pipe.execute() == [1]
    with override_settings(CACHEOPS_REDIS={"db": 5}, CACHEOPS_CLIENT_CLASS=None):
        assert redis_client.connection_pool.connection_kwargs["db"] == 5


def test_caches_are_imported_from_the_package_or_from_simple(store, tmp_path):
    """Their classes take the same arguments: a client, or a directory and a timeout."""
    assert (simple.FileCache, simple.RedisCache, simple.file_cache) == (FileCache, RedisCache, file_cache)
    for own in (RedisCache(store), RedisCache(conn=redis_client), FileCache(str(tmp_path), 60)):
        own.set("key", "value", timeout=10)
        assert own.get("key") == "value"
        own.delete("key")
        with pytest.raises(CacheMiss):
            own.get("key")


# Settings.


class LambdaSerializer:
    dumps = lambda data: pickle.dumps(data, 3)
    loads = pickle.loads


def test_a_serializer_may_be_a_class_of_plain_functions(store, is_hit):
    """They need no staticmethod."""
    with override_settings(CACHEOPS_SERIALIZER=LambdaSerializer):
        func = numbered(cached_as(Label))
        assert [func(), func()] == [1, 1]
        cache.set("key", {"a": 1})
        assert cache.get("key") == {"a": 1}


def test_a_serializer_may_be_a_module(store, monkeypatch):
    """An example is dill, which also serializes functions."""
    table = {}
    module = ModuleType("like_dill")
    module.dumps = lambda data: table.setdefault(str(id(data)), data) and str(id(data)).encode()
    module.loads = lambda data: table[data.decode()]
    monkeypatch.setitem(sys.modules, "like_dill", module)
    with override_settings(CACHEOPS_SERIALIZER="like_dill"):
        func = cached(timeout=10)(lambda: lambda: "called")
        assert [func()(), func()()] == ["called", "called"]
        assert len(table) == 1


@pytest.mark.parametrize("prefix", [lambda query: query.db, lambda query: query.table])
def test_invalidate_all_works_if_the_prefix_is_undefined_for_the_simple_cache(store, is_hit, prefix):
    """A prefix by one database or table is undefined there, so that the simple cache raises ImproperlyConfigured."""
    with override_settings(CACHEOPS_PREFIX=prefix):
        read = lambda: Label.objects.count()
        read()
        assert is_hit(read)
        invalidate_all()
        assert not is_hit(read)
        with as_autocommit():
            read()
        with pytest.raises(ImproperlyConfigured):
            cache.set("key", 1)


def test_a_prefix_by_host_separates_hosts(store):
    """Another host computes its own results."""
    host = ["a"]
    with override_settings(CACHEOPS_PREFIX=lambda _: host[0]):
        func = numbered(cached(timeout=10))
        assert [func(), func()] == [1, 1]
        host[0] = "b"
        assert func() == 2
        host[0] = "a"
        assert func() == 1


def test_one_app_may_have_several_kinds_of_profiles(store, is_hit, reads):
    """The most specific entry applies; models without ops are cached only by cache()."""
    profiles = {
        "shop.label": {"ops": "get", "timeout": 900},
        "shop.category": {"ops": {"fetch", "get"}, "timeout": 3600},
        "shop.product": {"ops": "all"},
        "shop.*": {"ops": ()},
        "shop.unwatched": None,
        "*.*": {},
    }
    with override_settings(CACHEOPS=profiles, CACHEOPS_DEFAULTS={"timeout": 3600}):
        label = Label.objects.create(text="x")
        Label.objects.count(), list(Label.objects.all()), Category.objects.count(), User.objects.count()
        assert reads.hits + reads.misses == 0
        for read in (
            lambda: Label.objects.get(pk=label.pk),
            lambda: Label.objects.first(),
            lambda: list(Category.objects.all()),
            lambda: Product.objects.exists(),
            lambda: User.objects.cache().count(),
        ):
            read()
            assert is_hit(read)


# Usage.


def test_the_user_of_a_request_is_read_from_the_cache(store, queries, settings):
    """The middleware of django.contrib.auth gets it by its primary key."""
    settings.CACHEOPS = {"auth.user": {"ops": "get", "timeout": 60}}
    settings.MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ]
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    settings.ROOT_URLCONF = __name__
    user = User.objects.create_user("ann")
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    assert client.get("/").content == b"ann"
    with queries() as ran:
        assert client.get("/").content == b"ann"
    assert len(ran) == 0
    user.username = "bob"
    user.save()
    assert client.get("/").content == b"bob"


def urlpatterns_of_this_module():
    from django.urls import path

    return [path("", lambda request: HttpResponse(request.user.username))]


urlpatterns = urlpatterns_of_this_module()


def test_a_paginator_counts_through_the_cache_and_fetches_past_it(store, queries):
    """``.cache(ops=["count"])`` caches the count only."""
    Label.objects.bulk_create(Label(text=str(number)) for number in range(5))

    def page():
        with queries() as ran:
            found = Paginator(Label.objects.order_by("text").cache(ops=["count"]), 2).page(2)
            texts = [label.text for label in found]
        return texts, len(ran)

    assert page() == (["2", "3"], 2)
    assert page() == (["2", "3"], 1)


@pytest.mark.parametrize("decorate", [cached_as, cached_view_as])
def test_an_empty_list_as_a_sample_caches_nothing(store, decorate):
    """An empty page of a paginator is a list, which no write invalidates."""
    func = numbered(decorate([]))
    request = requests.get("/")
    assert [func(request), func(request)] == [1, 2]


def test_a_manager_is_a_sample(store):
    """It stands for all objects."""
    func = numbered(cached_as(Label.objects, timeout=60))
    assert [func(), func()] == [1, 1]
    Label.objects.create(text="x")
    assert func() == 2


def test_a_nested_function_is_cached_by_its_sample_and_extra(store):
    """`extra` adds to the key what the queryset does not contain."""
    pens, inks = Category.objects.create(name="pens"), Category.objects.create(name="inks")
    calls = []

    def block(category, count=5):
        products = Product.objects.filter(category=category)

        @cached_as(products, extra=count)
        def _block():
            calls.append(1)
            return [product.sku for product in products.order_by("sku")[:count]]

        return _block()

    assert [block(pens), block(pens), block(pens, 1), block(inks)] == [[]] * 4
    assert len(calls) == 3
    Product.objects.create(sku="a", name="a", category=pens)
    assert [block(pens), block(pens, 1), block(inks)] == [["a"], ["a"], []]
    assert len(calls) == 5


def test_extra_may_be_a_function_of_the_request(store):
    """Staff users get another page."""

    @cached_view_as(Label, extra=lambda request: request.user.is_staff)
    def view(request):
        return HttpResponse("staff" if request.user.is_staff else "others")

    for user in (AnonymousUser(), User(is_staff=True), AnonymousUser(), User(is_staff=True)):
        request = requests.get("/")
        request.user = user
        assert view(request).content == (b"staff" if user.is_staff else b"others")


def test_inplace_is_undone_by_cloning(store):
    """clone() copies an inplace queryset as well."""
    labels = Label.objects.inplace()
    assert labels.filter(text="x") is labels
    copied = labels.clone()
    assert copied is not labels
    assert copied.filter(text="x") is copied
    cloning = labels.cloning()
    assert cloning is labels
    assert labels.filter(text="y") is not labels
    assert labels.inplace().cloning(1).order_by("pk") is not labels
    once = Label.objects.all().cloning(1).filter(text="x")
    assert once.order_by("pk") is once


@pytest.mark.parametrize(("option", "name"), [(True, "pk"), ("text", "text")])
def test_an_object_cached_on_save_is_a_hit_of_cache(store, queries, settings, option, name):
    """This applies also if the profile has no ops."""
    settings.CACHEOPS = {"shop.label": {"cache_on_save": option, "timeout": 60}}
    label = Label(text="x")
    label.save()
    with queries() as ran:
        assert Label.objects.cache().get(**{name: getattr(label, name)}) == label
    assert len(ran) == 0


def test_cache_on_save_works_inside_a_test_case(store, queries, settings):
    """The transaction of the test case is ignored."""
    settings.CACHEOPS = {"shop.label": {"cache_on_save": True, "timeout": 60}}
    with transaction.atomic():
        with as_autocommit():
            label = Label.objects.create(text="x")
            with queries() as ran:
                assert Label.objects.cache().get(pk=label.pk) == label
            assert len(ran) == 0
        transaction.set_rollback(True)


def test_cache_on_save_caches_nothing_with_autocommit_off(store, settings):
    """Django does not report when such a transaction commits."""
    settings.CACHEOPS = {"shop.label": {"cache_on_save": True, "timeout": 60}}
    transaction.set_autocommit(False)
    try:
        label = Label.objects.create(text="x")
        transaction.rollback()
    finally:
        transaction.set_autocommit(True)
    with pytest.raises(Label.DoesNotExist):
        Label.objects.cache().get(pk=label.pk)


@pytest.mark.parametrize("in_atomic", [False, True])
def test_an_error_of_cache_on_save_is_logged(store, settings, caplog, monkeypatch, in_atomic):
    """The save itself succeeds."""
    settings.CACHEOPS = {"shop.label": {"cache_on_save": True, "timeout": 60}}
    monkeypatch.setattr(QuerySet, "cache", lambda self, ops: 1 / 0)
    with transaction.atomic() if in_atomic else nullcontext():
        Label.objects.create(text="x")
    assert Label.objects.count() == 1
    assert "ZeroDivisionError" in caplog.text


# Invalidation.


def test_a_job_can_postpone_invalidation_to_its_end(store, is_hit):
    """It uses ``no_invalidation`` and invalidates manually at the end, even if the job fails."""
    label = Label.objects.create(text="old")
    read = lambda: list(Label.objects.values_list("text", flat=True))
    assert read() == ["old"]
    with pytest.raises(ZeroDivisionError):
        try:
            with no_invalidation:
                label.text = "new"
                label.save()
                assert read() == ["old"]
                raise ZeroDivisionError
        finally:
            invalidate_obj(label)
            invalidate_model(Label)
    assert read() == ["new"]


def test_a_sliced_queryset_is_invalidated_by_any_row_that_meets_its_conditions(store):
    read = lambda: [label.text for label in Label.objects.order_by("text")[:2]]
    Label.objects.bulk_create([Label(text="b"), Label(text="c")])
    assert read() == ["b", "c"]
    first = Label.objects.create(text="a")
    assert read() == ["a", "b"]
    first.delete()
    assert read() == ["b", "c"]


def test_raw_querysets_are_read_from_the_database(store):
    """Only .cache() caches them; inside a cached function they are cached by its samples."""
    label = Label.objects.create(text="old")
    read = lambda: [label.text for label in Label.objects.raw("SELECT * FROM shop_label")]
    assert read() == ["old"]
    Label.objects.update(text="new")
    assert read() == ["new"]
    func = cached_as(Label)(read)
    assert func() == ["new"]
    label.text = "newer"
    label.save()
    assert func() == ["newer"]


@pytest.mark.parametrize(
    "condition",
    [{"text": "x"}, {"text__contains": "x"}, {"views__gt": 1}, {"name__startswith": "x"}, {"day__year": 2000}],
)
def test_unsupported_lookups_are_invalidated_by_any_row(store, condition):
    """This is less precise, but never stale."""
    read = lambda: list(Product.objects.filter(**condition).values_list("pk", flat=True))
    assert read() == []
    met = Product.objects.create(sku="x", name="x", text="x", views=2, day="2000-01-01")
    assert read() == [met.pk]
    met.delete()
    assert read() == []


# The simple cache.


def test_the_simple_and_the_file_cache_ignore_transactions(store, tmp_path):
    """They work whatever the transaction changed, and whether or not it is rolled back."""
    for memory in (cache, FileCache(tmp_path)):
        func = numbered(memory.cached(timeout=60))
        with transaction.atomic():
            Label.objects.create(text="x")
            assert [func(), func()] == [1, 1]
            memory.set("key", "kept", 60)
            transaction.set_rollback(True)
        assert (func(), memory.get("key")) == (1, "kept")


def test_a_nested_cached_function_has_a_result_per_extra(store):
    """`extra` separates functions that are defined by the same code."""

    class Article:
        def __init__(self, category):
            self.category = category

        @property
        def json(self):
            @cached(timeout=600, extra=self.category)
            def _json():
                return [self.category]

            return _json()

    assert [Article(category).json for category in (1, 2, 1)] == [[1], [2], [1]]


def test_the_result_of_a_call_can_be_set(store, tmp_path):
    """``key(...).set()`` replaces what the function returned."""
    for memory in (cache, FileCache(tmp_path)):
        func = numbered(memory.cached(timeout=60))
        assert func("category") == 1
        func.key("category").set("set")
        assert (func("category"), func("other")) == ("set", 2)
        func.invalidate("category")
        assert func("category") == 3


def test_a_page_is_invalidated_by_its_uri(store, tmp_path):
    """The arguments of the view are those of its call."""
    for memory in (cache, FileCache(tmp_path)):
        page = numbered(lambda view, memory=memory: memory.cached_view(timeout=60)(view))
        assert [page(requests.get("/page"), "x") for _ in range(2)] == [1, 1]
        page.invalidate("http://testserver/page", "x")
        assert page(requests.get("/page"), "x") == 2
