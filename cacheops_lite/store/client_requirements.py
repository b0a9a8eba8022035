"""What a client must have, and which of its options would make results wrong."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

# The methods of a client that this package calls; the first three run commands and Lua scripts.
METHODS = ("execute_command", "register_script", "pipeline", "scan", "set", "transaction", "unlink")
# Those of a client of a cluster, whose nodes have clients of their own.
CLUSTER_METHODS = ("execute_command", "get_node", "get_primaries")

_DECODING = (
    "it turns replies into text, but cached values are bytes (so does 'decode_responses=false' in a URL: redis-py sees "
    "a text that is not empty)"
)
_CLIENT_CACHE = (
    "it lets the client library answer reads from its own memory, which may hold versions from before a write: results "
    "would be stale"
)
_REPLICAS = "replicas lag behind writes: results would be stale"
# Options of redis-py and of valkey-py, and why they are refused.
REFUSED_OPTIONS = {
    "decode_responses": _DECODING,
    "cache": _CLIENT_CACHE,
    "cache_config": _CLIENT_CACHE,
    "cache_enabled": _CLIENT_CACHE,
    "client_cache": _CLIENT_CACHE,
    "read_from_replicas": _REPLICAS,
    "load_balancing_strategy": _REPLICAS,
}


def problem_of_options(options: Any, setting: str) -> str | None:
    """Return what is wrong with arguments of a client and what to write instead; None if nothing is."""
    if not isinstance(options, Mapping):
        return None
    for name, reason in REFUSED_OPTIONS.items():
        if options.get(name):
            return f"{setting} has {name}: {reason}. Leave {name} out of {setting}"
    return None


def problem_of_client(client: Any) -> str | None:
    """Return what a client, or the class of one, lacks and what to write instead; None if it lacks nothing."""
    name = client.__name__ if isinstance(client, type) else type(client).__name__
    methods = CLUSTER_METHODS if hasattr(client, "get_primaries") else METHODS
    missing = [each for each in methods if not callable(getattr(client, each, None))]
    if missing:
        problem = f"lacks {', '.join(missing)}: it can't run the commands and Lua scripts that keep results valid"
    elif inspect.iscoroutinefunction(client.execute_command):
        problem = "is for asynchronous code: its methods return coroutines instead of replies"
    else:
        return None
    return f"CACHEOPS_CLIENT_CLASS makes a {name}, which {problem}. Write 'redis.Redis', or a class derived from it"


def problem_of_pool(client: Any, setting: str) -> str | None:
    """Return what is wrong with the options that a client has taken from anywhere; None if nothing is."""
    pool = getattr(client, "connection_pool", None)
    options = dict(getattr(pool, "connection_kwargs", None) or {})
    if getattr(pool, "cache", None) is not None:
        # redis-py removes it from the options.
        options["cache_config"] = True
    return problem_of_options(options, setting)
