"""From a WHERE tree to a formula over conditions; what it can't express exactly counts as any row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models.expressions import Col
from django.db.models.lookups import Exact, In, IsNull, Lookup
from django.db.models.sql.where import AND, OR, NothingNode, WhereNode

from ..conf import settings
from ..schema import ANY, INDETERMINATE, NONE, NULL, Condition, Formula, all_of, any_of, columns, one_of, overrides

# Makes the token of one value of a lookup's right hand side, at its position there, for the database of a vendor.
Tokens = Callable[[Any, str, Any, int], "str | None"]


def own_tokens(lookup: Any, vendor: str, value: Any, position: int) -> str | None:
    """The token of the value itself."""
    return columns.condition_token(lookup.lhs.target, vendor, value)


def formula(where: Any, vendor: str, tokens: Tokens = own_tokens) -> Formula:
    """What rows must meet to pass `where` (a WhereNode or None), as seen by the database of `vendor`."""
    return ANY if where is None else _node(where, False, vendor, tokens)


def _node(node: Any, negated: bool, vendor: str, tokens: Tokens) -> Formula:
    if isinstance(node, WhereNode):
        return _tree(node, negated, vendor, tokens)
    if isinstance(node, NothingNode):
        return ANY if negated else NONE
    if isinstance(node, Lookup) and _is_plain(node):
        return _lookup(node, negated, vendor, tokens)
    return ANY


def _tree(node: WhereNode, negated: bool, vendor: str, tokens: Tokens) -> Formula:
    negated = negated != node.negated
    if node.connector not in (AND, OR):
        return ANY
    children = [_node(child, negated, vendor, tokens) for child in node.children]
    if not children:
        return ANY
    combine: Callable[[list[Formula]], Formula] = all_of
    # De Morgan: a negated AND is an OR of what is negated, and the other way round.
    if (node.connector == OR) != negated:
        combine = any_of
    return combine(children)


def _is_plain(node: Lookup[Any]) -> bool:
    """Equality of one column with given values, with Django's own meaning of it."""
    return (
        isinstance(node, (Exact, In, IsNull))
        and overrides.is_django_lookup(type(node))
        and type(node.lhs) is Col
        and not node.bilateral_transforms
    )


def _lookup(node: Lookup[Any], negated: bool, vendor: str, tokens: Tokens) -> Formula:
    column = node.lhs
    if isinstance(node, IsNull):
        if bool(node.rhs) == negated or tokens(node, vendor, None, 0) is None:
            return ANY
        return one_of([_condition(column, NULL)])
    if negated:
        return ANY
    if isinstance(node, In):
        return _in(node, vendor, tokens)
    if _is_expression(node.rhs):
        return ANY
    return _conditions(node, [node.rhs], vendor, tokens)


def _in(node: In, vendor: str, tokens: Tokens) -> Formula:
    if isinstance(node.rhs, str) or _is_expression(node.rhs):
        return ANY
    options = list(node.rhs)
    if len(options) >= settings.CACHEOPS_LONG_DISJUNCTION or any(map(_is_expression, options)):
        return ANY
    return _conditions(node, [option for option in options if option is not None], vendor, tokens)


def _conditions(node: Any, options: list[Any], vendor: str, tokens: Tokens) -> Formula:
    found = [tokens(node, vendor, option, position) for position, option in enumerate(options)]
    if None in found:
        return ANY
    if columns.may_be_indeterminate(node.lhs.target, vendor):
        found.append(INDETERMINATE)
    return one_of(_condition(node.lhs, each) for each in found if each is not None)


def _condition(column: Any, each: str) -> Condition:
    return Condition(column.alias, column.target.column, each)


def _is_expression(value: Any) -> bool:
    return hasattr(value, "resolve_expression") or hasattr(value, "as_sql")
