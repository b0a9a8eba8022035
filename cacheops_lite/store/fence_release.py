"""Release fences after a commit, without waiting for the reply: while one exists, readers cannot create versions."""

from __future__ import annotations

from collections.abc import Callable

from . import keys
from .client import send_script
from .cluster_settings import uses_cluster
from .fence import Fence
from .near_leases import REGISTRATION_SECONDS


def release_after_commit(prefix: str, fence: Fence, on_error: Callable[[], None]) -> None:
    """Release the fences under a prefix.  Raises errors that occur before it is sent.

    Calls `on_error` if that fails later: it is then unknown whether the fence lasted until now, so everything has to be
    invalidated again.
    """
    for each in _by_slot(fence.tables[prefix]):
        names = [key(prefix, table) for key in (keys.fence_key, keys.table_version_key) for table in each]
        send_script("release_fences", names, [fence.token], on_error)
    unknown = fence.lease_wait.unknown.get(prefix, {})
    for each in _by_slot(list(unknown)):
        names = [keys.registration_key(prefix, table) for table in each]
        send_script("register_none", names, [fence.token, unknown[each[0]], REGISTRATION_SECONDS])


def _by_slot(tables: list[str]) -> list[list[str]]:
    """Return lists of tables whose keys one script may use: on a cluster, those of each have a slot of their own."""
    if uses_cluster():
        return [[table] for table in tables]
    return [tables] if tables else []
