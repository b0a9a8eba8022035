"""Compare each hit with a fresh read."""

from __future__ import annotations

import unittest.case
from collections.abc import Callable
from typing import Any

from django.test import testcases

from cacheops_lite.orm import queryset
from cacheops_lite.query.compiler import compilable_copy
from cacheops_lite.query.sql_template import SqlTemplate
from cacheops_lite.reads import point_lookup, queryset_read
from cacheops_lite.store.stored_value import MISS
from cacheops_lite.testing import as_autocommit

hits = 0
differences: list[str] = []
_test = ""
# Querysets that are being fetched, the innermost last, with copies of their queries that were not compiled yet.
_fetched: list[tuple[Any, Any]] = []


def install() -> None:
    """Run each test as in autocommit, and repeat each read that was a miss."""
    run = testcases.SimpleTestCase.run

    def run_as_autocommit(self: Any, result: Any = None) -> Any:
        global _test
        _test = self.id()
        with as_autocommit():
            return run(self, result)

    testcases.SimpleTestCase.run = run_as_autocommit
    # The repeated reads add queries, so their number is not checked.
    testcases._AssertNumQueriesContext.__exit__ = testcases.CaptureQueriesContext.__exit__
    # The description of a subtest may contain a queryset, whose tables no longer exist when it is printed.
    unittest.case._SubTest._subDescription = lambda self: "of several"  # type: ignore[attr-defined]
    for module in (queryset_read, point_lookup):
        module.read_through = _comparing(module.read_through)
    queryset.cached_results = _remembering(queryset.cached_results)
    SqlTemplate.compiler = _checking(SqlTemplate.compiler)  # type: ignore[method-assign]


def report() -> int:
    """Print the differences, and return 1 if some hits differ."""
    for each in differences:
        print(each)
    print(f"{hits} hits compared, {len(differences)} differ")
    return bool(differences)


def _comparing(read_through: Callable[..., Any]) -> Callable[..., Any]:
    def comparing(target: Any, compute: Any, revive: Any) -> Any:
        found: list[Any] = []

        def revived(kept: Any) -> Any:
            found.append(kept)
            return revive(kept)

        result = read_through(target, compute, revived)
        if not found:
            # The first read was a miss: read again for a hit.
            result = read_through(target, compute, revived)
        if found:
            _compare(found[-1], compute)
        return result

    return comparing


def _remembering(fetch: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def remembering(read: Any) -> Any:
        _fetched.append((read, read.query))
        read._query = compilable_copy(read.query)
        try:
            return fetch(read)
        finally:
            _fetched.pop()

    return remembering


def _compare(kept: Any, compute: Any) -> None:
    global hits
    hits += 1
    fresh = _fresh_result(compute)
    if fresh is MISS or _comparable(fresh) == _comparable(kept) or " object at 0x" in repr(fresh):
        return
    differences.append(f"{_test}\n    kept  {kept!r:.300}\n    fresh {fresh!r:.300}")


def _checking(compiler_of: Callable[..., Any]) -> Callable[..., Any]:
    def checking(composed: Any, query: Any, using: str) -> Any:
        compiler = compiler_of(composed, query, using)
        if compiler is not None:
            sent, true = compiler.as_sql(), query.clone().get_compiler(using).as_sql()
            if _parameters(*sent) != _parameters(*true):
                differences.append(f"{_test}\n    sent  {sent!r:.500}\n    for   {true!r:.500}")
        return compiler

    return checking


def _parameters(sql: str, parameters: Any) -> tuple[str, list[str]]:
    # Objects by which drivers wrap values do not compare equal.
    return sql, [repr(bytes(each) if isinstance(each, memoryview) else each) for each in parameters]


def _fresh_result(compute: Any) -> Any:
    if not _fetched:
        return compute()[1]
    read, query = _fetched[-1]
    # Compiling a union changes its parts.
    composed, read._query = read.query, compilable_copy(query)
    try:
        return compute()[1]
    finally:
        read._query = composed


def _comparable(value: Any) -> Any:
    # Rows without an order may come in any order.
    return sorted(map(repr, value)) if isinstance(value, list) else repr(value)
