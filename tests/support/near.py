"""A near cache whose time the test sets, so that no lease ends because the machine is slow."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from django.test import override_settings
from fakeredis import FakeRedis

from cacheops_lite.observe import Reason
from cacheops_lite.signals import cache_decision
from cacheops_lite.store import near, near_cache, near_node
from cacheops_lite.store.client import get_client
from tests.support.waiting import wait_until

LEASE = 0.01
PROFILE = {"ops": "all", "timeout": 60, "near": True}


class Clock:
    """The clock of leases; it moves only when it is told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds


@contextmanager
def on_server(store, server):
    """Use a server instead of that of the settings, unless the store is the embedded Redis; yield the client."""
    if isinstance(store, FakeRedis):
        yield store
        return
    with override_settings(CACHEOPS_REDIS=server.url):
        client = get_client()
        client.flushdb()
        yield client


@contextmanager
def near_profiles(monkeypatch, store, **settings):
    """Let all models be near; yield the clock of leases."""
    if isinstance(store, FakeRedis):
        pytest.skip("the embedded Redis tracks no keys")
    clock = Clock()
    for module in (near_cache, near_node):
        monkeypatch.setattr(module, "clock", clock)
    settings = {
        "CACHEOPS": {"*.*": PROFILE, "shop.unwatched": None},
        "CACHEOPS_NEAR_LEASE": LEASE,
        **settings,
    }
    with override_settings(**settings):
        near.close()
        yield clock
    near.close()


def node():
    """Return what the near cache keeps of its one server."""
    (found,) = near.nodes
    return found


def renew():
    """Let the near cache ask for a new lease now."""
    near._exclusively(lambda: node().guarded(node().renew))


def settle():
    """Wait until all that the near cache asked for is answered."""
    assert wait_until(lambda: not near.is_pending or not near._receive_if_free() or not near.is_pending)
    assert not near.is_pending


@contextmanager
def nothing_received():
    """Let no reply arrive within this context."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_node.NearNode, "receive", lambda self: None)
        yield


@contextmanager
def decided():
    """Collect the reasons of reads."""
    reasons = []

    def note(sender, decision, **kwargs):
        reasons.append(decision.reason)

    cache_decision.connect(note)
    try:
        yield reasons
    finally:
        cache_decision.disconnect(note)


def is_near(read):
    """Return whether all reads of a callable are hits in the near cache."""
    with decided() as reasons:
        read()
    assert reasons, "it does not read through the cache at all"
    return set(reasons) == {Reason.NEAR_HIT}


def bring_near(read):
    """Read until the result is in the near cache, and return the last result."""
    # A miss, a hit in Redis, and one more where the lease has to be renewed first.
    for _ in range(3):
        found = read()
        settle()
    return found
