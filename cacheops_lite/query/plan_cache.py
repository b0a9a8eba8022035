"""Make and keep query plans: what is derived once per fingerprint, so that later reads of it compose no SQL.

From the values of the conditions a plan makes the name of a result and its dependencies; it also describes the columns
of the rows.  Plans are kept in the process.  Names are the same in all processes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.core.exceptions import EmptyResultSet
from django.db.models import Field
from django.db.models.signals import class_prepared

from ..conf import on_change
from ..schema import INEXACT, MEETS_NULL, NULL, Dependency, columns, derived_token, derived_tokens
from ..store import digest
from ..utils import LruMap
from .compiler import CompiledRead
from .fingerprint import Fingerprint, NoFingerprint
from .key_columns import KeyColumns
from .query_walk import Uncacheable
from .read_identity import active_locale
from .row_dependencies import RowLevelDependency, with_tokens
from .sql_template import SqlTemplate, where_sql
from .where_predicates import MakeToken

MAX_PLANS = 2000


@dataclass(slots=True)
class PlannedResult:
    """The name and the dependencies of a result, known before it is read; in `memo` callers keep what they derive.

    `dependencies` are by what they are in the plan, which has placeholders instead of tokens.
    """

    name: str
    dependencies: Mapping[Dependency, Dependency]
    row_level: tuple[RowLevelDependency, ...] = ()
    memo: dict[Hashable, Any] = field(default_factory=dict)


# By the plan and repr() of the values.
_results: LruMap[tuple[str, str], PlannedResult] = LruMap(1000)
# Longer values are hardly the same twice.
MAX_REMEMBERED_CHARS = 200


class TokenSource(NamedTuple):
    """Where a condition's token comes from: values of its lookup, which begin at `start` among all values.

    Without an operator it is the token of one value, else that of a derived condition on `number` values.
    """

    field: Field[Any, Any]
    start: int
    operator: str = ""
    number: int = 1
    meets_null: bool = False

    def token(self, vendor: str, values: Sequence[Any]) -> str | None:
        """Return the token, None if there is none for these values."""
        if not self.operator:
            return columns.condition_token(self.field, vendor, values[self.start])
        own = values[self.start : self.start + self.number]
        return derived_token(self.field, vendor, self.operator, own, self.meets_null)


@dataclass(slots=True)
class Plan:
    """How to read queries of one fingerprint.

    `recipes` make dependencies from values.  In place of a token they may have the `TokenSource` of one.
    """

    fingerprint: str
    vendor: str
    is_non_deterministic: bool
    sql_template: SqlTemplate
    recipes: list[tuple[Dependency, tuple[tuple[str, Any], ...]]]
    row_level: tuple[RowLevelDependency, ...]
    # The dependencies, by themselves, if they are the same for all values.
    constant_dependencies: Mapping[Dependency, Dependency] | None = None
    key_columns: KeyColumns | None = None
    depends_on_locale: bool = False

    def result_for(self, values: list[Any], limits: tuple[Any, Any]) -> PlannedResult | None:
        """Return the name and the dependencies of the result for these values; None if one of them has no token."""
        text = repr((values, limits)) + (active_locale() if self.depends_on_locale else "")
        found = _results.get((self.fingerprint, text))
        if found is None:
            dependencies = self._dependencies(values)
            if dependencies is None:
                return None
            row_level = self.row_level if self.constant_dependencies else with_tokens(self.row_level, dependencies)
            found = PlannedResult(digest("plan", self.fingerprint, text), dependencies, row_level)
            if len(text) <= MAX_REMEMBERED_CHARS:
                _results.put((self.fingerprint, text), found)
        return found

    def _dependencies(self, values: list[Any]) -> Mapping[Dependency, Dependency] | None:
        if self.constant_dependencies is not None:
            return self.constant_dependencies
        found = {}
        for dependency, conditions in self.recipes:
            tokens = set()
            for column, source in conditions:
                token = source if isinstance(source, str) else source.token(self.vendor, values)
                if token is None:
                    return None
                tokens.add((column, token))
            found[dependency] = dependency._replace(conditions=tuple(sorted(tokens)))
        return found


class NotPlannable(Exception):
    """This query can have no plan and is compiled each time."""


# {key: plan, or the exception that says why there is none}, the least recently used first.
_plans: OrderedDict[Hashable, Plan | Exception] = OrderedDict()


def plan_for(
    key: Hashable, fingerprint: Fingerprint, compile_fingerprint: Callable[[PlaceholderTokens], CompiledRead]
) -> Plan:
    """Return the plan of `key`, which includes `fingerprint`'s; `compile_fingerprint` makes it if there is none yet.

    Raises NotPlannable, and Uncacheable if its results can't be cached.
    """
    found = _plans.get(key)
    if found is None:
        found = _make(fingerprint, compile_fingerprint)
        _plans[key] = found
        while len(_plans) > MAX_PLANS:
            _plans.popitem(last=False)
    else:
        # Another thread may have removed it meanwhile.
        with suppress(KeyError):
            _plans.move_to_end(key)
    if isinstance(found, Plan):
        return found
    raise found


class PlaceholderTokens(MakeToken):
    """Makes placeholders instead of tokens while a fingerprint is compiled, and notes the source of each."""

    def __init__(self, fingerprint: Fingerprint):
        self.sources: dict[str, TokenSource] = {}
        self._fingerprint = fingerprint
        self._columns: dict[tuple[str, str], int] = {}

    def of_value(self, lookup: Any, vendor: str, option: Any, position: int) -> str | None:
        target, alias = lookup.lhs.target, lookup.lhs.alias
        if columns.tokenizer(target, vendor) is None:
            return None
        if option is None:
            return NULL
        start = self._start(lookup)
        # Whether two conditions on one column contradict each other depends on their values.
        if self._columns.setdefault((alias, target.column), id(lookup)) != id(lookup):
            raise NotPlannable
        if type(option) is bool:
            # Booleans are part of the fingerprint.
            return columns.token(target, vendor, option)
        placeholder = f"value{len(self.sources)}"
        if columns.compares_inexactly(target, vendor):
            placeholder = INEXACT + placeholder
        self.sources[placeholder] = TokenSource(target, start + position)
        return placeholder

    def of_derived(
        self, lookup: Any, vendor: str, operator: str, options: Sequence[Any], position: int, meets_null: bool
    ) -> str | None:
        target = lookup.lhs.target
        if not derived_tokens.is_supported(target, vendor, operator):
            return None
        start = self._start(lookup)
        if any(type(option) is bool for option in options):
            # Booleans are part of the fingerprint.
            return derived_token(target, vendor, operator, options, meets_null)
        marker = MEETS_NULL if meets_null else ""
        # Which of the operators it is does not matter here.
        placeholder = f"{marker}<value{len(self.sources)}"
        self.sources[placeholder] = TokenSource(target, start + position, operator, len(options), meets_null)
        return placeholder

    def _start(self, lookup: Any) -> int:
        """Return the index of the first value of a lookup.  Raises NotPlannable."""
        start = self._fingerprint.value_offsets.get(id(lookup))
        if start is None:
            raise NotPlannable
        return start


def _make(
    fingerprint: Fingerprint, compile_fingerprint: Callable[[PlaceholderTokens], CompiledRead]
) -> Plan | Exception:
    tokens = PlaceholderTokens(fingerprint)
    try:
        compiled = compile_fingerprint(tokens)
    except (NotPlannable, NoFingerprint):
        return NotPlannable()
    except Uncacheable as reason:
        return Uncacheable(*reason.args)
    except EmptyResultSet:
        # Whether a query is empty depends on the values: keep no plan, and no exception either.
        raise NotPlannable from None
    # All parameters must come from values of conditions, which are in the fingerprint; no other may differ.
    compiler: Any = compiled.compiler
    if compiled.has_variable_sql or compiled.parameter_count != len(where_sql(compiler, compiler.where)[1]):
        return NotPlannable()
    recipes = [
        (each, tuple((column, tokens.sources.get(token, token)) for column, token in each.conditions))
        for each in compiled.dependencies
    ]
    return Plan(
        fingerprint=digest(*compiled.constant_parts, *fingerprint.where_text()),
        vendor=compiler.connection.vendor,
        is_non_deterministic=compiled.is_non_deterministic,
        sql_template=SqlTemplate(compiler, compiled.sql),
        recipes=recipes,
        row_level=compiled.row_level,
        constant_dependencies=None if tokens.sources else {each: each for each in compiled.dependencies},
        depends_on_locale=compiled.depends_on_locale,
        key_columns=compiled.key_columns,
    )


def forget_plans(*args: Any, **kwargs: Any) -> None:
    """Forget all plans: a setting or a model has changed."""
    _plans.clear()
    _results.clear()


on_change(forget_plans)
class_prepared.connect(forget_plans, dispatch_uid="cacheops_lite.query.plan_cache")
