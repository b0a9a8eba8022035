"""Everything that talks to Redis: the protocol of versions (`protocol` reads and fills, `invalidator` invalidates and
fences), names of keys, the dependency index, locks, connections, the circuit breaker, the Lua scripts.

Not here: what a query depends on (`query`) and what a write changed (`writes`).
"""

from . import dependency_index, fill_lock, invalidator, keys, local_cache, protocol
from .circuit_breaker import EXPECTED, call, forgiving, tolerate
from .client import execute, get_client, redis_client, run_script, send_script
from .codec import SAME, Payloads
from .dependency_index import Wanted
from .invalidator import Fence, clear, postpone, release
from .keys import FORMAT_VERSION, Digest, digest, escape_glob, fresh_token, simple_key, value_key
from .namespaces import all_prefixes, by_prefix, prefix_of, prefix_of_table, prefixes_of_database, prefixes_of_table
from .protocol import MISS, Lookup, VersionSet, checked
from .serializers import dumps_rows, function_serializer, loads_rows
from .write_set import MAX_CHANGES_PER_TABLE, AnyChange, Arrivals, Change, WriteSet

__all__ = [
    "EXPECTED",
    "FORMAT_VERSION",
    "MAX_CHANGES_PER_TABLE",
    "MISS",
    "SAME",
    "AnyChange",
    "Arrivals",
    "Change",
    "Digest",
    "Fence",
    "Lookup",
    "Payloads",
    "VersionSet",
    "Wanted",
    "WriteSet",
    "all_prefixes",
    "by_prefix",
    "call",
    "checked",
    "clear",
    "dependency_index",
    "digest",
    "dumps_rows",
    "escape_glob",
    "execute",
    "fill_lock",
    "forgiving",
    "fresh_token",
    "function_serializer",
    "get_client",
    "invalidator",
    "keys",
    "loads_rows",
    "local_cache",
    "postpone",
    "prefix_of",
    "prefix_of_table",
    "prefixes_of_database",
    "prefixes_of_table",
    "protocol",
    "redis_client",
    "release",
    "run_script",
    "send_script",
    "simple_key",
    "tolerate",
    "value_key",
]
