"""DOOR"""

from . import bulk_persistence, persistence, unit_of_work
from .before_image import Look, StatementLook, block, has_key, is_surely_new, look, look_after, to_look_at
from .bulk_persistence import look_at
from .manual import invalidate_all, invalidate_model, invalidate_obj, is_active, no_invalidation, record
from .operation_scope import DeleteFrame, SaveFrame
from .row_images import owners_of, replaced, returned, snapshot, table_names, tables_of, unwrapped, written_by
from .unit_of_work import Recorder, is_dirty, may_fill, recorder_for, recorder_of

__all__ = [
    "DeleteFrame",
    "Look",
    "Recorder",
    "SaveFrame",
    "StatementLook",
    "block",
    "bulk_persistence",
    "has_key",
    "invalidate_all",
    "invalidate_model",
    "invalidate_obj",
    "is_active",
    "is_dirty",
    "is_surely_new",
    "look",
    "look_after",
    "look_at",
    "may_fill",
    "no_invalidation",
    "owners_of",
    "persistence",
    "record",
    "recorder_for",
    "recorder_of",
    "replaced",
    "returned",
    "snapshot",
    "table_names",
    "tables_of",
    "to_look_at",
    "unit_of_work",
    "unwrapped",
    "written_by",
]
