"""Find out which columns of a result tell which rows of its joined tables are in it."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db.models import Field
from django.db.models.expressions import Col

from ..schema import columns, field_traits
from .join_tree import JoinTree, yields_joined_rows
from .query_walk import QueryWalk


class Source(NamedTuple):
    """`column` of a joined table, and the position in the result's rows of a value that equals it.

    `field` is the column's; it makes the tokens of the values.
    """

    column: str
    field: Field[Any, Any]
    position: int


def sources_of_rows(walk: QueryWalk) -> dict[str, tuple[Source, bool]]:
    """Return by alias which column of the result identifies its joined rows, and whether they affect the order."""
    if not yields_joined_rows(walk):
        return {}
    tree = JoinTree(walk)
    found = {
        alias: _source_of(walk, tree, alias)
        for alias, dependencies in walk.dependencies_by_alias.items()
        if not any(each.conditions for each in dependencies)
    }
    return {alias: source for alias, source in found.items() if source is not None}


def _source_of(walk: QueryWalk, tree: JoinTree, alias: str) -> tuple[Source, bool] | None:
    """Return which column of the result identifies the joined rows of `alias`, and whether they affect the order.

    None if `alias` does more than add columns, or if no selected column identifies its rows.
    """
    vendor = walk.compiler.connection.vendor
    for edge in tree.edges[alias]:
        column, far = str(edge.field.column), (edge.far, str(edge.far_field.column))
        identifying_columns = {far}
        if not edge.is_outer:
            # An outer join's own column is NULL where there is no joined row yet.
            identifying_columns.add((alias, column))
        identifies_rows = edge.is_outer and not edge.is_down
        identifies_rows = identifies_rows or (not edge.is_outer and tree.is_enforced(edge.far_field, edge.field))
        if not edge.is_single or not identifies_rows or not tree.only_adds_columns(alias, edge.far):
            continue
        if not field_traits.loads_like_django(edge.field) or not columns.share_tokens(
            edge.field, edge.far_field, vendor
        ):
            # Values in the result's rows have other tokens than those that writes have.
            continue
        for position, item in enumerate(walk.compiler.select):
            if type(item[0]) is Col and (item[0].alias, str(item[0].target.column)) in identifying_columns:
                return Source(column, edge.field, position), tree.affects_order(alias, edge.far)
    return None
