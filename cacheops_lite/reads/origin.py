"""The origin of a stored value: which read it is the result of, in few bytes, so that it can be shown and repeated.

A query is stored as its pickle, compressed against that of the first query of its kind, which lies in Redis under a key
of its own: what is left is little more than the values of its conditions.  Queries of one kind have the same dependency
shapes, up to the values of derived conditions: each value of ``price < 100`` would need another key.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.db.models import Model, QuerySet

from ..store import VersionSet, call_or_default, compression, digest
from ..utils import error_boundary

# Longer queries, as with thousands of keys, are not kept with their results.
MAX_QUERY_BYTES = 4000
MAX_TEXT_CHARACTERS = 300
_QUERY, _ROW, _TEXT = b"q", b"r", b"t"
_SEPARATOR = b"\t"


@dataclass(slots=True)
class Origin:
    """Which read a value is the result of.

    `label` is that of a model, or the name of a decorated function.  `queryset` repeats the read, together with
    `operation` and `arguments`; it is None for what can't be repeated: then `text` has the arguments of the function,
    or the SQL of a raw query.
    """

    label: str
    operation: str
    using: str
    text: str = ""
    queryset: QuerySet[Any] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def statement(self) -> str:
        """Return the SQL of the read without its values, empty if it can't be repeated or composed."""
        if self.queryset is None:
            return ""
        queryset = self.queryset.filter(**self.arguments) if self.operation == "get" else self.queryset
        try:
            return str(queryset.query.get_compiler(self.using).as_sql()[0])
        except Exception as error:
            error_boundary.reraise_interrupt(error)
            return ""


def of_query(
    queryset: QuerySet[Any],
    operation: str,
    arguments: Mapping[str, Any],
    version_set: VersionSet,
    prefix: str,
    timeout: int,
) -> bytes:
    """Return the origin of the result of an operation.

    `prefix` is that of the result's key, `timeout` that of the result in seconds.
    """
    head = [queryset.model._meta.label, operation, queryset.db]
    query: Any = queryset
    try:
        parts = (query.query, query._iterable_class, query._fields, dict(arguments))
        pickled = pickle.dumps(parts, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        error_boundary.reraise_interrupt(error)
        return _joined(head, _QUERY)
    name = digest(queryset.model._meta.label, operation, version_set.kind)
    body = call_or_default(lambda: compression.compress(prefix, name, pickled, timeout), b"")
    return _joined(head, _QUERY, name.encode(), body if len(body) <= MAX_QUERY_BYTES else b"")


def of_row(model: type[Model], attname: str, value: Any, using: str) -> bytes:
    """Return the origin of a row that was looked up by the value of one column."""
    return _joined([model._meta.label, "get", using], _ROW, pickle.dumps((attname, value), pickle.HIGHEST_PROTOCOL))


def of_call(func: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> bytes:
    """Return the origin of the result of a decorated function."""
    name = f"{func.__module__}.{getattr(func, '__qualname__', func)}"
    try:
        shown = ", ".join([*map(repr, args), *(f"{key}={value!r}" for key, value in kwargs.items())])
    except Exception as error:
        error_boundary.reraise_interrupt(error)
        shown = "..."
    return of_text(name, "call", shown)


def of_text(label: str, operation: str, text: str, using: str = "") -> bytes:
    """Return the origin of a result that can't be repeated: `text` says what it was."""
    return _joined([label, operation, using], _TEXT, text[:MAX_TEXT_CHARACTERS].encode("utf-8", "replace"))


def _joined(head: list[str], kind: bytes, *rest: bytes) -> bytes:
    return _SEPARATOR.join([*(part.encode() for part in head), kind, *rest])


def parse_origin(origin: bytes, prefix: str = "") -> Origin | None:
    """Return the origin that these bytes encode, None if they encode none.  `prefix` is that of the value's key."""
    label, operation, using, kind, *rest = [*origin.split(_SEPARATOR, 4), b"", b"", b"", b""][:5]
    if kind not in (_QUERY, _ROW, _TEXT):
        return None
    found = Origin(label.decode(), operation.decode(), using.decode())
    body = rest[0] if rest else b""
    try:
        if kind == _TEXT:
            found.text = body.decode("utf-8", "replace")
        elif kind == _ROW:
            attname, value = pickle.loads(body)
            found.queryset = QuerySet(apps.get_model(found.label), using=found.using)
            found.arguments = {attname: value}
        else:
            _add_query(found, body, prefix)
    except Exception as error:
        # It is of another release, or what it is compressed with is gone.
        error_boundary.reraise_interrupt(error)
        found.queryset = None
    return found


def _add_query(found: Origin, body: bytes, prefix: str) -> None:
    name, _, compressed = body.partition(_SEPARATOR)
    pickled = compression.decompress(prefix, name.decode(), compressed) if compressed else None
    if pickled is not None:
        query, iterable_class, fields, arguments = pickle.loads(pickled)
        queryset: Any = QuerySet(query.model, query=query, using=found.using)
        queryset._iterable_class, queryset._fields = iterable_class, fields
        found.queryset, found.arguments = queryset, arguments
