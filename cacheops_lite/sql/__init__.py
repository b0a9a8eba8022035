"""What is known from the text of SQL: whether a statement writes, commits or pins a snapshot, which tables it names;
and SELECTs that are composed once per model and column.

Not here: Django's Query objects (`query`) and the wrapper that sees statements (`orm.execute_wrapper`).
"""

from .opaque_sql import COLUMN, is_composed_by_django, is_plain_column, may_read_tables, tables_in, tables_named_in
from .prepared_select import KEYS, NotPreparable, Prepared, prepared_row, rows_of
from .statement_classifier import (
    Write,
    asks_for_snapshot,
    begins,
    defines_shared_rows,
    is_bound,
    is_of_one_transaction,
    is_over_at_once,
    keeps_what_it_did,
    may_commit,
    may_write,
    may_write_anything,
    mentioned,
    names_by_with,
    only_reads,
    parse,
    parts,
    strangers,
    tables_read,
    temporary_table,
    undoes,
    writes_rows,
)

__all__ = [
    "COLUMN",
    "KEYS",
    "NotPreparable",
    "Prepared",
    "Write",
    "asks_for_snapshot",
    "begins",
    "defines_shared_rows",
    "is_bound",
    "is_composed_by_django",
    "is_of_one_transaction",
    "is_over_at_once",
    "is_plain_column",
    "keeps_what_it_did",
    "may_commit",
    "may_read_tables",
    "may_write",
    "may_write_anything",
    "mentioned",
    "names_by_with",
    "only_reads",
    "parse",
    "parts",
    "prepared_row",
    "rows_of",
    "strangers",
    "tables_in",
    "tables_named_in",
    "tables_read",
    "temporary_table",
    "undoes",
    "writes_rows",
]
