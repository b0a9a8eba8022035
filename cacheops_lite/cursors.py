"""What goes to a database past the execute wrappers: stored procedures, and COPY by a driver's own methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from .patches import Patches

COPIES = ("copy", "copy_expert", "copy_from")

# Called with a connection and what says which tables are written, before and after; None: any.
Around = Callable[[BaseDatabaseWrapper, "str | None"], Any]

_patches = Patches()
_around: list[Around] = []


def install(around: Around) -> None:
    """Have `around`, a context manager's factory, enclose such writes."""
    _around[:] = [around]
    # Execute wrappers don't see these, and no signal tells of them.
    _patches.put(CursorWrapper, "callproc", callproc)
    _patches.put(CursorWrapper, "__getattr__", get_attribute)


def uninstall() -> None:
    """Leave cursors as they were."""
    _patches.undo()


def watch_debug_cursors(connection: BaseDatabaseWrapper) -> None:
    """The cursors that Django's PostgreSQL backend uses for DEBUG have methods of their own for COPY."""
    if connection.vendor != "postgresql" or not _patches:
        return
    from django.db.backends.postgresql.base import CursorDebugWrapper

    for method in COPIES:
        if method in vars(CursorDebugWrapper) and method not in _patches.names(CursorDebugWrapper):
            _patches.put(CursorDebugWrapper, method, _debug_copy(vars(CursorDebugWrapper)[method]))


def callproc(self: CursorWrapper, *args: Any, **kwargs: Any) -> Any:
    """`CursorWrapper.callproc`, which may write any table."""
    with _around[0](self.db, None):
        return _patches.original(CursorWrapper, "callproc")(self, *args, **kwargs)


def get_attribute(self: CursorWrapper, name: str) -> Any:
    """`CursorWrapper.__getattr__`, by which a driver's methods are got at."""
    found = _patches.original(CursorWrapper, "__getattr__")(self, name)
    return partial(_copied, self.db, found) if name in COPIES else found


def _debug_copy(original: Callable[..., Any]) -> Callable[..., Any]:
    def copy(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _copied(self.db, partial(original, self), *args, **kwargs)

    return copy


def _copied(connection: BaseDatabaseWrapper, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    # psycopg composes, psycopg2 has the table second.
    text = " ".join(str(arg) for arg in args)
    result = method(*args, **kwargs)
    if hasattr(result, "__enter__"):
        return _copying(connection, result, text)
    with _around[0](connection, text):
        return result


@contextmanager
def _copying(connection: BaseDatabaseWrapper, copy: Any, text: str) -> Iterator[Any]:
    with _around[0](connection, text), copy as opened:
        yield opened
