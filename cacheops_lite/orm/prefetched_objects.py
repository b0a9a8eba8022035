"""The prefetched querysets of an instance, each made when it is first asked for.

Django keeps them in a plain dictionary.  This one behaves like that, and is pickled and copied as a plain dictionary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.db.models import Field, Model, QuerySet

# The attributes of querysets.  One that is not listed may depend on the instance.
KNOWN_ATTRIBUTES = frozenset(
    {"model", "_db", "_hints", "_query", "_result_cache", "_sticky_filter", "_for_write", "_prefetch_related_lookups"}
    | {"_prefetch_done", "_known_related_objects", "_iterable_class", "_fields", "_defer_next_filter"}
    | {"_deferred_filter", "_fetch_mode", "_cloning_enabled"}
)


class PrefetchedObjects(dict[str, Any]):
    """A ``_prefetched_objects_cache``.

    `pending` has, by name, what makes each queryset that is not made yet: a template and the arguments of its method.
    """

    __slots__ = ("pending",)

    def __init__(self) -> None:
        self.pending: dict[str, tuple[Template, tuple[Any, ...]]] = {}

    def __missing__(self, name: Any) -> Any:
        if name not in self.pending:
            raise KeyError(name)
        # Those before it first, so that the order of the items is the same as Django's.
        for each in list(self.pending):
            self._make_pending(each)
            if each == name:
                break
        return dict.__getitem__(self, name)

    def __contains__(self, name: Any) -> bool:
        # In this order, as another thread may make it meanwhile.
        return name in self.pending or dict.__contains__(self, name)

    def make_all(self) -> None:
        """Make the querysets that are pending."""
        for name in list(self.pending):
            self._make_pending(name)

    def _make_pending(self, name: str) -> None:
        pending = self.pending.get(name)
        if pending is not None:
            template, arguments = pending
            # Another thread may have made it meanwhile: there is only one.
            dict.setdefault(self, name, template.make(*arguments))
            self.pending.pop(name, None)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # Items come after the dictionary, as they refer to the instance, which refers to it.
        return dict, (), None, None, self._all_items()

    def _all_items(self) -> Iterator[tuple[str, Any]]:
        return iter(list(self.items()))

    def copy(self) -> dict[str, Any]:
        """Return a plain dictionary."""
        return dict(self.items())


def _after_making_all(name: str) -> Callable[..., Any]:
    method = getattr(dict, name)

    def complete(self: PrefetchedObjects, *args: Any, **kwargs: Any) -> Any:
        self.make_all()
        return method(self, *args, **kwargs)

    complete.__name__, complete.__doc__ = name, method.__doc__
    return complete


for _name in (
    *("__delitem__", "__eq__", "__ior__", "__iter__", "__len__", "__ne__", "__or__", "__repr__", "__reversed__"),
    *("__ror__", "__setitem__", "clear", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values"),
):
    setattr(PrefetchedObjects, _name, _after_making_all(_name))


class Template:
    """The first queryset of a prefetched relation; the others are copies of it.

    `manager` is a related manager of the relation, for an instance of `model`.
    """

    def __init__(self, manager: Any, model: type[Model]):
        self._model = model
        self._known_field: Field[Any, Any] | None = None
        if hasattr(manager, "through"):
            (self._filter,) = manager.core_filters
            target = manager.source_field.related_fields[0][1]
        else:
            self._filter, self._known_field = manager.field.name, manager.field
            target = manager.field.target_field
        # The key of instances that the relation refers to, and their other keys.
        self.key: str = target.attname
        options: Any = model._meta
        self._other_keys = [field.attname for field in options.pk_fields if field is not target]
        self._class: type[QuerySet[Any]] = QuerySet
        self._attributes: dict[str, Any] = {}
        self._query: Any = None

    @property
    def has_learned(self) -> bool:
        """Return whether there is a queryset to copy."""
        return self._query is not None

    def learn(self, queryset: Any, instance: Any, key: Any, fetch_mode: Any, results: list[Any]) -> None:
        """Copy from now on this queryset, which Django has made for `instance`, if it is as expected."""
        attributes = vars(queryset)
        if self.has_learned or not attributes.keys() <= KNOWN_ATTRIBUTES:
            return
        if any(attributes[name] != value for name, value in self._own(instance, key).items()):
            return
        self._class, self._attributes = type(queryset), dict(attributes)
        # Django filters the query of this queryset in place when it is first used.
        self._query = attributes["_query"].clone()

    def arguments_for(self, instance: Any, results: list[Any]) -> tuple[Any, ...] | None:
        """Return the arguments of `make` for `instance` as it is now.

        None where Django has to make the queryset: it raises errors without keys, and instances of several classes
        may have different relations.
        """
        if type(instance) is not self._model:
            return None
        key = getattr(instance, self.key)
        if key is None or key == "" or any(getattr(instance, name) is None for name in self._other_keys):
            return None
        return instance, key, getattr(instance._state, "fetch_mode", None), results

    def make(self, instance: Any, key: Any, fetch_mode: Any, results: list[Any]) -> Any:
        """Return the queryset of `instance`, with these `results`."""
        queryset: Any = object.__new__(self._class)
        attributes = vars(queryset)
        attributes.update(self._attributes)
        attributes.update(self._own(instance, key))
        attributes.update(_query=self._query.clone(), _result_cache=results, _prefetch_done=True)
        if "_fetch_mode" in attributes:
            attributes["_fetch_mode"] = fetch_mode
        return queryset

    def _own(self, instance: Any, key: Any) -> dict[str, Any]:
        """Return the attributes that are different for each instance."""
        field = self._known_field
        return {
            "_hints": {"instance": instance},
            "_deferred_filter": (False, (), {self._filter: key if field is None else instance}),
            "_known_related_objects": {} if field is None else {field: {key: instance}},
        }
