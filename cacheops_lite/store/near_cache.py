"""The near cache: valid values that this process keeps, so that a hit takes no round trip, and is never stale.

The server tracks the versions that the entries depend on, and tells their first change (see `tracking_connection`).  A
*renewal* is a request on that connection.  Once its reply has been read, this process has seen every change that the
server made before the renewal was sent.  So it may answer from its entries until one lease after that, and writers wait
that long before they commit (see `near_leases`).  docs/model/near.py walks it.

There is no thread: reads send renewals, and take what has come, without waiting.  While the lease has expired, reads
ask Redis as usual.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from typing import Any, TypeAlias

import redis

from ..conf import on_change, settings
from ..utils import after_fork_in_child, error_boundary
from .client import get_client, stripped_source
from .cluster_settings import uses_cluster
from .invalidator import is_overdue, is_refused
from .near_entries import OVERHEAD, NearEntries, NearEntry, NearOptions, clock, size_if_immutable
from .near_leases import REGISTRATION_SECONDS
from .redis_errors import STORE_ERRORS
from .replies import checked_reply
from .server_epoch import role_of
from .stored_value import Lookup
from .time_limit import Budget, run_within
from .tracking_connection import NotTrackable, TrackingConnection
from .value_versions import ValueVersions

NEVER = float("-inf")
# A renewal is sent when so much of the lease has passed.
RENEWAL_SHARE = 0.5
# How long not to try again after the connection was lost, and after it turned out that keys can't be tracked; seconds.
RETRY_SECONDS = 1.0
NOT_TRACKABLE_SECONDS = 60.0
# Between two looks whether the server has become a replica, in seconds.
ROLE_SECONDS = 1.0
# Of requests without a reply.
MAX_PENDING = 64
# A value larger than this share of the near cache is not kept.
MAX_SHARE = 0.25
# Nor is one that depends on more rows.
MAX_ROWS = 250

# Takes the reply to a request.
_Handler: TypeAlias = Callable[[Any], None]


class NearCache:
    """The near cache of one process.

    One thread at a time uses the connection and changes entries; the others go on without.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self.entries = NearEntries()
        self._connection: TrackingConnection | None = None
        self._pending: deque[_Handler] = deque()
        # The entries whose versions were asked for, by key.
        self._asked: dict[str, NearEntry] = {}
        # The registrations that strict entries rely on, and the lease of each in seconds.
        self._registered: dict[str, float] = {}
        self._is_renewing = False
        self._role: tuple[str, str] | None = None
        self._role_at = self._retry_at = 0.0
        # When the last renewal that was answered was sent.
        self._leased_from = NEVER
        # Why nothing is kept; empty while something may be.
        self.reason_off = "no result was read from Redis yet"

    def look_up(self, key: str) -> NearEntry | None:
        """Return the entry of `key`, None if there is none or the lease has expired."""
        found = self._valid_entry(key)
        if found is None and self._pending and self._receive_if_free():
            found = self._valid_entry(key)
        return found

    def _valid_entry(self, key: str) -> NearEntry | None:
        # The lease first: an entry that was taken before may have changed when a renewal is found to be answered.
        leased_from, now = self._leased_from, clock()
        entry = self.entries.get(key)
        if entry is None:
            return None
        age = now - leased_from
        if age > entry.lease * RENEWAL_SHARE:
            self._exclusively(self._renew)
        if age >= entry.lease or now >= entry.expires_at or is_overdue() or is_refused():
            return None
        entry.is_used = True
        return entry

    def keep(self, lookup: Lookup, value: Any, options: NearOptions) -> None:
        """Keep a value that was just found in Redis, once it is known that its versions are tracked and unchanged."""
        key, now = lookup.key, clock()
        if now < self._retry_at or len(self._pending) >= MAX_PENDING or key in self._asked:
            return
        kept = self.entries.get(key)
        if kept is not None and now < kept.expires_at:
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
        registrations = lookup.version_set.registration_keys if options.is_strict else ()
        entry = NearEntry(
            *(key, value, is_encoded, size, options.lease),
            version_keys=(key, *versions.keys),
            registrations=tuple(registrations),
            compute_seconds=lookup.compute_seconds,
        )
        self._exclusively(partial(self._ask, entry, versions))

    def forget_lease(self) -> None:
        """Ask Redis before the next answer: this process has changed something."""
        self._leased_from = NEVER

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._disconnect("no result was read from Redis yet", 0.0)

    def describe(self, key: str) -> str:
        """Return in words whether the near cache answers for `key` now, and if not, why not."""
        entry = self.entries.get(key)
        if entry is not None:
            is_leased = clock() - self._leased_from < entry.lease
            return "in the near cache" if is_leased else "in the near cache, as soon as its lease is renewed"
        return f"off: {self.reason_off}" if self.reason_off else "not in the near cache yet"

    # The connection.

    def _exclusively(self, func: Callable[[], None]) -> bool:
        """Call `func` unless another thread uses the connection; return whether it was called.

        An error ends the connection, not the read.
        """
        if not self._lock.acquire(blocking=False):
            return False
        try:
            run_within(Budget(), func)
        except NotTrackable as error:
            self._disconnect(str(error), NOT_TRACKABLE_SECONDS)
        except STORE_ERRORS as error:
            self._disconnect(f"{type(error).__name__}: {error}", RETRY_SECONDS)
        except Exception as error:
            self._disconnect(error_boundary.describe_error(error), RETRY_SECONDS)
            error_boundary.reraise_interrupt(error)
            error_boundary.log_failure("The near cache is off for a moment", error)
        except BaseException:
            # A reply may be half read.
            self._disconnect("it was interrupted", 0.0)
            raise
        finally:
            self._lock.release()
        return True

    def _disconnect(self, reason: str, seconds: float) -> None:
        # The lease first: readers take no lock.
        self._leased_from = NEVER
        self.entries.clear()
        self._pending.clear()
        self._asked.clear()
        self._registered.clear()
        self._is_renewing, self._role, self._role_at = False, None, 0.0
        connection, self._connection = self._connection, None
        self._retry_at, self.reason_off = clock() + seconds, reason
        if connection is not None:
            connection.close()

    def _connect(self) -> TrackingConnection:
        if self._connection is None:
            if uses_cluster():
                raise NotTrackable("there is no near cache on a Redis Cluster")
            self._connection = TrackingConnection(get_client(), self._on_change)
            self.reason_off = ""
        return self._connection

    def _send(self, handler: _Handler, *command: Any) -> None:
        self._connect().send(*command)
        self._pending.append(handler)

    def _receive_if_free(self) -> bool:
        return self._exclusively(self._receive)

    def _receive(self) -> None:
        if self._connection is not None:
            for reply in self._connection.receive():
                if isinstance(reply, redis.RedisError):
                    raise reply
                self._pending.popleft()(reply)

    # Renewals.

    def _renew(self) -> None:
        self._receive()
        if self._is_renewing or self._connection is None:
            return
        self._is_renewing = True
        registered, sent_at = dict(self._registered), clock()
        command = ("MGET", *registered) if registered else ("PING",)
        self._send(partial(self._on_renewal, registered, sent_at), *command)
        if sent_at >= self._role_at:
            self._role_at = sent_at + ROLE_SECONDS
            self._send(self._on_role, "INFO", "replication")

    def _on_renewal(self, registered: dict[str, float], sent_at: float, reply: Any) -> None:
        self._is_renewing = False
        if registered:
            leases = map(self._registered_lease, checked_reply(reply, len(registered)))
            lost = [name for (name, own), found in zip(registered.items(), leases, strict=True) if found < own]
            if lost:
                self._lose(lost)
        self._leased_from = max(self._leased_from, sent_at)

    def _registered_lease(self, found: Any) -> float:
        """Return how long writers that find this registration wait, in seconds."""
        lease, _, epoch = found.partition(b"|") if type(found) is bytes else (b"", b"", b"")
        try:
            return float(lease) / 1000 if epoch == self._connect().epoch else 0.0
        except ValueError:
            return 0.0

    def _lose(self, names: Sequence[str]) -> None:
        """Drop the entries of tables whose registration is gone, and forget those that were asked for."""
        lost = set(names)
        for name in lost:
            self._registered.pop(name, None)
        for entry in [*self.entries.all(), *self._asked.values()]:
            if not lost.isdisjoint(entry.registrations):
                self.entries.drop(entry.key)
                self._asked.pop(entry.key, None)

    def _on_role(self, reply: Any) -> None:
        # REPLICAOF keeps connections.
        role = role_of(reply)
        if self._role is not None and role != self._role:
            raise redis.ConnectionError("the server has got another role")
        self._role = role

    # Entries.

    def _ask(self, entry: NearEntry, versions: ValueVersions) -> None:
        connection = self._connect()
        if versions.epoch != connection.epoch:
            raise redis.ConnectionError("the connection reaches another server than the others do")
        # It ends before the value expires, whenever it is that the server runs this.
        asked_at = clock()
        missing = [name for name in entry.registrations if self._registered.get(name, 0.0) < entry.lease]
        if missing:
            arguments = f"{entry.lease * 1000:g}", connection.epoch, REGISTRATION_SECONDS
            script = stripped_source("register_near")
            self._send(_ignore, "EVAL", script, len(missing), *missing, *arguments)
            self._registered.update(dict.fromkeys(missing, entry.lease))
        self._asked[entry.key] = entry
        self._send(partial(self._on_expiry, entry, asked_at), "PTTL", entry.key)
        if versions.header_length:
            self._send(versions.note_header, "GETRANGE", entry.key, 0, versions.header_length - 1)
        self._send(partial(self._on_versions, entry, versions), "MGET", *versions.keys)
        if clock() - self._leased_from > entry.lease * RENEWAL_SHARE:
            self._renew()

    def _on_expiry(self, entry: NearEntry, asked_at: float, milliseconds: Any) -> None:
        lasts = type(milliseconds) is int and milliseconds > 0
        entry.expires_at = asked_at + milliseconds / 1000 if lasts else NEVER

    def _on_versions(self, entry: NearEntry, versions: ValueVersions, reply: Any) -> None:
        is_asked = self._asked.pop(entry.key, None) is entry
        if versions.are_unchanged(checked_reply(reply, len(versions.keys))) and is_asked:
            self.entries.put(entry, settings.CACHEOPS_NEAR_SIZE)

    def _on_change(self, keys: Sequence[str] | None) -> None:
        if keys is None:
            self.entries.clear()
        else:
            for key in keys:
                self.entries.drop_dependents(key)


def _ignore(reply: Any) -> None:
    pass


near = NearCache()


@after_fork_in_child
def _begin_anew() -> None:
    """The connection belongs to the parent, and the lock may be held by one of its threads."""
    near.__init__()  # type: ignore[misc]


@on_change
def _forget(setting: str) -> None:
    # Reads don't ask the near cache while that is off.
    if setting.startswith("CACHEOPS") and setting != "CACHEOPS_ENABLED":
        near.close()
