"""What a write changes, and when its invalidations are sent.

`instance_writes` describes saves, ``bulk_create()`` and deletes of instances, `queryset_writes` describes ``update()``
and deletes in one statement; `before_image` reads the rows that they replace.  An `operation_scope` claims the
statements of an operation, the `unit_of_work` collects the changes of a transaction, the `write_barrier` sends them
before its commit.  `manual` invalidates without a write.

Not here: the hooks into Django that notice writes (`orm`) and the Lua scripts that invalidate (`store`).
"""

from . import instance_writes, queryset_writes, unit_of_work
from .before_image import (
    BeforeImage,
    ReturningUpdate,
    attnames_to_read,
    has_key,
    is_surely_new,
    read_after_save,
    read_before_image,
)
from .invalidation_error import InvalidationError
from .manual import (
    invalidate_all,
    invalidate_model,
    invalidate_obj,
    is_active,
    no_invalidation,
    note_cause,
    record_write,
)
from .operation_scope import DeleteScope, SaveScope
from .queryset_writes import lock_for_collected_delete
from .row_images import (
    attnames_replaced,
    attnames_returned,
    instance_values,
    saved_attnames,
    table_models,
    table_names,
    tables_of,
    unwrap_lazy,
)
from .row_locks import write_transaction
from .unit_of_work import UnitOfWork, is_dirty, may_fill, unit_of_work_for, unit_of_work_on

__all__ = [
    "BeforeImage",
    "DeleteScope",
    "InvalidationError",
    "ReturningUpdate",
    "SaveScope",
    "UnitOfWork",
    "attnames_replaced",
    "attnames_returned",
    "attnames_to_read",
    "has_key",
    "instance_values",
    "instance_writes",
    "invalidate_all",
    "invalidate_model",
    "invalidate_obj",
    "is_active",
    "is_dirty",
    "is_surely_new",
    "lock_for_collected_delete",
    "may_fill",
    "no_invalidation",
    "note_cause",
    "queryset_writes",
    "read_after_save",
    "read_before_image",
    "record_write",
    "saved_attnames",
    "table_models",
    "table_names",
    "tables_of",
    "unit_of_work",
    "unit_of_work_for",
    "unit_of_work_on",
    "unwrap_lazy",
    "write_transaction",
]
