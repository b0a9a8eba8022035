"""Make row-level dependencies: on the joined rows in a result instead of on the whole joined table.

That is possible for tables that only add columns to a query's rows, as those of ``select_related`` do.  A joined row
can't change which other rows are in the result if the join is an outer join, or follows a foreign key that the database
enforces, and if no condition reads the row.  Which rows were joined is known once the result is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from django.db.models import Field
from django.db.models.expressions import Col

from ..schema import INEXACT, NULL, Dependency, RowsByDependency, columns, field_traits
from ..utils import error_boundary
from .join_tree import JoinTree, yields_joined_rows
from .key_columns import MAX_KEYS, KeyColumns, Target, key_columns_of
from .query_walk import QueryWalk

# A result with more joined rows depends on the whole table, as each row is one more version to read on every hit.
MAX_ROWS = MAX_KEYS

# The selected keys, by the number in their targets; None for those that are unknown or too many.
Keys = Sequence["set[int] | None"]


class Source(NamedTuple):
    """`column` of a joined table, and the position in the result's rows of a value that equals it.

    `field` is the column's; it makes the tokens of the values.
    """

    column: str
    field: Field[Any, Any]
    position: int


class RowLevelDependency(NamedTuple):
    """A dependency on any row of a joined table, which dependencies on single rows can replace.

    `coarse` is the table-wide dependency; `sources` say where the result's rows have keys of the joined rows, `targets`
    which selected keys they have.  One that `excludes_slices` is valid only if the query is not sliced: the rows affect
    the order or the number of the result's rows, or their keys would take a slice longer than its own rows.
    """

    coarse: Dependency
    sources: tuple[Source, ...]
    excludes_slices: bool
    targets: tuple[Target, ...] = ()


def row_level_of(walk: QueryWalk, sql: str) -> tuple[tuple[RowLevelDependency, ...], KeyColumns | None]:
    """Return the row-level dependencies of a walked query, and the further columns that tell some of their keys.

    `sql` is its text.  Call `dependencies_of` first.
    """
    by_rows = _sources_of_rows(walk)
    any_row = {
        alias for alias, found in walk.dependencies_by_alias.items() if not any(each.conditions for each in found)
    }
    key_columns = key_columns_of(walk, sql, any_row - by_rows.keys())
    by_keys: dict[str, list[Target]] = {}
    for target in key_columns.targets if key_columns is not None else ():
        by_keys.setdefault(target.alias, []).append(target)
    found: dict[Dependency, RowLevelDependency] = {}
    table_wide = set(walk.other_dependencies)
    for alias, dependencies in walk.dependencies_by_alias.items():
        for each in dependencies:
            if alias in by_rows:
                source, excludes_slices = by_rows[alias]
                own = RowLevelDependency(each, (source,), excludes_slices)
            elif alias in by_keys and key_columns is not None:
                own = RowLevelDependency(each, (), not key_columns.is_indexed, tuple(by_keys[alias]))
            else:
                table_wide.add(each)
                continue
            found[each] = _combined(found[each], own) if each in found else own
    return tuple(each for coarse, each in found.items() if coarse not in table_wide), key_columns


def _combined(one: RowLevelDependency, other: RowLevelDependency) -> RowLevelDependency:
    """Return the dependency on the joined rows of both, which have the same table."""
    return RowLevelDependency(
        one.coarse,
        one.sources + other.sources,
        one.excludes_slices or other.excludes_slices,
        one.targets + other.targets,
    )


def _sources_of_rows(walk: QueryWalk) -> dict[str, tuple[Source, bool]]:
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


def usable_for(row_level: Sequence[RowLevelDependency], is_sliced: bool) -> Sequence[RowLevelDependency]:
    """Return the row-level dependencies that are valid for a query that is sliced or not."""
    return [each for each in row_level if not each.excludes_slices] if is_sliced else row_level


def resolve_rows(
    row_level: Iterable[RowLevelDependency], rows: Sequence[Any], vendor: str, keys: Keys | None = None
) -> RowsByDependency:
    """Return, by table-wide dependency, which joined rows a result of these rows depends on instead.

    `keys` are those that were selected besides, None if none were or no row came back.
    """
    return {each.coarse: _tokens_by_column(each, rows, vendor, keys) for each in row_level}


def _tokens_by_column(
    dependency: RowLevelDependency, rows: Sequence[Any], vendor: str, keys: Keys | None
) -> Mapping[str, set[str]] | None:
    """Return the tokens that identify the joined rows, None if the result must depend on the whole table."""
    found: dict[str, set[str]] = {}
    for target in dependency.targets:
        own = None if keys is None else keys[target.number]
        key_tokens = None if own is None else {columns.token(target.field, vendor, key) for key in own}
        if key_tokens is None or None in key_tokens:
            return None
        found.setdefault(target.column, set()).update(each for each in key_tokens if each is not None)
    for column, field, position in dependency.sources:
        try:
            values = {row[position] for row in rows}
        except Exception as error:
            error_boundary.reraise_interrupt(error)
            # Values of a custom field may not be hashable.
            return None
        tokens = {columns.token(field, vendor, value) for value in values}
        if any(token is None or token.startswith(INEXACT) for token in tokens):
            return None
        # NULL joins no row.
        found.setdefault(column, set()).update(token for token in tokens if token not in (None, NULL))
    return found if sum(map(len, found.values())) <= MAX_ROWS else None
