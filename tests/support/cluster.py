"""A Redis Cluster on this machine, whose nodes a test can kill, restart, fail over, and whose slots it can move."""

from __future__ import annotations

import socket
from contextlib import contextmanager, suppress
from itertools import pairwise

import redis
from redis.crc import key_slot

from tests.support import servers
from tests.support.waiting import wait_until

SLOTS = 16384
BUS_OFFSET = 10000
# Nodes are known by gossip, which takes a second or two; a busy machine takes longer.
PATIENCE_SECONDS = 30
MIGRATE_MILLISECONDS = 5000


class Node(servers.Server):
    """A server with cluster mode; it keeps its id and its slots over a restart, but no data."""

    def __init__(self, node_timeout, *options):
        own = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]
        super().__init__(*own, "--cluster-node-timeout", str(int(node_timeout * 1000)), *options)
        self.port = free_port_with_bus()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.id = None

    @property
    def is_running(self):
        return self.process is not None

    def cluster(self, *words):
        with self.client() as client:
            return client.execute_command("CLUSTER", *words)

    def start(self):
        super().start()
        self.id = self.cluster("MYID").decode()

    def sees_all_slots(self):
        """Return whether this node finds the cluster complete; a node that does not answer finds nothing."""
        with suppress(redis.RedisError, OSError), self.client() as client:
            info = client.execute_command("CLUSTER INFO")
            return info["cluster_state"] == "ok" and int(info["cluster_slots_ok"]) == SLOTS
        return False

    def role(self):
        """Return "master" or "slave", Redis' own words."""
        with self.client() as client:
            return client.info("replication")["role"]

    def is_linked(self):
        """Return whether this replica has a connection to its master, with all data loaded."""
        with self.client() as client:
            return client.info("replication").get("master_link_status") == "up"


class Cluster:
    """Masters that share all slots evenly, each with a number of replicas.

    `node_timeout`, in seconds, is how long a node may be silent before the others count it as failed. `options` go to
    each server, such as "--cluster-require-full-coverage", "no".
    """

    def __init__(self, *options, masters=3, replicas=0, node_timeout=2.0):
        self._masters, self._replicas = masters, replicas
        self.nodes = [Node(node_timeout, *options) for _ in range(masters * (1 + replicas))]

    @property
    def port(self):
        """The port of the first node."""
        return self.nodes[0].port

    @property
    def url(self):
        return f"redis+cluster://127.0.0.1:{self.port}"

    # From here on: start and stop

    def start(self):
        for number, node in enumerate(self.nodes, start=1):
            node.start()
            # As redis-cli does: nodes that all begin with the same epoch argue about it first.
            node.cluster("SET-CONFIG-EPOCH", number)
        bounds = [SLOTS * number // self._masters for number in range(self._masters + 1)]
        first, masters = self.nodes[0], self.nodes[: self._masters]
        for node, (begin, end) in zip(masters, pairwise(bounds), strict=True):
            node.cluster("ADDSLOTS", *range(begin, end))
        for node in self.nodes[1:]:
            node.cluster("MEET", "127.0.0.1", first.port)
        _wait("the nodes know each other", lambda: all(map(self._knows_all, self.nodes)))
        for number, replica in enumerate(self.nodes[self._masters :]):
            replica.cluster("REPLICATE", masters[number % self._masters].id)
        self.wait_until_complete()

    def _knows_all(self, node):
        with node.client() as client:
            known = client.execute_command("CLUSTER NODES")
        return len(known) == len(self.nodes) and not any("handshake" in each["flags"] for each in known.values())

    def wait_until_complete(self):
        """Wait until each running node sees all slots, and each replica is linked to its master."""
        _wait("all slots are served", lambda: all(node.sees_all_slots() for node in self.running()))
        replicas = [node for node in self.running() if node.role() == "slave"]
        _wait("replicas are linked", lambda: all(replica.is_linked() for replica in replicas))

    def remove(self):
        """Stop all nodes, and remove what they have stored."""
        for node in self.nodes:
            node.remove()

    # Which node has what

    def running(self):
        return [node for node in self.nodes if node.is_running]

    def client(self):
        """Return redis-py's client of the cluster; close it."""
        nodes = [redis.cluster.ClusterNode("127.0.0.1", node.port) for node in self.running()]
        return redis.RedisCluster(startup_nodes=nodes)

    def node_of(self, key_or_slot):
        """Return the master that serves a key (text or bytes) or a slot (a number), as a running node knows it."""
        return self._owner(_slot(key_or_slot), self.running()[0])

    def _owner(self, slot, informant):
        for begin, end, master, *_ in informant.cluster("SLOTS"):
            if begin <= slot <= end:
                return self._by_id(master[2].decode())
        raise LookupError(f"no node serves slot {slot}")

    def masters(self):
        """Return the running masters; one that was failed over and returned is a replica."""
        return [node for node in self.running() if node.role() == "master"]

    def replicas_of(self, master):
        """Return the running replicas of a master."""
        informant = self.running()[0]
        with informant.client() as client:
            known = client.execute_command("CLUSTER NODES").values()
        ids = {each["node_id"] for each in known if each["master_id"] == master.id}
        return [node for node in self.running() if node.id in ids]

    def _by_id(self, node_id):
        return next(node for node in self.nodes if node.id == node_id)

    # Faults

    def kill(self, node):
        """Kill a node (SIGKILL). The others notice after `node_timeout`; a replica takes over if there is one."""
        node.stop()

    def restart(self, node, wait=True):
        """Start a killed node again, empty; it becomes a replica if another node took over its slots meanwhile.

        With `wait`, return when the cluster is complete.
        """
        node.start()
        if wait:
            self.wait_until_complete()

    def wait_until_taken_over(self, key_or_slot, lost):
        """Wait until another node than `lost` serves a key or slot; return it."""
        slot = _slot(key_or_slot)
        _wait("a replica takes over", lambda: all(self._owner(slot, each) is not lost for each in self.running()))
        self.wait_until_complete()
        return self.node_of(slot)

    def fail_over(self, master, how=()):
        """Let a replica take over from a master that is running; return the new master.

        Without loss, unless `how` is ["TAKEOVER"], which needs no votes: a node votes once in two node timeouts.
        """
        _wait("the others know its replica", lambda: self.replicas_of(master))
        replica = self.replicas_of(master)[0]
        replica.cluster("FAILOVER", *how)
        _wait("the replica is promoted", lambda: replica.role() == "master" and master.role() == "slave")
        self.wait_until_complete()
        return replica

    # Resharding, by the same commands as redis-cli

    def move_slot(self, key_or_slot, target):
        """Move a slot, or that of a key, with its keys to another master, while clients go on."""
        slot = _slot(key_or_slot)
        source = self.begin_move(slot, target)
        if source is target:
            return
        while self.move_keys(slot, source, target):
            pass
        self.end_move(slot, source, target)

    def begin_move(self, key_or_slot, target):
        """Mark a slot as being moved: its owner answers ASK for keys it does not have. Return the owner."""
        slot = _slot(key_or_slot)
        source = self.node_of(slot)
        if source is not target:
            target.cluster("SETSLOT", slot, "IMPORTING", source.id)
            source.cluster("SETSLOT", slot, "MIGRATING", target.id)
        return source

    def move_keys(self, slot, source, target, limit=100):
        """Move up to `limit` keys of a slot; return how many. Commands on some moved keys only answer TRYAGAIN."""
        keys = source.cluster("GETKEYSINSLOT", slot, limit)
        if keys:
            with source.client() as client:
                client.migrate("127.0.0.1", target.port, keys, 0, MIGRATE_MILLISECONDS, replace=True)
        return len(keys)

    def end_move(self, slot, source, target):
        """Give a slot to its new owner: the others answer MOVED from now on."""
        # The new owner first: otherwise, between the two, each would send clients to the other one.
        for node in (target, source, *self.masters()):
            node.cluster("SETSLOT", slot, "NODE", target.id)


@contextmanager
def running(*options, masters=3, replicas=0, node_timeout=2.0):
    """Start a cluster; without its program this skips the test on a laptop and fails in CI."""
    servers.need_program()
    cluster = Cluster(*options, masters=masters, replicas=replicas, node_timeout=node_timeout)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


def slot_of(key):
    """Return the slot of a key (text or bytes), by its hash tag if it has one."""
    return key_slot(key if isinstance(key, bytes) else key.encode())


def _slot(key_or_slot):
    return key_or_slot if isinstance(key_or_slot, int) else slot_of(key_or_slot)


def free_port_with_bus():
    """Return a free port whose port for the cluster bus, 10000 above it, is free as well."""
    while True:
        port = servers.free_port()
        with suppress(OSError, OverflowError), socket.create_server(("127.0.0.1", port + BUS_OFFSET)):
            return port


def _wait(what, condition):
    if not wait_until(condition, PATIENCE_SECONDS):
        raise TimeoutError(f"waited {PATIENCE_SECONDS} s in vain until {what}")
