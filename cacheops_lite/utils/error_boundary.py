"""The boundary around everything that Django alone would not do.

Analysing a query, copying its values and serializing them run code of the application that Django would not have run.
If it raises, the query is not cached, the reason is logged once per call site, and Django answers as it would alone.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any, TypeVar

import django
import redis
from django.db import Error as DatabaseError

from .lru import LruMap

T = TypeVar("T")

logger = logging.getLogger("cacheops_lite")

# Folders whose frames are not the application's: Django's, and this package's, which is two levels above this file.
# Paths as frames have them: symbolic links stay.
_ROOTS = (Path(django.__file__).absolute().parent, Path(__file__).absolute().parents[1])
_PACKAGES = tuple(f"{root}{os.sep}" for root in _ROOTS)
# What was logged: by call site, or by what the message is about.
_logged: LruMap[Any, bool] = LruMap(1000)


def pass_interrupt(error: BaseException) -> None:
    """Raise `error` again if it does not come from the code that was called, but interrupted it.

    Time limits raise from a signal handler, at any moment, or where a greenlet waits.  Some of their classes are
    ordinary exceptions: Celery's `SoftTimeLimitExceeded`, RQ's `JobTimeoutException`.  An exception that another thread
    set is not recognized, unless it strikes while the code waits for a database or for Redis.
    """
    if not isinstance(error, Exception) or _is_from_outside(error):
        raise error


# The modules that wait for a database or for Redis: what is raised there is not the failure of an analysis.
_WAITING = ("django.db.backends.utils", "redis.", "cacheops_lite.store.redis_connection", "cacheops_lite.store.client")


def _is_from_outside(error: BaseException) -> bool:
    traceback, ran = error.__traceback__, set()
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_globals.get("__name__", "").startswith(_WAITING):
            return True
        ran.add(frame.f_code)
        traceback = traceback.tb_next
    return not ran.isdisjoint(_handlers())


def _handlers() -> set[CodeType]:
    found = set()
    for number in signal.valid_signals():
        handler: Any = signal.getsignal(number)
        if not callable(handler):
            continue
        while isinstance(handler, functools.partial):
            handler = handler.func
        code = getattr(handler, "__code__", None) or getattr(type(handler).__call__, "__code__", None)
        if code is not None:
            found.add(code)
    return found


def note_failure(what: str, error: Exception) -> None:
    """Log that `what` failed, once per call site.  Raises `error` again if it is an interrupt."""
    pass_interrupt(error)
    site = call_site()
    if is_new((what, site)):
        logger.warning("%s (%s): %s", what, site, described(error))


def attempted(what: str, func: Callable[[], T], otherwise: T) -> T:
    """The result of `func`; `otherwise` if it raises, which is logged once per call site as `what`.

    Errors of the database and of Redis are raised.  The former may have broken the transaction, so that the statement
    that follows would fail.
    """
    try:
        return func()
    except (DatabaseError, redis.RedisError):
        raise
    except Exception as error:
        note_failure(what, error)
        return otherwise


def is_new(key: Any) -> bool:
    """`key` was not asked about lately."""
    if _logged.get(key):
        return False
    _logged.put(key, True)
    return True


def described(error: BaseException) -> str:
    """The class and text of an exception, whose own methods may raise as well."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception as another:
        pass_interrupt(another)
        return type(error).__name__


def call_site() -> str:
    """File and line of the application's code that is running: the innermost outside of Django and this package."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(_PACKAGES) and frame.f_back is not None:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
