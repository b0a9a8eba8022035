"""The algebra of conditions: boolean formulas over conditions in disjunctive normal form, with a bound on its size.

A formula stands for a superset of the rows that the real condition lets through.  What can't be expressed is `ANY`, and
so is what would grow past the bound: conditions are dropped, never exploded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

MAX_CONJUNCTIONS = 32


class Condition(NamedTuple):
    """``alias.column = value``, the value as its token."""

    alias: str
    column: str
    token: str


Conjunction = frozenset[Condition]
Formula = frozenset[Conjunction]

ANY: Formula = frozenset([frozenset()])
NONE: Formula = frozenset()


class Dependency(NamedTuple):
    """What a result rests on: rows of `table` that meet all of `conditions`, and of those the `columns` (None: all)."""

    table: str
    conditions: tuple[tuple[str, str], ...]
    columns: tuple[str, ...] | None


# {a dependency on any row: {column: tokens of the rows that matter}, None if any row does}
RowsByDependency = Mapping[Dependency, "Mapping[str, set[str]] | None"]


def one_of(conditions: Iterable[Condition]) -> Formula:
    """Any one of `conditions` holds."""
    return frozenset(frozenset([condition]) for condition in conditions)


def any_of(formulas: Iterable[Formula]) -> Formula:
    """OR."""
    result = frozenset().union(*formulas)
    return ANY if frozenset() in result or len(result) > MAX_CONJUNCTIONS else result


def all_of(formulas: Iterable[Formula]) -> Formula:
    """AND: the product, short ones first; a formula that would take it past the bound is left out."""
    result: Formula = ANY
    for formula in sorted(formulas, key=len):
        if len(result) * len(formula) > MAX_CONJUNCTIONS:
            continue
        product = (left | right for left in result for right in formula)
        result = frozenset(conjunction for conjunction in product if possible(conjunction))
    return result


def possible(conjunction: Conjunction) -> bool:
    """No column of one row is to equal two values at once."""
    return len({(condition.alias, condition.column) for condition in conjunction}) == len(conjunction)
