"""Find out how far a slice reaches: up to the value that its last row has in the column that sorts first.

If as many rows came back as the slice may have, a row that sorts after the last one decides nothing as long as it
stays there.  So the result is that of the query with one more condition, ``sort column <= last value`` (or ``>=``), and
has its dependencies.  While none of these rows changes, there are enough of them to fill the slice.  Rows with the last
value meet the condition, whatever sorts next.  So do rows with NULL, which may come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db.models import Field
from django.db.models.expressions import Col, OrderBy, Ref

from ..schema import Dependency, bound_values, field_traits, is_derived
from .query_walk import QueryWalk


class SliceBound(NamedTuple):
    """`column` of the table `alias` sorts a query first; the result's rows have it at `position`.

    `operator` compares it with the last value, for rows that may come before that.
    """

    alias: str
    column: str
    field: Field[Any, Any]
    position: int
    operator: str

    def restricts(self, dependency: Dependency) -> bool:
        """Return whether rows that meet the dependency may lie outside of the slice."""
        unique = {str(each.column) for each in self.field.model._meta.concrete_fields if each.unique}
        compared = {column for column, token in dependency.conditions if not is_derived(token)}
        return compared.isdisjoint(unique | {self.column})

    def condition(self, rows: Sequence[Any], size: int | None, vendor: str) -> tuple[str, str] | None:
        """Return the condition on rows that may be in a slice of `size`, or before it; None if any row may.

        `rows` are those of the result.
        """
        if not rows or len(rows) != size:
            return None
        token = bound_values.bound_token(self.field, vendor, self.operator, rows[-1][self.position])
        return None if token is None else (self.column, token)


def slice_bound_of(walk: QueryWalk) -> SliceBound | None:
    """Return by which column slices of the query are bounded, None if it is not certain that they are."""
    if not walk.order_by or not _yields_rows_of_tables(walk):
        return None
    first = walk.order_by[0][0]
    column: Any = first.expression if type(first) is OrderBy else None
    if isinstance(column, Ref):
        (column,) = column.get_source_expressions()
    if type(column) is not Col:
        return None
    alias, field = column.alias, column.target
    table: Any = walk.query.alias_map.get(alias)
    if alias not in walk.live_aliases or table.parent_alias is not None:
        return None
    vendor = walk.compiler.connection.vendor
    if not (field_traits.loads_like_django(field) and bound_values.is_supported(field, vendor)):
        return None
    for position, (selected, *_) in enumerate(walk.compiler.select):
        if type(selected) is Col and selected.alias == alias and selected.target is field:
            return SliceBound(alias, str(field.column), field, position, ">=" if first.descending else "<=")
    return None


def _yields_rows_of_tables(walk: QueryWalk) -> bool:
    """Return whether a condition on a row of the first table would only leave out that row."""
    query, compiler = walk.query, walk.compiler
    if query.combinator or query.distinct or walk.group_by is not None or walk.may_read_any_column:
        return False
    if compiler.having or compiler.qualify or walk.has_custom_sql or compiler.has_extra_select:
        return False
    expressions = [*(each[0] for each in compiler.select), *(each[0] for each in walk.order_by)]
    return not any(getattr(each, "contains_over_clause", False) for each in expressions)
