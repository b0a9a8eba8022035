"""Expressions and lookups as applications write them: with their own SQL, which names columns and tables."""

from __future__ import annotations

from django.db.models import Expression, Func, IntegerField, Lookup


class Plus(Func):
    """Add a number that is part of the template, not a parameter."""

    template = "(%(expressions)s + %(by)s)"

    def __init__(self, expression, by, **extra):
        super().__init__(expression, by=by, output_field=IntegerField(), **extra)


class Unsaid(Expression):
    """Read a column that only the SQL names, and add a number that is not a constructor argument of `Expression`."""

    def __init__(self, by):
        super().__init__(output_field=IntegerField())
        self._by = by

    def as_sql(self, compiler, connection):
        return f"(rich_item.number + {self._by})", []


class ItemsOf(Func):
    """Count rows of another table."""

    template = "(SELECT COUNT(*) FROM rich_item WHERE rich_item.owner_id = %(expressions)s AND number = %(number)s)"
    output_field = IntegerField()


class Loud(Lookup):
    """Compare texts case-insensitively."""

    def as_sql(self, compiler, connection):
        (left, left_params), (right, right_params) = (
            self.process_lhs(compiler, connection),
            self.process_rhs(compiler, connection),
        )
        return f"UPPER({left}) = UPPER({right})", [*left_params, *right_params]


class Tagged(Lookup):
    """Test whether an item has a tag; only the SQL names the tables of tags."""

    def as_sql(self, compiler, connection):
        left, params = self.process_lhs(compiler, connection)
        right, right_params = self.process_rhs(compiler, connection)
        tags = "rich_item_tags AS link JOIN rich_tag AS tag ON tag.id = link.tag_id"
        return f"EXISTS (SELECT 1 FROM {tags} WHERE link.item_id = {left} AND tag.word = {right})", [
            *params,
            *right_params,
        ]

    def get_prep_lookup(self):
        return self.rhs
