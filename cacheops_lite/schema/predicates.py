"""Boolean formulas over conditions, in disjunctive normal form and of bounded size.

A formula describes a superset of the rows that satisfy the real condition.  What it cannot express counts as `ANY`.
What would exceed the bound is simplified by dropping conditions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .derived_conditions import MEETS_NULL, is_derived
from .tokens import NULL

MAX_CONJUNCTIONS = 32


class Condition(NamedTuple):
    """``alias.column = value``, with the value as its token; or a derived condition, see `derived_conditions`."""

    alias: str
    column: str
    token: str


Conjunction = frozenset[Condition]
Formula = frozenset[Conjunction]

ANY: Formula = frozenset([frozenset()])
NONE: Formula = frozenset()


# ``column = token``, of one table.
Conditions = tuple[tuple[str, str], ...]


class Dependency(NamedTuple):
    """What a result depends on: the `columns` (None: all) of those rows of `table` that meet all `conditions`."""

    table: str
    conditions: Conditions
    columns: tuple[str, ...] | None


# {(further conditions, column): tokens of the rows that matter}.  Without a column, which is then empty, as the only
# token is, all rows that meet the conditions matter.
RowTokens = Mapping[tuple[Conditions, str], set[str]]
# By dependency on any row of a table: the rows that matter, or None if any row matters.
RowsByDependency = Mapping[Dependency, "RowTokens | None"]


def one_of(conditions: Iterable[Condition]) -> Formula:
    """Return the formula that any one of `conditions` satisfies."""
    return frozenset(frozenset([condition]) for condition in conditions)


def any_of(formulas: Iterable[Formula]) -> Formula:
    """Combine formulas by OR."""
    result: Formula = frozenset().union(*formulas)
    if frozenset() in result:
        return ANY
    result = _without_implied(result)
    return ANY if len(result) > MAX_CONJUNCTIONS else result


def _without_implied(formula: Formula) -> Formula:
    """Leave out the conjunctions that imply another one."""
    if len(formula) < 2:
        return formula
    # Django adds that a column is not NULL to conditions that it negates, which so are met by NULL.
    met_by_null = {each[:2] for (each, *more) in formula if not more and each.token.startswith(MEETS_NULL)}
    return frozenset(
        conjunction
        for conjunction in formula
        if not any(other < conjunction for other in formula)
        and not any(each.token == NULL and each[:2] in met_by_null for each in conjunction)
    )


def all_of(formulas: Iterable[Formula]) -> Formula:
    """Combine formulas by AND: multiply them, short ones first, and leave out those that would exceed the bound."""
    result: Formula = ANY
    for formula in sorted(formulas, key=len):
        if len(result) * len(formula) > MAX_CONJUNCTIONS:
            continue
        product = (left | right for left in result for right in formula)
        result = frozenset(conjunction for conjunction in product if is_satisfiable(conjunction))
    return result


def is_satisfiable(conjunction: Conjunction) -> bool:
    """Return whether a row can meet all conditions: none compares one column with two values."""
    columns = [condition[:2] for condition in conjunction if not is_derived(condition.token)]
    return len(set(columns)) == len(columns)
