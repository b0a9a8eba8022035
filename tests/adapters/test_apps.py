"""Installation patches Django once, and uninstallation restores it."""

from inspect import isfunction

import pytest
from django.contrib.admin.options import BaseModelAdmin
from django.db import connection, models
from django.db.backends.utils import CursorWrapper
from django.db.models.deletion import Collector
from django.db.models.manager import BaseManager
from django.db.models.query import QuerySet, RawQuerySet
from django.db.models.signals import post_save
from django.test import override_settings
from django.test.utils import isolate_apps

from cacheops_lite import apps, cached_as
from cacheops_lite.orm import admin_hooks, cursor_hooks, execute_wrapper, queryset, raw_queryset, save_delete
from cacheops_lite.schema import tracked_models
from cacheops_lite.schema.tracked_models import is_tracked
from tests.shop.models import Customer, Label, Membership, Person, Product, Unwatched, VisibleProduct

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def uninstalled():
    """Uninstall the package for the time of a test."""
    apps.uninstall()
    yield
    apps.install()


def test_uninstalling_restores_django(store, uninstalled, reads):
    """No method, receiver or wrapper of the package is left."""
    assert not hasattr(QuerySet, "cache")
    assert not hasattr(BaseManager, "nocache")
    assert QuerySet.count.__module__ == QuerySet._fetch_all.__module__ == "django.db.models.query"
    assert not post_save.has_listeners(Label)
    assert models.Model.save_base.__module__ == "django.db.models.base"
    assert Collector.delete.__module__ == "django.db.models.deletion"
    assert execute_wrapper.statement_guard not in connection.execute_wrappers
    label = Label.objects.create(text="x")
    label.save()
    assert list(Label.objects.all()) == [label]
    assert (reads.hits, reads.misses) == (0, 0)


def test_functions_may_be_decorated_before_the_app_is_installed(store, uninstalled):
    """This happens in modules that are imported before the app is ready."""
    called = []

    @cached_as(Label.objects.filter(text="x"), timeout=60)
    def count():
        called.append(1)
        return len(called)

    apps.install()
    assert count() == count() == 1
    Label.objects.create(text="x")
    assert count() == 2


def test_installing_is_idempotent(store, is_hit):
    before = (
        len(post_save.receivers),
        connection.execute_wrappers.count(execute_wrapper.statement_guard),
        QuerySet.count,
    )
    apps.install()
    after = len(post_save.receivers), connection.execute_wrappers.count(execute_wrapper.statement_guard), QuerySet.count
    assert before == after
    Label.objects.count()
    assert is_hit(lambda: Label.objects.count())


def test_querysets_and_managers_get_exactly_the_documented_methods():
    """The lists also contain the patched methods of Django."""
    assert queryset.patches.replaced_names(BaseManager) == {
        *("cache", "nocache", "explain_cache", "inplace", "invalidated_update")
    }
    assert queryset.patches.replaced_names(QuerySet) == {
        *("cache", "nocache", "explain_cache", "clone", "cloning", "inplace", "invalidated_update"),
        *("_clone", "_fetch_all", "count", "exists", "aggregate", "get", "first", "last", "in_bulk"),
        *("iterator", "aiterator"),
        *("bulk_create", "update", "_raw_delete"),
        # Defaults of the package.
        *("_cacheops_policy", "_cacheops_cloning", "_cacheops_capture"),
    }


@pytest.mark.parametrize(
    ("patches", "owner"),
    [
        (queryset.patches, QuerySet),
        (raw_queryset._patches, RawQuerySet),
        (save_delete._patches, models.Model),
        (save_delete._patches, Collector),
        (cursor_hooks._patches, CursorWrapper),
        (admin_hooks._patches, BaseModelAdmin),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else "",
)
def test_replaced_methods_keep_django_s_docstrings(patches, owner):
    """`help()` and IDEs show them."""
    replaced = {name: patches.original(owner, name) for name in patches.replaced_names(owner)}
    documented = {name: original.__doc__ for name, original in replaced.items() if isfunction(original)}
    assert documented
    assert {name: getattr(owner, name).__doc__ for name, doc in documented.items() if doc} == {
        name: doc for name, doc in documented.items() if doc
    }


@pytest.mark.parametrize(
    "name",
    [
        *("get", "count", "exists", "aggregate", "first", "last", "in_bulk", "iterator", "aiterator"),
        *("update", "bulk_create"),
    ],
)
def test_public_methods_of_querysets_are_documented(name):
    assert getattr(QuerySet, name).__doc__


def test_managers_get_no_methods_that_need_a_queryset():
    """Django copies the methods of a queryset class to its managers, but not ``clone`` and ``cloning``."""
    assert not {"clone", "cloning"} & set(BaseManager._get_queryset_methods(QuerySet))

    class LabelQuerySet(QuerySet):
        def short(self):
            return self.filter(text="x")

    manager = BaseManager.from_queryset(LabelQuerySet)
    assert hasattr(manager, "short")
    for each in (BaseManager, manager, type(Label.objects), LabelQuerySet.as_manager()):
        assert not hasattr(each, "clone")
        assert not hasattr(each, "cloning")
        for name in ("cache", "nocache", "inplace", "invalidated_update"):
            assert hasattr(each, name)
    labels = LabelQuerySet(Label)
    assert labels.cloning(0).short() is labels
    assert labels.clone() is not labels


def test_managers_have_the_caching_methods(store, is_hit, reads):
    """They apply to all objects."""
    list(Label.objects.nocache())
    assert reads.misses == 0
    list(Label.objects.cache(timeout=5))
    assert is_hit(lambda: list(Label.objects.all()))
    labels = Label.objects.inplace()
    assert labels.filter(text="x") is labels


def test_relatives_of_a_model_with_a_profile_are_tracked(settings):
    """Relatives share its rows or are its many-to-many tables."""
    settings.CACHEOPS = {"shop.customer": {"timeout": 5}, "shop.product": {"timeout": 5}}
    assert is_tracked(Person)
    assert is_tracked(VisibleProduct)
    assert is_tracked(Product.labels.through)
    assert is_tracked(Product.related.through)
    assert not is_tracked(Membership)
    assert not is_tracked(Label)
    settings.CACHEOPS = {"shop.person": {"timeout": 5}}
    assert is_tracked(Customer)
    assert not is_tracked(Unwatched)


@isolate_apps("tests.shop")
def test_models_that_are_defined_later_are_tracked():
    """They may be defined at run time."""

    class Late(models.Model):
        class Meta:
            app_label = "shop"

    assert post_save.has_listeners(Late)
    for signal in (post_save,):
        signal.disconnect(sender=Late, dispatch_uid="cacheops_lite")


def test_abstract_models_are_not_tracked():
    """They have no rows."""

    class Base(models.Model):
        class Meta:
            abstract = True
            app_label = "shop"

    assert not is_tracked(Base)


def test_tracked_models_follow_installed_apps(settings):
    """Tests may remove apps temporarily."""
    fewer = [app for app in settings.INSTALLED_APPS if app != "tests.shop"]
    with override_settings(INSTALLED_APPS=fewer):
        assert "shop_label" not in tracked_models.tracked_columns()
    assert "shop_label" in tracked_models.tracked_columns()
