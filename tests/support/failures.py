"""Let a Redis server of a test fail in each way that the cache tells apart, and repair it afterwards."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from contextlib import contextmanager, suppress

import redis

from cacheops_lite.store import client as cacheops_redis
from tests.support import servers

# In place of a script of the cache: an error of a real server, on a key of the cache.
FAILING_SCRIPT = "redis.call('set', KEYS[1], 'x') return redis.call('lpush', KEYS[1], 'x')"


@contextmanager
def stopped(server):
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextmanager
def hanging(server):
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


@contextmanager
def configured(server, **options):
    """Change options of the server; names have "_" in place of "-"."""
    client = server.client()
    names = {name: name.replace("_", "-") for name in options}
    before = {name: client.config_get(names[name])[names[name]] for name in options}
    for name, value in options.items():
        client.config_set(names[name], value)
    try:
        yield
    finally:
        for name, value in before.items():
            client.config_set(names[name], value)


def out_of_memory(server):
    return configured(server, maxmemory=1, maxmemory_policy="noeviction")


def too_few_replicas(server):
    return configured(server, min_replicas_to_write=1)


@contextmanager
def read_only(server):
    server.client().replicaof("127.0.0.1", servers.free_port())
    try:
        yield
    finally:
        server.client().replicaof("NO", "ONE")


@contextmanager
def without_its_master(server):
    """Let the server be a replica that answers nothing while its master is away."""
    with configured(server, replica_serve_stale_data="no"), read_only(server):
        yield


@contextmanager
def unable_to_save(server):
    client, folder = server.client(), server.folder
    with configured(server, save="3600 1", stop_writes_on_bgsave_error="yes"):
        # A folder in the place of the file: root may write wherever permissions are missing.
        os.mkdir(f"{folder}/dump.rdb")
        try:
            _save(client, "err")
            yield
        finally:
            os.rmdir(f"{folder}/dump.rdb")
            _save(client, "ok")


def _save(client, outcome):
    client.bgsave()
    while client.info("persistence")["rdb_last_bgsave_status"] != outcome:
        time.sleep(0.01)


@contextmanager
def busy(server):
    """Let the server run a script that does not end."""
    with configured(server, lua_time_limit=1):

        def run():
            with suppress(redis.RedisError), server.client() as client:
                client.eval("while true do end", 0)

        thread = threading.Thread(target=run)
        thread.start()
        client = server.client()
        with suppress(redis.ResponseError):
            while client.ping():
                time.sleep(0.01)
        try:
            yield
        finally:
            client.script_kill()
            thread.join()


@contextmanager
def permitting(server, *rules):
    """Let the user of the cache do only what rules of an ACL permit; another user restores it."""
    server.client().acl_setuser("admin", enabled=True, nopass=True, keys=["*"], commands=["+@all"])
    admin = redis.Redis(port=server.port, username="admin", password="")
    allowed = {"enabled": True, "nopass": True, "keys": ["*"]}
    admin.acl_setuser("default", **allowed, commands=["+@all", *rules])
    try:
        yield
    finally:
        admin.acl_setuser("default", **allowed, commands=["+@all"])


def without_permissions(server):
    return permitting(server, "-mget", "-eval", "-evalsha", "-unlink")


@contextmanager
def with_another_password(server):
    client = server.client()
    client.config_set("requirepass", "another")
    # Connections that are open already keep their permission.
    client.client_kill_filter(_type="normal", skipme=True)
    try:
        yield
    finally:
        client.config_set("requirepass", "")


@contextmanager
def of_a_cluster(server, has_slots):
    """Use a node of a cluster in place of the server."""
    folder = tempfile.mkdtemp()
    options = ("--cluster-enabled", "yes", "--cluster-config-file", f"{folder}/nodes.conf")
    with servers.running(*options) as node:
        if has_slots:
            # A slow machine may let redis-py repeat the command, which then finds the slots taken.
            with suppress(redis.ResponseError):
                node.client().execute_command("CLUSTER ADDSLOTS", *range(16384))
            while node.client().cluster("INFO")["cluster_state"] != "ok":
                time.sleep(0.01)
        with pointed_at(node.port):
            yield


@contextmanager
def without_scripts(server):
    """Use a server in which the commands that run scripts are renamed."""
    renamed = [word for name in ("EVAL", "EVALSHA") for word in ("--rename-command", name, f"OTHER_{name}")]
    with servers.running(*renamed) as other, pointed_at(other.port):
        yield


@contextmanager
def pointed_at(port):
    """Let the client of the cache connect to another port, with all that it knows."""
    pool = cacheops_redis.get_client().connection_pool
    own = pool.connection_kwargs["port"]
    _move(pool, port)
    try:
        yield
    finally:
        _move(pool, own)


def _move(pool, port):
    if cacheops_redis._direct_client is not None:
        cacheops_redis._direct_client.close()
    pool.disconnect()
    pool.reset()
    pool.connection_kwargs["port"] = port


@contextmanager
def without_connections(server):
    """Let all connections of this process be in use."""
    cacheops_redis.get_client()
    if cacheops_redis._direct_client is not None:
        cacheops_redis._direct_client.close()
    pool = cacheops_redis.get_client().connection_pool
    taken = []
    with suppress(redis.ConnectionError):
        while True:
            taken.append(pool.get_connection())
    try:
        yield taken
    finally:
        for each in taken:
            pool.release(each)


@contextmanager
def with_failing_scripts(server):
    """Let each script fail with the error that Redis reports for a key of another type."""
    sources = cacheops_redis.script_source, cacheops_redis.stripped_source
    loaded = set(cacheops_redis._loaded_scripts)
    cacheops_redis._loaded_scripts.clear()
    cacheops_redis.script_digest.cache_clear()
    cacheops_redis.script_source = cacheops_redis.stripped_source = lambda name: FAILING_SCRIPT
    try:
        yield
    finally:
        cacheops_redis.script_source, cacheops_redis.stripped_source = sources
        cacheops_redis.script_digest.cache_clear()
        cacheops_redis._loaded_scripts.update(loaded)
