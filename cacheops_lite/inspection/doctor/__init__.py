"""Examine the Redis server that the settings name: what it is, what it allows, and what it does with the cache's keys.

Changes no data: what is tried is tried on a key of its own, which is removed at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from ...store import address_setting, call, describe_address, server_clients
from .clients import examine_clients, examine_timeouts
from .contents import examine_contents
from .durability import examine_persistence
from .findings import LEVELS, Examination, Finding
from .identity import (
    EMBEDDED,
    examine_cluster,
    examine_latency,
    examine_replication,
    examine_server,
    name_and_version,
)
from .memory import examine_eviction, examine_memory
from .permissions import examine_keys, examine_permissions, examine_scripts
from .session import Refused, Session
from .spool import examine_spool

__all__ = ["LEVELS", "Examination", "Finding", "examine"]

_PROBES: dict[str, Callable[[Session], Iterator[Finding]]] = {
    "server": examine_server,
    "cluster": examine_cluster,
    "replication": examine_replication,
    "permissions": examine_permissions,
    "keys": examine_keys,
    "scripts": examine_scripts,
    "eviction": examine_eviction,
    "memory": examine_memory,
    "persistence": examine_persistence,
    "timeouts": examine_timeouts,
    "clients": examine_clients,
    "latency": examine_latency,
    "contents": examine_contents,
    "spool": examine_spool,
}
# What an embedded Redis has.
_OF_EMBEDDED = ("server", "scripts", "latency", "contents")


def examine() -> Examination:
    """Examine the server, or each node of a cluster: of further nodes only what is not as it should be.

    Raises errors of Redis if it can't be reached, and ImproperlyConfigured.
    """
    findings: list[Finding] = []
    server = ""
    for tag, client in call(server_clients).items():
        with Session(client, tag) as session:
            name, version = name_and_version(session)
            probes = _OF_EMBEDDED if name == EMBEDDED else _PROBES
            found = [finding for each in probes for finding in _findings(each, session)]
        if not server:
            server, findings = f"{name} {version}".strip() or "unknown", found
        else:
            findings += [_of_node(each, session) for each in found if each.level in ("warning", "error")]
    return Examination(describe_address(), address_setting(), server, findings)


def _of_node(finding: Finding, session: Session) -> Finding:
    return replace(finding, found=f"Node {session.place}: {finding.found}")


def _findings(name: str, session: Session) -> list[Finding]:
    try:
        return list(_PROBES[name](session))
    except Refused as refusal:
        advice = f"Allow {refusal.command} to the user of this command, or ask the provider of the server."
        return [Finding(name, "unknown", f"Unknown: {refusal}", "This can't be examined.", advice)]
