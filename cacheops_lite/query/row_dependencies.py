"""Tables that only add columns to the rows of a query, as those of ``select_related`` do: what a result rests on in
them is known once it is there, namely the rows that came back.

A joined row can't change which rows of the others are in the result, if it is joined by an outer join, or by a foreign
key that its database enforces, and if no condition looks at it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from django.db.models import Field, ForeignKey
from django.db.models.expressions import Col
from django.db.models.sql.constants import LOUTER

from ..schema import INEXACT, NULL, Dependency, RowsByDependency, columns, field_traits, overrides
from ..utils import error_boundary
from .read_set import QueryWalk

# For tests that see no difference.
ENABLED = True

# Of more rows a result rests on the whole table: each is a key to look at on every hit.
MAX_ROWS = 50


class Source(NamedTuple):
    """A column of a joined table, and where in rows of the result stands what it equals; `field` makes its tokens."""

    column: str
    field: Field[Any, Any]
    position: int


class RowLevelDependency(NamedTuple):
    """`coarse`, on any row of a joined table, can be narrowed to the rows that `sources` tell.

    Where the table has a say in the order or number of rows, it `sorts`, only if the result is not cut off.
    """

    coarse: Dependency
    sources: tuple[Source, ...]
    sorts: bool


def row_level_of(walk: QueryWalk) -> tuple[RowLevelDependency, ...]:
    """The dependencies of a walked query that can be narrowed, given that `dependencies_of` it was asked for."""
    if not _only_rows(walk):
        return ()
    tree = Tree(walk)
    sources: dict[Dependency, list[Source]] = {}
    sorts: set[Dependency] = set()
    fixed = set(walk.others)
    for alias, dependencies in walk.by_alias.items():
        found = None if any(each.conditions for each in dependencies) else _source(walk, tree, alias)
        for each in dependencies:
            if found is None:
                fixed.add(each)
            else:
                source, has_a_say = found
                sources.setdefault(each, []).append(source)
                if has_a_say:
                    sorts.add(each)
    return tuple(
        RowLevelDependency(coarse, tuple(found), coarse in sorts)
        for coarse, found in sources.items()
        if coarse not in fixed
    )


def usable(row_level: Sequence[RowLevelDependency], is_sliced: bool) -> Sequence[RowLevelDependency]:
    """Those that hold for a query that is sliced or not."""
    if not ENABLED:
        return ()
    return [each for each in row_level if not each.sorts] if is_sliced else row_level


def narrow(row_level: Iterable[RowLevelDependency], rows: Sequence[Any], vendor: str) -> RowsByDependency:
    """What a result of these rows rests on."""
    return {narrowing.coarse: _tokens(narrowing, rows, vendor) for narrowing in row_level}


def _tokens(narrowing: RowLevelDependency, rows: Sequence[Any], vendor: str) -> Mapping[str, set[str]] | None:
    found: dict[str, set[str]] = {}
    for column, field, position in narrowing.sources:
        try:
            values = {row[position] for row in rows}
        except Exception as error:
            error_boundary.reraise_interrupt(error)
            # A field of somebody else's may yield what has no hash.
            return None
        tokens = {columns.token(field, vendor, value) for value in values}
        if any(token is None or token.startswith(INEXACT) for token in tokens):
            return None
        # NULL joins nothing.
        found.setdefault(column, set()).update(token for token in tokens if token not in (None, NULL))
    return found if sum(map(len, found.values())) <= MAX_ROWS else None


def _only_rows(walk: QueryWalk) -> bool:
    """The query yields its tables' joined rows as they are, and no inner join takes away what an outer one leaves."""
    if walk.query.distinct or walk.group_by is not None or walk.opaque:
        return False
    if not all(overrides.joins_by_columns(walk.query.alias_map[alias]) for alias in walk.live):
        return False
    return all(_is_outer(walk, alias) or not _hangs_on_outer(walk, alias) for alias in walk.live)


def _is_outer(walk: QueryWalk, alias: str) -> bool:
    return walk.query.alias_map[alias].join_type == LOUTER


def _hangs_on_outer(walk: QueryWalk, alias: str) -> bool:
    parent: Any = walk.query.alias_map[alias].parent_alias
    return parent is not None and (_is_outer(walk, parent) or _hangs_on_outer(walk, parent))


class Edge(NamedTuple):
    """A join as seen from one of its two ends: `field` there equals `far_field` of the alias `far`.

    `is_down` tells that `far` was joined to this end, and not the other way round; `is_single` that one column is.
    """

    far: str
    field: Field[Any, Any]
    far_field: Field[Any, Any]
    is_down: bool
    is_outer: bool
    is_single: bool


class Tree:
    """The joined tables of a query, and what each has a say in."""

    def __init__(self, walk: QueryWalk):
        self._enforces = walk.compiler.connection.features.supports_foreign_keys
        self.edges: dict[str, list[Edge]] = {alias: [] for alias in walk.live}
        for alias in walk.live:
            join: Any = walk.query.alias_map[alias]
            if join.parent_alias is None:
                continue
            (near, far), *more = join.join_field.get_joining_fields()
            is_outer, is_single = join.join_type == LOUTER, not more
            self.edges[join.parent_alias].append(Edge(alias, near, far, True, is_outer, is_single))
            self.edges[alias].append(Edge(join.parent_alias, far, near, False, is_outer, is_single))
        compiler = walk.compiler
        looked_at = [compiler.where, compiler.having, compiler.qualify]
        looked_at += [item[0] for item in compiler.select if type(item[0]) is not Col]
        # Conditions and expressions look at these, or inner queries do.
        self._bound = walk.bound | set(_aliases_in(walk, looked_at))
        self._sorting = set(_aliases_in(walk, [item[0] for item in walk.order_by]))

    def only_adds(self, alias: str, origin: str) -> bool:
        """Whatever `alias` and all that hangs on it beyond `origin` hold, each row of the rest is in the result."""
        return alias not in self._bound and all(
            self._keeps_rows(edge) and self.only_adds(edge.far, alias)
            for edge in self.edges[alias]
            if edge.far != origin
        )

    def has_a_say(self, alias: str, origin: str) -> bool:
        """`alias`, or what hangs on it, decides on the order of rows or how many there are."""
        return alias in self._sorting or any(
            self.has_a_say(edge.far, alias) if edge.far != origin else self._multiplies(edge)
            for edge in self.edges[alias]
        )

    def is_enforced(self, key: Any, field: Any) -> bool:
        """`key` is a foreign key to `field`, and its database sees to it that the row is there."""
        if not isinstance(key, ForeignKey) or key.target_field is not field or not key.model._meta.managed:
            return False
        has_constraint: bool = key.db_constraint  # type: ignore[attr-defined]
        return has_constraint and self._enforces

    def _keeps_rows(self, edge: Edge) -> bool:
        if edge.is_outer:
            return edge.is_down
        return edge.is_single and self.is_enforced(edge.field, edge.far_field) and not edge.field.null

    @staticmethod
    def _multiplies(edge: Edge) -> bool:
        return edge.is_outer and not edge.field.unique


def _aliases_in(walk: QueryWalk, expressions: Iterable[Any]) -> Iterable[str]:
    looked = QueryWalk(walk.compiler)
    for expression in expressions:
        if expression is not None:
            looked.note(expression)
    return looked.columns


def _source(walk: QueryWalk, tree: Tree, alias: str) -> tuple[Source, bool] | None:
    """Where rows say which rows of `alias` they are joined with, and whether these have a say in the order of rows;
    None if `alias` does more than add columns, or if that can't be told."""
    vendor = walk.compiler.connection.vendor
    for edge in tree.edges[alias]:
        column, far = str(edge.field.column), (edge.far, str(edge.far_field.column))
        places = {far}
        if not edge.is_outer:
            # Of an outer join's own column NULL is seen where there is no row yet.
            places.add((alias, column))
        is_way = edge.is_outer and not edge.is_down
        is_way = is_way or (not edge.is_outer and tree.is_enforced(edge.far_field, edge.field))
        if not edge.is_single or not is_way or not tree.only_adds(alias, edge.far):
            continue
        if not field_traits.loads_like_django(edge.field) or not columns.share_tokens(
            edge.field, edge.far_field, vendor
        ):
            # Rows tell other keys than writes do.
            continue
        for position, item in enumerate(walk.compiler.select):
            if type(item[0]) is Col and (item[0].alias, str(item[0].target.column)) in places:
                return Source(column, edge.field, position), tree.has_a_say(alias, edge.far)
    return None
