"""Describe how a field makes its values, by a text that is equal in all processes and differs once a deploy changes it.

The text has no memory addresses, and does not depend on the order of sets.  For the application's own classes and
functions it includes their code, since that makes the values, but not the code that they call in turn.
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
# Arguments of a field that do not affect its values.  Choices may affect those of custom fields.
IGNORED_ARGUMENTS = frozenset(
    {*Field.non_db_attrs, "default", "db_default", "db_index", "db_comment", "db_tablespace", "unique", "null"}
    | {"unique_for_date", "unique_for_month", "unique_for_year", "auto_now", "auto_now_add", "upload_to", "storage"}
) - {"choices"}
# Attributes that Django or a model sets on a field.
DJANGO_ATTRIBUTES = frozenset(
    {*vars(Field()), "model", "opts", "name", "attname", "column", "concrete", "storage", "upload_to"}
)
# Attributes that Python sets on a class, and the lookups that may be registered for it at any time.
IGNORED_CLASS_ATTRIBUTES = frozenset(
    {"__dict__", "__weakref__", "__doc__", "__module__", "__firstlineno__", "__static_attributes__", "_abc_impl"}
    | {"class_lookups"}
)
PROPERTIES = (cached_property, functools.cached_property)
MAX_DEPTH = 8
MAX_PARTS = 5000


def field_text(field: Field[Any, Any]) -> str:
    """Return a digest of what makes the values of `field`: its class, arguments and other attributes; not its model."""
    return digest(*_Describer().field(field))


@functools.lru_cache(maxsize=1024)
def _class_text(kind: type) -> str:
    """Return a digest of a class: of its name, and for the application's own classes of its attributes and methods."""
    texts = []
    for each in kind.__mro__:
        texts.append(_qualified_name(each))
        if not _is_library_code(each) and not hasattr(each, "_meta"):
            for name, value in sorted(vars(each).items()):
                if name not in IGNORED_CLASS_ATTRIBUTES:
                    texts += [name, *_Describer(is_within_class=True).parts(value)]
    return digest(*texts)


def _is_library_code(kind: Any) -> bool:
    """Return whether the code belongs to Django or Python, so that it changes only with their releases."""
    module = str(getattr(kind, "__module__", None) or "builtins")
    return module.startswith("django.") or module.partition(".")[0] in sys.stdlib_module_names


def _qualified_name(of: Any) -> str:
    return f"{getattr(of, '__module__', '')}.{getattr(of, '__qualname__', type(of).__qualname__)}"


class _Describer:
    """Describes an object by its parts: beyond `MAX_DEPTH` levels or `MAX_PARTS` parts only by their class."""

    def __init__(self, is_within_class: bool = False) -> None:
        self._depth, self._remaining = MAX_DEPTH, MAX_PARTS
        # Attributes of a class may refer back to it, as methods do that call super(): within a class, use names only.
        self._class_text: Callable[[Any], str] = _qualified_name if is_within_class else _class_text

    def field(self, field: Any) -> Iterator[str]:
        kind = type(field)
        is_custom = not _is_library_code(kind)
        yield self._class_text(kind)
        arguments: Any = self._or_none(lambda: field.deconstruct()[2:]) or ((), {})
        yield from self.parts(arguments[0])
        for name, value in sorted(arguments[1].items()):
            if name not in IGNORED_ARGUMENTS and (is_custom or name != "choices"):
                yield name
                yield from self.parts(value)
        if is_custom:
            # A custom deconstruct() may omit arguments.
            cached = {
                each for one in kind.__mro__ for each, value in vars(one).items() if isinstance(value, PROPERTIES)
            }
            for name, value in sorted(vars(field).items()):
                if name not in DJANGO_ATTRIBUTES and name not in cached and not isinstance(value, Field):
                    yield name
                    yield from self.parts(value)

    def parts(self, part: Any) -> Iterator[str]:
        kind: Any = type(part)
        self._remaining -= 1
        if kind in SCALARS:
            yield f"{kind.__name__} {part!r}"
        elif isinstance(part, enum.Enum):
            yield f"{_qualified_name(kind)} {part.name}"
        elif issubclass(kind, str):
            yield f"str {str.__str__(part)!r}"
        elif issubclass(kind, (Promise, LazyObject)) or self._depth <= 0 or self._remaining <= 0:
            # Evaluating a lazy value may not be possible yet.
            yield _qualified_name(kind)
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
            yield f"{_qualified_name(kind)} {sorted(map(self._text, part))}"
        elif issubclass(kind, dict):
            yield _qualified_name(kind)
            yield from self._all(each for pair in part.items() for each in pair)
        elif issubclass(kind, (list, tuple)):
            yield f"{_qualified_name(kind)} {len(part)}"
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
            arguments = self._or_none(lambda: part.deconstruct())
            yield self._class_text(kind)
            yield from self._all(arguments or ())
        elif _is_library_code(kind):
            # Objects such as a model's options refer to too much.
            yield _qualified_name(kind)
        else:
            yield self._class_text(kind)
            attributes = sorted(getattr(part, "__dict__", {}).items())
            yield from self._all(each for pair in attributes for each in pair)

    def _function(self, function: Any) -> Iterator[str]:
        yield _qualified_name(function)
        if type(function) is types.FunctionType and not _is_library_code(function):
            yield from self._code(function.__code__)
            yield from self._all((function.__defaults__, function.__kwdefaults__))
            for cell in function.__closure__ or ():
                yield from self.parts(self._or_none(functools.partial(getattr, cell, "cell_contents")))
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

    def _or_none(self, func: Callable[[], Any]) -> Any:
        """Return what `func` returns, None if it raises, as custom fields may do, for example in ``deconstruct()``."""
        try:
            return func()
        except Exception as error:
            error_boundary.reraise_interrupt(error)
            return None
