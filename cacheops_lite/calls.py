"""Names of calls: which function, with which arguments.  Types are told apart: ``f(1)`` is not ``f('1')``."""

from __future__ import annotations

import datetime
import decimal
import enum
import inspect
import pickle
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from django.db.models import Model, QuerySet

PLAIN = (str, int, float, complex, bool, bytes, type(None), decimal.Decimal, uuid.UUID)
TIMES = (datetime.datetime, datetime.date, datetime.time, datetime.timedelta)


def call_name(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], extra: Any) -> str:
    """A text that tells this call from all others.

    Raises TypeError for an argument that can't be told from others, such as an instance that is not saved.
    """
    return repr((_function(func), told(args), told(dict(kwargs)), told(extra)))


def _function(func: Callable[..., Any]) -> tuple[Any, ...]:
    func = inspect.unwrap(func)
    code = getattr(func, "__code__", None)
    line = code.co_firstlineno if code is not None else 0
    # A nested function or lambda is known by its place alone, as many are made at one.
    return getattr(func, "__module__", ""), getattr(func, "__qualname__", repr(func)), line


def told(value: Any) -> Any:
    """`value` as something whose ``repr()`` tells it from all others."""
    if type(value) in PLAIN or type(value) in TIMES:
        return value
    if isinstance(value, Model):
        return _instance(value)
    if isinstance(value, enum.Enum):
        return _kind(value), value.name
    if isinstance(value, Mapping):
        return _kind(value), sorted((repr(told(key)), told(item)) for key, item in value.items())
    if isinstance(value, (set, frozenset)):
        return _kind(value), sorted(repr(told(item)) for item in value)
    if isinstance(value, (list, tuple)):
        return _kind(value), [told(item) for item in value]
    if isinstance(value, type) or inspect.isroutine(value):
        return "named", getattr(value, "__module__", ""), value.__qualname__
    if isinstance(value, QuerySet):
        return _kind(value), str(value.query), value.db
    if hasattr(value, "build_absolute_uri"):
        return _kind(value), value.build_absolute_uri()
    return _pickled(value)


def _instance(value: Model) -> tuple[Any, ...]:
    if value.pk is None:
        raise TypeError(
            f"{value!r} is not saved, so that it can't be told from others: save it first or pass values of it"
        )
    return "instance", value._meta.label, told(value.pk)


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _pickled(value: Any) -> tuple[Any, ...]:
    try:
        return _kind(value), pickle.dumps(value)
    except Exception as error:
        raise TypeError(
            f"{value!r} can't be told from others: pass something that can be pickled, or values of it"
        ) from error
