"""Make row-level dependencies: on the joined rows in a result instead of on the whole joined table.

That is possible for tables that only add columns to a query's rows, as those of ``select_related`` do.  A joined row
can't change which other rows are in the result if the join is an outer join, or follows a foreign key that the database
enforces, and if no condition reads the row.  Which rows were joined is known once the result is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from django.db.models.base import ModelBase

from ..schema import (
    INEXACT,
    NULL,
    Conditions,
    Dependency,
    RowsByDependency,
    RowTokens,
    columns,
    is_derived,
    json_keys,
)
from ..utils import error_boundary
from .key_columns import MAX_KEYS, KeyColumns, Target
from .key_sources import key_columns_of
from .query_walk import QueryWalk
from .row_sources import Source, sources_of_rows
from .slice_bound import SliceBound, slice_bound_of

# A result with more joined rows depends on the whole table, as each row is one more version to read on every hit.
MAX_ROWS = MAX_KEYS

# The selected keys, by the number in their targets; None for those that are unknown or too many.
Keys = Sequence["set[int] | None"]


class Narrowed(NamedTuple):
    """A dependency on any row, or on rows that meet conditions; only those with a key of `target` matter.

    `name` is what it is in a plan, which has placeholders instead of tokens.
    """

    dependency: Dependency
    target: Target
    name: Dependency


class Bounded(NamedTuple):
    """A dependency of a slice on any row, or on rows that meet conditions; only those matter that it may reach.

    `name` is as in `Narrowed`.
    """

    dependency: Dependency
    bound: SliceBound
    name: Dependency


class RowLevelDependency(NamedTuple):
    """A dependency on any row of a joined table, which dependencies on single rows can replace.

    `coarse` is the table-wide dependency; `sources` say where the result's rows have keys of the joined rows,
    `narrowed` which dependencies the selected keys narrow, `bounded` which the last row of a slice bounds.  One that
    `excludes_slices` is valid only if the query is not sliced: the rows affect the order or the number of the result's
    rows, or their keys may take longer than it.
    """

    coarse: Dependency
    sources: tuple[Source, ...]
    excludes_slices: bool
    narrowed: tuple[Narrowed, ...] = ()
    bounded: tuple[Bounded, ...] = ()

    @property
    def parts(self) -> list[Narrowed | Bounded]:
        """What is narrowed or bounded."""
        return [*self.narrowed, *self.bounded]


def row_level_of(
    walk: QueryWalk, sql: str, is_limited: bool = False
) -> tuple[tuple[RowLevelDependency, ...], KeyColumns | None]:
    """Return the row-level dependencies of a walked query, and the further columns that tell some of their keys.

    `sql` is its text; if it `is_limited`, it is that of slices with an end.  Call `dependencies_of` first.
    """
    bound = slice_bound_of(walk) if is_limited else None
    by_rows: dict[str, tuple[Source, bool]] = {}
    key_columns = None
    if len(walk.live_aliases) > 1 or walk.inner_queries:
        by_rows = sources_of_rows(walk)
        # Without keys a result depends on more, but can be cached.
        key_columns = error_boundary.call_or_default(
            "The keys of a query can't be selected",
            lambda: key_columns_of(walk, sql, _aliases_to_narrow(walk) - by_rows.keys()),
            None,
        )
    elif bound is None:
        return (), None
    if is_limited:
        by_rows = {alias: found for alias, found in by_rows.items() if not found[1]}
        key_columns = key_columns if key_columns is not None and key_columns.is_indexed else None
    targets = {target.alias: target for target in key_columns.targets} if key_columns is not None else {}
    found: list[RowLevelDependency] = []
    others = set(walk.other_dependencies)
    for alias, dependencies in walk.dependencies_by_alias.items():
        for each in dependencies:
            if alias in by_rows:
                source, excludes_slices = by_rows[alias]
                found.append(RowLevelDependency(each, (source,), excludes_slices))
            elif alias in targets and key_columns is not None:
                coarse = each._replace(conditions=())
                own = Narrowed(each, targets[alias], each)
                found.append(RowLevelDependency(coarse, (), not key_columns.is_indexed, (own,)))
            elif bound is not None and bound.alias == alias and bound.restricts(each):
                coarse = each._replace(conditions=())
                found.append(RowLevelDependency(coarse, (), False, bounded=(Bounded(each, bound, each),)))
            else:
                others.add(each)
    return combined(each for each in found if others.isdisjoint(_replaced(each))), key_columns


def _aliases_to_narrow(walk: QueryWalk) -> set[str]:
    """Return the aliases whose conditions, if they have any, may be met by many rows."""
    found = set()
    for alias, dependencies in walk.dependencies_by_alias.items():
        model = _model_of(walk, alias)
        fields = {} if model is None else {str(each.column): each for each in model._meta.concrete_fields}
        # A derived condition on a key, such as that it is not NULL, is met by many rows.
        own = [
            fields.get(json_keys.stored_column(column))
            for each in dependencies
            for column, token in each.conditions
            if not is_derived(token)
        ]
        if all(each is not None and not (each.unique or each.is_relation) for each in own):
            found.add(alias)
    return found


def _model_of(walk: QueryWalk, alias: str) -> Any:
    """Return the model of the rows of `alias`, None if it is not known, as of a common table expression."""
    join: Any = walk.query.alias_map[alias]
    model = walk.query.model if join.parent_alias is None else getattr(join.join_field, "related_model", None)
    return model if isinstance(model, ModelBase) else None


def _replaced(row_level: RowLevelDependency) -> set[Dependency]:
    """Return the dependencies that a result does not have besides the row-level one."""
    return {row_level.coarse, *(each.name for each in row_level.parts)}


def combined(row_level: Iterable[RowLevelDependency]) -> tuple[RowLevelDependency, ...]:
    """Return the row-level dependencies with those of the same coarse one joined."""
    found: dict[Dependency, RowLevelDependency] = {}
    for each in row_level:
        own = found.get(each.coarse)
        found[each.coarse] = (
            each
            if own is None
            else RowLevelDependency(
                each.coarse,
                own.sources + each.sources,
                own.excludes_slices or each.excludes_slices,
                own.narrowed + each.narrowed,
                own.bounded + each.bounded,
            )
        )
    return tuple(found.values())


def narrow(dependencies: Mapping[Dependency, Dependency], row_level: Iterable[RowLevelDependency]) -> set[Dependency]:
    """Return what a result with these row-level dependencies depends on: their coarse ones, and all others.

    `dependencies` are all, by what they are in a plan.
    """
    usable = list(row_level)
    replaced: set[Dependency] = set().union(*map(_replaced, usable))
    return {each for name, each in dependencies.items() if name not in replaced} | {each.coarse for each in usable}


def with_tokens(
    row_level: Iterable[RowLevelDependency], dependencies: Mapping[Dependency, Dependency]
) -> tuple[RowLevelDependency, ...]:
    """Return a plan's row-level dependencies with tokens instead of placeholders."""
    return tuple(
        each._replace(
            narrowed=tuple(own._replace(dependency=dependencies[own.name]) for own in each.narrowed),
            bounded=tuple(own._replace(dependency=dependencies[own.name]) for own in each.bounded),
        )
        for each in row_level
    )


def without_rows(dependencies: Iterable[Dependency], row_level: Iterable[RowLevelDependency]) -> set[Dependency]:
    """Return what a result with these dependencies depends on if no row-level one has room: what they replace."""
    found = set(dependencies)
    for each in row_level:
        own = {part.dependency for part in each.parts}
        if own and not each.sources:
            found.discard(each.coarse)
        found |= own
    return found


def usable_for(row_level: Sequence[RowLevelDependency], is_sliced: bool) -> Sequence[RowLevelDependency]:
    """Return the row-level dependencies that are valid for a query that is sliced or not."""
    return [each for each in row_level if not each.excludes_slices] if is_sliced else row_level


def resolve_rows(
    row_level: Iterable[RowLevelDependency],
    rows: Sequence[Any],
    vendor: str,
    keys: Keys | None = None,
    size: int | None = None,
) -> RowsByDependency:
    """Return, by table-wide dependency, which rows a result of these rows depends on instead.

    `keys` are those that were selected besides, None if none were or no row came back; `size` is the number of rows
    that the query may have, None if it is not limited.
    """
    return {each.coarse: _row_tokens(each, rows, vendor, keys, size) for each in row_level}


def _row_tokens(
    dependency: RowLevelDependency, rows: Sequence[Any], vendor: str, keys: Keys | None, size: int | None
) -> RowTokens | None:
    """Return the tokens that identify the rows that matter, None if the result must depend on the whole table."""
    by_rows = _tokens_in_rows(dependency.sources, rows, vendor)
    if by_rows is None:
        return None
    found = _tokens_of_keys(dependency.narrowed, vendor, keys)
    if found is None or _number_of(found) + _number_of(by_rows) > MAX_ROWS:
        found = {}
        for each in dependency.narrowed:
            if not each.dependency.conditions:
                return None
            found[each.dependency.conditions, ""] = {""}
    for own, bound, _ in dependency.bounded:
        condition = bound.condition(rows, size, vendor)
        conditions = own.conditions if condition is None else tuple(sorted((*own.conditions, condition)))
        if not conditions:
            return None
        found[conditions, ""] = {""}
    for name, tokens in by_rows.items():
        found.setdefault(name, set()).update(tokens)
    return found if _number_of(found) <= MAX_ROWS else None


def _number_of(found: RowTokens) -> int:
    return sum(map(len, found.values()))


def _tokens_of_keys(
    narrowed: Iterable[Narrowed], vendor: str, keys: Keys | None
) -> dict[tuple[Conditions, str], set[str]] | None:
    found: dict[tuple[Conditions, str], set[str]] = {}
    for dependency, target, _ in narrowed:
        own = None if keys is None else keys[target.number]
        if own is None:
            return None
        for key in own:
            token = columns.token(target.field, vendor, key)
            if token is None:
                return None
            found.setdefault((dependency.conditions, target.column), set()).add(token)
    return found


def _tokens_in_rows(
    sources: Iterable[Source], rows: Sequence[Any], vendor: str
) -> dict[tuple[Conditions, str], set[str]] | None:
    found: dict[tuple[Conditions, str], set[str]] = {}
    for column, field, position in sources:
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
        found.setdefault(((), column), set()).update(token for token in tokens if token not in (None, NULL))
    return found
