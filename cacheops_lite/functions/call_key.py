"""Identify calls for cache keys: which function, with which arguments.

Values of different types are different: ``f(1)`` is not ``f('1')``.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import inspect
import pickle
import uuid
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from types import CodeType
from typing import Any, TypeAlias

from django.core.exceptions import EmptyResultSet
from django.db.models import Model, Prefetch, QuerySet
from django.utils.datastructures import MultiValueDict
from django.views import View

from ..conf import model_profile
from ..utils import error_boundary

Function: TypeAlias = Callable[..., Any]

PLAIN_TYPES = (str, int, float, complex, bool, bytes, type(None), decimal.Decimal, uuid.UUID)
TIME_TYPES = (datetime.datetime, datetime.date, datetime.time, datetime.timedelta)


def call_identity(func: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any], extra: Any) -> str:
    """Return a text that no other call has.

    Raises TypeError for an argument without an identity, such as an instance that is not saved.
    """
    return repr((_function(func), identity_of(args), identity_of(dict(kwargs)), identity_of(extra)))


def _function(func: Function) -> tuple[Any, ...]:
    func = inspect.unwrap(func)
    code = getattr(func, "__code__", None)
    # A nested function or lambda is identified by its position in the source: each call of the outer function makes
    # a new one.
    line = code.co_firstlineno if code is not None else 0
    return getattr(func, "__module__", ""), getattr(func, "__qualname__", repr(func)), line


def identity_of(value: Any) -> Any:
    """Return something whose ``repr()`` is the same for equal values of the same type, and for no others.

    Raises TypeError for an instance that is not saved, and for an object that can't be pickled.
    """
    if type(value) in PLAIN_TYPES or type(value) in TIME_TYPES:
        return value
    if isinstance(value, Model):
        return _instance(value)
    if isinstance(value, enum.Enum):
        # Combined flags may have no name.
        return _type_name(value), value.name, identity_of(value.value)
    if isinstance(value, MultiValueDict):
        return _type_name(value), identity_of(dict(value.lists()))
    if isinstance(value, Mapping):
        return _type_name(value), sorted((repr(identity_of(key)), identity_of(item)) for key, item in value.items())
    if isinstance(value, (set, frozenset)):
        return _type_name(value), sorted(repr(identity_of(item)) for item in value)
    if isinstance(value, (list, tuple)):
        return _type_name(value), [identity_of(item) for item in value]
    if isinstance(value, type):
        return "named", value.__module__, value.__qualname__
    if _is_routine(value):
        return _routine(value)
    if isinstance(value, QuerySet):
        return _queryset(value)
    if isinstance(value, Prefetch):
        return _prefetch(value)
    if hasattr(value, "build_absolute_uri"):
        return _type_name(value), value.build_absolute_uri()
    return _pickled(value)


def _is_routine(value: Any) -> bool:
    # Python counts objects with ``__get__`` as routines, and since 3.14 partial objects, which have no name.
    return inspect.isroutine(value) and hasattr(value, "__qualname__")


def _routine(value: Any) -> tuple[Any, ...]:
    owner = getattr(value, "__self__", None)
    owner_identity = None if inspect.ismodule(owner) else identity_of(owner)
    where = getattr(value, "__module__", ""), value.__qualname__, owner_identity
    if "<" not in value.__qualname__:
        return "named", *where
    # Nested functions and lambdas made at the same place differ in their closures and defaults.
    enclosed = [cell.cell_contents for cell in value.__closure__ or () if cell.cell_contents is not value]
    defaults = identity_of(value.__defaults__), identity_of(value.__kwdefaults__)
    return "made", *where, _code(value.__code__), identity_of(enclosed), *defaults


def _code(code: CodeType) -> tuple[Any, ...]:
    constants = [_code(each) if isinstance(each, CodeType) else identity_of(each) for each in code.co_consts]
    return code.co_firstlineno, code.co_code, code.co_names, constants


def _queryset(value: QuerySet[Any]) -> tuple[Any, ...]:
    try:
        sql, params = value.query.get_compiler(value.db).as_sql()
    except EmptyResultSet:
        sql, params = "", ()
    own: Any = value
    converted = [_conversion(each) for each in own.query.annotation_select.values()]
    returned = identity_of(own._iterable_class), converted
    prefetched = [identity_of(each) for each in own._prefetch_related_lookups]
    # Parameters stay apart from the SQL: pasted into it, a parameter could equal a part of the SQL.
    return _type_name(value), value.db, identity_of(value.model), returned, prefetched, sql, identity_of(list(params))


def _conversion(expression: Any) -> Any:
    """Return what identifies the conversion of an annotation's values to Python."""
    field = getattr(expression, "_output_field_or_none", None)
    return None if field is None else (_type_name(field), repr(field.deconstruct()[1:]))


def _prefetch(value: Prefetch[Any, Any, Any]) -> tuple[Any, ...]:
    queryset = identity_of(value.queryset)
    return _type_name(value), value.prefetch_through, value.prefetch_to, value.to_attr, queryset


def _instance(value: Model) -> tuple[Any, ...]:
    if value.pk is None:
        raise TypeError(
            f"{value!r} is not saved: it has no primary key to identify it in a cache key. "
            "Save it first, or pass values of its fields instead."
        )
    profile = model_profile(value._meta.model)
    # By default all databases are replicas of one another (`db_agnostic`).
    using = None if profile is None or profile.db_agnostic else value._state.db
    return "instance", value._meta.label, identity_of(value.pk), *([using] if using else [])


def _type_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _pickled(value: Any) -> tuple[Any, ...]:
    try:
        return _type_name(value), pickle.dumps(value)
    except Exception as error:
        error_boundary.reraise_interrupt(error)
        raise TypeError(
            f"{type(value).__qualname__} can't be pickled, so a cache key can't identify it. "
            "Pass an object that can be pickled, or plain values instead."
        ) from error


class _Placeholder(enum.Enum):
    DEFAULT = "a default value without an identity"


class CallIdentifier:
    """Identifies the calls of a function: f(1), f(a=1) and f(1, b=<its default>) are the same call."""

    def __init__(self, func: Function):
        self.args: tuple[Any, ...] = ()
        self.kwargs: dict[str, Any] = {}
        while isinstance(func, partial):
            self.args = func.args + self.args
            self.kwargs = {**func.keywords, **self.kwargs}
            func = func.func
        self.func = func

    def identify(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], extra: Any) -> str:
        """Return a text that no other call has.  Raises TypeError as `call_identity` does."""
        args, kwargs = self.args + args, {**self.kwargs, **kwargs}
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError:
            pass  # The call of the function raises the better message.
        else:
            bound.apply_defaults()
            args, kwargs = bound.args, bound.kwargs
        is_instance = not _is_routine(self.func) and not isinstance(self.func, type)
        owner = self.func if is_instance else getattr(self.func, "__self__", None)
        func = type(self.func).__call__ if is_instance else self.func
        return call_identity(func, args, kwargs, (_owner(owner), self.wrappers, extra))

    @cached_property
    def signature(self) -> inspect.Signature:
        try:
            # A wrapper may take other arguments than the function that it wraps.
            signature = inspect.signature(self.func, follow_wrapped=False)
        except (TypeError, ValueError):
            return inspect.signature(lambda *args, **kwargs: None)
        parameters = [
            parameter.replace(default=parameter.default if _has_identity(parameter.default) else _Placeholder.DEFAULT)
            for parameter in signature.parameters.values()
        ]
        return signature.replace(parameters=parameters)

    @cached_property
    def wrappers(self) -> list[Any]:
        """What distinguishes functions of the same name: their wrappers, or the class of a class-based view."""
        found: list[Any] = []
        func: Any = self.func
        while hasattr(func, "__wrapped__"):
            code = getattr(func, "__code__", None)
            where = getattr(func, "__globals__", {}).get("__name__")
            found.append((where, code.co_name, code.co_firstlineno) if code else f"{type(func).__qualname__}")
            func = func.__wrapped__
        if view_class := getattr(func, "view_class", None):
            initkwargs = func.view_initkwargs.items()
            found += [view_class, {name: value if _has_identity(value) else type(value) for name, value in initkwargs}]
        return found


def _owner(owner: Any) -> Any:
    # An instance of a class-based view lives for one request only, so its class stands for it.
    return None if inspect.ismodule(owner) else type(owner) if isinstance(owner, View) else owner


def _has_identity(value: Any) -> bool:
    try:
        identity_of(value)
    except TypeError:
        return False
    return True
