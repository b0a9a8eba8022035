"""Tell the kinds of failures of Redis apart: each has its own consequences for reads, for writes and for the log.

docs/production/outages.rst has the table of these consequences.  A failure is recognized by its class and by the code
in its text: redis-py has no class for many codes, and errors that scripts report have no class of their own.
"""

from __future__ import annotations

import re
from enum import Enum

import redis
from redis import exceptions


class FailureKind(Enum):
    """What an error of Redis means for the cache."""

    # Redis cannot be reached, or answers no command for now.
    AWAY = "away"
    # Redis answers, but refuses commands that write for now.
    REFUSES_WRITES = "refuses writes"
    # The settings of the project or of the server are wrong: a person has to correct them.
    MISCONFIGURED = "misconfigured"
    # This process has reached a limit of its own; Redis works.
    OURSELVES = "ourselves"
    # A key has a foreign type, or a script of this package fails: the same call fails again, others succeed.
    DEFECT = "defect"


class DeliveryInProgressError(redis.RedisError):
    """Another thread of this process takes long to deliver invalidations that reads have to wait for."""


_MISCONFIGURED_CLASSES = (
    # To redis-py these are connection errors.
    exceptions.AuthenticationError,
    exceptions.AuthorizationError,
    exceptions.AuthenticationWrongNumberOfArgsError,
    exceptions.NoPermissionError,
    exceptions.ClusterCrossSlotError,
    # Only a client that knows no cluster raises it.
    exceptions.MovedError,
)
_AWAY_CLASSES = (
    redis.ConnectionError,
    redis.TimeoutError,
    exceptions.AskError,
    exceptions.TryAgainError,
    exceptions.ClusterDownError,
)
_REFUSES_WRITES_CLASSES = (exceptions.ReadOnlyError, exceptions.OutOfMemoryError)
# Newer versions of redis-py only; older ones raise ConnectionError.
_OURSELVES_CLASSES: tuple[type[Exception], ...] = tuple(
    found for name in ("MaxConnectionsError",) if (found := getattr(exceptions, name, None)) is not None
)
_OURSELVES_TEXTS = ("Too many connections", "No connection available")

_KIND_OF_CODE = {
    **dict.fromkeys(("LOADING", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "UNBLOCKED"), FailureKind.AWAY),
    **dict.fromkeys(("OOM", "READONLY", "MISCONF", "NOREPLICAS", "BUSY"), FailureKind.REFUSES_WRITES),
    **dict.fromkeys(("NOAUTH", "WRONGPASS", "NOPERM", "CROSSSLOT", "MOVED"), FailureKind.MISCONFIGURED),
}
# A reply begins with its code.  In the error of a script on Redis 6 it follows the place: "@user_script: 9: -OOM ...".
_CODES = re.compile(r"(?:^|: -?)([A-Z]{3,})\b")
# Parts of replies whose code is only ERR.
_MISCONFIGURED_TEXT = re.compile(
    r"unknown (redis )?(sub)?command|ACL failure|no permissions|can.t run this command|non local key|DB index"
    r"|not allowed in cluster mode|Cluster mode is not enabled|Authentication required",
    re.IGNORECASE,
)


def kind_of(error: BaseException) -> FailureKind:
    """Return the kind of failure that `error`, raised by a call to Redis, is."""
    if isinstance(error, _MISCONFIGURED_CLASSES):
        return FailureKind.MISCONFIGURED
    if isinstance(error, (*_OURSELVES_CLASSES, DeliveryInProgressError)):
        return FailureKind.OURSELVES
    if isinstance(error, _REFUSES_WRITES_CLASSES):
        return FailureKind.REFUSES_WRITES
    text = str(error)
    if isinstance(error, _AWAY_CLASSES):
        return FailureKind.OURSELVES if text.startswith(_OURSELVES_TEXTS) else FailureKind.AWAY
    if isinstance(error, redis.ResponseError):
        for code in _CODES.findall(text):
            if code in _KIND_OF_CODE:
                return _KIND_OF_CODE[code]
        if _MISCONFIGURED_TEXT.search(text):
            return FailureKind.MISCONFIGURED
    return FailureKind.DEFECT


def is_outage(error: BaseException) -> bool:
    """Return whether Redis cannot be used for now: `CACHEOPS_DEGRADE_ON_FAILURE` lets reads go on without it."""
    return kind_of(error) in (FailureKind.AWAY, FailureKind.REFUSES_WRITES)


def of_one_node(error: redis.RedisError) -> redis.RedisError:
    """Mark an error of one node of a cluster: the other nodes may be reachable."""
    error.cacheops_is_of_one_node = True  # type: ignore[attr-defined]
    return error


def is_of_one_node(error: BaseException) -> bool:
    """Return whether an error was marked by `of_one_node`."""
    return hasattr(error, "cacheops_is_of_one_node")


def is_temporary(error: BaseException) -> bool:
    """Return whether the same call may succeed later without a change of the settings."""
    return kind_of(error) not in (FailureKind.MISCONFIGURED, FailureKind.DEFECT)
