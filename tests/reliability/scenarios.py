"""All scenarios: a fault, the topology that it happens in, and what is promised about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.reliability import faults, sites
from tests.reliability.faults import on_server
from tests.support import failures


def nothing(site, load):
    """Prepare nothing."""


@dataclass(frozen=True)
class Scenario:
    """`name` is what the page says; `fault` takes the site and the load and is a context manager.

    `prepare` runs before the fault begins. With `surfaces`, errors of reads are promised: mistakes in the settings must
    be seen. With `fences`, Redis never refuses the fence of a writer, so that no read is stale at any time. With
    `kills_writers`, fences may last longer; `spare` processes take over from killed ones. With `refuses`, strict writes
    are refused meanwhile. With `runs_strict`, the short run tries it with CACHEOPS_STRICT as well. `seconds` is how
    long the fault lasts, if it is always the same.
    """

    name: str
    fault: Callable[[Any, Any], Any]
    topology: Callable[[], Any] = sites.single
    prepare: Callable[[Any, Any], None] = nothing
    surfaces: bool = False
    fences: bool = False
    kills_writers: bool = False
    spare: int = 0
    refuses: bool = True
    runs_strict: bool = False
    seconds: float | None = None


SCENARIOS = [
    Scenario("killed, and started again with its append-only file", on_server(failures.stopped), sites.persistent),
    Scenario("restarted empty", faults.restarted, refuses=False),
    Scenario("restarted from an old snapshot", faults.restarted, prepare=faults.save_snapshot, refuses=False),
    Scenario(
        "lagging replica promoted",
        faults.replica_promoted,
        sites.with_replica,
        prepare=faults.hold_replica_back,
        refuses=False,
    ),
    Scenario("master killed, failover by Sentinel", faults.failed_over_by_sentinel, sites.sentinel),
    Scenario("paused for 3 seconds", on_server(failures.hanging), seconds=3, runs_strict=True),
    Scenario("read-only", on_server(failures.read_only)),
    Scenario("out of memory", on_server(failures.out_of_memory), refuses=False),
    Scenario("disk full (MISCONF)", on_server(failures.unable_to_save)),
    Scenario("too few replicas (NOREPLICAS)", on_server(failures.too_few_replicas)),
    Scenario(
        "password rotated: the new one permitted, deployed, the old one forbidden",
        faults.password_rotated,
        sites.with_password,
        fences=True,
        refuses=False,
    ),
    Scenario(
        "password changed to one that the project does not have",
        on_server(failures.with_another_password),
        surfaces=True,
    ),
    Scenario("ACL reduced (no MGET, EVAL, EVALSHA, UNLINK)", on_server(failures.without_permissions), surfaces=True),
    Scenario("scripts flushed, five times a second", faults.scripts_flushed, fences=True, refuses=False),
    Scenario(
        "connections cut in the middle of a reply, five times a second",
        faults.replies_cut,
        sites.behind_proxy,
        # Most are repeated on a new connection.
        refuses=False,
    ),
    Scenario("connection limit reached", faults.connection_limit_reached, runs_strict=True),
    Scenario("writers cut off, readers not", faults.writers_cut_off, sites.writers_behind_proxy, runs_strict=True),
    Scenario("three writers killed", faults.writers_killed, fences=True, kills_writers=True, spare=3, refuses=False),
    Scenario(
        "writer killed while Redis can't be reached",
        faults.writer_killed_in_an_outage,
        sites.behind_proxy,
        kills_writers=True,
    ),
    Scenario("cluster: all slots with keys moved", faults.resharded, sites.cluster_of_three, refuses=False),
    Scenario("cluster: a node killed, and started again empty", faults.node_restarted, sites.cluster_of_three),
    Scenario("cluster: a node killed, its replica takes over", faults.node_failed_over, sites.cluster_with_replicas),
]
