"""The faults: context managers that take a site and its load; the fault is healed at their end.

What `tests.support.failures` does to one server is used as it is.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager

import redis

from tests.reliability import sites
from tests.support import cluster, failures
from tests.support.waiting import wait_until

# Of faults that are repeated while they last.
REPEAT_SECONDS = 0.2


def on_server(failure):
    """Return the fault that a failure of `tests.support.failures` is for the server of a site."""
    return lambda site, load: failure(site.server)


@contextmanager
def repeated(action):
    """Repeat an action in a thread."""
    ended, errors = threading.Event(), []

    def repeat():
        try:
            while not ended.wait(REPEAT_SECONDS):
                action()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert not errors, errors


@contextmanager
def restarted(site, load):
    """Restart the server at once; what it knows afterwards is on its disk."""
    with failures.stopped(site.server):
        pass
    yield


def save_snapshot(site, load):
    """Save a snapshot, and let it grow old; then writers pause, so that they do not write the same rows again."""
    site.server.client().save()
    assert load.wait_for_writes()
    load.oracle.quiet(True)


def hold_replica_back(site, load):
    """Cut the replica off from its master, which goes on; then writers pause, as for the snapshot."""
    assert wait_until(lambda: sites.is_linked(site.replica))
    site.link.cut()
    assert load.wait_for_writes()
    load.oracle.quiet(True)


@contextmanager
def replica_promoted(site, load):
    """Kill the master; after a while make the replica the master, and move the address to it."""
    site.server.stop()
    yield
    site.replica.client().execute_command("REPLICAOF", "NO", "ONE")
    site.front.target = site.replica.port
    site.front.reset()


@contextmanager
def failed_over_by_sentinel(site, load):
    """Kill the master; Sentinel makes the replica the master."""
    site.server.stop()
    yield
    named = site.sentinel.sentinel_get_master_addr_by_name
    assert wait_until(lambda: named(sites.SERVICE)[1] == site.replica.port, seconds=60)


def scripts_flushed(site, load):
    return repeated(lambda: site.server.client().script_flush())


@contextmanager
def replies_cut(site, load):
    """Close each connection after the first half of a reply, at intervals."""
    with repeated(site.front.cut_next_replies):
        yield
    assert site.front.replies_cut, "no reply was cut"


@contextmanager
def writers_cut_off(site, load):
    """Cut the writers off, while readers reach the server."""
    site.front.cut()
    yield
    site.front.restore()


@contextmanager
def connection_limit_reached(site, load):
    """Let the server refuse further connections, after all were closed."""
    with site.server.client() as client:
        limit = client.config_get("maxclients")["maxclients"]
        client.config_set("maxclients", 1)
        # This connection is the only one then.
        client.client_kill_filter(_type="normal", skipme=True)
        yield
        client.config_set("maxclients", limit)


@contextmanager
def password_rotated(site, load):
    """Permit a second password, deploy the processes with it, and then forbid the first one."""
    client = redis.Redis(port=site.server.port, password=sites.PASSWORD)
    client.execute_command("ACL SETUSER", "default", ">second")
    load.replace_all(**sites.with_password_in_url(site.server, "second"))
    client.execute_command("ACL SETUSER", "default", f"<{sites.PASSWORD}")
    yield
    try:
        redis.Redis(port=site.server.port, password=sites.PASSWORD).ping()
    except redis.AuthenticationError:
        return
    raise AssertionError("the first password still works")


@contextmanager
def writers_killed(site, load):
    """Kill writers; others take over their rows."""
    while load.spare:
        load.replace_writer()
        assert load.wait_for_writes()
    yield


@contextmanager
def writer_killed_in_an_outage(site, load):
    """Kill a writer that owes invalidations, while the server can't be reached."""
    site.front.cut()
    yield
    load.kill_writer()
    site.front.restore()


@contextmanager
def resharded(site, load):
    """Move each slot that has keys to another master."""
    nodes, moved = site.cluster, 0
    for number, source in enumerate(masters := nodes.masters()):
        target = masters[(number + 1) % len(masters)]
        with source.client() as client:
            slots = {cluster.slot_of(key) for key in client.scan_iter(count=1000)}
        for slot in slots:
            nodes.move_slot(slot, target)
        moved += len(slots)
    assert moved, "no node has keys"
    yield


@contextmanager
def node_restarted(site, load):
    """Kill the node that has most keys, and start it again, empty."""
    node = _fullest(site.cluster)
    site.cluster.kill(node)
    yield
    site.cluster.restart(node)


@contextmanager
def node_failed_over(site, load):
    """Kill the node that has most keys; its replica takes over."""
    node = _fullest(site.cluster)
    slots = node.cluster("SLOTS")
    slot = next(begin for begin, _, master, *_ in slots if master[2].decode() == node.id)
    site.cluster.kill(node)
    yield
    site.cluster.wait_until_taken_over(slot, node)


def _fullest(nodes):
    return max(nodes.masters(), key=lambda node: node.client().dbsize())
