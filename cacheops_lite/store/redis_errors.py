"""What an error of Redis means for the user: which server and setting it concerns, and what to do.

`explain_error` completes the text of an error before it reaches the application; its class stays that of redis-py.
What an error means for the cache is in `failure_kinds`.
"""

from __future__ import annotations

import redis
from django.core.exceptions import ImproperlyConfigured
from redis import exceptions

from ..conf import settings
from .server_address import address_setting, describe_address

# What a call to Redis may raise.  Any other exception interrupts it and is passed on to the application.
STORE_ERRORS = (redis.RedisError, OSError, ImproperlyConfigured)
# They are part of a protocol, and handled where they are raised.
_INTERNAL = (exceptions.NoScriptError, exceptions.WatchError)

_CHECK = "Run 'manage.py cacheops doctor' to see what is missing."
_UNREACHABLE = (
    "{server} can't be reached, so what is cached can be neither read nor invalidated. Check that it runs and that "
    "{setting} is right."
)
_DEGRADE = " With CACHEOPS_DEGRADE_ON_FAILURE = True queries are read from the database meanwhile."
_CLUSTER = (
    "{server} is a node of a Redis Cluster. Name the cluster by a URL such as 'redis+cluster://10.0.0.1:6379' in "
    "CACHEOPS_REDIS, or set CACHEOPS_CLIENT_CLASS to 'redis.cluster.RedisCluster'."
)
# Classes of errors, words of their texts, and what they mean; the first that applies counts.
_MEANINGS: tuple[tuple[tuple[type[Exception], ...], tuple[str, ...], str], ...] = (
    (
        (exceptions.AuthenticationError,),
        ("NOAUTH", "WRONGPASS", "Authentication required"),
        "{server} refuses the user or the password, so nothing can be cached or invalidated. Correct username and "
        "password in {setting}.",
    ),
    (
        (exceptions.NoPermissionError,),
        ("NOPERM", "ACL failure", "no permissions", "can't run this command"),
        "{server} does not let the user of {setting} run a command, or use a key, that cacheops_lite needs. Allow it "
        f"by ACL SETUSER; docs/doctor.rst lists all commands under 'permissions'. {_CHECK}",
    ),
    (
        (exceptions.ReadOnlyError,),
        ("READONLY",),
        "{server} is a read-only replica, so nothing can be cached or invalidated. Name its master in CACHEOPS_REDIS, "
        "or let CACHEOPS_SENTINEL find it.",
    ),
    (
        (exceptions.ClusterDownError,),
        ("CLUSTERDOWN",),
        "{server} is a node of a Redis Cluster some of whose slots no node serves. Look at CLUSTER NODES there.",
    ),
    (
        (exceptions.MovedError, exceptions.AskError, exceptions.ClusterCrossSlotError),
        ("MOVED ", "CROSSSLOT"),
        _CLUSTER,
    ),
    (
        (exceptions.OutOfMemoryError,),
        ("OOM ",),
        "{server} has reached its 'maxmemory' and removes nothing, so nothing can be stored. Set maxmemory-policy to "
        "allkeys-lru there, or raise maxmemory.",
    ),
    (
        (),
        ("MISCONF",),
        "{server} can't save to its disk, and therefore refuses writes. Free the disk, or turn snapshots off there "
        '(save ""): a cache needs none.',
    ),
    (
        (),
        ("unknown command",),
        "{server} lacks a command that cacheops_lite needs: it is older than Redis 6, or the command is renamed. "
        f"{_CHECK}",
    ),
    (
        (),
        ("BUSY Redis",),
        "{server} runs a script that does not end, and answers nothing else. End it there by SCRIPT KILL.",
    ),
    (
        (exceptions.BusyLoadingError,),
        ("LOADING",),
        "{server} is loading its data after a start, and answers no command before that is done.",
    ),
    (
        (redis.TimeoutError,),
        (),
        "{server} does not answer in time. Check that it is not overloaded. CACHEOPS_REDIS_TIMEOUT is the limit of one "
        "operation, in seconds.",
    ),
    (
        (),
        ("NOREPLICAS",),
        "{server} has fewer replicas than its min-replicas-to-write, and therefore refuses writes. Repair the "
        "replicas, or set min-replicas-to-write to 0 there.",
    ),
    (
        (),
        ("Too many connections", "No connection available"),
        "All connections of this process to Redis are in use at once. Raise max_connections in {setting}, or run fewer "
        "threads in a process.",
    ),
    ((redis.ConnectionError,), (), _UNREACHABLE),
)


def explain_error(error: BaseException) -> None:
    """Add to the text of an error of Redis which server and setting it concerns, and what to do; once for each error.

    Its class and the beginning of its text stay the same: both tell programs what happened.
    """
    if not isinstance(error, redis.RedisError) or isinstance(error, _INTERNAL) or hasattr(error, "is_explained"):
        return
    error.is_explained = True  # type: ignore[attr-defined]
    text = str(error).strip()
    server = f"Redis at {describe_address()}, which {address_setting()} names,"
    meaning = _meaning(error, text).format(server=server, setting=address_setting())
    if isinstance(error, (redis.ConnectionError, redis.TimeoutError)) and not (
        settings.CACHEOPS_DEGRADE_ON_FAILURE or isinstance(error, exceptions.AuthenticationError)
    ):
        meaning += _DEGRADE
    separator = "" if not text else " " if text.endswith((".", "!")) else ". "
    error.args = (f"{text}{separator}{meaning}",)


def _meaning(error: Exception, text: str) -> str:
    for classes, words, meaning in _MEANINGS:
        if isinstance(error, classes) or any(word in text for word in words):
            return meaning
    return "{server} sent this error."
