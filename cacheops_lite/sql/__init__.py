"""The text of SQL: whether a statement writes (`statement_classifier`), commits or pins a snapshot
(`transaction_control`), and which tables it names (`table_names`, `opaque_sql`); and SELECTs that are composed once per
model and column (`prepared_select`).

Not here: Django's Query objects (`query`) and the wrapper that sees statements (`orm.execute_wrapper`).
"""

from .opaque_sql import (
    COLUMN_PATTERN,
    is_composed_by_django,
    is_plain_column,
    may_contain_query,
    quoted_tables,
    tables_in_opaque_sql,
)
from .prepared_select import KEY_TYPES, NotPreparable, PreparedSelect, prepare_row_select, select_rows
from .statement_classifier import (
    Write,
    created_temporary_table,
    is_complete_once_executed,
    is_single_row_write,
    keeps_partial_writes,
    may_define_view,
    may_write,
    may_write_any_table,
    only_reads,
    parse_write,
    tables_mentioned,
    writes_rows,
)
from .statement_text import split_statements
from .table_names import cte_names, tables_read, unknown_write_targets
from .transaction_control import (
    is_transaction_control,
    is_transaction_local,
    may_commit,
    may_pin_snapshot,
    may_roll_back,
    transaction_open_after,
)

__all__ = [
    "COLUMN_PATTERN",
    "KEY_TYPES",
    "NotPreparable",
    "PreparedSelect",
    "Write",
    "created_temporary_table",
    "cte_names",
    "is_complete_once_executed",
    "is_composed_by_django",
    "is_plain_column",
    "is_single_row_write",
    "is_transaction_control",
    "is_transaction_local",
    "keeps_partial_writes",
    "may_commit",
    "may_contain_query",
    "may_define_view",
    "may_pin_snapshot",
    "may_roll_back",
    "may_write",
    "may_write_any_table",
    "only_reads",
    "parse_write",
    "prepare_row_select",
    "quoted_tables",
    "select_rows",
    "split_statements",
    "tables_in_opaque_sql",
    "tables_mentioned",
    "tables_read",
    "transaction_open_after",
    "unknown_write_targets",
    "writes_rows",
]
