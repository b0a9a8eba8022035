"""Assertions on what is cached and what a write invalidates, which say why they fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.db.models import QuerySet
from django.db.models.manager import BaseManager

from ..explaining import explain
from ..observe import Invalidation, Outcome, Reason, activity, counters
from ..reads import CacheReport
from ..store import describe_dependency

__all__ = ["assert_cached", "assert_invalidates", "assert_not_cached"]


@contextmanager
def assert_cached(*targets: Any) -> Iterator[None]:
    """Assert that after the block the result of each target is in the cache; without targets, that each read hits.

    A target is a queryset, a manager, a function decorated by ``cached_as``, or a ``functools.partial`` of one with the
    arguments of the call.  Without targets, all reads of the block must have come from the cache.

    Raises AssertionError, and TypeError for another target.
    """
    _check(targets)
    with activity.collect() as found:
        yield
    problems = [f"{_name(target)} is not cached:\n{_indented(report)}" for target, report in _not_hit(targets)]
    if not targets:
        problems = [_described(each) for each in found.decisions if each.outcome is not Outcome.HIT]
        if not found.decisions:
            problems = ["The block made no read that the cache could have answered."]
    _fail(problems)


@contextmanager
def assert_not_cached(*targets: Any, reason: Reason | str | None = None) -> Iterator[None]:
    """Assert that after the block the result of no target is in the cache.

    `reason` is a `Reason`, or its name in the documentation such as ``"no-profile"``, that must be why.  Targets are
    those of `assert_cached`, at least one.

    Raises AssertionError, TypeError for another target, and ValueError for an unknown reason.
    """
    _check(targets, at_least=1)
    wanted = None if reason is None else _reason(reason)
    yield
    problems = []
    for target in targets:
        report = _report(target)
        if report.outcome is Outcome.HIT:
            problems.append(f"{_name(target)} is cached:\n{_indented(report)}")
        elif wanted is not None and report.reason is not wanted:
            problems.append(
                f"{_name(target)} is not cached for the reason {report.reason.value!r}, not {wanted.value!r}:\n"
                f"{_indented(report)}"
            )
    _fail(problems)


@contextmanager
def assert_invalidates(*targets: Any, keeps: Sequence[Any] = ()) -> Iterator[None]:
    """Assert that the block invalidates the result of each target, and of none in `keeps`.

    All of them are read before the block, so that they are cached: it is an error if one can't be.  Targets are those
    of `assert_cached`, at least one.

    Raises AssertionError, and TypeError for another target.
    """
    _check([*targets, *keeps], at_least=1)
    for target in [*targets, *keeps]:
        _read(target)
    _fail([f"{_name(target)} can't be cached:\n{_indented(report)}" for target, report in _not_hit([*targets, *keeps])])
    with activity.collect() as found:
        yield
    reports = {id(target): _report(target) for target in [*targets, *keeps]}
    hits = {key for key, report in reports.items() if report.outcome is Outcome.HIT}
    kept = [target for target in targets if id(target) in hits]
    problems = [f"{_name(target)} is still cached:\n{_indented(reports[id(target)])}" for target in kept]
    problems += [f"{_name(target)} was invalidated." for target in keeps if id(target) not in hits]
    if problems:
        problems.append(_writes(found.invalidations))
    _fail(problems)


def _check(targets: Sequence[Any], at_least: int = 0) -> None:
    if len(targets) < at_least:
        raise TypeError("Pass at least one queryset, or function decorated by cached_as")
    for target in targets:
        if not hasattr(target.func if isinstance(target, partial) else target, "explain_cache"):
            raise TypeError(
                f"{target!r} is neither a queryset nor a manager nor a function decorated by cached_as, so it is not "
                "known whether it is cached"
            )


def _reason(reason: Reason | str) -> Reason:
    for each in Reason:
        if reason in (each, each.value):
            return each
    known = ", ".join(each.value for each in Reason)
    raise ValueError(f"{reason!r} is not a reason; the reasons are {known}")


def _report(target: Any) -> CacheReport:
    if isinstance(target, partial):
        return explain(target.func, *target.args, **target.keywords)
    return explain(target)


def _read(target: Any) -> None:
    # A queryset that was read before has its results in memory: a copy asks the cache.
    if isinstance(target, (QuerySet, BaseManager)):
        list(target.all())
    else:
        target()


def _not_hit(targets: Sequence[Any]) -> list[tuple[Any, CacheReport]]:
    reports = [(target, _report(target)) for target in targets]
    return [(target, report) for target, report in reports if report.outcome is not Outcome.HIT]


def _name(target: Any) -> str:
    function: Callable[..., Any] | None = target.func if isinstance(target, partial) else target
    if isinstance(target, QuerySet):
        return f"The queryset of {target.model._meta.label}"
    if isinstance(target, BaseManager):
        return f"The manager of {target.model._meta.label}"
    return f"{getattr(function, '__qualname__', function)}()"


def _described(decision: Any) -> str:
    detail = f" ({decision.detail})" if decision.detail else ""
    where = f", at {decision.caller}" if decision.caller else ""
    label = counters.label_of(decision.func if decision.model is None else decision.model)
    return f"{decision.operation} of {label}: {decision.reason.text}{detail}{where}"


def _writes(invalidations: Sequence[Invalidation]) -> str:
    if not invalidations:
        return "The block made no write that invalidates."
    lines = []
    for each in invalidations:
        what = each.statement if each.model is None else each.model._meta.label
        where = f" at {each.caller}" if each.caller else ""
        lines.append(f"{each.operation} {what}".strip() + where)
        lines += [f"  invalidated {describe_dependency(name)}" for name in each.dependencies]
        if not each.dependencies:
            lines.append("  invalidated nothing that was cached")
    return "The writes of the block:\n" + "\n".join(f"  {line}" for line in lines)


def _indented(report: CacheReport) -> str:
    return "\n".join(f"  {line}" for line in str(report).splitlines())


def _fail(problems: Sequence[str]) -> None:
    if problems:
        raise AssertionError("\n".join(problems))
