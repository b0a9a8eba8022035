"""Follow what is sent to a database past the execute wrappers: stored procedures and methods of the driver's cursor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from ..utils import Patches, error_boundary

COPY_METHODS = ("copy", "copy_expert", "copy_from")
# SQLite's, which commits and then runs several statements.
SCRIPT_METHOD = "executescript"
# psycopg's, which runs a statement while its rows are fetched.
STREAM_METHOD = "stream"
# MariaDB's methods that go on to the statements after the first result.
NEXT_RESULT_METHODS = ("nextset", "close")

# A factory of context managers around such a write.  It takes the connection and the SQL that names the tables that are
# written; None stands for unknown SQL, which may write any table.
Around = Callable[[BaseDatabaseWrapper, "str | None"], Any]

_patches = Patches()
_around: list[Around] = []


def install(around: Around) -> None:
    """Enter a context of `around` for each such write."""
    _around[:] = [around]
    # Django has no hook for these.
    _patches.replace(CursorWrapper, "callproc", callproc)
    for method in (*COPY_METHODS, SCRIPT_METHOD, STREAM_METHOD, *NEXT_RESULT_METHODS):
        _patches.replace(CursorWrapper, method, property(partial(_driver_method, name=method)))


def uninstall() -> None:
    """Restore Django's cursors."""
    _patches.undo()


def patch_debug_cursors(connection: BaseDatabaseWrapper) -> None:
    """Wrap the COPY methods that the cursors of Django's PostgreSQL backend define themselves with DEBUG."""
    if connection.vendor != "postgresql" or not _patches:
        return
    from django.db.backends.postgresql.base import CursorDebugWrapper

    for method in COPY_METHODS:
        if method in vars(CursorDebugWrapper) and method not in _patches.replaced_names(CursorDebugWrapper):
            _patches.replace(CursorDebugWrapper, method, _debug_copy(vars(CursorDebugWrapper)[method]))


def callproc(self: CursorWrapper, *args: Any, **kwargs: Any) -> Any:
    """Replace `CursorWrapper.callproc`: the procedure may write any table."""
    expect_more_results(self)
    return _run(self.db, partial(_patches.original(CursorWrapper, "callproc"), self), *args, **kwargs)


def expect_more_results(cursor: CursorWrapper) -> None:
    """Note that `cursor` runs several statements: on MariaDB the rest of them run as their results are fetched."""
    if cursor.db.vendor == "mysql":
        cursor.__dict__["_cacheops_has_more_results"] = True


def _driver_method(self: CursorWrapper, name: str) -> Any:
    """Return a method of the driver's cursor, wrapped.

    For a missing method it raises AttributeError; Django then calls ``__getattr__``, which raises the same.
    """
    method = CursorWrapper.__getattr__(self, name)
    if name in NEXT_RESULT_METHODS:
        return partial(_run, self.db, method) if "_cacheops_has_more_results" in self.__dict__ else method
    wrapper = {SCRIPT_METHOD: _run, STREAM_METHOD: _stream}.get(name, _copy)
    return partial(wrapper, self.db, method)


def _debug_copy(original: Callable[..., Any]) -> Callable[..., Any]:
    def copy(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _copy(self.db, partial(original, self), *args, **kwargs)

    return copy


def _run(connection: BaseDatabaseWrapper, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with _around[0](connection, None):
        return method(*args, **kwargs)


def _stream(
    connection: BaseDatabaseWrapper, method: Callable[..., Any], query: Any, *args: Any, **kwargs: Any
) -> Iterator[Any]:
    with _around[0](connection, str(query)):
        yield from method(query, *args, **kwargs)


def _copy(connection: BaseDatabaseWrapper, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    # All arguments: psycopg takes composed SQL, psycopg2 the table as its second argument.
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
