"""Make a call for one epoch of the server, and repeat it if the epoch has changed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import redis

from .client import current_epoch
from .cluster_settings import uses_cluster
from .server_epoch import EpochChanged

T = TypeVar("T")

MAX_CALLS = 3


def call_in_epoch(func: Callable[[bytes], T], key: str) -> T:
    """Return the result of `func`, called with the epoch of the server that has `key`; repeat it if that has changed.

    `func` passes the epoch on to `execute` or `run_script`.  Raises errors of Redis.
    """
    for _ in range(MAX_CALLS):
        with suppress(EpochChanged):
            return func(current_epoch(key))
    raise redis.ConnectionError("Redis is replaced by another server again and again")


def call_for_tables(func: Callable[[bytes | None], T], key: str) -> T:
    """Do what `call_in_epoch` does.  On a cluster call `func` without an epoch, because each node has its own.

    A fence counts there whatever its epoch is.
    """
    return func(None) if uses_cluster() else call_in_epoch(func, key)
