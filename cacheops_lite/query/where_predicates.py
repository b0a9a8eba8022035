"""Turn a WHERE tree into a formula over conditions.  Parts that it can't express count as any row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.db.models.expressions import Col
from django.db.models.fields.json import HasKey, KeyTransform
from django.db.models.lookups import (
    Contains,
    EndsWith,
    Exact,
    GreaterThan,
    GreaterThanOrEqual,
    IContains,
    IEndsWith,
    IExact,
    In,
    IsNull,
    IStartsWith,
    LessThan,
    LessThanOrEqual,
    Lookup,
    Range,
    StartsWith,
)
from django.db.models.sql.where import AND, OR, NothingNode, WhereNode

from ..conf import settings
from ..schema import (
    ANY,
    INDETERMINATE,
    NONE,
    NOT_NULL,
    NULL,
    Condition,
    Formula,
    all_of,
    any_of,
    columns,
    derived_token,
    one_of,
    overrides,
)
from .date_predicates import ranges_of_dates
from .json_key_predicates import json_key_formula

# By class of a lookup, the first one that fits: the operator of its derived condition, and that of its negation.
ORDER: dict[type, tuple[str, str]] = {
    GreaterThan: (">", "<="),
    GreaterThanOrEqual: (">=", "<"),
    LessThan: ("<", ">="),
    LessThanOrEqual: ("<=", ">"),
}
# Django's classes for any case are subclasses of those that distinguish it, or beside them.
PATTERNS: dict[type, str] = {
    IContains: "i*",
    IStartsWith: "i^",
    IEndsWith: "i$",
    IExact: "i^",
    Contains: "*",
    StartsWith: "^",
    EndsWith: "$",
}


class MakeToken:
    """Makes the tokens of conditions from a lookup's values."""

    def of_value(self, lookup: Any, vendor: str, value: Any, position: int) -> str | None:
        """Return the token of one value of the right hand side, which is at `position` there; None if it has none."""
        return columns.condition_token(lookup.lhs.target, vendor, value)

    def of_derived(
        self, lookup: Any, vendor: str, operator: str, values: Sequence[Any], position: int, meets_null: bool
    ) -> str | None:
        """Return the token of a derived condition on values that begin at `position`, see `derived_token`."""
        return derived_token(lookup.lhs.target, vendor, operator, values, meets_null)


token_of_value = MakeToken()


def formula(where: Any, vendor: str, make_token: MakeToken = token_of_value) -> Formula:
    """Return the conditions that rows must meet to pass `where` (a WhereNode or None) in a database of `vendor`."""
    return ANY if where is None else _node_formula(where, False, vendor, make_token)


def _node_formula(node: Any, negated: bool, vendor: str, make_token: MakeToken) -> Formula:
    if isinstance(node, WhereNode):
        return _tree_formula(node, negated, vendor, make_token)
    if isinstance(node, NothingNode):
        return ANY if negated else NONE
    if not isinstance(node, Lookup) or not overrides.is_django_lookup(type(node)) or node.bilateral_transforms:
        return ANY
    if type(node.lhs) is KeyTransform or isinstance(node, HasKey):
        return json_key_formula(node, negated, vendor)
    if type(node.lhs) is Col:
        return _lookup_formula(node, negated, vendor, make_token)
    # A date of the time zone is known with a margin only: so much that is outside of it may not be.
    return ANY if negated or make_token is not token_of_value else _date_formula(node, vendor)


def _tree_formula(node: WhereNode, negated: bool, vendor: str, make_token: MakeToken) -> Formula:
    negated = negated != node.negated
    if node.connector not in (AND, OR):
        return ANY
    children = [_node_formula(child, negated, vendor, make_token) for child in node.children]
    if not children:
        return ANY
    combine: Callable[[list[Formula]], Formula] = all_of
    # De Morgan: a negated AND is an OR of the negated children, and vice versa.
    if (node.connector == OR) != negated:
        combine = any_of
    return combine(children)


def _date_formula(node: Any, vendor: str) -> Formula:
    found = ranges_of_dates(node)
    if found is None:
        return ANY
    column, ranges = found
    tokens = [derived_token(column.target, vendor, operator, [value]) for operator, value in ranges]
    return all_of(_if_known(column, token) for token in tokens)


def _lookup_formula(node: Lookup[Any], negated: bool, vendor: str, make_token: MakeToken) -> Formula:
    column = node.lhs
    if isinstance(node, IsNull):
        if make_token.of_value(node, vendor, None, 0) is None:
            return ANY
        return one_of([_condition(column, NULL if bool(node.rhs) != negated else NOT_NULL)])
    if isinstance(node, In):
        return _in_formula(node, negated, vendor, make_token)
    if _is_expression(node.rhs):
        return ANY
    if isinstance(node, Exact):
        return _one_of_values(node, [node.rhs], negated, vendor, make_token)
    if isinstance(node, Range):
        return _range_formula(node, negated, vendor, make_token)

    def derived(operator: str) -> Formula:
        return _if_known(column, make_token.of_derived(node, vendor, operator, [node.rhs], 0, negated))

    for kind, operators in ORDER.items():
        if isinstance(node, kind):
            return derived(operators[negated])
    for kind, operator in PATTERNS.items():
        if isinstance(node, kind):
            # Constants are widened, so that a row that meets this may be one that the database does not find.
            return ANY if negated else derived(operator)
    return ANY


def _range_formula(node: Range, negated: bool, vendor: str, make_token: MakeToken) -> Formula:
    if isinstance(node.rhs, str) or len(node.rhs) != 2 or any(map(_is_expression, node.rhs)):
        return ANY
    operators = ("<", ">") if negated else (">=", "<=")
    edges = [
        _if_known(node.lhs, make_token.of_derived(node, vendor, operator, [value], position, negated))
        for position, (operator, value) in enumerate(zip(operators, node.rhs, strict=True))
    ]
    return any_of(edges) if negated else all_of(edges)


def _in_formula(node: In, negated: bool, vendor: str, make_token: MakeToken) -> Formula:
    if isinstance(node.rhs, str) or _is_expression(node.rhs):
        return ANY
    options = list(node.rhs)
    if len(options) >= settings.CACHEOPS_LONG_DISJUNCTION or any(map(_is_expression, options)):
        return ANY
    return _one_of_values(node, [option for option in options if option is not None], negated, vendor, make_token)


def _one_of_values(node: Any, options: list[Any], negated: bool, vendor: str, make_token: MakeToken) -> Formula:
    if negated:
        return _if_known(node.lhs, make_token.of_derived(node, vendor, "!=", options, 0, True))
    tokens = [make_token.of_value(node, vendor, option, position) for position, option in enumerate(options)]
    if None in tokens:
        return ANY
    if columns.may_be_indeterminate(node.lhs.target, vendor):
        tokens.append(INDETERMINATE)
    return one_of(_condition(node.lhs, token) for token in tokens if token is not None)


def _if_known(column: Any, token: str | None) -> Formula:
    return ANY if token is None else one_of([_condition(column, token)])


def _condition(column: Any, token: str) -> Condition:
    return Condition(column.alias, column.target.column, token)


def _is_expression(value: Any) -> bool:
    return hasattr(value, "resolve_expression") or hasattr(value, "as_sql")
