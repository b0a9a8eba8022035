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
    tables = fence.tables[prefix]
    # On a cluster, the keys of each table have a slot of their own.
    for each in [[table] for table in tables] if uses_cluster() else [tables]:
        names = [key(prefix, table) for key in (keys.fence_key, keys.table_version_key) for table in each]
        send_script("release_fences", names, [fence.token], on_error)
    if unknown := fence.lease_wait.unknown.get(prefix):
        names = [keys.registration_key(prefix, table) for table in unknown]
        send_script("register_none", names, [fence.token, fence.epoch or b"", REGISTRATION_SECONDS])
