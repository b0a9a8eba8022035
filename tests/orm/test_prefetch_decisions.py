"""Prefetches are assembled only where no code of the application takes part in making their querysets."""

import pytest
from django.db import models
from django.test.utils import isolate_apps

from cacheops_lite.orm import prefetch
from cacheops_lite.orm.prefetch import makes_plain_querysets
from tests.rich.models import Item


def decision(manager_class=models.Manager, queryset_class=models.QuerySet, **attributes):
    """Return the decision for a relation to a model whose manager and querysets have these classes."""
    with isolate_apps("tests.shop"):

        class One(models.Model):
            class Meta:
                app_label = "shop"

        class Many(models.Model):
            one = models.ForeignKey(One, models.CASCADE, related_name="many")
            objects = manager_class.from_queryset(queryset_class)()

            class Meta:
                app_label = "shop"

        for name, value in attributes.items():
            setattr(One, name, value)
        manager = One(pk=1).many
        return makes_plain_querysets(One, "many", type(manager))


def overriding(base, name):
    """A subclass that overrides a method without changing what it does."""
    return type("Own", (base,), {name: lambda self, *args, **kwargs: getattr(super(base, self), name)(*args, **kwargs)})


def test_relations_with_django_s_managers_are_assembled():
    """Methods that are not called to make a queryset may be added or overridden."""
    assert decision()
    assert decision(queryset_class=type("Own", (models.QuerySet,), {"recent": lambda self: self.filter(pk=1)}))
    assert decision(queryset_class=overriding(models.QuerySet, "delete"))
    assert decision(manager_class=overriding(models.Manager, "create"))


@pytest.mark.parametrize("name", ["__init__", "get_queryset", "__getattribute__", "__setattr__"])
def test_managers_that_take_part_are_called_for_each_instance(name):
    assert not decision(manager_class=overriding(models.Manager, name))


@pytest.mark.parametrize(
    "name",
    [
        *("__init__", "_clone", "_chain", "filter", "using", "_add_hints", "_next_is_sticky", "_filter_or_exclude"),
        *("query", "_result_cache", "__setattr__", "_hints"),
    ],
)
def test_querysets_that_take_part_are_made_for_each_instance(name):
    assert not decision(queryset_class=overriding(models.QuerySet, name))


@pytest.mark.parametrize("name", ["__getattribute__", "__setattr__"])
def test_instances_that_watch_their_attributes_are_left_to_django(name):
    assert not decision(**{name: lambda self, *args: getattr(object, name)(self, *args)})


def test_descriptors_of_the_application_are_left_to_django():
    class Own(type(Item.steps)):
        pass

    descriptor = Own(Item.steps.rel)
    assert makes_plain_querysets(Item, "steps", type(Item(pk=1).steps))
    Item.own_steps = descriptor
    try:
        assert not makes_plain_querysets(Item, "own_steps", descriptor.related_manager_cls)
    finally:
        del Item.own_steps


class ShiftedField(models.IntegerField):
    """Stores other integers than it shows."""

    def get_prep_value(self, value):
        return None if value is None else int(value) - 1000


@pytest.mark.parametrize(("kind", "name"), [(models.IntegerField, "_prefetch_related_val_one_id"), (ShiftedField, "")])
@isolate_apps("tests.shop")
def test_keys_are_compared_unchanged_where_they_are_stored_unchanged(kind, name):
    """Django compares the keys of many-to-many relations as they are stored."""

    class Other(models.Model):
        class Meta:
            app_label = "shop"

    class One(models.Model):
        key = kind(primary_key=True)
        others = models.ManyToManyField(Other)

        class Meta:
            app_label = "shop"

    assert prefetch._name_of_integer(One(pk=1).others) == name
