"""Find out which of a query's conditions reach other tables, and compose the subqueries that select the keys."""

from __future__ import annotations

from collections.abc import Hashable, Sequence, Set
from typing import Any

from django.db.models.expressions import Col
from django.db.models.lookups import Exact, In
from django.db.models.signals import class_prepared
from django.db.models.sql.query import Query
from django.db.models.sql.where import AND

from ..conf import on_change
from ..schema import columns, field_traits, overrides
from ..utils import LruMap
from .join_tree import JoinTree, is_below_outer, is_outer
from .key_columns import ALIAS, MAX_KEYS, KeyColumns, Subquery, Target, conditions_sql
from .query_walk import QueryWalk

# How the keys of a subquery become one text, each key with a dot after it, and their number before.  MySQL and
# MariaDB cut a text at group_concat_max_len: then the number is another one.  No semicolons: the statement guard takes
# what is behind one as a further statement.
JOINED = {
    "sqlite": "COUNT(*) || ':' || COALESCE(GROUP_CONCAT(k || '.', ''), '')",
    "postgresql": "COUNT(*)::text || ':' || COALESCE(STRING_AGG(k::text || '.', ''), '')",
    "mysql": "CONCAT(COUNT(*), ':', COALESCE(GROUP_CONCAT(k, '.' SEPARATOR ''), ''))",
}


# By what they follow from.  Queries without a plan, as those with inner queries, are analysed by each hit.
_known: LruMap[Hashable, tuple[KeyColumns | None]] = LruMap(500)


def key_columns_of(walk: QueryWalk, sql: str, wanted: Set[str]) -> KeyColumns | None:
    """Return the columns that tell which rows of the aliases `wanted` matter; None if there are none to add.

    `sql` is the query's text.  Call `dependencies_of` first.
    """
    joined = JOINED.get(walk.compiler.connection.vendor)
    if not wanted or joined is None or not _is_plain(walk):
        return None
    aliases = walk.query.alias_map
    joins = tuple((alias, id(getattr(aliases[alias], "join_field", None))) for alias in sorted(walk.live_aliases))
    flags = walk.has_custom_sql, bool(walk.aliases_in_inner_queries)
    key = sql, walk.compiler.using, walk.query.model, frozenset(wanted), joins, flags
    found = _known.get(key)
    if found is None:
        found = (_find(walk, sql, wanted, joined),)
        _known.put(key, found)
    return found[0]


def _find(walk: QueryWalk, sql: str, wanted: Set[str], joined: str) -> KeyColumns | None:
    compiler = walk.compiler
    beginning = _beginning(walk, sql)
    if beginning is None:
        return None
    best: tuple[Any, KeyColumns | None] = ((), None)
    tree = JoinTree(walk)
    for source, positions in _sources(walk).items():
        targets, subqueries = _targets(walk, tree, source, positions, wanted, joined)
        conditions = conditions_sql(compiler, walk.query, source, positions)
        if not targets or conditions is None:
            continue
        found = KeyColumns(
            vendor=compiler.connection.vendor,
            source=source,
            conditions=positions,
            where_sql=conditions[0],
            subqueries=subqueries,
            beginning=beginning[0],
            offset=beginning[1],
            targets=targets,
            is_indexed=any(_is_by_index(walk.query.where.children[i]) for i in positions),
        )
        # A table that refers to the source has as many keys as the source has rows; the other way there may be more.
        score = (len(targets), sum(not each.field.unique for each in targets), found.is_indexed)
        if score > best[0]:
            best = score, found
    return best[1]


def _beginning(walk: QueryWalk, sql: str) -> tuple[str, int] | None:
    """Return the SQL as far as its FROM clause, and the length of what is before that."""
    tables, params = walk.from_clause
    text = f" FROM {' '.join(tables)}"
    if not tables or params or sql.count(text) != 1:
        return None
    offset = sql.index(text)
    return sql[: offset + len(text)], offset


def _is_plain(walk: QueryWalk) -> bool:
    """Return whether the rows of the joined tables are combined by equal columns, and by nothing else."""
    query = walk.query
    if query.combinator or walk.may_read_any_column or walk.compiler.has_extra_select or walk.compiler.qualify:
        return False
    if walk.compiler.where is not query.where or query.where.connector != AND or query.where.negated:
        return False
    return all(overrides.joins_by_columns(query.alias_map[alias]) for alias in walk.live_aliases)


def _sources(walk: QueryWalk) -> dict[str, tuple[int, ...]]:
    """Return by alias the positions of the conditions that read no other alias, if its rows are never missing."""
    found: dict[str, tuple[int, ...]] = {}
    for position, child in enumerate(walk.query.where.children):
        notes = QueryWalk(walk.compiler)
        notes.note(child)
        if len(notes.columns) != 1 or notes.has_custom_sql or notes.may_read_any_column:
            continue
        if notes.inner_queries and not _is_independent(walk, child):
            continue
        (alias,) = notes.columns
        if alias in walk.live_aliases and not is_outer(walk, alias) and not is_below_outer(walk, alias):
            found[alias] = (*found.get(alias, ()), position)
    return found


def _is_independent(walk: QueryWalk, condition: Any) -> bool:
    """Return whether this is ``column IN (inner query)``, and the inner query yields the same rows each time."""
    if not isinstance(condition, In) or not overrides.is_django_lookup(type(condition)):
        return False
    inner = condition.rhs
    is_known = type(condition.lhs) is Col and type(inner) is Query and not (inner.is_sliced or inner.combinator)
    return is_known and not walk.aliases_in_inner_queries and not walk.has_custom_sql


def _inner_target(walk: QueryWalk, source: str, position: int, number: int) -> tuple[Target, str, str] | None:
    """Return the rows of `source` that the inner query of a condition selects; the table and column that it selects."""
    condition = walk.query.where.children[position]
    if not isinstance(condition, In) or type(condition.rhs) is not Query or condition.lhs.alias != source:
        return None
    selected, own = condition.rhs.select, condition.lhs.target
    if len(selected) != 1 or type(selected[0]) is not Col or condition.rhs.annotation_select:
        return None
    if not _are_alike(walk, own, selected[0].target):
        return None
    table = condition.rhs.alias_map[selected[0].alias].table_name
    return Target(source, str(own.column), own, number), table, str(selected[0].target.column)


def _is_by_index(condition: Any) -> bool:
    if not isinstance(condition, (Exact, In)) or not overrides.is_django_lookup(type(condition)):
        return False
    if isinstance(condition.rhs, Query):
        return False
    target = getattr(condition.lhs, "target", None)
    return target is not None and (target.unique or target.db_index)


def _targets(
    walk: QueryWalk, tree: JoinTree, source: str, positions: Sequence[int], wanted: Set[str], joined: str
) -> tuple[list[Target], list[Subquery]]:
    """Return the aliases in `wanted` that joins lead to from `source`, and the parts of the subqueries for their keys.

    `positions` are those of the conditions on the source.
    """
    quote = walk.compiler.connection.ops.quote_name
    tables = {alias: walk.query.alias_map[alias].table_name for alias in walk.live_aliases}
    targets: list[Target] = []
    subqueries: list[Subquery] = []
    numbers: dict[str, int] = {}
    limit = f"IS NOT NULL LIMIT {MAX_KEYS + 1}) {quote(ALIAS + 'keys')}"

    # A source is below no outer join, so that one leads from it only to rows that are joined, or missing.
    def visit(alias: str, origin: str, joins: str) -> None:
        for edge in tree.edges[alias]:
            if edge.far == origin or not edge.is_single:
                continue
            own = f"{quote(ALIAS + alias)}.{quote(edge.field.column)}"
            if edge.far in wanted and _are_alike(walk, edge.field, edge.far_field):
                before = f"SELECT {joined} FROM (SELECT DISTINCT {own} AS k FROM {joins} WHERE "  # noqa: S608
                if before not in numbers:
                    numbers[before] = len(subqueries)
                    subqueries.append(Subquery(before, f" AND {own} {limit}"))
                column = str(edge.far_field.column)
                targets.append(Target(edge.far, column, edge.far_field, numbers[before]))
            far = quote(ALIAS + edge.far)
            equal = f"{own} = {far}.{quote(edge.far_field.column)}"
            visit(edge.far, alias, f"{joins} INNER JOIN {quote(tables[edge.far])} {far} ON ({equal})")

    visit(source, "", f"{quote(tables[source])} {quote(ALIAS + source)}")
    for position in positions if source in wanted else ():
        found = _inner_target(walk, source, position, len(subqueries))
        if found is not None:
            targets.append(found[0])
            # All that it yields is in the column that it selects.  Which name this has outside of it is not certain.
            table, column = f"{quote(found[1])} {quote(ALIAS + 'inner')}", f"{quote(ALIAS + 'inner')}.{quote(found[2])}"
            before = f"SELECT {joined} FROM (SELECT DISTINCT {column} AS k FROM {table} WHERE {column} IN "  # noqa: S608
            subqueries.append(Subquery(before, f" AND {column} {limit}", position))
            break
    return targets, subqueries


def _are_alike(walk: QueryWalk, one: Any, other: Any) -> bool:
    """Return whether both columns are integers, whose texts and tokens are certain."""
    vendor = walk.compiler.connection.vendor
    are_integers = all(columns.is_integer(each, vendor) for each in (one, other))
    return (
        are_integers
        and all(map(field_traits.loads_like_django, (one, other)))
        and columns.share_tokens(one, other, vendor)
    )


def _forget(*args: Any, **kwargs: Any) -> None:
    _known.clear()


on_change(_forget)
class_prepared.connect(_forget, dispatch_uid="cacheops_lite.query.key_sources")
