"""Find out what each joined table of a query does: only add columns, select rows, or affect their order and number."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from django.db.models import Field, ForeignKey
from django.db.models.expressions import Col
from django.db.models.sql.constants import LOUTER

from ..schema import overrides
from .query_walk import QueryWalk


class Edge(NamedTuple):
    """A join as seen from one of its two ends: `field` of this end equals `far_field` of the alias `far`.

    `is_down`: `far` was joined to this end, not this end to `far`.  `is_single`: the join equates one pair of columns.
    """

    far: str
    field: Field[Any, Any]
    far_field: Field[Any, Any]
    is_down: bool
    is_outer: bool
    is_single: bool


class JoinTree:
    """The joined tables of a query, with the joins of each."""

    def __init__(self, walk: QueryWalk):
        self._enforces_foreign_keys = walk.compiler.connection.features.supports_foreign_keys
        self.edges: dict[str, list[Edge]] = {alias: [] for alias in walk.live_aliases}
        for alias in walk.live_aliases:
            join: Any = walk.query.alias_map[alias]
            if join.parent_alias is None:
                continue
            (near, far), *more = join.join_field.get_joining_fields()
            is_outer, is_single = join.join_type == LOUTER, not more
            self.edges[join.parent_alias].append(Edge(alias, near, far, True, is_outer, is_single))
            self.edges[alias].append(Edge(join.parent_alias, far, near, False, is_outer, is_single))
        compiler = walk.compiler
        expressions = [compiler.where, compiler.having, compiler.qualify]
        expressions += [item[0] for item in compiler.select if type(item[0]) is not Col]
        # Conditions, selected expressions or inner queries read these.
        self._aliases_in_conditions = walk.aliases_in_inner_queries | set(_aliases_in(walk, expressions))
        self._aliases_in_order = set(_aliases_in(walk, [item[0] for item in walk.order_by]))

    def only_adds_columns(self, alias: str, origin: str) -> bool:
        """Return whether no row of `alias`, or of tables joined to it, decides which other rows are in the result.

        Tables on the side of `origin` are not considered.
        """
        return alias not in self._aliases_in_conditions and all(
            self._keeps_rows(edge) and self.only_adds_columns(edge.far, alias)
            for edge in self.edges[alias]
            if edge.far != origin
        )

    def affects_order(self, alias: str, origin: str) -> bool:
        """Return whether `alias`, or a table joined to it beyond `origin`, affects the order or the number of rows."""
        return alias in self._aliases_in_order or any(
            self.affects_order(edge.far, alias) if edge.far != origin else self._multiplies_rows(edge)
            for edge in self.edges[alias]
        )

    def is_enforced(self, key: Any, field: Any) -> bool:
        """Return whether `key` is a foreign key to `field` and the database ensures that its row exists."""
        if not isinstance(key, ForeignKey) or key.target_field is not field or not key.model._meta.managed:
            return False
        has_constraint: bool = key.db_constraint  # type: ignore[attr-defined]
        return has_constraint and self._enforces_foreign_keys

    def _keeps_rows(self, edge: Edge) -> bool:
        if edge.is_outer:
            return edge.is_down
        return edge.is_single and self.is_enforced(edge.field, edge.far_field) and not edge.field.null

    @staticmethod
    def _multiplies_rows(edge: Edge) -> bool:
        return edge.is_outer and not edge.field.unique


def yields_joined_rows(walk: QueryWalk) -> bool:
    """Return whether the query yields joined rows as they are and no inner join removes what an outer join keeps."""
    if walk.query.distinct or walk.group_by is not None or walk.may_read_any_column:
        return False
    if not all(overrides.joins_by_columns(walk.query.alias_map[alias]) for alias in walk.live_aliases):
        return False
    return all(is_outer(walk, alias) or not is_below_outer(walk, alias) for alias in walk.live_aliases)


def is_outer(walk: QueryWalk, alias: str) -> bool:
    """Return whether a row of `alias` may be missing where it is joined."""
    return walk.query.alias_map[alias].join_type == LOUTER


def is_below_outer(walk: QueryWalk, alias: str) -> bool:
    """Return whether `alias` is joined to a table whose row may be missing."""
    parent: Any = walk.query.alias_map[alias].parent_alias
    return parent is not None and (is_outer(walk, parent) or is_below_outer(walk, parent))


def _aliases_in(walk: QueryWalk, expressions: Iterable[Any]) -> Iterable[str]:
    notes = QueryWalk(walk.compiler)
    for expression in expressions:
        if expression is not None:
            notes.note(expression)
    return notes.columns
