"""What the settings say of a Redis Cluster: whether it is one, and by which nodes it is found."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from ..conf import on_change, settings
from .client_library import library_of
from .server_address import CLIENT_SETTINGS, DEFAULT_PORT

# How URLs begin, and how those begin that the client library knows.
PLAIN_BEGINNINGS = {
    "redis+cluster": "redis",
    "rediss+cluster": "rediss",
    "valkey+cluster": "valkey",
    "valkeys+cluster": "valkeys",
}
CLUSTER_CLASSES = {"redis": "redis.cluster.RedisCluster", "valkey": "valkey.cluster.ValkeyCluster"}


def is_cluster_class(client_class: Any) -> bool:
    """Return whether a class of clients is for a cluster."""
    return isinstance(client_class, type) and any(
        f"{each.__module__}.{each.__name__}" in CLUSTER_CLASSES.values() for each in client_class.__mro__
    )


@cache
def uses_cluster() -> bool:
    """Return whether the settings name a Redis Cluster; False where they name a client that can't be imported."""
    if urlsplit_or_none(settings.CACHEOPS_REDIS) is not None:
        return True
    client_class = settings.CACHEOPS_CLIENT_CLASS
    if isinstance(client_class, str):
        try:
            client_class = import_string(client_class)
        except ImportError:
            return False
    return is_cluster_class(client_class)


def keeps_conjunction_sets() -> bool:
    """Return whether values are noted in conjunction sets: not on a cluster, where they may have other slots."""
    return not (settings.CACHEOPS_INSIDEOUT or uses_cluster())


@on_change
def _forget(setting: str) -> None:
    if setting in CLIENT_SETTINGS:
        uses_cluster.cache_clear()


def urlsplit_or_none(url: Any) -> Any:
    """Return the parts of the URL of a cluster, None for anything else."""
    parts = urlsplit(url) if isinstance(url, str) else None
    return parts if parts is not None and parts.scheme in PLAIN_BEGINNINGS else None


def class_of_url(url: Any) -> str | None:
    """Return the path of the client class for the URL of a cluster, None for any other URL."""
    parts = urlsplit_or_none(url)
    return None if parts is None else CLUSTER_CLASSES["valkey" if parts.scheme.startswith("valkey") else "redis"]


def cluster_places(address: Any) -> list[tuple[str, int]]:
    """Return host and port of the nodes that ``CACHEOPS_REDIS`` names.

    Raises ImproperlyConfigured if it names none, or more than that.
    """
    if isinstance(address, str):
        return [_place(each) for each in _hosts(address).split(",")]
    options = address if isinstance(address, Mapping) else {}
    nodes = options.get("startup_nodes") or [(options.get("host"), options.get("port", DEFAULT_PORT))]
    found = [_place_of_node(node) for node in nodes]
    if options.get("db"):
        raise ImproperlyConfigured("CACHEOPS_REDIS has db, but a Redis Cluster has one database only.  Leave db out")
    return found


def _hosts(url: str) -> str:
    """Return the part of a URL that names hosts and ports, separated by commas."""
    parts = urlsplit(url)
    if parts.path.strip("/") not in ("", "0"):
        raise ImproperlyConfigured(
            f"CACHEOPS_REDIS names database {parts.path.strip('/')!r}, but a Redis Cluster has one database only.  End "
            "the URL after its port"
        )
    return parts.netloc.rpartition("@")[2]


def _place(text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or port.endswith("]"):
        host, port = text, str(DEFAULT_PORT)
    if not (host and port.isdigit()):
        raise ImproperlyConfigured(
            f"CACHEOPS_REDIS names the node {text!r} of a cluster; it should be a host and a port, such as "
            "'redis+cluster://10.0.0.1:6379,10.0.0.2:6379'"
        )
    return host.strip("[]"), int(port)


def _place_of_node(node: Any) -> tuple[str, int]:
    if isinstance(node, Mapping):
        node = node.get("host"), node.get("port", DEFAULT_PORT)
    elif hasattr(node, "host"):
        node = node.host, node.port
    host, port = node if isinstance(node, (tuple, list)) and len(node) == 2 else (None, None)
    if not (isinstance(host, str) and host and str(port).isdigit()):
        raise ImproperlyConfigured(
            "CACHEOPS_REDIS names no node of the cluster: write {'host': ..., 'port': ...}, or {'startup_nodes': "
            f"[{{'host': ..., 'port': ...}}, ...]}}, instead of {node!r}"
        )
    return host, int(str(port))


def make_cluster(client_class: Any, address: Any, options: dict[str, Any]) -> Any:
    """Return a client of `client_class` for the cluster at ``CACHEOPS_REDIS``; `options` are further arguments.

    Connects to the cluster, to learn which node serves which slots.  Raises ImproperlyConfigured, and what the client
    library raises.
    """
    library = library_of(client_class)
    name = "redis" if library is None else library.name
    node_class: Any = import_string(f"{name}.cluster.ClusterNode")
    nodes = [node_class(*place) for place in cluster_places(address)]
    if not isinstance(address, str):
        own = {"startup_nodes", "host", "port", "db"}
        return client_class(startup_nodes=nodes, **options, **{key: address[key] for key in address if key not in own})
    parts = urlsplit(address)
    host, port = cluster_places(address)[0]
    user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    place = f"{f'[{host}]' if ':' in host else host}:{port}"
    begin = PLAIN_BEGINNINGS.get(parts.scheme, parts.scheme)
    url = urlunsplit((begin, user + place, "", parts.query, ""))
    return client_class.from_url(url, startup_nodes=nodes[1:], **options)
