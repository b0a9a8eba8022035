"""The application's part of the call stack, including the coroutine that waits for a thread."""

from __future__ import annotations

import asyncio
import linecache
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import asgiref

from ...utils import error_boundary

MAX_CALLS = 20
_STANDARD_LIBRARY = f"{sysconfig.get_path('stdlib')}{os.sep}"
_ASGIREF = f"{Path(asgiref.__path__[0]).absolute()}{os.sep}"


class Call(NamedTuple):
    """One line of a call stack."""

    file: str
    line: int
    function: str
    code: str


def current_task() -> asyncio.Task[Any] | None:
    """Return the task that runs in this thread, None outside of an event loop."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def call_stack(task: asyncio.Task[Any] | None) -> list[Call]:
    """Return the application's calls that lead to the caller of this function, outermost first.

    `task` is that of the request, None for a synchronous one: if the caller runs in a thread that the task waits for,
    the stack begins with the coroutines of the task.  The last entry is the line of a template, if one is rendered.
    Empty if the toolbar's ``ENABLE_STACKTRACES`` is off.
    """
    # The toolbar reads settings when it is imported.
    from debug_toolbar.utils import get_stack_trace

    trace = get_stack_trace(skip=1)
    if not trace:
        return []
    calls = [Call(*each[:4]) for each in trace]
    if task is not None and current_task() is None:
        calls = [*_coroutines(task.get_coro()), *calls]
    found = [each for each in calls if not is_library_file(each.file)]
    return [*found, *_template_line()][-MAX_CALLS:]


def is_library_file(filename: str) -> bool:
    """Return whether a file is one of Django, of this package, of asgiref or of Python's standard library."""
    is_standard = filename.startswith(_STANDARD_LIBRARY) and "-packages" not in filename
    return is_standard or filename.startswith(_ASGIREF) or error_boundary.is_library_file(filename)


def _coroutines(coroutine: Any) -> Iterator[Call]:
    """Yield the calls of a suspended coroutine and of those that it awaits."""
    while (suspended := getattr(coroutine, "cr_frame", None)) is not None:
        code, line = suspended.f_code, suspended.f_lineno
        # The toolbar's own calls are left out of the stacks of threads, too.
        if not suspended.f_globals.get("__name__", "").startswith("debug_toolbar."):
            yield Call(code.co_filename, line, code.co_name, linecache.getline(code.co_filename, line).strip())
        coroutine = coroutine.cr_await


def _template_line() -> Iterator[Call]:
    """Yield the line of the template that is being rendered; nothing without ``debug`` in the template engine."""
    from debug_toolbar.utils import get_template_info

    found = get_template_info()
    if found is None:
        return
    for line in found["context"]:
        if line["highlight"]:
            yield Call(str(found["name"]), line["num"], "template", line["content"].strip())
