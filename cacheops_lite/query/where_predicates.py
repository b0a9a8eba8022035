"""Turn a WHERE tree into a formula over conditions.  Parts that it can't express exactly count as any row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models.expressions import Col
from django.db.models.lookups import Exact, In, IsNull, Lookup
from django.db.models.sql.where import AND, OR, NothingNode, WhereNode

from ..conf import settings
from ..schema import ANY, INDETERMINATE, NONE, NULL, Condition, Formula, all_of, any_of, columns, one_of, overrides

# Makes a token from: a lookup, the database vendor, one value of the lookup's right hand side, its position there.
MakeToken = Callable[[Any, str, Any, int], "str | None"]


def token_of_value(lookup: Any, vendor: str, value: Any, position: int) -> str | None:
    """Return the token of the value itself."""
    return columns.condition_token(lookup.lhs.target, vendor, value)


def formula(where: Any, vendor: str, make_token: MakeToken = token_of_value) -> Formula:
    """Return the conditions that rows must meet to pass `where` (a WhereNode or None) in a database of `vendor`."""
    return ANY if where is None else _node_formula(where, False, vendor, make_token)


def _node_formula(node: Any, negated: bool, vendor: str, make_token: MakeToken) -> Formula:
    if isinstance(node, WhereNode):
        return _tree_formula(node, negated, vendor, make_token)
    if isinstance(node, NothingNode):
        return ANY if negated else NONE
    if isinstance(node, Lookup) and _is_plain(node):
        return _lookup_formula(node, negated, vendor, make_token)
    return ANY


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


def _is_plain(node: Lookup[Any]) -> bool:
    """Return whether the lookup compares one column with given values for equality, as Django's own lookups do."""
    return (
        isinstance(node, (Exact, In, IsNull))
        and overrides.is_django_lookup(type(node))
        and type(node.lhs) is Col
        and not node.bilateral_transforms
    )


def _lookup_formula(node: Lookup[Any], negated: bool, vendor: str, make_token: MakeToken) -> Formula:
    column = node.lhs
    if isinstance(node, IsNull):
        if bool(node.rhs) == negated or make_token(node, vendor, None, 0) is None:
            return ANY
        return one_of([_condition(column, NULL)])
    if negated:
        return ANY
    if isinstance(node, In):
        return _in_formula(node, vendor, make_token)
    if _is_expression(node.rhs):
        return ANY
    return _one_of_values(node, [node.rhs], vendor, make_token)


def _in_formula(node: In, vendor: str, make_token: MakeToken) -> Formula:
    if isinstance(node.rhs, str) or _is_expression(node.rhs):
        return ANY
    options = list(node.rhs)
    if len(options) >= settings.CACHEOPS_LONG_DISJUNCTION or any(map(_is_expression, options)):
        return ANY
    return _one_of_values(node, [option for option in options if option is not None], vendor, make_token)


def _one_of_values(node: Any, options: list[Any], vendor: str, make_token: MakeToken) -> Formula:
    tokens = [make_token(node, vendor, option, position) for position, option in enumerate(options)]
    if None in tokens:
        return ANY
    if columns.may_be_indeterminate(node.lhs.target, vendor):
        tokens.append(INDETERMINATE)
    return one_of(_condition(node.lhs, token) for token in tokens if token is not None)


def _condition(column: Any, token: str) -> Condition:
    return Condition(column.alias, column.target.column, token)


def _is_expression(value: Any) -> bool:
    return hasattr(value, "resolve_expression") or hasattr(value, "as_sql")
