"""Names of calls: which function, with which arguments.  Types are told apart: ``f(1)`` is not ``f('1')``."""

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
        # Combined flags may have no name.
        return _kind(value), value.name, told(value.value)
    if isinstance(value, MultiValueDict):
        return _kind(value), told(dict(value.lists()))
    if isinstance(value, Mapping):
        return _kind(value), sorted((repr(told(key)), told(item)) for key, item in value.items())
    if isinstance(value, (set, frozenset)):
        return _kind(value), sorted(repr(told(item)) for item in value)
    if isinstance(value, (list, tuple)):
        return _kind(value), [told(item) for item in value]
    if isinstance(value, type):
        return "named", value.__module__, value.__qualname__
    if inspect.isroutine(value):
        return _routine(value)
    if isinstance(value, QuerySet):
        return _queryset(value)
    if isinstance(value, Prefetch):
        return _prefetch(value)
    if hasattr(value, "build_absolute_uri"):
        return _kind(value), value.build_absolute_uri()
    return _pickled(value)


def _routine(value: Any) -> tuple[Any, ...]:
    owner = getattr(value, "__self__", None)
    where = getattr(value, "__module__", ""), value.__qualname__, None if inspect.ismodule(owner) else told(owner)
    if "<" not in value.__qualname__:
        return "named", *where
    # One of many that are made at one place.
    held = [cell.cell_contents for cell in value.__closure__ or () if cell.cell_contents is not value]
    return "made", *where, _code(value.__code__), told(held), told(value.__defaults__), told(value.__kwdefaults__)


def _code(code: CodeType) -> tuple[Any, ...]:
    constants = [_code(constant) if isinstance(constant, CodeType) else told(constant) for constant in code.co_consts]
    return code.co_firstlineno, code.co_code, code.co_names, constants


def _queryset(value: QuerySet[Any]) -> tuple[Any, ...]:
    try:
        sql, params = value.query.get_compiler(value.db).as_sql()
    except EmptyResultSet:
        sql, params = "", ()
    # Parameters are told by themselves: pasted into the SQL, they could pass for a part of it.
    own: Any = value
    shown = told(own._iterable_class), [_conversion(each) for each in own.query.annotation_select.values()]
    prefetched = [told(each) for each in own._prefetch_related_lookups]
    return _kind(value), value.db, told(value.model), shown, prefetched, sql, told(list(params))


def _conversion(expression: Any) -> Any:
    """What makes values of a column that is not a model's own."""
    field = getattr(expression, "_output_field_or_none", None)
    return None if field is None else (_kind(field), repr(field.deconstruct()[1:]))


def _prefetch(value: Prefetch[Any, Any, Any]) -> tuple[Any, ...]:
    return _kind(value), value.prefetch_through, value.prefetch_to, value.to_attr, told(value.queryset)


def _instance(value: Model) -> tuple[Any, ...]:
    if value.pk is None:
        raise TypeError(
            f"{value!r} is not saved, so that it can't be told from others: save it first or pass values of it"
        )
    profile = model_profile(value._meta.model)
    # Databases have the same rows, if nothing else is said.
    using = None if profile is None or profile.db_agnostic else value._state.db
    return "instance", value._meta.label, told(value.pk), *([using] if using else [])


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _pickled(value: Any) -> tuple[Any, ...]:
    try:
        return _kind(value), pickle.dumps(value)
    except Exception as error:
        error_boundary.reraise_interrupt(error)
        raise TypeError(
            f"{type(value).__qualname__} can't be told from others: pass something that can be pickled, or values of it"
        ) from error


class _Untold(enum.Enum):
    DEFAULT = "a default that can't be told from others"


class Callee:
    """A function, as its calls are named: f(1), f(a=1) and f(1, b=<its default>) are one call."""

    def __init__(self, func: Function):
        self.args: tuple[Any, ...] = ()
        self.kwargs: dict[str, Any] = {}
        while isinstance(func, partial):
            self.args = func.args + self.args
            self.kwargs = {**func.keywords, **self.kwargs}
            func = func.func
        self.func = func

    def name(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], extra: Any) -> str:
        """A text that tells this call from all others.  Raises TypeError like `call_name`."""
        args, kwargs = self.args + args, {**self.kwargs, **kwargs}
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError:
            pass  # The function itself says best what is wrong.
        else:
            bound.apply_defaults()
            args, kwargs = bound.args, bound.kwargs
        is_instance = not inspect.isroutine(self.func) and not isinstance(self.func, type)
        owner = self.func if is_instance else getattr(self.func, "__self__", None)
        func = type(self.func).__call__ if is_instance else self.func
        return call_name(func, args, kwargs, (_owner_mark(owner), self.marks, extra))

    @cached_property
    def signature(self) -> inspect.Signature:
        try:
            # What a wrapper wraps may take other arguments than it does.
            signature = inspect.signature(self.func, follow_wrapped=False)
        except (TypeError, ValueError):
            return inspect.signature(lambda *args, **kwargs: None)
        parameters = [
            parameter.replace(default=parameter.default if _is_told(parameter.default) else _Untold.DEFAULT)
            for parameter in signature.parameters.values()
        ]
        return signature.replace(parameters=parameters)

    @cached_property
    def marks(self) -> list[Any]:
        """What tells it from others of the same name: wrappers around one function, views made of classes."""
        marks: list[Any] = []
        func: Any = self.func
        while hasattr(func, "__wrapped__"):
            code = getattr(func, "__code__", None)
            where = getattr(func, "__globals__", {}).get("__name__")
            marks.append((where, code.co_name, code.co_firstlineno) if code else f"{type(func).__qualname__}")
            func = func.__wrapped__
        if view_class := getattr(func, "view_class", None):
            options = {name: value if _is_told(value) else type(value) for name, value in func.view_initkwargs.items()}
            marks += [view_class, options]
        return marks


def _owner_mark(owner: Any) -> Any:
    # An instance of a class-based view lives for one request.
    return None if inspect.ismodule(owner) else type(owner) if isinstance(owner, View) else owner


def _is_told(value: Any) -> bool:
    try:
        told(value)
    except TypeError:
        return False
    return True
