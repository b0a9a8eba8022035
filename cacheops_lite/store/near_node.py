"""The near cache's connection to one server, on which the server reports changes, and the lease that it has granted.

A *renewal* is a request on that connection.  Once its reply has been read, this process has seen every change that the
server made before the renewal was sent.  So it may answer from its entries until one lease after that, and writers wait
that long before they commit (see `near_leases`).  docs/model/near.py walks it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import redis
from redis.crc import key_slot

from ..utils import error_boundary
from .client import stripped_source
from .cluster_settings import uses_cluster
from .near_entries import NEVER, NearEntries, clock
from .near_leases import REGISTRATION_SECONDS
from .redis_errors import STORE_ERRORS
from .replies import checked_reply
from .server_epoch import role_of
from .tracking_connection import NotTrackable, TrackingConnection

# How long not to try again after the connection was lost, and after it turned out that keys can't be tracked; seconds.
RETRY_SECONDS = 1.0
NOT_TRACKABLE_SECONDS = 60.0
# How often it is checked whether the server has become a replica.
ROLE_SECONDS = 1.0
# Requests without a reply, at most.
MAX_PENDING = 64

# Takes the reply to a request.
Handler: TypeAlias = Callable[[Any], None]


class NearNode:
    """The server of `client`, and the lease of what `entries` has from it.

    One thread at a time uses it, but any may read `leased_from`, `pending` and `reason_off`.
    """

    def __init__(self, client: Any, entries: NearEntries) -> None:
        self.client = client
        self._entries = entries
        self._connection: TrackingConnection | None = None
        self.pending: deque[Handler] = deque()
        # The registrations that entries rely on, and the lease of each in seconds, 0 where no writer has to wait.
        self._registered: dict[str, float] = {}
        self._is_renewing = False
        self._role: tuple[str, str] | None = None
        self._role_at = self._retry_at = 0.0
        # The time at which the last answered renewal was sent.
        self.leased_from = NEVER
        # Why nothing is kept; empty while something may be.
        self.reason_off = ""

    @property
    def is_ready(self) -> bool:
        """Whether more may be asked for now."""
        return clock() >= self._retry_at and len(self.pending) < MAX_PENDING

    @property
    def epoch(self) -> bytes | None:
        """The epoch of the server, None if it is unknown.  Connects.  Raises NotTrackable and errors of Redis."""
        return self._connect().epoch

    def guarded(self, func: Callable[[], None]) -> None:
        """Call `func`.  An error ends the connection, not the read."""
        try:
            func()
        except NotTrackable as error:
            self.disconnect(str(error), NOT_TRACKABLE_SECONDS)
        except STORE_ERRORS as error:
            self.disconnect(f"{type(error).__name__}: {error}", RETRY_SECONDS)
        except Exception as error:
            self.disconnect(error_boundary.describe_error(error), RETRY_SECONDS)
            error_boundary.reraise_interrupt(error)
            error_boundary.log_failure("The near cache is off for a moment", error)
        except BaseException:
            # A reply may be half read.
            self.disconnect("it was interrupted", 0.0)
            raise

    def disconnect(self, reason: str, seconds: float) -> None:
        """Forget all that depends on the server, and do not connect again for some seconds."""
        # The lease first: readers take no lock.
        self.leased_from = NEVER
        self._entries.drop_all_of(self)
        self.pending.clear()
        self._registered.clear()
        self._is_renewing, self._role, self._role_at = False, None, 0.0
        connection, self._connection = self._connection, None
        self._retry_at, self.reason_off = clock() + seconds, reason
        if connection is not None:
            connection.close()

    def _connect(self) -> TrackingConnection:
        if self._connection is None:
            self._connection = TrackingConnection(self.client, self._on_change)
            self.reason_off = ""
        return self._connection

    def send(self, handler: Handler, *command: Any) -> None:
        """Send a command; `handler` gets its reply.  Raises errors of Redis, and NotTrackable."""
        self._connect().send(*command)
        self.pending.append(handler)

    def get_all(self, names: Sequence[str], handler: Callable[[list[Any]], None]) -> None:
        """Ask for the values of keys; `handler` gets all of them.  Raises errors of Redis, and NotTrackable."""
        found: list[Any] = [None] * len(names)
        groups = list(_by_slot(names) if uses_cluster() else [range(len(names))])
        unanswered = len(groups)
        if not names:
            # A node of a cluster may have the value alone.
            handler(found)
            return

        def note(positions: Sequence[int], reply: Any) -> None:
            nonlocal unanswered
            for i, value in zip(positions, checked_reply(reply, len(positions)), strict=True):
                found[i] = value
            unanswered -= 1
            if not unanswered:
                handler(found)

        for positions in groups:
            self.send(partial(note, positions), "MGET", *(names[i] for i in positions))

    def receive(self) -> None:
        """Process the replies and the reports of changes that have arrived.  Raises errors of Redis."""
        if self._connection is not None:
            for reply in self._connection.receive():
                if isinstance(reply, redis.RedisError):
                    raise reply
                self.pending.popleft()(reply)

    def _on_change(self, keys: Sequence[str] | None) -> None:
        if keys is None:
            self._entries.drop_all_of(self)
        else:
            for key in keys:
                self._entries.drop_dependents(key)

    # Renewals.

    def renew(self) -> None:
        """Ask for the lease to be renewed, unless that is under way.  Raises errors of Redis."""
        self.receive()
        if self._is_renewing or self._connection is None:
            return
        self._is_renewing = True
        registered, sent_at = dict(self._registered), clock()
        # On a cluster this also finds out whether the node still has their slots.
        if registered:
            self.get_all(list(registered), partial(self._on_registrations, registered, sent_at))
        else:
            self.send(partial(self._on_renewal, sent_at), "PING")
        if sent_at >= self._role_at:
            self._role_at = sent_at + ROLE_SECONDS
            self.send(self._on_role, "INFO", "replication")

    def _on_registrations(self, registered: dict[str, float], sent_at: float, found: list[Any]) -> None:
        leases = map(self._registered_lease, found)
        lost = [name for (name, own), lease in zip(registered.items(), leases, strict=True) if lease < own]
        if lost:
            self._lose(lost)
        self._on_renewal(sent_at)

    def _on_renewal(self, sent_at: float, reply: Any = None) -> None:
        self._is_renewing = False
        self.leased_from = max(self.leased_from, sent_at)

    def _registered_lease(self, found: Any) -> float:
        """Return how long writers that find this registration wait, in seconds."""
        lease, _, epoch = found.partition(b"|") if type(found) is bytes else (b"", b"", b"")
        try:
            return float(lease) / 1000 if epoch == self.epoch else 0.0
        except ValueError:
            return 0.0

    def _lose(self, names: Sequence[str]) -> None:
        """Drop the entries of tables whose registration is gone, and forget those that were asked for."""
        for name in names:
            self._registered.pop(name, None)
        self._entries.drop_registered(names)

    def _on_role(self, reply: Any) -> None:
        # REPLICAOF keeps connections.
        role = role_of(reply)
        if self._role is not None and role != self._role:
            raise redis.ConnectionError("the server has got another role")
        self._role = role

    def register(self, names: Sequence[str], lease: float) -> None:
        """Let writers of the tables with these registrations wait for a lease, in seconds.

        With 0 they need not wait.  Raises errors of Redis, and NotTrackable.
        """
        missing = [name for name in names if self._registered.get(name, 0.0) < lease]
        script, arguments = stripped_source("register_near"), (f"{lease * 1000:g}", self.epoch, REGISTRATION_SECONDS)
        for group in [[name] for name in missing] if uses_cluster() else [missing]:
            if group:
                self.send(_ignore, "EVAL", script, len(group), *group, *arguments)
        if lease or uses_cluster():
            self._registered.update({name: max(self._registered.get(name, 0.0), lease) for name in names})

    def renew_if_older(self, seconds: float) -> None:
        """Ask for a new lease if the present one began so long ago.  Raises errors of Redis."""
        if clock() - self.leased_from > seconds:
            self.renew()


def _by_slot(names: Sequence[str]) -> list[list[int]]:
    """Return the positions of the keys of each slot."""
    found: dict[int, list[int]] = {}
    for i, name in enumerate(names):
        found.setdefault(key_slot(name.encode()), []).append(i)
    return list(found.values())


def _ignore(reply: Any) -> None:
    pass
