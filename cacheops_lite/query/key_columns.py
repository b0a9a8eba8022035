"""Select, beside a query's own columns, the keys by which its conditions reach other tables.

``Post.objects.filter(author__city="Rome")`` depends on the authors in Rome and, of the posts, only on theirs.  Which
authors these are the result does not tell: some may have no post yet.  So its SELECT gets one more column, a subquery
that has the same value in each row: the keys of all authors in Rome.  It reads what the query reads anyway, in the same
statement and so in the same snapshot.  If no row comes back, the keys stay unknown.

Let S be a joined table with conditions of its own, and let joins lead from S to A1, A2 ...  K1 are the values of the
column by which A1 is joined, in the rows of S that meet the conditions; K2 those of the column by which A2 is joined,
in the rows of A1 that have a key in K1; and so on.  Only rows of An with a key in Kn can be in the result.  Kn changes
only if a row of S or of A1 ... An-1 changes that one of their own dependencies describes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db.models import Field
from django.db.models.lookups import In

# A result with more keys depends on the whole table, as each key is one more version to read on every hit.
MAX_KEYS = 50
# Once there were more, so many misses of the plan in this process do not ask for them.
MISSES_WITHOUT_KEYS = 100
# Aliases of the tables within the subqueries begin so.
ALIAS = "cacheops_"


class Target(NamedTuple):
    """A joined table that matters only in rows whose `column` has one of the keys that the subquery `number` yields."""

    alias: str
    column: str
    field: Field[Any, Any]
    number: int


class Subquery(NamedTuple):
    """The text of a column before and after the conditions on the source.

    If `position` is given, the inner query of the condition there is in place of those.
    """

    before: str
    after: str
    position: int | None = None


@dataclass(slots=True)
class KeyColumns:
    """The further columns of one query: the same subquery for each, but for its column and the joins that lead to it.

    `conditions` are positions among the children of the query's WHERE tree.  The columns are inserted after the first
    `offset` characters of the SQL.
    """

    vendor: str
    source: str
    conditions: tuple[int, ...]
    where_sql: str
    subqueries: list[Subquery]
    beginning: str
    offset: int
    targets: list[Target]
    # The source is found by an index, so that the subqueries cost little even if the query ends early.
    is_indexed: bool
    _misses_to_skip: float = field(default=0, init=False)

    def attach(self, compiler: Any, query: Any) -> Selection | None:
        """Let `compiler` select the keys as well; None if it can't, or if there were too many keys last time."""
        if self._misses_to_skip:
            self._misses_to_skip -= 1
            return None
        found = conditions_sql(compiler, query, self.source, self.conditions)
        if found is None or found[0] != self.where_sql:
            return None
        keys = ""
        own: list[Any] = []
        for before, after, position in self.subqueries:
            text_and_params = found if position is None else _inner_sql(compiler, query.where.children[position])
            if text_and_params is None:
                return None
            keys += f", ({before}{text_and_params[0]}{after})"
            own += text_and_params[1]
        as_sql = compiler.as_sql
        selection = Selection(self)

        def as_sql_with_keys(*args: Any, **kwargs: Any) -> tuple[str, tuple[Any, ...]]:
            sql, params = as_sql(*args, **kwargs)
            if not sql.startswith(self.beginning):
                return sql, tuple(params)
            selection.number = len(self.subqueries)
            head, tail = sql[: self.offset], sql[self.offset :]
            start = _number_of_placeholders(head)
            return head + keys + tail, (*params[:start], *own, *params[start:])

        compiler.as_sql = as_sql_with_keys
        return selection

    def skip(self) -> None:
        """Do not select the keys in the next misses, as there are too many or the database may have refused that."""
        self._misses_to_skip = MISSES_WITHOUT_KEYS

    def refuse(self) -> None:
        """Never select the keys again in this process, as the database refuses that."""
        self._misses_to_skip = math.inf


class Selection:
    """Takes the keys from the rows of one query.  It has a `number` of further columns, 0 until they are selected."""

    def __init__(self, key_columns: KeyColumns):
        self._key_columns = key_columns
        self.number = 0
        # By the number in targets; None for keys that are too many.  None as a whole while no row came back.
        self.keys: list[set[int] | None] | None = None

    def without_keys(self, row: Any) -> Any:
        """Return the query's own columns of a row, and keep the keys."""
        if not self.number:
            return row
        if self.keys is None:
            self.keys = [parse(each) for each in row[-self.number :]]
            if None in self.keys:
                self._key_columns.skip()
        return row[: -self.number]


def parse(text: Any) -> set[int] | None:
    """Return the keys in the text that a subquery yields; None if they are too many, or not all of them are there."""
    try:
        number, _, joined = (text if isinstance(text, str) else bytes(text).decode()).partition(":")
        keys = [int(each) for each in joined.split(".")[:-1]]
        is_complete = joined.endswith(".") == bool(keys) and len(keys) == int(number) <= MAX_KEYS
    except (TypeError, ValueError):
        return None
    return set(keys) if is_complete else None


def _inner_sql(compiler: Any, condition: Any) -> tuple[str, list[Any]] | None:
    """Return the inner query of a condition, in brackets, and its parameters; None if it has none."""
    if not isinstance(condition, In):
        return None
    condition = condition.relabeled_clone({})
    # This selects the column that the condition compares.
    compiler.compile(condition)
    text, params = condition.process_rhs(compiler, compiler.connection)
    return text, list(params)


def conditions_sql(compiler: Any, query: Any, source: str, positions: Sequence[int]) -> tuple[str, list[Any]] | None:
    """Return the conditions at these positions, on the table `source` within the subqueries."""
    children = query.where.children
    if positions and positions[-1] >= len(children):
        return None
    texts, params = [], []
    for position in positions:
        try:
            text, own = compiler.compile(children[position].relabeled_clone({source: ALIAS + source}))
        except FullResultSet:
            continue
        except EmptyResultSet:
            return None
        texts.append(f"({text})")
        params += own
    return (" AND ".join(texts), params) if texts else None


def _number_of_placeholders(sql: str) -> int:
    return sql.replace("%%", "").count("%s")
