"""Plans: what is found out once for each fingerprint of a query, so that its next reads compose no SQL.

A plan tells the name of a result and what it rests on from the values of the conditions, and which columns of its rows
are what.  It is kept in the process; names are the same in all of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models import Field
from django.db.models.signals import class_prepared

from ..conf import on_change
from ..schema import INEXACT, NULL, Dependency, columns
from ..store import digest
from ..utils import LruMap
from .compiler import Compiled, context
from .fingerprint import Fingerprint, NoFingerprint
from .read_set import Uncacheable
from .row_dependencies import RowLevelDependency
from .sql_template import Composed, conditions_of

# For tests that see no difference.
ENABLED = True

MAX_PLANS = 2000


@dataclass(slots=True)
class Result:
    """What is known of a result before it is there; `kept` is for whatever is made of that, by its maker."""

    name: str
    dependencies: frozenset[Dependency]
    kept: dict[Hashable, Any] = field(default_factory=dict)


# By the plan and the values, which repr() tells apart; long ones are hardly the same twice.
_results: LruMap[tuple[str, str], Result] = LruMap(1000)
LONGEST_KEPT = 200


@dataclass(slots=True)
class Plan:
    """The reads of one fingerprint.

    In `recipes` a token may be an index into the values, with the field whose token it is.
    """

    static: str
    vendor: str
    volatile: bool
    composed: Composed
    recipes: list[tuple[str, tuple[tuple[str, Any], ...], tuple[str, ...] | None]]
    row_level: tuple[RowLevelDependency, ...]
    fixed: frozenset[Dependency] | None = None
    is_shown_by_context: bool = False

    def result(self, values: list[Any], limits: tuple[Any, Any]) -> Result | None:
        """What is known of the result with these values; None if one of them has no token."""
        text = repr((values, limits)) + (context() if self.is_shown_by_context else "")
        found = _results.get((self.static, text))
        if found is None:
            dependencies = self._dependencies(values)
            if dependencies is None:
                return None
            found = Result(digest("plan", self.static, text), dependencies)
            if len(text) <= LONGEST_KEPT:
                _results.put((self.static, text), found)
        return found

    def _dependencies(self, values: list[Any]) -> frozenset[Dependency] | None:
        if self.fixed is not None:
            return self.fixed
        found = set()
        for table, conditions, read in self.recipes:
            told = set()
            for column, source in conditions:
                token = source
                if not isinstance(source, str):
                    token = columns.condition_token(source[0], self.vendor, values[source[1]])
                    if token is None:
                        return None
                told.add((column, token))
            found.add(Dependency(table, tuple(sorted(told)), read))
        return frozenset(found)


class NotPlannable(Exception):
    """There is no plan for this query: it is to be compiled each time."""


# {key: Plan, or why there is none}, the least recently used first.
_plans: OrderedDict[Hashable, Plan | Exception] = OrderedDict()


def plan_for(key: Hashable, fingerprint: Fingerprint, compile_fingerprint: Callable[[Tokens], Compiled]) -> Plan:
    """The plan of `key`, which `fingerprint` belongs to, made by `compile_fingerprint` if there is none yet.

    Raises Unplanned, and Uncacheable if its results can't be cached.
    """
    found = _plans.get(key)
    if found is None:
        found = _make(fingerprint, compile_fingerprint)
        _plans[key] = found
        while len(_plans) > MAX_PLANS:
            _plans.popitem(last=False)
    else:
        # Another thread may have dropped it just now.
        with suppress(KeyError):
            _plans.move_to_end(key)
    if isinstance(found, Plan):
        return found
    raise found


class Tokens:
    """Stands in for `columns.token` while a fingerprint is compiled: gives marks that say which value a token is of."""

    def __init__(self, fingerprint: Fingerprint):
        self.sources: dict[str, tuple[Field[Any, Any], int]] = {}
        self._fingerprint = fingerprint
        self._columns: dict[tuple[str, str], int] = {}

    def __call__(self, lookup: Any, vendor: str, option: Any, position: int) -> str | None:
        target, alias = lookup.lhs.target, lookup.lhs.alias
        if columns.tokenizer(target, vendor) is None:
            return None
        if option is None:
            return NULL
        start = self._fingerprint.starts.get(id(lookup))
        if start is None:
            raise NotPlannable
        # Whether two conditions on one column go together depends on their values.
        if self._columns.setdefault((alias, target.column), id(lookup)) != id(lookup):
            raise NotPlannable
        if type(option) is bool:
            # A part of the fingerprint.
            return columns.token(target, vendor, option)
        mark = f"?{len(self.sources)}"
        if columns.compares_inexactly(target, vendor):
            mark = INEXACT + mark
        self.sources[mark] = target, start + position
        return mark


def _make(fingerprint: Fingerprint, compile_fingerprint: Callable[[Tokens], Compiled]) -> Plan | Exception:
    tokens = Tokens(fingerprint)
    try:
        read = compile_fingerprint(tokens)
    except (NotPlannable, NoFingerprint):
        return NotPlannable()
    except Uncacheable as reason:
        return Uncacheable(*reason.args)
    except EmptyResultSet:
        # That depends on values.
        raise NotPlannable from None
    # Every parameter is made of the values of its conditions: nothing else can differ.
    compiler: Any = read.compiler
    if read.is_composed_anew or read.parameter_count != len(conditions_of(compiler, compiler.where)[1]):
        return NotPlannable()
    recipes = [
        (
            each.table,
            tuple((column, tokens.sources.get(token, token)) for column, token in each.conditions),
            each.columns,
        )
        for each in read.dependencies
    ]
    return Plan(
        static=digest(*read.static, *fingerprint.text),
        vendor=compiler.connection.vendor,
        volatile=read.volatile,
        composed=Composed(compiler, read.sql),
        recipes=recipes,
        row_level=read.row_level,
        fixed=None if tokens.sources else frozenset(read.dependencies),
        is_shown_by_context=read.is_shown_by_context,
    )


@on_change
def _forget(setting: str) -> None:
    _plans.clear()
    _results.clear()


def _on_class_prepared(**kwargs: Any) -> None:
    _plans.clear()
    _results.clear()


class_prepared.connect(_on_class_prepared, dispatch_uid="cacheops_lite.query.plan_cache")
