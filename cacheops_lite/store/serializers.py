"""Convert values to bytes and back: rows of the ORM with pickle, other values by ``CACHEOPS_SERIALIZER``."""

from __future__ import annotations

import copyreg
import io
import pickle
from types import ModuleType
from typing import Any, Protocol

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from ..conf import settings

__all__ = ["PickleSerializer", "dumps_rows", "function_serializer", "loads_rows"]


class Serializer(Protocol):
    def dumps(self, data: Any) -> bytes: ...
    def loads(self, data: bytes) -> Any: ...


class PickleSerializer:
    """Serialize with pickle's highest protocol (the default)."""

    PickleError = pickle.PickleError
    HIGHEST_PROTOCOL = pickle.HIGHEST_PROTOCOL

    @staticmethod
    def dumps(data: Any) -> bytes:
        return pickle.dumps(data, pickle.HIGHEST_PROTOCOL)

    loads = staticmethod(pickle.loads)


class _RowPickler(pickle.Pickler):
    # PostgreSQL returns binary columns as memoryviews, which pickle does not support.
    dispatch_table = copyreg.dispatch_table | {memoryview: lambda v: (memoryview, (bytes(v),))}


def dumps_rows(rows: Any) -> bytes:
    """Serialize rows or a single ORM result.  Raises what pickle raises for a value that it cannot serialize."""
    try:
        return pickle.dumps(rows, pickle.HIGHEST_PROTOCOL)
    except TypeError:
        buffer = io.BytesIO()
        _RowPickler(buffer, pickle.HIGHEST_PROTOCOL).dump(rows)
        return buffer.getvalue()


loads_rows = pickle.loads


def function_serializer() -> Serializer | ModuleType:
    """Return the serializer that ``CACHEOPS_SERIALIZER`` names: ``'pickle'``, a module, a class or its dotted path.

    Raises ImproperlyConfigured if it has no ``dumps`` and ``loads``.
    """
    serializer = settings.CACHEOPS_SERIALIZER
    if serializer == "pickle":
        return PickleSerializer
    if isinstance(serializer, str):
        serializer = _import(serializer)
    if not all(callable(getattr(serializer, name, None)) for name in ("dumps", "loads")):
        raise ImproperlyConfigured(f"CACHEOPS_SERIALIZER {serializer!r} should have dumps() and loads()")
    return serializer


def _import(path: str) -> Any:
    from importlib import import_module

    try:
        return import_module(path)
    except ImportError:
        try:
            return import_string(path)
        except ImportError as error:
            raise ImproperlyConfigured(f"CACHEOPS_SERIALIZER {path!r} can't be imported: {error}") from error
