"""What is known of models, columns and values: which models are tracked, how a column's values compare (tokens),
conditions on columns, the database's own catalog, views and stored values.

Not here: SQL text (`sql`), queries (`query`), writes (`writes`).
"""

from . import columns, database_views, stored_values, tokens
from .columns import (
    INTEGERS,
    TEXTS,
    are_alike,
    compares_by,
    is_django_s,
    is_django_s_join,
    is_django_s_query,
    is_ours_to_read,
    is_shown_as_stored,
    target_of,
    tokenizer,
)
from .database_catalog import plain_name
from .database_columns import Column, columns_of
from .database_views import all_behind, are_known, is_followed, is_table, texts_behind
from .field_values import Entry, StoredEntry, put, stored_keys
from .predicates import ANY, NONE, Condition, Conjunction, Dependency, Formula, RowsByDependency, all_of, any_of, one_of
from .tokens import LOOSE, NULL, ODD, Tokenizer, name, plain, text
from .tracked_models import deleted_along, is_watched, known_tables, watched_columns, watched_models

__all__ = [
    "ANY",
    "INTEGERS",
    "LOOSE",
    "NONE",
    "NULL",
    "ODD",
    "TEXTS",
    "Column",
    "Condition",
    "Conjunction",
    "Dependency",
    "Entry",
    "Formula",
    "RowsByDependency",
    "StoredEntry",
    "Tokenizer",
    "all_behind",
    "all_of",
    "any_of",
    "are_alike",
    "are_known",
    "columns",
    "columns_of",
    "compares_by",
    "database_views",
    "deleted_along",
    "is_django_s",
    "is_django_s_join",
    "is_django_s_query",
    "is_followed",
    "is_ours_to_read",
    "is_shown_as_stored",
    "is_table",
    "is_watched",
    "known_tables",
    "name",
    "one_of",
    "plain",
    "plain_name",
    "put",
    "stored_keys",
    "stored_values",
    "target_of",
    "text",
    "texts_behind",
    "tokenizer",
    "tokens",
    "watched_columns",
    "watched_models",
]
