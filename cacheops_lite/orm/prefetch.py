"""Assign prefetched objects to instances, without making a related manager and a queryset for each instance.

Django makes both for each instance, which takes most of the time of a prefetch whose rows are cached.  The querysets
differ in a few attributes only.  So Django makes the first one; the others are copies of it, made when they are first
asked for.  Where code of the application takes part, or Django makes an unexpected queryset, Django makes all of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

from django.db.models import Field, Model, QuerySet
from django.db.models import query as django_query
from django.db.models.fields import related_descriptors
from django.db.models.fields.related_descriptors import ManyToManyDescriptor, ReverseManyToOneDescriptor
from django.db.models.manager import BaseManager

from ..conf import settings
from ..reads import policy_of_model
from ..schema import passthrough_type, stores_like_django
from ..utils import Patches
from .prefetched_objects import KNOWN_ATTRIBUTES, PrefetchedObjects, Template

# The function of Django that is replaced, and its parameters.
_FUNCTION, _PARAMETERS = "prefetch_one_level", ["instances", "prefetcher", "lookup", "level"]
# With fewer instances, a template saves no time.
MIN_INSTANCES = 3
# What makes the queryset of a related manager: no class of the application may override it.
_RELATED_MANAGER_METHODS = ("__init__", "get_queryset", "_apply_rel_filters", "get_prefetch_querysets")
_MANAGER_METHODS = ("__new__", "__init__", "__getattribute__", "__setattr__", "get_queryset")
_QUERYSET_METHODS = (
    *("__new__", "__init__", "__getattribute__", "__setattr__", "query", "using", "filter", "_filter_or_exclude"),
    *("_filter_or_exclude_inplace", "_chain", "_clone", "_add_hints", "_next_is_sticky"),
    *("_avoid_cloning", "_disable_cloning", "_enable_cloning"),
)
_INTEGER = frozenset({int})


def prefetch_one_level(instances: Any, prefetcher: Any, lookup: Any, level: int) -> Any:
    """Replace `django.db.models.query.prefetch_one_level`, which prefetches one relation of `instances`."""
    original = getattr(_patches.originals(django_query), _FUNCTION)
    if len(instances) < MIN_INSTANCES or not _is_cached(prefetcher):
        return original(instances, prefetcher, lookup, level)
    attribute, is_own_attribute = lookup.get_current_to_attr(level)
    has_own_queryset = lookup.queryset is not None and lookup.get_current_prefetch_to(level) == lookup.prefetch_to
    model: Any = type(instances[0])
    manager_class: Any = type(prefetcher)
    if is_own_attribute or has_own_queryset or not makes_plain_querysets(model, attribute, manager_class):
        return original(instances, prefetcher, lookup, level)
    template = Template(prefetcher, model)
    manager = _ManagerOfInstances(prefetcher, instances)
    # Django reads the related objects, and has no instance to give them to.
    found = original([], manager, lookup, level)
    _assign(instances, attribute, manager.name_in_cache, manager.results(found[0], template.key), template)
    return found


def _is_cached(prefetcher: Any) -> bool:
    if not isinstance(prefetcher, BaseManager) or not settings.CACHEOPS_ENABLED:
        return False
    model: Any = prefetcher.model
    policy = policy_of_model(model)
    return policy is not None and "fetch" in policy.ops


class _ManagerOfInstances:
    """Stands in for the related manager that reads the related objects, and knows the instances to read them for."""

    def __init__(self, manager: Any, instances: Any):
        self._manager, self._instances = manager, instances
        self.name_in_cache = ""
        self._key_of_related: Callable[[Any], Hashable] = id
        self._key_of_instance: Callable[[Any], Hashable] = id

    def get_prefetch_querysets(self, instances: Any, querysets: Any = None) -> tuple[Any, ...]:
        """Return what the related manager returns for its instances."""
        found = self._manager.get_prefetch_querysets(self._instances, querysets)
        queryset, self._key_of_related, self._key_of_instance, is_single, self.name_in_cache, is_descriptor = found
        # Django groups the related objects by this key as well, but its groups are not used: `id` is cheap.
        return queryset, id, self._key_of_instance, is_single, self.name_in_cache, is_descriptor

    def results(self, related: Sequence[Any], key: str) -> Iterator[list[Any]]:
        """Yield the related objects of each instance; `key` is the name of the column that the relation refers to."""
        keys: Any = None
        name = _name_of_integer(self._manager)
        if name:
            # Most keys are integers, which need no conversion.
            related_keys, keys = [*map(attrgetter(name), related)], [*map(attrgetter(key), self._instances)]
            if not (_INTEGER.issuperset(map(type, related_keys)) and _INTEGER.issuperset(map(type, keys))):
                keys = None
        if keys is None:
            related_keys = [*map(self._key_of_related, related)]
            keys = map(self._key_of_instance, self._instances)
        groups: dict[Hashable, list[Any]] = {}
        for each, related_key in zip(related, related_keys, strict=True):
            groups.setdefault(related_key, []).append(each)
        for each in keys:
            yield groups.get(each, [])


def _name_of_integer(manager: Any) -> str:
    """Return the name of the attribute by which related objects refer to instances; empty unless it is an integer."""
    field = manager.source_field if hasattr(manager, "through") else manager.field
    if not _is_plain_integer(field):
        return ""
    return f"_prefetch_related_val_{field.attname}" if hasattr(manager, "through") else field.attname


@lru_cache(maxsize=1024)
def _is_plain_integer(field: Field[Any, Any]) -> bool:
    return passthrough_type(field) is int and stores_like_django(field)


def _assign(
    instances: Sequence[Any], attribute: str, name: str, results: Iterator[list[Any]], template: Template
) -> None:
    """Give each instance the queryset of its related objects, under `name`; `attribute` has its related manager."""
    for instance, found in zip(instances, results, strict=True):
        prefetched = instance._prefetched_objects_cache
        # Django changes a queryset that is there already.
        arguments = template.arguments_for(instance, found) if name not in prefetched else None
        if arguments is None or not template.has_learned:
            queryset = getattr(instance, attribute).get_queryset()
            if arguments is not None:
                template.learn(queryset, *arguments)
            queryset._result_cache = found
            queryset._prefetch_done = True
            prefetched[name] = queryset
            continue
        if type(prefetched) is dict and not prefetched:
            prefetched = instance._prefetched_objects_cache = PrefetchedObjects()
        if type(prefetched) is PrefetchedObjects:
            prefetched.pending[name] = template, arguments
        else:
            prefetched[name] = template.make(*arguments)


@lru_cache(maxsize=1024)
def makes_plain_querysets(model: type[Model], attribute: str, manager_class: type) -> bool:
    """Return whether Django alone makes the related querysets that instances of `model` have as `attribute`."""
    descriptor: Any = getattr(model, attribute, None)
    # Generic relations have descriptors of other classes.
    if type(descriptor) not in (ManyToManyDescriptor, ReverseManyToOneDescriptor):
        return False
    if vars(descriptor).get("related_manager_cls") is not manager_class:
        return False
    if not _inherits(model, object, ("__getattribute__", "__setattr__")):
        return False
    # Since Django 6.0, objects that were prefetched for an instance of a parent are found, too.
    if any(model._meta.parents.values()):
        return False
    return _refers_by_one_column(descriptor) and _is_django_s(manager_class)


def _refers_by_one_column(descriptor: Any) -> bool:
    if not isinstance(descriptor, ManyToManyDescriptor):
        return bool(descriptor.field.many_to_one) and len(descriptor.field.foreign_related_fields) == 1
    keys = [each for each in descriptor.through._meta.concrete_fields if each.remote_field is not None]
    return all(len(each.foreign_related_fields) == 1 for each in keys)


def _is_django_s(manager_class: Any) -> bool:
    """Return whether a class of related managers and its querysets override nothing that makes querysets."""
    own, module = vars(manager_class), related_descriptors.__name__
    if any(getattr(own.get(name), "__module__", None) != module for name in _RELATED_MANAGER_METHODS):
        return False
    base = manager_class.__mro__[1]
    querysets = base._queryset_class
    return (
        type(base) is type(querysets) is type
        and _inherits(base, BaseManager, _MANAGER_METHODS)
        and _inherits(querysets, QuerySet, (*_QUERYSET_METHODS, *KNOWN_ATTRIBUTES))
        and QuerySet.__init__.__module__ == QuerySet.filter.__module__ == django_query.__name__
    )


def _inherits(cls: Any, base: Any, names: Iterable[str]) -> bool:
    """Return whether `cls` has the attributes of these names from `base`, or lacks them like `base`."""
    return all(inspect.getattr_static(cls, name, None) is inspect.getattr_static(base, name, None) for name in names)


def install() -> None:
    """Replace Django's function, as Django has no hook here, if it is the one that this module knows."""
    function: Any = getattr(django_query, _FUNCTION, None)
    # Another package may have replaced it, to watch the instances.
    is_django_s = inspect.isfunction(function) and function.__module__ == django_query.__name__
    if is_django_s and [*inspect.signature(function).parameters] == _PARAMETERS:
        _patches.replace(django_query, _FUNCTION, prefetch_one_level)


def uninstall() -> None:
    """Restore Django's function."""
    _patches.undo()
    makes_plain_querysets.cache_clear()


_patches = Patches()
