"""The conditions that lookups on keys of JSON columns imply, see `schema.json_keys`."""

from __future__ import annotations

from typing import Any

from django.db.models.expressions import Col
from django.db.models.fields.json import HasKey, KeyTransform, KeyTransformExact, KeyTransformIn, KeyTransformIsNull

from ..conf import settings
from ..schema import ANY, NOT_NULL, NULL, Condition, Formula, json_keys, one_of


def json_key_formula(lookup: Any, negated: bool, vendor: str) -> Formula:
    """Return the conditions that rows meet which a lookup of one of Django's own classes finds."""
    place = _place_of(lookup.lhs, lookup.rhs if isinstance(lookup, HasKey) else None)
    name = None if place is None else json_keys.key_column(place[0].target, vendor, place[1])
    if place is None or name is None:
        return ANY
    column, tokens = place[0], _tokens(lookup, negated, vendor, place[0].target)
    if tokens is None or None in tokens:
        return ANY
    return one_of(Condition(column.alias, name, token) for token in tokens if token is not None)


def _tokens(lookup: Any, negated: bool, vendor: str, field: Any) -> set[str | None] | None:
    """Return the tokens of the rows that a lookup finds, with None for an unknown one; None if they have any token."""
    kind, right = type(lookup), lookup.rhs
    if kind is KeyTransformIsNull:
        return {NULL if bool(right) != negated else NOT_NULL}
    if kind is HasKey:
        # PostgreSQL looks for the key among the texts of an array as well.
        return None if vendor == "postgresql" else {NULL if negated else NOT_NULL}
    if negated:
        return None
    if kind is KeyTransformExact:
        return {json_keys.condition_token(field, right)}
    if kind is KeyTransformIn and isinstance(right, (list, tuple, set, frozenset)):
        # Django leaves out None.
        options = [option for option in right if option is not None]
        if 0 < len(options) < settings.CACHEOPS_LONG_DISJUNCTION:
            return {json_keys.condition_token(field, option) for option in options}
    return None


def _place_of(expression: Any, key: Any) -> tuple[Col, list[str]] | None:
    """Return the column of an expression and the path to the key that it finds, `key` being the last part."""
    path = []
    if key is not None:
        if type(key) is not str:
            return None
        path.append(key)
    while type(expression) is KeyTransform:
        path.insert(0, expression.key_name)
        expression = expression.lhs
    return (expression, path) if type(expression) is Col and path else None
