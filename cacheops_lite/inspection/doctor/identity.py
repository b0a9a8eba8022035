"""Which server it is, how it is reached, and whether it takes part in a cluster or in replication."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from ...store import uses_cluster
from .findings import Finding
from .session import Refused, Session

ROUND_TRIPS = 50
SLOW_MICROSECONDS = 2_000
VERY_SLOW_MICROSECONDS = 20_000
EMBEDDED = "fakeredis"
OLDEST_VERSION = 6
# Fields of INFO by which servers that speak the protocol of Redis are recognized, and their names.
_VERSION_FIELDS = {
    "valkey_version": "Valkey",
    "dragonfly_version": "Dragonfly",
    "kvrocks_version": "Kvrocks",
    "garnet_version": "Garnet",
    "upstash_version": "Upstash",
}
_TESTED = ("Redis", "Valkey", EMBEDDED)


def name_and_version(session: Session) -> tuple[str, str]:
    """Return the server's name and version; both are empty if it does not tell."""
    try:
        info = session.info("server")
    except Refused:
        return _by_hello(session)
    for field, name in _VERSION_FIELDS.items():
        if field in info:
            return name, info[field]
    name = "KeyDB" if "keydb" in info.get("executable", "").lower() else "Redis"
    return name, info.get("redis_version", "")


def _by_hello(session: Session) -> tuple[str, str]:
    try:
        reply = session.ask("HELLO")
    except Refused:
        return "", ""
    found = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=False))
    names = {"redis": "Redis", "valkey": "Valkey"}
    return names.get(str(found.get("server")), str(found.get("server", ""))), str(found.get("version", ""))


def examine_server(session: Session) -> Iterator[Finding]:
    """Report the name and the version."""
    name, version = name_and_version(session)
    if not name:
        yield Finding("server", "unknown", "The server tells neither its name nor its version: it refuses INFO.")
    elif name == EMBEDDED:
        yield Finding(
            "server",
            "info",
            f"This is the embedded {name} {version}.",
            "It is for development and tests: each process has a cache of its own, and misses the writes of others.",
            "Name a Redis server in CACHEOPS_REDIS, and remove CACHEOPS_CLIENT_CLASS.",
        )
    elif version.split(".")[0].isdigit() and int(version.split(".")[0]) < OLDEST_VERSION:
        yield Finding(
            "server",
            "error",
            f"{name} {version} is too old.",
            f"Commands and scripts of this package need version {OLDEST_VERSION} or newer.",
            "Install a newer version.",
        )
    elif name not in _TESTED:
        yield Finding(
            "server",
            "warning",
            f"{name} {version} is not Redis.",
            "This package is tested with Redis; other servers may run its scripts differently.",
            "Run the test suite against it (TEST_REDIS_URL), or use Redis or Valkey.",
        )
    else:
        yield Finding("server", "ok", f"{name} {version} is supported.")


def examine_latency(session: Session) -> Iterator[Finding]:
    """Measure round trips, as one of them is what a hit costs."""
    timed = {}
    for command in (("PING",), ("MGET", *(f"{session.key}{number}" for number in range(5)))):
        times = []
        for _ in range(ROUND_TRIPS):
            started = time.perf_counter()
            session.ask(*command)
            times.append((time.perf_counter() - started) * 1e6)
        timed[command[0]] = (statistics.median(times), max(times))
    median = timed["MGET"][0]
    found = "; ".join(
        f"{name} takes {half:,.0f} µs (median of {ROUND_TRIPS}), {most:,.0f} µs at most"
        for name, (half, most) in timed.items()
    )
    if median < SLOW_MICROSECONDS:
        yield Finding("latency", "ok", f"{found}.")
        return
    yield Finding(
        "latency",
        "warning" if median >= VERY_SLOW_MICROSECONDS else "info",
        f"{found}.",
        "Each hit takes one round trip, and each write two: fast queries may be slower with the cache than without it.",
        "Move Redis closer to the application: the same machine, or the same zone of the provider.",
    )


def examine_cluster(session: Session) -> Iterator[Finding]:
    """Report whether the server is a node of a cluster."""
    if session.info("cluster").get("cluster_enabled") != "1":
        yield Finding("cluster", "ok", "Cluster mode is off.")
        return
    if not uses_cluster():
        yield Finding(
            "cluster",
            "error",
            "Cluster mode is on, but the settings name a single server.",
            "What has its slot on another node can't be read, and what depends on several tables can't be cached.",
            "Write a URL such as 'redis+cluster://10.0.0.1:6379' in CACHEOPS_REDIS.",
        )
        return
    lines = str(session.ask("CLUSTER", "INFO")).split()
    state = dict(each.split(":", 1) for each in lines if ":" in each)
    is_complete = state.get("cluster_state") == "ok"
    yield Finding(
        "cluster",
        "ok" if is_complete else "error",
        f"Redis Cluster with {state.get('cluster_known_nodes')} nodes, of state {state.get('cluster_state')!r}: "
        f"{state.get('cluster_slots_ok')} of 16384 slots are served.",
        "" if is_complete else "What has its slot on a node that is away is read from the database.",
        "" if is_complete else "Look at CLUSTER NODES, and repair or replace the node that failed.",
    )


def examine_replication(session: Session) -> Iterator[Finding]:
    """Report whether the server is a replica or has replicas."""
    info = session.info("replication")
    if info.get("role") in ("slave", "replica"):
        yield Finding(
            "replication",
            "error",
            f"This server is a replica of {info.get('master_host')}:{info.get('master_port')}.",
            "It refuses writes, or forgets them: nothing can be cached, and what is written is not invalidated.",
            "Name the master in CACHEOPS_REDIS, or let Sentinel find it (CACHEOPS_SENTINEL).",
        )
    elif info.get("connected_slaves", "0") != "0":
        yield Finding(
            "replication",
            "info",
            f"This server has {info['connected_slaves']} replicas.",
            "A replica that is promoted begins without results: what it has may be older than the last writes.",
        )
    else:
        yield Finding("replication", "ok", "This server is a master without replicas.")
