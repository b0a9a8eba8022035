"""Explain what is cached, of querysets and of decorated functions alike."""

from __future__ import annotations

from typing import Any

from .reads import CacheReport

__all__ = ["CacheReport", "explain"]


def explain(what: Any, *args: Any, **kwargs: Any) -> CacheReport:
    """Return a report: would this read come from the cache, and why or why not?

    `what` is a queryset or manager, followed by the operation (``fetch`` by default) and its arguments; or a function
    decorated by ``cached_as``, followed by the arguments of the call.  Reads nothing from the database, calls no
    decorated function and stores nothing.  Raises TypeError for anything else.
    """
    explain_cache = getattr(what, "explain_cache", None)
    if explain_cache is None:
        raise TypeError(f"explain() takes a queryset, a manager or a function decorated by cached_as, not {what!r}")
    report: CacheReport = explain_cache(*args, **kwargs)
    return report
