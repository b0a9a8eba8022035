"""The commands of Redis that this package needs, its Lua scripts included: what an ACL must allow.

With each come arguments that let `inspection.doctor` try it on a key that holds a text: they change nothing else.
"""

from __future__ import annotations

# Stands for the key that is tried.
KEY = object()
NO_SCRIPT = "0" * 40

# To cache and to invalidate.
REQUIRED: dict[str, tuple[object, ...]] = {
    "DEL": (KEY,),
    "EVAL": ("return 1", 0),
    "EVALSHA": (NO_SCRIPT, 0),
    "EXISTS": (KEY,),
    "EXPIRE": (KEY, 10),
    "GET": (KEY,),
    "GETRANGE": (KEY, 0, 0),
    "INFO": ("server",),
    "MGET": (KEY,),
    "SADD": (KEY, "x"),
    "SCAN": (0, "MATCH", "nothing", "COUNT", 1),
    "SCARD": (KEY,),
    "SET": (KEY, "", "EX", 10),
    "SISMEMBER": (KEY, "x"),
    "SMEMBERS": (KEY,),
    "SRANDMEMBER": (KEY, 1),
    "SREM": (KEY, "x"),
    "SSCAN": (KEY, 0),
    "TIME": (),
    "TTL": (KEY,),
    "TYPE": (KEY,),
    "UNLINK": (KEY,),
    "ZADD": (KEY, 1, "x"),
    "ZRANGE": (KEY, 0, 0),
    "ZREM": (KEY, "x"),
    "ZREMRANGEBYSCORE": (KEY, 0, 0),
}
# On a cluster, of the client library among others: to learn which node has which slots, and to follow moving ones.
OF_CLUSTER: dict[str, tuple[object, ...]] = {
    "CLUSTER": ("SLOTS",),
    "ASKING": (),
    "COMMAND": (),
}
# To change values of the simple cache in place, which locks of templates and Django's cache API do.
OPTIONAL: dict[str, tuple[object, ...]] = {
    "ECHO": ("x",),
    "PTTL": (KEY,),
    "WATCH": (KEY,),
    "UNWATCH": (),
    "MULTI": (),
    "EXEC": (),
    # To count reads and writes, and to look into the cache.
    "DBSIZE": (),
    "HGETALL": (KEY,),
    "HINCRBY": (KEY, "x", 1),
    "PING": (),
    "STRLEN": (KEY,),
}


def required(is_cluster: bool) -> dict[str, tuple[object, ...]]:
    """Return the commands that a server, or a node of a cluster, must permit."""
    return {**REQUIRED, **OF_CLUSTER} if is_cluster else REQUIRED
