"""Hydrate instances faster than Django, for models where the result is indistinguishable.

Django's own iterables still make the results.  They only get a stand-in for the model class, with a faster ``from_db``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from keyword import iskeyword
from typing import Any

from django.db.models import Model
from django.db.models.base import ModelState
from django.db.models.query_utils import DeferredAttribute
from django.db.models.signals import class_prepared, post_init, pre_init

# Methods that decide how an instance is made; a model may override them.
CONSTRUCTION_METHODS = ("__init__", "__new__", "__setattr__", "from_db")


class FastModel:
    """A stand-in for a model class, for Django's iterables."""

    def __init__(self, model: type[Model]):
        self._cacheops_model = model
        self._meta = model._meta
        self.from_db = _make_from_db(model)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cacheops_model, name)


def fast_model(model: type[Model]) -> Any:
    """Return a stand-in for `model` with a faster ``from_db``, or `model` itself if that would make a difference."""
    if pre_init.has_listeners(model) or post_init.has_listeners(model):
        return model
    return _fast_model(model)


@lru_cache(maxsize=512)
def _fast_model(model: type[Model]) -> Any:
    return FastModel(model) if _is_plain(model) else model


def _is_plain(model: type[Model]) -> bool:
    """Return whether Django alone makes the model's instances, and stores the value of each column unchanged."""
    if type(model).__call__ is not type.__call__:
        return False
    return all(_defining_class(model, name) in (Model, object) for name in CONSTRUCTION_METHODS) and all(
        isinstance(descriptor, DeferredAttribute)
        and (not hasattr(descriptor, "__set__") or type(descriptor).__module__.startswith("django.db.models.fields."))
        for descriptor in (getattr(model, field.attname, None) for field in model._meta.concrete_fields)
    )


def _defining_class(model: type[Model], name: str) -> type | None:
    return next((each for each in model.__mro__ if name in vars(each)), None)


SetAttributes = Callable[[Model, Sequence[Any]], None]


@lru_cache(maxsize=1024)
def _attribute_setter(names: tuple[str, ...], by_dict: frozenset[str]) -> SetAttributes:
    """Return a function that sets attributes of these names to as many values; ValueError if there are more or less.

    It is compiled as one assignment, as a loop over the columns takes half the time of making an instance.  Python
    stores attributes in the least space and time until an instance's ``__dict__`` is used.  So ``__dict__`` is used
    only from the first name in `by_dict` on: the descriptors of these names would intercept the assignment.
    """
    first = next((i for i, name in enumerate(names) if name in by_dict), len(names))
    if not names or not all(name.isidentifier() and not iskeyword(name) for name in names):
        return lambda instance, values: instance.__dict__.update(zip(names, values, strict=True))
    targets = [f"instance.{name}" for name in names[:first]]
    rest = [f"value{i}" for i in range(first, len(names))]
    lines = [f"({', '.join(targets + rest)},) = values"]
    if rest:
        lines.append("attributes = instance.__dict__")
        lines += [f"attributes[{name!r}] = {value}" for name, value in zip(names[first:], rest, strict=True)]
    namespace: dict[str, Any] = {}
    exec("\n    ".join(["def set_attributes(instance, values):", *lines]), namespace)  # noqa: S102
    return namespace["set_attributes"]


def _names_with_setters(model: type[Model]) -> frozenset[str]:
    names = [field.attname for field in model._meta.concrete_fields]
    return frozenset(name for name in names if hasattr(getattr(model, name), "__set__"))


def _make_from_db(model: type[Model]) -> Callable[..., Model]:
    new, by_dict = object.__new__, _names_with_setters(model)
    # All rows of a result come with the same list object of names.
    latest: tuple[Sequence[str], SetAttributes] = ((), _attribute_setter((), by_dict))

    def from_db(db: str, field_names: Sequence[str], values: Sequence[Any], *, fetch_mode: Any = None) -> Model:
        """Make an instance like `Model.from_db`."""
        nonlocal latest
        names, set_attributes = latest
        if names is not field_names:
            set_attributes = _attribute_setter(tuple(field_names), by_dict)
            latest = field_names, set_attributes
        instance = new(model)
        # `fetch_mode` is an attribute since Django 6.1.
        state: Any = ModelState()
        state.adding = False
        state.db = db
        if fetch_mode is not None:
            state.fetch_mode = fetch_mode
        instance._state = state
        set_attributes(instance, values)
        return instance

    # Django reads this attribute, as `from_db` is a class method of models.
    from_db.__func__ = from_db  # type: ignore[attr-defined]
    return from_db


def _forget(**kwargs: Any) -> None:
    _fast_model.cache_clear()


class_prepared.connect(_forget, dispatch_uid="cacheops_lite.query.hydrator")


def with_fast_models(klass_info: dict[str, Any]) -> dict[str, Any]:
    """Return a compiler's `klass_info`, which says which columns belong to which model, with stand-ins for models."""
    related = klass_info.get("related_klass_infos")
    return {
        **klass_info,
        "model": fast_model(klass_info["model"]),
        **({"related_klass_infos": [with_fast_models(each) for each in related]} if related else {}),
    }
