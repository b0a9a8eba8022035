"""The types for annotations are Django's own classes at runtime."""

import pytest
from django.db.migrations.writer import MigrationWriter
from django.db.models import Manager, QuerySet

from cacheops_lite.typing import CachedFunction, CachedManager, CachedQuerySet, Operation, Ops
from tests.shop.models import Product


class CheapQuerySet(CachedQuerySet["Product"]):
    def cheap(self):
        return self.filter(price__lt=10)


class CheapManager(CachedManager["Product"]):
    def get_queryset(self):
        return CheapQuerySet(self.model, using=self._db)


def manager_of(manager_class):
    manager = manager_class()
    manager.model, manager.name = Product, "objects"
    return manager


def test_cached_querysets_and_managers_are_those_of_django():
    """So querysets that Django makes are instances of them."""
    assert CachedQuerySet is QuerySet
    assert CachedManager is Manager
    assert isinstance(Product.objects.all(), CachedQuerySet)
    assert CachedQuerySet[Product] is not None
    assert CachedManager[Product] is not None


def test_a_migration_names_the_manager_of_django():
    """The package can be removed from a project with such migrations."""
    text, _ = MigrationWriter.serialize(CachedManager())
    assert text == "django.db.models.manager.Manager()"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "manager_class", [CheapManager, CachedManager.from_queryset(CheapQuerySet)], ids=["subclass", "from_queryset"]
)
def test_subclasses_are_cached(manager_class, django_assert_num_queries):
    """They have the methods that the app adds to Django's classes."""
    products = manager_of(manager_class)
    Product.objects.create(name="a", price=5)
    cheap = products.get_queryset().cheap()
    assert isinstance(products.cache(), CheapQuerySet)
    assert isinstance(cheap.nocache().inplace(), CheapQuerySet)
    assert cheap.cache("count").count() == 1
    assert products.invalidated_update(price=20) == 1
    assert cheap.cache("count").count() == 0


def test_literals_and_protocols_can_be_used_at_runtime():
    """For example by packages that read annotations."""
    assert CachedFunction[[int], str]
    assert Operation
    assert Ops
