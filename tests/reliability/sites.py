"""Topologies: the servers of a scenario, and the settings by which the processes of the load reach them."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from tests.support import cluster, servers
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

PASSWORD = "first"
# The name by which `tests.support.servers.sentinel` knows its master.
SERVICE = "mymaster"
# A master waits 5 seconds by default for further replicas before it sends its data to one.
AT_ONCE = ("--repl-diskless-sync-delay", "0")


@dataclass
class Site:
    """What a fault acts on. Parts that a topology does not have are None."""

    server: Any
    settings: dict
    # Where writers have other settings than readers.
    writer_settings: dict = field(default_factory=dict)
    replica: Any = None
    # Between the load and the server, and between the server and its replica.
    front: Any = None
    link: Any = None
    sentinel: Any = None
    cluster: Any = None


def at(port):
    return {"CACHEOPS_REDIS": f"redis://127.0.0.1:{port}/0"}


@contextmanager
def single(*options):
    """One server."""
    with servers.running(*options) as server:
        yield Site(server, at(server.port))


def persistent():
    """One server that writes an append-only file."""
    return single("--appendonly", "yes")


@contextmanager
def behind_proxy():
    """One server, which the load reaches through a proxy."""
    with servers.running() as server, Proxy(server.port) as front:
        yield Site(server, at(front.port), front=front)


@contextmanager
def writers_behind_proxy():
    """One server, which writers alone reach through a proxy."""
    with servers.running() as server, Proxy(server.port) as front:
        yield Site(server, at(server.port), at(front.port), front=front)


@contextmanager
def with_password():
    """One server with a password."""
    with servers.running() as server:
        server.client().config_set("requirepass", PASSWORD)
        yield Site(server, with_password_in_url(server, PASSWORD))


def with_password_in_url(server, password):
    return {"CACHEOPS_REDIS": f"redis://:{password}@127.0.0.1:{server.port}/0"}


@contextmanager
def with_replica():
    """A master and its replica; the load reaches the master through a proxy, as by an address that can be moved."""
    with servers.running(*AT_ONCE) as master, Proxy(master.port) as link:
        with servers.running("--replicaof", "127.0.0.1", str(link.port)) as replica, Proxy(master.port) as front:
            assert wait_until(lambda: is_linked(replica))
            yield Site(master, at(front.port), replica=replica, front=front, link=link)


@contextmanager
def sentinel():
    """A master, its replica and a Sentinel, which the load asks for the master."""
    with servers.running(*AT_ONCE) as master, servers.running("--replicaof", "127.0.0.1", str(master.port)) as replica:
        assert wait_until(lambda: is_linked(replica))
        with tempfile.TemporaryDirectory() as folder, servers.sentinel(Path(folder), master) as options:
            settings = {"CACHEOPS_REDIS": {}, "CACHEOPS_SENTINEL": options}
            yield Site(master, settings, replica=replica, sentinel=redis.Redis(port=options["locations"][0][1]))


@contextmanager
def cluster_of_three(replicas=0):
    """A Redis Cluster with three masters."""
    with cluster.running(*AT_ONCE, replicas=replicas, node_timeout=1.0) as nodes:
        yield Site(None, {"CACHEOPS_REDIS": nodes.url}, cluster=nodes)


def cluster_with_replicas():
    """A Redis Cluster with three masters, each with a replica."""
    return cluster_of_three(replicas=1)


def is_linked(replica):
    return replica.client().info("replication")["master_link_status"] == "up"
