"""How values become bytes: rows of ORM reads here, results of functions by ``CACHEOPS_SERIALIZER``."""

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
    """The default: pickle with its highest protocol."""

    PickleError = pickle.PickleError
    HIGHEST_PROTOCOL = pickle.HIGHEST_PROTOCOL

    @staticmethod
    def dumps(data: Any) -> bytes:
        return pickle.dumps(data, pickle.HIGHEST_PROTOCOL)

    loads = staticmethod(pickle.loads)


class _RowPickler(pickle.Pickler):
    # PostgreSQL yields binary columns as memoryviews, which pickle can't take as they are.
    dispatch_table = copyreg.dispatch_table | {memoryview: lambda v: (memoryview, (bytes(v),))}


def dumps_rows(rows: Any) -> bytes:
    """Bytes of rows or of a single ORM result.  Raises what pickle raises when it can't."""
    try:
        return pickle.dumps(rows, pickle.HIGHEST_PROTOCOL)
    except TypeError:
        buffer = io.BytesIO()
        _RowPickler(buffer, pickle.HIGHEST_PROTOCOL).dump(rows)
        return buffer.getvalue()


loads_rows = pickle.loads


def function_serializer() -> Serializer | ModuleType:
    """What ``CACHEOPS_SERIALIZER`` names: ``'pickle'``, a module, a class or a dotted path to one.

    Raises ImproperlyConfigured when it has no ``dumps`` and ``loads``.
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
