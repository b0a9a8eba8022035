"""Building instances directly, where that is indistinguishable from what Django does.

Django's own iterables still make the results: they only get a stand-in for the model, whose ``from_db`` is ours.
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

# For tests that see no difference.
ENABLED = True

# What a model may override that has a say in how an instance is made.
MAKERS = ("__init__", "__new__", "__setattr__", "from_db")


class StandIn:
    """A model as iterables see it."""

    def __init__(self, model: type[Model]):
        self._cacheops_model = model
        self._meta = model._meta
        self.from_db = _maker(model)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cacheops_model, name)


def stand_in(model: type[Model]) -> Any:
    """`model`, or what may stand for it where rows become instances."""
    if not ENABLED or pre_init.has_listeners(model) or post_init.has_listeners(model):
        return model
    return _stand_in(model)


@lru_cache(maxsize=512)
def _stand_in(model: type[Model]) -> Any:
    return StandIn(model) if _is_plain(model) else model


def _is_plain(model: type[Model]) -> bool:
    """Nobody has a say in how its instances are made, and its columns are kept as they come."""
    if type(model).__call__ is not type.__call__:
        return False
    return all(_definer(model, name) in (Model, object) for name in MAKERS) and all(
        isinstance(descriptor, DeferredAttribute)
        and (not hasattr(descriptor, "__set__") or type(descriptor).__module__.startswith("django.db.models.fields."))
        for descriptor in (getattr(model, field.attname, None) for field in model._meta.concrete_fields)
    )


def _definer(model: type[Model], name: str) -> type | None:
    return next((each for each in model.__mro__ if name in vars(each)), None)


Fill = Callable[[Model, Sequence[Any]], None]


@lru_cache(maxsize=1024)
def _filler(names: tuple[str, ...], by_dict: frozenset[str]) -> Fill:
    """What puts as many values into an instance under these names; others than so many are a ValueError.

    Compiled as one assignment: half of what making an instance takes is a loop over its columns.  Python keeps the
    attributes of an instance in the least space and time until somebody asks for its ``__dict__``; only the first of
    those that have to go `by_dict`, past a descriptor that would take them, does so here.
    """
    first = next((i for i, name in enumerate(names) if name in by_dict), len(names))
    if not names or not all(name.isidentifier() and not iskeyword(name) for name in names):
        return lambda instance, values: instance.__dict__.update(zip(names, values, strict=True))
    attributes = [f"instance.{name}" for name in names[:first]]
    others = [f"value{i}" for i in range(first, len(names))]
    lines = [f"({', '.join(attributes + others)},) = values"]
    if others:
        lines.append("held = instance.__dict__")
        lines += [f"held[{name!r}] = {value}" for name, value in zip(names[first:], others, strict=True)]
    made: dict[str, Any] = {}
    exec("\n    ".join(["def fill(instance, values):", *lines]), made)  # noqa: S102
    return made["fill"]


def _taken_by_descriptors(model: type[Model]) -> frozenset[str]:
    names = [field.attname for field in model._meta.concrete_fields]
    return frozenset(name for name in names if hasattr(getattr(model, name), "__set__"))


def _maker(model: type[Model]) -> Callable[..., Model]:
    new, by_dict = object.__new__, _taken_by_descriptors(model)
    # All rows of a result come with one and the same list of names.
    latest: tuple[Sequence[str], Fill] = ((), _filler((), by_dict))

    def from_db(db: str, field_names: Sequence[str], values: Sequence[Any], *, fetch_mode: Any = None) -> Model:
        """`Model.from_db` for such a model."""
        nonlocal latest
        names, fill = latest
        if names is not field_names:
            fill = _filler(tuple(field_names), by_dict)
            latest = field_names, fill
        instance = new(model)
        state = ModelState()
        state.adding = False
        state.db = db
        if fetch_mode is not None:
            state.fetch_mode = fetch_mode
        instance._state = state
        fill(instance, values)
        return instance

    # As Django asks of a class method.
    from_db.__func__ = from_db  # type: ignore[attr-defined]
    return from_db


def _forget(**kwargs: Any) -> None:
    _stand_in.cache_clear()


class_prepared.connect(_forget, dispatch_uid="cacheops_lite.query.hydrator")


def hydrated(klass_info: dict[str, Any]) -> dict[str, Any]:
    """A compiler's account of which columns are of which model, with stand-ins for models."""
    related = klass_info.get("related_klass_infos")
    return {
        **klass_info,
        "model": stand_in(klass_info["model"]),
        **({"related_klass_infos": [hydrated(each) for each in related]} if related else {}),
    }
