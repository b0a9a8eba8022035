"""All access to Redis.

`protocol` sends the MGET of a read and the fill of a miss, `invalidator` invalidates and fences.  `keys` names all
keys, `dependency_index` knows the shapes of what cached results depend on, `near_cache` answers without a round trip.
Calls pass `circuit_breaker`, then `client` and `redis_connection`.  The Lua scripts are in ``lua/``.

Not here: what a query depends on (`query`) and what a write changed (`writes`).
"""

from . import commands as required_commands
from . import (
    compression,
    counter_flush,
    database_comparison,
    database_creation,
    dependency_index,
    fill_lock,
    invalidator,
    keys,
    near_leases,
    payload_compression,
    protocol,
    rollback,
    signatures,
    spool,
    stored_value,
)
from .circuit_breaker import call, call_for_write, call_or_default, suppress_tolerated
from .clearing import clear
from .client import (
    client_for,
    execute,
    execute_many,
    get_client,
    raise_error,
    redis_client,
    run_script,
    scan,
    server_clients,
    unlink,
)
from .client_library import library_of
from .client_requirements import problem_of_client, problem_of_options
from .cluster_settings import class_of_url, cluster_places, is_cluster_class, uses_cluster
from .database_comparison import bypass_of_database, is_of_another_database, keep_compared, value_suffix
from .database_names import database_name, declared_names, replaced_names
from .dependency_index import RequiredColumns
from .dependency_shapes import parse_condition
from .dependency_words import dependency_in_words, describe_dependency, describe_shape
from .invalidation_script import met_by
from .invalidator import Fence, postpone, release
from .keys import FORMAT_VERSION, Digest, digest, escape_glob, fresh_token, simple_key, value_key
from .limited_connection import is_limited
from .namespaces import (
    all_prefixes,
    check_prefix,
    prefix_of,
    prefix_of_table,
    prefixes_of_database,
    prefixes_of_row,
    prefixes_of_table,
    prefixes_of_tables,
    split_by_prefix,
)
from .near_cache import NearOptions, near
from .outage_log import outages
from .redis_errors import STORE_ERRORS, explain_error
from .replies import checked_reply
from .serializers import dumps_rows, function_serializer, loads_rows
from .server_address import ServerAddress, address_setting, configured_address, describe_address, parse_address
from .stored_value import MISS, Lookup
from .time_limit import Budget, run_without_limit
from .value_store import SAME_TIMEOUT, ValueStore
from .version_set import VersionSet
from .write_set import MAX_CHANGES_PER_TABLE, AnyChange, Change, InsertedRows, WriteSet

__all__ = [
    "FORMAT_VERSION",
    "MAX_CHANGES_PER_TABLE",
    "MISS",
    "SAME_TIMEOUT",
    "STORE_ERRORS",
    "AnyChange",
    "Budget",
    "Change",
    "Digest",
    "Fence",
    "InsertedRows",
    "Lookup",
    "NearOptions",
    "RequiredColumns",
    "ServerAddress",
    "ValueStore",
    "VersionSet",
    "WriteSet",
    "address_setting",
    "all_prefixes",
    "bypass_of_database",
    "call",
    "call_for_write",
    "call_or_default",
    "check_prefix",
    "checked_reply",
    "class_of_url",
    "clear",
    "client_for",
    "cluster_places",
    "compression",
    "configured_address",
    "counter_flush",
    "database_comparison",
    "database_creation",
    "database_name",
    "declared_names",
    "dependency_in_words",
    "dependency_index",
    "describe_address",
    "describe_dependency",
    "describe_shape",
    "digest",
    "dumps_rows",
    "escape_glob",
    "execute",
    "execute_many",
    "explain_error",
    "fill_lock",
    "fresh_token",
    "function_serializer",
    "get_client",
    "invalidator",
    "is_cluster_class",
    "is_limited",
    "is_of_another_database",
    "keep_compared",
    "keys",
    "library_of",
    "loads_rows",
    "met_by",
    "near",
    "near_leases",
    "outages",
    "parse_address",
    "parse_condition",
    "payload_compression",
    "postpone",
    "prefix_of",
    "prefix_of_table",
    "prefixes_of_database",
    "prefixes_of_row",
    "prefixes_of_table",
    "prefixes_of_tables",
    "problem_of_client",
    "problem_of_options",
    "protocol",
    "raise_error",
    "redis_client",
    "release",
    "replaced_names",
    "required_commands",
    "rollback",
    "run_script",
    "run_without_limit",
    "scan",
    "server_clients",
    "signatures",
    "simple_key",
    "split_by_prefix",
    "spool",
    "stored_value",
    "suppress_tolerated",
    "unlink",
    "uses_cluster",
    "value_key",
    "value_suffix",
]
