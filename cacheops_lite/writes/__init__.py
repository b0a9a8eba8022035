"""From a write to its invalidations: before and after images of rows, the operation scopes that claim statements, the
unit of work of a transaction, invalidation by hand.

Not here: the hooks into Django that notice writes (`orm`) and the Lua scripts that invalidate (`store`).
"""

from . import bulk_persistence, persistence, unit_of_work
from .before_image import (
    BeforeImageRead,
    ReturningUpdate,
    block,
    columns_to_read,
    has_key,
    is_surely_new,
    read_after_save,
    read_before_image,
)
from .bulk_persistence import lock_and_read
from .manual import invalidate_all, invalidate_model, invalidate_obj, is_active, no_invalidation, record
from .operation_scope import DeleteScope, SaveScope
from .row_images import owners_of, replaced, returned, snapshot, table_names, tables_of, unwrapped, written_by
from .unit_of_work import UnitOfWork, is_dirty, may_fill, unit_of_work_for, unit_of_work_of

__all__ = [
    "BeforeImageRead",
    "DeleteScope",
    "ReturningUpdate",
    "SaveScope",
    "UnitOfWork",
    "block",
    "bulk_persistence",
    "columns_to_read",
    "has_key",
    "invalidate_all",
    "invalidate_model",
    "invalidate_obj",
    "is_active",
    "is_dirty",
    "is_surely_new",
    "lock_and_read",
    "may_fill",
    "no_invalidation",
    "owners_of",
    "persistence",
    "read_after_save",
    "read_before_image",
    "record",
    "replaced",
    "returned",
    "snapshot",
    "table_names",
    "tables_of",
    "unit_of_work",
    "unit_of_work_for",
    "unit_of_work_of",
    "unwrapped",
    "written_by",
]
