"""Shapes of queries: what two queries have in common that differ in the values of their conditions alone.

A fingerprint is found without composing any SQL.  Whatever is not known to be told completely makes a query shapeless.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple

from django.db.models.expressions import Col
from django.db.models.lookups import IsNull, Lookup
from django.db.models.sql.query import Query
from django.db.models.sql.where import WhereNode
from django.utils.datastructures import OrderedSet

from ..schema import overrides
from ..utils import error_boundary
from . import expression_identity

# Types whose repr() tells a value from every other one, and which take one parameter.
PLAIN = frozenset(
    {str, int, float, bytes, decimal.Decimal, uuid.UUID}
    | {datetime.date, datetime.datetime, datetime.time, datetime.timedelta}
)
COLLECTIONS = (list, tuple, set, frozenset, OrderedSet)


class NoFingerprint(Exception):
    """There is more to a query than is known here."""


def identity_of(part: Any) -> Any:
    """`identities.identity_of`.  Raises Shapeless."""
    try:
        return expression_identity.identity_of(part)
    except expression_identity.NotIdentifiable:
        raise NoFingerprint from None


class Fingerprint(NamedTuple):
    """`key` is equal for queries that differ in `values` alone; `text` tells the conditions in any process.

    `starts` says where in `values` those of a lookup begin, by its identity.
    """

    key: Hashable
    values: list[Any]
    starts: dict[int, int]
    text: list[str]


def fingerprint_of(query: Query, limits: bool = False) -> Fingerprint:
    """The fingerprint of a query, of which its limits are a part where asked.  Raises Shapeless."""
    own: Any = query
    if type(query) is not Query or own.combinator or own.extra_tables or own.extra_order_by:
        raise NoFingerprint
    if own.select_for_update or own._filtered_relations or own.explain_info or own.subquery:
        raise NoFingerprint
    values: list[Any] = []
    starts: dict[int, int] = {}
    text: list[str] = []
    where: list[Any] = []
    _walk(own.where, where, values, starts, text)
    key = (
        own.model,
        tuple(where),
        _joins(own),
        _expressions(own.select),
        own.order_by if all(type(each) is str for each in own.order_by) else _identities(own.order_by),
        own.default_cols,
        own.default_ordering,
        # Those who patch it in tests change it.
        None if own.order_by or not own.default_ordering else _identities(own.get_meta().ordering or ()),
        own.standard_ordering,
        own.deferred_loading,
        own.distinct,
        own.distinct_fields,
        _frozen(own.select_related),
        own.values_select,
        _selected(own),
        _extra(own),
        None if own.annotation_select_mask is None else tuple(own.annotation_select_mask),
        tuple((alias, identity_of(each)) for alias, each in own.annotations.items()),
        own.group_by if own.group_by is None or own.group_by is True else _expressions(own.group_by),
        (own.low_mark, own.high_mark) if limits else own.high_mark is None,
    )
    try:
        hash(key)
    except Exception as error:
        error_boundary.reraise_interrupt(error)
        raise NoFingerprint from error
    return Fingerprint(key, values, starts, text)


def _walk(node: WhereNode, key: list[Any], values: list[Any], starts: dict[int, int], text: list[str]) -> None:
    key += (node.connector, node.negated, len(node.children))
    text.append(f"{node.connector} {node.negated} {len(node.children)}")
    for child in node.children:
        if type(child) is WhereNode:
            _walk(child, key, values, starts, text)
        elif isinstance(child, Lookup) and type(child.lhs) is Col and overrides.is_django_lookup(type(child)):
            if child.bilateral_transforms:
                raise NoFingerprint
            starts[id(child)] = len(values)
            said = _right(child, values)
            kind = type(child)
            key += (kind, child.lhs.alias, id(child.lhs.target), said)
            text.append(f"{kind.__module__}.{kind.__qualname__} {child.lhs.alias} {child.lhs.target.column} {said}")
        else:
            raise NoFingerprint


def _right(lookup: Any, values: list[Any]) -> Any:
    """What of a lookup's right hand side belongs to the fingerprint; the rest is added to `values`."""
    right = lookup.rhs
    kind = type(right)
    if kind in PLAIN:
        values.append(right)
        return "one"
    if kind is bool:
        # Not as it is: True equals how many one value is.
        return str(right)
    if isinstance(right, COLLECTIONS) and not isinstance(lookup, IsNull):
        options = list(right)
        if not all(type(option) in PLAIN for option in options) or not options:
            raise NoFingerprint
        values += options
        return len(options)
    raise NoFingerprint


def _joins(query: Any) -> tuple[Any, ...]:
    counts = query.alias_refcount
    joins = []
    for alias, join in query.alias_map.items():
        if counts[alias]:
            if not overrides.is_django_join(join) or join.filtered_relation is not None:
                raise NoFingerprint
            if not overrides.joins_by_columns(join):
                raise NoFingerprint
            field = id(join.join_field) if join.parent_alias else 0
            joins.append((alias, join.table_name, join.parent_alias, join.join_type, field))
    return tuple(joins)


def _expressions(expressions: Iterable[Any]) -> tuple[Any, ...]:
    return tuple((each.alias, id(each.target)) if type(each) is Col else identity_of(each) for each in expressions)


def _identities(expressions: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(each if type(each) is str else identity_of(each) for each in expressions)


def _extra(query: Any) -> Any:
    """What ``extra(select=...)`` adds, as Django does to prefetch many-to-many relations; it has no values."""
    if not query.extra:
        return None
    if any(params or type(sql) is not str for sql, params in query.extra.values()):
        raise NoFingerprint
    mask = query.extra_select_mask
    return tuple((alias, sql) for alias, (sql, _) in query.extra.items()), None if mask is None else frozenset(mask)


def _selected(query: Any) -> Any:
    if query.selected is None:
        return None
    return tuple(
        (name, each if type(each) in (str, int) else identity_of(each)) for name, each in query.selected.items()
    )


def _frozen(related: Any) -> Any:
    if not isinstance(related, dict):
        return related
    return tuple((name, _frozen(inner)) for name, inner in related.items())
