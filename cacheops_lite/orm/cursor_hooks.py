"""What goes to a database past the execute wrappers: stored procedures, and what a driver's own methods do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from ..utils import Patches, error_boundary

COPIES = ("copy", "copy_expert", "copy_from")
# SQLite's, which commits and then runs several statements; and psycopg's, which runs one while its rows are fetched.
SCRIPTS, STREAMS = "executescript", "stream"
# By which MariaDB's goes on to what follows a first result.
RESTS = ("nextset", "close")

# Called with a connection and what says which tables are written, before and after; None: any.
Around = Callable[[BaseDatabaseWrapper, "str | None"], Any]

_patches = Patches()
_around: list[Around] = []


def install(around: Around) -> None:
    """Have `around`, a context manager's factory, enclose such writes."""
    _around[:] = [around]
    # Execute wrappers don't see these, and no signal tells of them.
    _patches.replace(CursorWrapper, "callproc", callproc)
    for method in (*COPIES, SCRIPTS, STREAMS, *RESTS):
        _patches.replace(CursorWrapper, method, property(partial(_method, name=method)))


def uninstall() -> None:
    """Leave cursors as they were."""
    _patches.undo()


def watch_debug_cursors(connection: BaseDatabaseWrapper) -> None:
    """The cursors that Django's PostgreSQL backend uses for DEBUG have methods of their own for COPY."""
    if connection.vendor != "postgresql" or not _patches:
        return
    from django.db.backends.postgresql.base import CursorDebugWrapper

    for method in COPIES:
        if method in vars(CursorDebugWrapper) and method not in _patches.replaced_names(CursorDebugWrapper):
            _patches.replace(CursorDebugWrapper, method, _debug_copy(vars(CursorDebugWrapper)[method]))


def callproc(self: CursorWrapper, *args: Any, **kwargs: Any) -> Any:
    """`CursorWrapper.callproc`, which may write any table."""
    note_rest(self)
    return _run(self.db, partial(_patches.original(CursorWrapper, "callproc"), self), *args, **kwargs)


def note_rest(cursor: CursorWrapper) -> None:
    """On MariaDB what runs several statements goes on after the first one's result, until the last one is fetched."""
    if cursor.db.vendor == "mysql":
        cursor.__dict__["_cacheops_rest"] = True


def _method(self: CursorWrapper, name: str) -> Any:
    """A driver's own method, or AttributeError: then Django looks for it, and raises it again."""
    found = CursorWrapper.__getattr__(self, name)
    if name in RESTS:
        return partial(_run, self.db, found) if "_cacheops_rest" in self.__dict__ else found
    around = {SCRIPTS: _run, STREAMS: _streamed}.get(name, _copied)
    return partial(around, self.db, found)


def _debug_copy(original: Callable[..., Any]) -> Callable[..., Any]:
    def copy(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _copied(self.db, partial(original, self), *args, **kwargs)

    return copy


def _run(connection: BaseDatabaseWrapper, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with _around[0](connection, None):
        return method(*args, **kwargs)


def _streamed(
    connection: BaseDatabaseWrapper, method: Callable[..., Any], query: Any, *args: Any, **kwargs: Any
) -> Iterator[Any]:
    with _around[0](connection, str(query)):
        yield from method(query, *args, **kwargs)


def _copied(connection: BaseDatabaseWrapper, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    # psycopg composes, psycopg2 has the table second.
    text = error_boundary.call_or_default(
        "A COPY can't be read, so all tables are invalidated", lambda: " ".join(str(arg) for arg in args), None
    )
    result = method(*args, **kwargs)
    if hasattr(result, "__enter__"):
        return _copying(connection, result, text)
    with _around[0](connection, text):
        return result


@contextmanager
def _copying(connection: BaseDatabaseWrapper, copy: Any, text: str | None) -> Iterator[Any]:
    with _around[0](connection, text), copy as opened:
        yield opened
