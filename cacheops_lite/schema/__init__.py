"""Models, columns and values: which models are tracked (`tracked_models`), how values of a column compare (`columns`,
`tokens`), conditions on columns (`predicates`; ranges and patterns in `derived_conditions` and `derived_tokens`), the
database's own catalog with its views (`database_*`), and exact values (`stored_values`).

Not here: SQL text (`sql`), queries (`query`), writes (`writes`).
"""

from . import (
    bound_values,
    columns,
    database_views,
    derived_conditions,
    derived_tokens,
    field_traits,
    json_keys,
    overrides,
    stored_values,
    tokens,
)
from .columns import comparison_tokenizer, share_tokens, tokenizer
from .database_catalog import normalized_name
from .database_columns import Column, columns_of
from .database_identity import DatabaseIdentity, identity_of_database, is_in_memory, sqlite_path
from .database_views import base_tables_of, is_catalog_known, is_table, is_tracked_table, view_definitions
from .derived_conditions import MEETS_NULL, NOT_NULL, DerivedCondition, is_derived
from .derived_tokens import derived_token
from .field_traits import (
    INTEGER_TYPES,
    TEXT_TYPES,
    is_known_after_save,
    loads_like_django,
    passthrough_type,
    stores_like_django,
    target_of,
)
from .field_values import FieldPreparer, StoredFieldReader, add_prepared, keys_as_stored
from .overrides import is_django_join, is_django_method, is_django_query
from .predicates import (
    ANY,
    NONE,
    Condition,
    Conditions,
    Conjunction,
    Dependency,
    Formula,
    RowsByDependency,
    RowTokens,
    all_of,
    any_of,
    one_of,
)
from .tokens import INDETERMINATE, INEXACT, NULL, Tokenizer, name_in_keys, unwrap_memoryview
from .tokens import text as text_token
from .tracked_models import all_tracked_models, cascade_targets, is_tracked, known_tables, tracked_columns

__all__ = [
    "ANY",
    "INDETERMINATE",
    "INEXACT",
    "INTEGER_TYPES",
    "MEETS_NULL",
    "NONE",
    "NOT_NULL",
    "NULL",
    "TEXT_TYPES",
    "Column",
    "Condition",
    "Conditions",
    "Conjunction",
    "DatabaseIdentity",
    "Dependency",
    "DerivedCondition",
    "FieldPreparer",
    "Formula",
    "RowTokens",
    "RowsByDependency",
    "StoredFieldReader",
    "Tokenizer",
    "add_prepared",
    "all_of",
    "all_tracked_models",
    "any_of",
    "base_tables_of",
    "bound_values",
    "cascade_targets",
    "columns",
    "columns_of",
    "comparison_tokenizer",
    "database_views",
    "derived_conditions",
    "derived_token",
    "derived_tokens",
    "field_traits",
    "identity_of_database",
    "is_catalog_known",
    "is_derived",
    "is_django_join",
    "is_django_method",
    "is_django_query",
    "is_in_memory",
    "is_known_after_save",
    "is_table",
    "is_tracked",
    "is_tracked_table",
    "json_keys",
    "keys_as_stored",
    "known_tables",
    "loads_like_django",
    "name_in_keys",
    "normalized_name",
    "one_of",
    "overrides",
    "passthrough_type",
    "share_tokens",
    "sqlite_path",
    "stored_values",
    "stores_like_django",
    "target_of",
    "text_token",
    "tokenizer",
    "tokens",
    "tracked_columns",
    "unwrap_memoryview",
    "view_definitions",
]
