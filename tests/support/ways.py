"""The ways to connect a project to a server: kinds of addresses, users, protocols and client classes.

Each function starts a server, and yields it with the settings that lead to it in its way.
"""

from __future__ import annotations

from contextlib import contextmanager
from urllib.parse import quote

import pytest
import redis

from cacheops_lite.store import required_commands
from tests.support import cluster as clusters
from tests.support import servers

PREFIX = "shop:"


def overrides(address, client_class=None, **others):
    return {"CACHEOPS_REDIS": address, "CACHEOPS_CLIENT_CLASS": client_class, **others}


@contextmanager
def tcp(tmp_path, client_class=None, query=""):
    with servers.running("--dir", str(tmp_path)) as server:
        yield server, overrides(server.url + query, client_class)


@contextmanager
def resp2(tmp_path):
    with tcp(tmp_path, query="?protocol=2") as way:
        yield way


@contextmanager
def resp3(tmp_path):
    with tcp(tmp_path, query="?protocol=3") as way:
        yield way


@contextmanager
def dict_of_arguments(tmp_path):
    with tcp(tmp_path) as (server, _):
        yield server, overrides({"host": "127.0.0.1", "port": server.port, "protocol": 3})


@contextmanager
def unix_socket(tmp_path):
    path = tmp_path / "redis.sock"
    with servers.running("--dir", str(tmp_path), "--unixsocket", str(path)) as server:
        yield server, overrides(f"unix://{path}?db=0")


@contextmanager
def tls(tmp_path):
    pem, key = servers.certificate(tmp_path)
    port = servers.free_port()
    options = ["--dir", str(tmp_path), *servers.tls_options(port, pem, key)]
    if not servers.accepts(options):
        pytest.skip("this server is built without TLS")
    with servers.running(*options) as server:
        yield server, overrides(f"rediss://localhost:{port}/0?ssl_ca_certs={quote(str(pem))}")


@contextmanager
def acl_user(tmp_path):
    """A user that may run the commands of `store.commands` only, on keys with the prefix only."""
    with tcp(tmp_path) as (server, _):
        names = [*required_commands.REQUIRED, *required_commands.OPTIONAL]
        rules = ["on", ">secret", "-@all", *(f"+{name.lower()}" for name in names), "resetkeys", f"~{PREFIX}*"]
        restore = server.start

        def start():
            # A server that stores nothing forgets its users.
            restore()
            server.client().execute_command("ACL", "SETUSER", "shop", *rules)

        server.start = start
        server.client().execute_command("ACL", "SETUSER", "shop", *rules)
        yield server, overrides(f"redis://shop:secret@127.0.0.1:{server.port}/0", CACHEOPS_PREFIX=PREFIX)


@contextmanager
def subclass(tmp_path):
    with tcp(tmp_path, "tests.support.clients.OwnRedis") as way:
        yield way


@contextmanager
def blocking_pool(tmp_path):
    with tcp(tmp_path, "tests.support.clients.BlockingRedis") as way:
        yield way


@contextmanager
def pool_in_settings(tmp_path):
    with tcp(tmp_path) as (server, _):
        pool = redis.BlockingConnectionPool.from_url(server.url, max_connections=10, timeout=5, socket_timeout=5)
        yield server, overrides({"connection_pool": pool})


@contextmanager
def valkey_py(tmp_path, query=""):
    pytest.importorskip("valkey")
    with tcp(tmp_path, "valkey.Valkey", query) as (server, settings):
        yield server, {**settings, "CACHEOPS_REDIS": settings["CACHEOPS_REDIS"].replace("redis:", "valkey:")}


@contextmanager
def valkey_py_resp3(tmp_path):
    with valkey_py(tmp_path, "?protocol=3") as way:
        yield way


@contextmanager
def sentinel(tmp_path, client_class=None):
    with tcp(tmp_path) as (server, _), servers.sentinel(tmp_path, server) as options:
        yield server, {**overrides({}, client_class), "CACHEOPS_SENTINEL": options}


@contextmanager
def valkey_py_sentinel(tmp_path):
    pytest.importorskip("valkey")
    with sentinel(tmp_path, "valkey.Valkey") as way:
        yield way


@contextmanager
def cluster(tmp_path, client_class=None):
    """A cluster of one node: tests of several nodes are in test_cluster.py."""
    with clusters.running(masters=1) as found:
        yield found.nodes[0], overrides(found.url, client_class)


@contextmanager
def cluster_class(tmp_path):
    with cluster(tmp_path, "redis.cluster.RedisCluster") as (server, settings):
        yield server, {**settings, "CACHEOPS_REDIS": {"startup_nodes": [{"host": "127.0.0.1", "port": server.port}]}}


@contextmanager
def valkey_py_cluster(tmp_path):
    pytest.importorskip("valkey")
    with cluster(tmp_path) as (server, settings):
        yield server, {**settings, "CACHEOPS_REDIS": f"valkey+cluster://127.0.0.1:{server.port}"}


WAYS = {
    "URL": tcp,
    "dict": dict_of_arguments,
    "Unix socket": unix_socket,
    "TLS": tls,
    "ACL user": acl_user,
    "RESP2": resp2,
    "RESP3": resp3,
    "Sentinel": sentinel,
    "subclass of redis.Redis": subclass,
    "BlockingConnectionPool": blocking_pool,
    "pool in the settings": pool_in_settings,
    "valkey-py": valkey_py,
    "valkey-py, RESP3": valkey_py_resp3,
    "valkey-py, Sentinel": valkey_py_sentinel,
    "cluster": cluster,
    "cluster, by class": cluster_class,
    "cluster, valkey-py": valkey_py_cluster,
}
