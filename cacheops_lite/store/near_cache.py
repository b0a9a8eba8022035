"""The near cache: valid values that this process keeps, so that a hit takes no round trip, and is never stale.

Each server that stores versions of an entry reports their first change on a connection of its own, and grants a lease
(see `near_node`).  An entry may answer reads while the leases of all these servers last.  docs/model/near.py walks this
for one server, docs/model/near_cluster.py for several.

There is no thread: reads send renewals and process the messages that have arrived, without waiting.  Once a lease has
expired, reads ask Redis as usual.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from threading import Lock
from typing import Any

import redis

from ..conf import on_change, settings
from ..utils import after_fork_in_child, error_boundary
from .client import client_for
from .invalidator import is_overdue, is_refused
from .near_entries import NEVER, OVERHEAD, NearEntries, NearEntry, NearOptions, clock, size_if_immutable
from .near_node import NearNode
from .redis_errors import STORE_ERRORS
from .stored_value import Lookup
from .time_limit import Budget, run_within
from .value_versions import ValueVersions

# A renewal is sent after this share of the lease.
RENEWAL_SHARE = 0.5
# A value larger than this share of the near cache is not kept.
MAX_SHARE = 0.25
# Nor is one that depends on more rows.
MAX_ROWS = 250
NOTHING_YET = "no result was read from Redis yet"


class NearCache:
    """The near cache of one process.

    One thread at a time uses the connections and changes entries; the others go on without.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self.entries = NearEntries()
        # One server, or nodes of a cluster.
        self.nodes: tuple[NearNode, ...] = ()

    def look_up(self, key: str) -> NearEntry | None:
        """Return the entry of `key`, None if there is none or the lease has expired."""
        found = self._valid_entry(key)
        if found is None and self.is_pending and self._receive_if_free():
            found = self._valid_entry(key)
        return found

    @property
    def is_pending(self) -> bool:
        """Whether a request is not answered yet."""
        return any(node.pending for node in self.nodes)

    def _valid_entry(self, key: str) -> NearEntry | None:
        entry = self.entries.get(key)
        if entry is None:
            return None
        nodes = entry.nodes
        leased_from = nodes[0].leased_from if len(nodes) == 1 else min(node.leased_from for node in nodes)
        now = clock()
        # Read after the leases: a change may have arrived before the renewal that granted them.
        is_kept = entry.is_kept
        age = now - leased_from
        if age > entry.lease * RENEWAL_SHARE:
            self._exclusively(partial(self._renew, entry))
        if not is_kept or age >= entry.lease or now >= entry.expires_at or is_overdue() or is_refused():
            return None
        entry.is_used = True
        return entry

    def keep(self, lookup: Lookup, value: Any, options: NearOptions) -> None:
        """Keep a value that was just found in Redis, once it is known that its versions are tracked and unchanged."""
        key = lookup.key
        if key in self.entries.asked or (len(self.nodes) == 1 and not self.nodes[0].is_ready):
            return
        kept = self.entries.get(key)
        if kept is not None and clock() < kept.expires_at:
            # It was found in Redis because the lease had expired.
            return
        size = size_if_immutable(value, options.is_rows)
        is_encoded = size is None
        if is_encoded:
            value, size = lookup.payload, sys.getsizeof(lookup.payload)
        size = OVERHEAD + (size or 0)
        if size > settings.CACHEOPS_NEAR_SIZE * MAX_SHARE:
            return
        versions = ValueVersions(lookup)
        if versions.number_of_rows > MAX_ROWS:
            return
        registrations = lookup.version_set.registration_keys
        entry = NearEntry(
            *(key, value, is_encoded, size, options.lease),
            version_keys=(key, *versions.keys),
            registrations=tuple(registrations if options.is_strict else ()),
            nodes=(),
            compute_seconds=lookup.compute_seconds,
        )
        self._exclusively(partial(self._ask, entry, versions, registrations))

    def forget_lease(self) -> None:
        """End all leases, because this process has changed something: the next read asks Redis."""
        for node in self.nodes:
            node.leased_from = NEVER

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            for node in self.nodes:
                node.disconnect(NOTHING_YET, 0.0)
            self.nodes = ()

    def describe(self, key: str) -> str:
        """Return in words whether the near cache answers for `key` now, and if not, why not."""
        entry = self.entries.get(key)
        if entry is not None:
            is_leased = clock() - min(node.leased_from for node in entry.nodes) < entry.lease
            return "in the near cache" if is_leased else "in the near cache, as soon as its lease is renewed"
        if not self.nodes:
            return f"off: {NOTHING_YET}"
        reasons = [node.reason_off for node in self.nodes if node.reason_off]
        return f"off: {', '.join(dict.fromkeys(reasons))}" if reasons else "not in the near cache yet"

    def _exclusively(self, func: Callable[[], None]) -> bool:
        """Call `func` unless another thread uses the connections; return whether it was called."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            error_boundary.call_or_default("The near cache fails", partial(run_within, Budget(), func), None)
        finally:
            self._lock.release()
        return True

    def _receive_if_free(self) -> bool:
        return self._exclusively(self._receive)

    def _receive(self) -> None:
        for node in self.nodes:
            node.guarded(node.receive)

    def _renew(self, entry: NearEntry) -> None:
        for node in self.nodes:
            if node in entry.nodes:
                node.guarded(partial(node.renew_if_older, entry.lease * RENEWAL_SHARE))

    # Entries.

    def _ask(self, entry: NearEntry, versions: ValueVersions, registrations: Sequence[str]) -> None:
        """Ask each server for the versions that it stores; the entry is kept once all are known to be unchanged."""
        try:
            nodes = {key: self._node_of(key) for key in (*entry.version_keys, *registrations)}
        except STORE_ERRORS:
            # No node serves a slot; the next hit tries again.
            return
        entry.nodes = own_nodes = tuple(dict.fromkeys(nodes.values()))
        self._leave_unused(own_nodes)
        if not all(node.is_ready for node in own_nodes):
            return
        self.entries.asked[entry.key] = entry
        question = _Question(entry, versions, self.entries, unanswered=len(own_nodes))
        for node in own_nodes:
            own = {key for key, its in nodes.items() if its is node}
            node.guarded(partial(self._ask_node, node, own, question, registrations))

    def _ask_node(self, node: NearNode, own: set[str], question: _Question, registrations: Sequence[str]) -> None:
        entry, versions = question.entry, question.versions
        if any(epoch != node.epoch for key, epoch in versions.epochs() if key in own):
            raise redis.ConnectionError("the connection reaches another server than the others do")
        node.register([name for name in registrations if name in own], entry.lease if entry.registrations else 0.0)
        if entry.key in own:
            # Counted from now, so that the entry expires before the value, however late the server replies.
            node.send(partial(question.note_expiry, clock()), "PTTL", entry.key)
            if versions.header_length:
                node.send(versions.note_header, "GETRANGE", entry.key, 0, versions.header_length - 1)
        positions = [i for i, key in enumerate(versions.keys) if key in own]
        node.get_all([versions.keys[i] for i in positions], partial(question.note_versions, positions))
        node.renew_if_older(entry.lease * RENEWAL_SHARE)

    def _node_of(self, key: str) -> NearNode:
        client = client_for(key)
        for node in self.nodes:
            if node.client is client:
                return node
        found = NearNode(client, self.entries)
        self.nodes = (*self.nodes, found)
        return found

    def _leave_unused(self, needed: Sequence[NearNode]) -> None:
        """Close the connections to nodes that store nothing of any entry, such as nodes that left the cluster."""
        if len(self.nodes) == 1:
            return
        used = {*needed, *self.entries.nodes()}
        for node in self.nodes:
            if node not in used and node.is_ready:
                node.disconnect(NOTHING_YET, 0.0)
                self.nodes = tuple(each for each in self.nodes if each is not node)


class _Question:
    """Whether the versions of an entry are unchanged: once all asked servers have confirmed it, `entries` keeps it."""

    def __init__(self, entry: NearEntry, versions: ValueVersions, entries: NearEntries, unanswered: int):
        self.entry, self.versions = entry, versions
        self._entries, self._unanswered = entries, unanswered
        self._found: list[Any] = [None] * len(versions.keys)

    def note_expiry(self, asked_at: float, milliseconds: Any) -> None:
        lasts = type(milliseconds) is int and milliseconds > 0
        self.entry.expires_at = asked_at + milliseconds / 1000 if lasts else NEVER

    def note_versions(self, positions: Iterable[int], found: list[Any]) -> None:
        for i, version in zip(positions, found, strict=True):
            self._found[i] = version
        self._unanswered -= 1
        if self._unanswered:
            return
        is_asked = self._entries.take_asked(self.entry)
        if self.versions.are_unchanged(self._found) and is_asked:
            self._entries.put(self.entry, settings.CACHEOPS_NEAR_SIZE)


near = NearCache()


@after_fork_in_child
def _begin_anew() -> None:
    """Start empty in a child: the connections belong to the parent, and one of its threads may hold the lock."""
    near.__init__()  # type: ignore[misc]


@on_change
def _forget(setting: str) -> None:
    # While the near cache is off, reads do not ask it.
    if setting.startswith("CACHEOPS") and setting != "CACHEOPS_ENABLED":
        near.close()
