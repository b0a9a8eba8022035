"""Make the fingerprint of a query: equal for queries that differ only in the values of their conditions.

No SQL is composed for it.  A query has no fingerprint if one of its parts can't be identified completely.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple

from django.db.models.expressions import Col
from django.db.models.fields.json import HasKey
from django.db.models.lookups import IsNull, Lookup
from django.db.models.sql.query import Query
from django.db.models.sql.where import WhereNode
from django.utils.datastructures import OrderedSet

from ..schema import overrides
from ..utils import error_boundary
from . import expression_identity

# Types whose repr() is different for different values, and that make one SQL parameter.
SCALAR_TYPES = frozenset(
    {str, int, float, bytes, decimal.Decimal, uuid.UUID}
    | {datetime.date, datetime.datetime, datetime.time, datetime.timedelta}
)
COLLECTIONS = (list, tuple, set, frozenset, OrderedSet)


class NoFingerprint(Exception):
    """A part of the query can't be identified."""


def _identity_of(part: Any) -> Any:
    try:
        return expression_identity.identity_of(part)
    except expression_identity.NotIdentifiable:
        raise NoFingerprint from None


class Fingerprint(NamedTuple):
    """`key` is equal for queries that differ in `values` only; `where` are the conditions.

    `value_offsets` has, by ``id()`` of a lookup, the index of its first value in `values`.
    """

    key: Hashable
    values: list[Any]
    value_offsets: dict[int, int]
    where: WhereNode

    def where_text(self) -> list[str]:
        """Return a text of the conditions without their values, which is the same in any process."""
        text: list[str] = []
        _add_text(self.where, text)
        return text


def fingerprint_of(query: Query, limits: bool = False) -> Fingerprint:
    """Return the fingerprint of a query.  With `limits` it includes the query's limits.  Raises NoFingerprint."""
    own: Any = query  # Type stubs lack some of its attributes.
    if not _is_plain(query):
        raise NoFingerprint
    values: list[Any] = []
    value_offsets: dict[int, int] = {}
    where: list[Any] = []
    _add_where(own.where, where, values, value_offsets)
    key = (
        own.model,
        tuple(where),
        _joins(own),
        _expressions(own.select),
        own.order_by if all(type(each) is str for each in own.order_by) else _identities(own.order_by),
        own.default_cols,
        own.default_ordering,
        # Tests may patch a model's ordering.
        None if own.order_by or not own.default_ordering else _identities(own.get_meta().ordering or ()),
        own.standard_ordering,
        own.deferred_loading,
        own.distinct,
        own.distinct_fields,
        _hashable_select_related(own.select_related),
        own.values_select,
        _selected(own),
        _extra(own),
        None if own.annotation_select_mask is None else tuple(own.annotation_select_mask),
        tuple((alias, _identity_of(each)) for alias, each in own.annotations.items()),
        own.group_by if own.group_by is None or own.group_by is True else _expressions(own.group_by),
        (own.low_mark, own.high_mark) if limits else own.high_mark is None,
    )
    try:
        hash(key)
    except Exception as error:
        error_boundary.reraise_interrupt(error)
        raise NoFingerprint from error
    return Fingerprint(key, values, value_offsets, own.where)


def _is_plain(query: Query) -> bool:
    """Return whether a query has none of the parts that fingerprints leave out."""
    own: Any = query
    if type(query) is not Query or own.combinator or own.extra_tables or own.extra_order_by:
        return False
    return not (own.select_for_update or own._filtered_relations or own.explain_info or own.subquery)


def _add_where(node: WhereNode, key: list[Any], values: list[Any], value_offsets: dict[int, int]) -> None:
    key += (node.connector, node.negated, len(node.children))
    for child in node.children:
        if type(child) is WhereNode:
            _add_where(child, key, values, value_offsets)
        elif isinstance(child, Lookup) and type(child.lhs) is Col and overrides.is_django_lookup(type(child)):
            if child.bilateral_transforms:
                raise NoFingerprint
            value_offsets[id(child)] = len(values)
            key += (type(child), child.lhs.alias, id(child.lhs.target), _rhs_key(child, values))
        else:
            raise NoFingerprint


def _add_text(node: Any, text: list[str]) -> None:
    text.append(f"{node.connector} {node.negated} {len(node.children)}")
    for child in node.children:
        if type(child) is WhereNode:
            _add_text(child, text)
        else:
            kind, column = type(child), child.lhs
            text.append(
                f"{kind.__module__}.{kind.__qualname__} {column.alias} {column.target.column} {_rhs_key(child, [])}"
            )


def _rhs_key(lookup: Any, values: list[Any]) -> Any:
    """Return what the fingerprint has of a lookup's right hand side; its values are added to `values`."""
    right = lookup.rhs
    kind = type(right)
    if kind in SCALAR_TYPES:
        values.append(right)
        # On which key a result depends is the same for all queries of a plan.
        return ("key", right) if isinstance(lookup, HasKey) else "one"
    if kind is bool:
        # As text, since True equals 1, the length of a list of one value.
        return str(right)
    if isinstance(right, COLLECTIONS) and not isinstance(lookup, IsNull):
        options = list(right)
        if not all(type(option) in SCALAR_TYPES for option in options) or not options:
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
    return tuple((each.alias, id(each.target)) if type(each) is Col else _identity_of(each) for each in expressions)


def _identities(expressions: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(each if type(each) is str else _identity_of(each) for each in expressions)


def _extra(query: Any) -> Any:
    """Return what ``extra(select=...)`` adds.  Django itself uses it to prefetch many-to-many relations.

    Raises NoFingerprint if it has parameters.
    """
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
        (name, each if type(each) in (str, int) else _identity_of(each)) for name, each in query.selected.items()
    )


def _hashable_select_related(related: Any) -> Any:
    if not isinstance(related, dict):
        return related
    return tuple((name, _hashable_select_related(inner)) for name, inner in related.items())
