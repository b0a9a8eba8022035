"""Deliberate defects of the cache; the scenarios must report each of them."""

from __future__ import annotations

from django.test import override_settings

from cacheops_lite.store import circuit_breaker, rollback, server_epoch, spool
from tests.concurrency.breakages import committing_although_redis_is_away

LONG_SECONDS = 30


def believing_versions_of_other_servers():
    """Take all servers for the same one."""
    note = server_epoch.ServerWatch._note

    def note_the_same(self, replies):
        if note(self, replies) is not None:
            self.epoch = b"A" * server_epoch.EPOCH_LENGTH
        return self.epoch

    server_epoch.ServerWatch._note = note_the_same
    rollback.uninstall()


def pausing_for_long():
    """Let the circuit breakers stay open for long after one failure."""
    circuit_breaker.FIRST_PAUSE_SECONDS = circuit_breaker.MAX_PAUSE_SECONDS = 4


def waiting_for_long():
    """Wait for Redis as if CACHEOPS_REDIS_TIMEOUT were longer."""
    override_settings(CACHEOPS_REDIS_TIMEOUT=LONG_SECONDS).enable()


def keeping_no_spool():
    """Let what a process owes end with it."""
    spool.append = spool.note = lambda write_sets: None


BREAKAGES = [
    believing_versions_of_other_servers,
    pausing_for_long,
    waiting_for_long,
    keeping_no_spool,
    committing_although_redis_is_away,
]


def install(name):
    next(each for each in BREAKAGES if each.__name__ == name)()
