"""Follow the end of transactions: Django has no hook before a commit, nor for commits outside of atomic blocks."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from django.db import DatabaseError, InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper

from ..writes import unit_of_work_on


def install(connection: BaseDatabaseWrapper) -> None:
    """Replace the methods of `connection` that end transactions."""
    # The methods must not keep the connection alive beyond its thread.
    reference = weakref.ref(connection)
    for method, replacement in REPLACEMENTS.items():
        setattr(connection, method, partial(replacement, reference, getattr(type(connection), method)))


def uninstall(connection: BaseDatabaseWrapper) -> None:
    """Restore the methods of `connection`."""
    for method in REPLACEMENTS:
        delattr(connection, method)


def _end_committing(reference: Callable[[], Any], original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call `original`, by which a transaction may be committed."""
    connection = reference()
    unit = unit_of_work_on(connection)
    # Each transaction of our own comes this way twice, with nothing to do.
    if unit.owes_at_end:
        with rolling_back(connection):
            unit.before_possible_commit()
    return _end(reference, original, *args, **kwargs)


def _end(reference: Callable[[], Any], original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call `original`, by which a transaction may end."""
    try:
        return original(reference(), *args, **kwargs)
    finally:
        unit_of_work_on(reference()).after_end()


def _end_rolling_back(reference: Callable[[], Any], original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call `original`, by which a transaction may be rolled back."""
    try:
        return _end(reference, original, *args, **kwargs)
    finally:
        unit_of_work_on(reference()).after_rollback()


def _roll_back_part(reference: Callable[[], Any], original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call `original`, which rolls back to a savepoint."""
    try:
        return original(reference(), *args, **kwargs)
    finally:
        unit_of_work_on(reference()).after_rollback()


def _commit(reference: Callable[[], Any], original: Callable[..., Any]) -> None:
    """Call `original`, which is ``commit()``, with the tables that were written fenced."""
    connection = reference()
    unit = unit_of_work_on(connection)
    try:
        unit.before_commit()
    except BaseException:
        _roll_back(connection)
        raise
    try:
        original(connection)
    except (DatabaseError, InterfaceError):
        unit.after_failed_commit(connection.is_usable)
        raise
    except BaseException:
        unit.after_failed_commit(partial(_roll_back_interrupted, connection))
        raise
    unit.after_end()


@contextmanager
def rolling_back(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Roll the transaction back, outside of atomic blocks, if what must precede its commit fails.

    Django rolls back only after database errors.  After others it turns autocommit on, which commits on SQLite and
    MariaDB.
    """
    try:
        yield
    except BaseException:
        _roll_back(connection)
        raise


def _roll_back(connection: BaseDatabaseWrapper) -> None:
    """Roll the transaction back, or close the connection, so that the database rolls it back."""
    try:
        connection.rollback()
    except Exception:
        with suppress(Exception):
            connection.close()


def _roll_back_interrupted(connection: BaseDatabaseWrapper) -> bool:
    """Return whether an interrupted commit is finished: it was executed, or this rollback undid the transaction."""
    try:
        # Through the driver: Django's rollback() would discard the on_commit callbacks.
        connection.connection.rollback()
    except Exception:
        return False
    return True


# By the methods of connections that end a transaction or a part of it.  set_autocommit() commits on SQLite and MariaDB.
REPLACEMENTS: dict[str, Callable[..., Any]] = {
    "commit": _commit,
    "set_autocommit": _end_committing,
    "close": _end_rolling_back,
    "rollback": _end_rolling_back,
    "savepoint_rollback": _roll_back_part,
}
