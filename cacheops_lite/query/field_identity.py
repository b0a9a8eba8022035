"""Texts that tell what a field was made with: the same in every process, and others after a deploy that changes it.

They hold no addresses and no order of sets.  Of a class or function of the application's own they tell its code as
well, since that makes the values; what this code calls in turn they do not tell.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import functools
import re
import sys
import types
import uuid
import zoneinfo
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.db.models import Field
from django.utils.functional import LazyObject, Promise, cached_property

from ..store import digest
from ..utils import error_boundary

SCALARS = frozenset(
    {int, float, complex, bool, bytes, type(None), type(Ellipsis), decimal.Decimal, uuid.UUID, zoneinfo.ZoneInfo}
    | {datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone}
)
FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.MethodDescriptorType)
# What of a field's arguments does not make its values; of those of the application's own, choices may.
OF_NO_ACCOUNT = frozenset(
    {*Field.non_db_attrs, "default", "db_default", "db_index", "db_comment", "db_tablespace", "unique", "null"}
    | {"unique_for_date", "unique_for_month", "unique_for_year", "auto_now", "auto_now_add", "upload_to", "storage"}
) - {"choices"}
# What a model, or Django, adds to a field once it is made.
ADDED = frozenset(vars(Field())) | {"model", "opts", "name", "attname", "column", "concrete", "storage", "upload_to"}
# What Python adds to a class, and what is registered for it at any time.
OF_EACH_CLASS = frozenset(
    {"__dict__", "__weakref__", "__doc__", "__module__", "__firstlineno__", "__static_attributes__", "_abc_impl"}
    | {"class_lookups"}
)
PROPERTIES = (cached_property, functools.cached_property)
DEEPEST = 8
MOST_PARTS = 5000


def field_text(field: Field[Any, Any]) -> str:
    """What makes the values of `field`, but not where it stands: its class, its arguments, what it keeps besides."""
    return digest(*_Walk().field(field))


@functools.lru_cache(maxsize=1024)
def _class_text(kind: type) -> str:
    """The name of a class; of the application's own also its attributes and methods."""
    told = []
    for each in kind.__mro__:
        told.append(_name(each))
        if not _is_of_libraries(each) and not hasattr(each, "_meta"):
            for name, value in sorted(vars(each).items()):
                if name not in OF_EACH_CLASS:
                    told += [name, *_Walk(is_within_class=True).parts(value)]
    return digest(*told)


def _is_of_libraries(kind: Any) -> bool:
    """It is Django's or Python's own, so that it changes with their versions alone."""
    module = str(getattr(kind, "__module__", None) or "builtins")
    return module.startswith("django.") or module.partition(".")[0] in sys.stdlib_module_names


def _name(of: Any) -> str:
    return f"{getattr(of, '__module__', '')}.{getattr(of, '__qualname__', type(of).__qualname__)}"


class _Walk:
    """Tells an object by its parts: of what goes too deep, or is too much, the class alone."""

    def __init__(self, is_within_class: bool = False) -> None:
        self._depth, self._left = DEEPEST, MOST_PARTS
        # What a class holds may lead back to it, as methods do that call super(): there, classes go by their names.
        self._class_text: Callable[[Any], str] = _name if is_within_class else _class_text

    def field(self, field: Any) -> Iterator[str]:
        kind = type(field)
        is_own = not _is_of_libraries(kind)
        yield self._class_text(kind)
        arguments: Any = self._attempted(lambda: field.deconstruct()[2:]) or ((), {})
        yield from self.parts(arguments[0])
        for name, value in sorted(arguments[1].items()):
            if name not in OF_NO_ACCOUNT and (is_own or name != "choices"):
                yield name
                yield from self.parts(value)
        if is_own:
            # An own deconstruct() may leave out what it was given.
            made = {each for one in kind.__mro__ for each, value in vars(one).items() if isinstance(value, PROPERTIES)}
            for name, value in sorted(vars(field).items()):
                if name not in ADDED and name not in made and not isinstance(value, Field):
                    yield name
                    yield from self.parts(value)

    def parts(self, part: Any) -> Iterator[str]:
        kind: Any = type(part)
        self._left -= 1
        if kind in SCALARS:
            yield f"{kind.__name__} {part!r}"
        elif isinstance(part, enum.Enum):
            yield f"{_name(kind)} {part.name}"
        elif issubclass(kind, str):
            yield f"str {str.__str__(part)!r}"
        elif issubclass(kind, (Promise, LazyObject)) or self._depth <= 0 or self._left <= 0:
            # What is lazy may not be made yet.
            yield _name(kind)
        else:
            self._depth -= 1
            yield from self._inner(part, kind)
            self._depth += 1

    def _inner(self, part: Any, kind: Any) -> Iterator[str]:
        if isinstance(part, type):
            yield self._class_text(part)
        elif issubclass(kind, Field):
            yield from self.field(part)
        elif kind is types.CodeType:
            yield from self._code(part)
        elif kind in FUNCTIONS:
            yield from self._function(part)
        elif issubclass(kind, (set, frozenset)):
            yield f"{_name(kind)} {sorted(map(self._text, part))}"
        elif issubclass(kind, dict):
            yield _name(kind)
            yield from self._all(each for pair in part.items() for each in pair)
        elif issubclass(kind, (list, tuple)):
            yield f"{_name(kind)} {len(part)}"
            yield from self._all(part)
        elif kind is re.Pattern:
            yield f"{part.pattern!r} {part.flags}"
        else:
            yield from self._object(part, kind)

    def _object(self, part: Any, kind: Any) -> Iterator[str]:
        if kind is functools.partial:
            yield from self._all((part.func, part.args, part.keywords))
        elif issubclass(kind, (classmethod, staticmethod)):
            yield from self._all((kind.__name__, part.__func__))
        elif issubclass(kind, property):
            yield from self._all(("property", part.fget))
        elif issubclass(kind, PROPERTIES):
            yield from self._all(("property", part.func))
        elif hasattr(kind, "deconstruct"):
            told = self._attempted(lambda: part.deconstruct())
            yield self._class_text(kind)
            yield from self._all(told or ())
        elif _is_of_libraries(kind):
            # As the options of a model: what they hold leads everywhere.
            yield _name(kind)
        else:
            yield self._class_text(kind)
            held = sorted(getattr(part, "__dict__", {}).items())
            yield from self._all(each for pair in held for each in pair)

    def _function(self, function: Any) -> Iterator[str]:
        yield _name(function)
        if type(function) is types.FunctionType and not _is_of_libraries(function):
            yield from self._code(function.__code__)
            yield from self._all((function.__defaults__, function.__kwdefaults__))
            for cell in function.__closure__ or ():
                yield from self.parts(self._attempted(functools.partial(getattr, cell, "cell_contents")))
        elif type(function) is types.MethodType:
            yield from self._all((function.__func__, function.__self__))

    def _code(self, code: types.CodeType) -> Iterator[str]:
        yield code.co_code.hex()
        yield from (*code.co_names, *code.co_varnames)
        yield from self._all(code.co_consts)

    def _all(self, parts: Iterable[Any]) -> Iterator[str]:
        for part in parts:
            yield from self.parts(part)

    def _text(self, part: Any) -> str:
        return " ".join(self.parts(part))

    def _attempted(self, func: Callable[[], Any]) -> Any:
        """What it returns, None if it raises: a field of the application's own need not know how to tell itself."""
        try:
            return func()
        except Exception as error:
            error_boundary.reraise_interrupt(error)
            return None
