"""The error boundary around code that runs only because a query is cached.

To analyse a query, copy its values and serialize them, the package calls code of the application that Django alone
would not call.  If that code raises, the query is not cached, the reason is logged once per call site, and Django
answers the query as usual.
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

# The folders of Django and of this package (two levels above this file): code elsewhere is the application's.
# Symbolic links are not resolved, as stack frames have paths like that.
_ROOTS = (Path(django.__file__).absolute().parent, Path(__file__).absolute().parents[1])
_LIBRARY_FOLDERS = tuple(f"{root}{os.sep}" for root in _ROOTS)
# What was logged, by call site or by the subject of the message.
_reported: LruMap[Any, bool] = LruMap(1000)


def reraise_interrupt(error: BaseException) -> None:
    """Raise `error` again if it interrupted the code that was called, instead of being raised by it.

    Time limits raise from a signal handler at any moment, or where a greenlet waits.  Some of their classes are
    ordinary exceptions, such as Celery's `SoftTimeLimitExceeded` and RQ's `JobTimeoutException`.  An exception that
    another thread sets is recognized only if it is raised while the code waits for a database or for Redis.
    """
    if not isinstance(error, Exception) or _is_interrupt(error):
        raise error


# Modules that wait for a database or for Redis.  An exception from there is not a failure of the analysis.
_WAITING_MODULES = (
    "django.db.backends.utils",
    "redis.",
    "valkey.",
    "cacheops_lite.store.redis_connection",
    "cacheops_lite.store.client",
)


def _is_interrupt(error: BaseException) -> bool:
    traceback, executed = error.__traceback__, set()
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_globals.get("__name__", "").startswith(_WAITING_MODULES):
            return True
        executed.add(frame.f_code)
        traceback = traceback.tb_next
    return not executed.isdisjoint(_signal_handlers())


def _signal_handlers() -> set[CodeType]:
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


def log_failure(message: str, error: Exception) -> None:
    """Log `message` and `error` as a warning, once per call site.  Raises `error` again if it is an interrupt."""
    reraise_interrupt(error)
    site = call_site()
    if is_first_report((message, site)):
        logger.warning("%s (%s): %s", message, site, describe_error(error))


def call_or_default(message: str, func: Callable[[], T], default: T) -> T:
    """Return the result of `func`.  If it raises, log `message` once per call site and return `default`.

    Errors of the database and of Redis are raised: after an error of the database the transaction may be unusable, so
    that the next statement would fail.
    """
    try:
        return func()
    except (DatabaseError, redis.RedisError):
        raise
    except Exception as error:
        log_failure(message, error)
        return default


def is_first_report(key: Any) -> bool:
    """Return whether `key` is reported for the first time, as far as a bounded map remembers."""
    if _reported.get(key):
        return False
    _reported.put(key, True)
    return True


def describe_error(error: BaseException) -> str:
    """Return the class and text of an exception; only its class if ``__str__()`` raises."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception as another:
        reraise_interrupt(another)
        return type(error).__name__


def is_library_file(filename: str) -> bool:
    """Return whether a file, named as in stack frames, is one of Django or of this package."""
    return filename.startswith(_LIBRARY_FOLDERS)


def call_site() -> str:
    """Return ``file:line`` of the innermost stack frame that belongs neither to Django nor to this package."""
    frame = sys._getframe(1)
    while is_library_file(frame.f_code.co_filename) and frame.f_back is not None:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
