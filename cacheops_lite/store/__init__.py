"""DOOR"""

from . import dependency_index, fill_lock, invalidator, keys, local_cache, protocol
from .circuit_breaker import EXPECTED, call, forgiving, tolerate
from .client import execute, get_client, redis_client, run_script, send_script
from .codec import SAME, Payloads
from .dependency_index import Wanted
from .invalidator import Hold, clear, postpone, release
from .keys import FORMAT_VERSION, Digest, digest, escape_glob, fresh_token, name, simple_key, value_key
from .namespaces import all_prefixes, by_prefix, prefix_of, prefix_of_table, prefixes_of_database, prefixes_of_table
from .protocol import MISS, Basis, Lookup, checked
from .serializers import dumps_rows, function_serializer, loads_rows
from .write_set import MAX_CHANGES_PER_TABLE, AnyChange, Arrivals, Change, Work

__all__ = [
    "EXPECTED",
    "FORMAT_VERSION",
    "MAX_CHANGES_PER_TABLE",
    "MISS",
    "SAME",
    "AnyChange",
    "Arrivals",
    "Basis",
    "Change",
    "Digest",
    "Hold",
    "Lookup",
    "Payloads",
    "Wanted",
    "Work",
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
    "name",
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
