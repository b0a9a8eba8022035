"""The peers to compare, with the settings that their own documentation recommends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

TIMEOUT = 600
REDIS = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379")
REDIS_DATABASES = [int(number) for number in os.environ.get("BENCH_REDIS_DBS", "5,6,7,8").split(",")]


@dataclass(frozen=True)
class Peer:
    """A library, or another way to get the same rows, measured in a process of its own."""

    name: str
    title: str
    app: str | None = None
    settings: Callable[[str], dict[str, Any]] = lambda url: {}
    # The index of its database in REDIS_DATABASES, modulo their number.  The order is such that peers which share a
    # database use different names of keys.
    slot: int = 0
    # The distribution that has to be installed, and the version that the comparison is about.
    distribution: str | None = None
    wanted: str | None = None
    # "get" or "memory": read the same rows without the ORM.
    floor: str | None = None
    # The folder to import it from, if it is not this one.
    folder: str | None = None
    # Of its Redis, if that is none of the databases of a run.
    url: str | None = None

    @property
    def redis_url(self) -> str:
        return self.url or f"{REDIS}/{REDIS_DATABASES[self.slot % len(REDIS_DATABASES)]}"

    @property
    def caches(self) -> bool:
        return self.app is not None

    def installed(self) -> str | None:
        """Return its version, "" if it needs no installation, None if it is not installed."""
        if self.distribution is None:
            return ""
        try:
            return version(self.distribution)
        except PackageNotFoundError:
            return None


def _cacheops(insideout: bool) -> Callable[[str], dict[str, Any]]:
    # This library has the same settings.
    def settings(url: str) -> dict[str, Any]:
        return {
            "CACHEOPS_REDIS": url,
            "CACHEOPS_INSIDEOUT": insideout,
            "CACHEOPS": {"library.note": None, "library.*": {"ops": "all", "timeout": TIMEOUT}},
        }

    return settings


def _near(url: str) -> dict[str, Any]:
    settings = _cacheops(False)(url)
    settings["CACHEOPS"]["library.*"]["near"] = True
    return settings


def _cachalot(url: str) -> dict[str, Any]:
    return {
        "CACHES": {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": url}},
        "CACHALOT_TIMEOUT": TIMEOUT,
        "CACHALOT_UNCACHABLE_TABLES": ("django_migrations", "library_note"),
    }


def _cachex(url: str) -> dict[str, Any]:
    return {
        "CACHES": {"default": {"BACKEND": "django_cachex.cache.RedisCache", "LOCATION": url}},
        "CACHEX_ORM": {"TIMEOUT": TIMEOUT, "UNCACHABLE_TABLES": ("django_migrations", "library_note")},
    }


_DJANGO_CACHEOPS = {"distribution": "django-cacheops", "wanted": "7.2"}
_DJANGO_CACHALOT = {"distribution": "django-cachalot", "wanted": "2.9.1"}

BARE = Peer("bare", "no cache")
CACHEOPS = Peer("cacheops", "cacheops", "cacheops", _cacheops(False), slot=0, **_DJANGO_CACHEOPS)
CACHEOPS_INSIDEOUT = Peer(
    "cacheops-insideout", "cacheops, insideout", "cacheops", _cacheops(True), slot=1, **_DJANGO_CACHEOPS
)
CACHALOT = Peer("cachalot", "cachalot", "cachalot", _cachalot, slot=4, **_DJANGO_CACHALOT)
CACHEX = Peer("cachex", "cachex", "django_cachex.orm", _cachex, slot=3, distribution="django-cachex", wanted="0.14.1")
OURS = Peer("ours", "ours", "cacheops_lite", _cacheops(False), slot=2)
OURS_INSIDEOUT = Peer("ours-insideout", "ours, insideout", "cacheops_lite", _cacheops(True), slot=3)
OURS_NEAR = Peer("ours-near", "ours, near", "cacheops_lite", _near, slot=1)
GET = Peer("get", "GET + loads", slot=5, floor="get")
MEMORY = Peer("memory", "memory", floor="memory")

PEERS = {
    peer.name: peer
    for peer in (BARE, CACHEOPS, CACHEOPS_INSIDEOUT, CACHALOT, OURS, OURS_INSIDEOUT, OURS_NEAR, GET, MEMORY)
}
# It needs that Python, see `bench.cachex`.
if sys.version_info >= (3, 14):
    PEERS[CACHEX.name] = CACHEX
# Another version of this library, to measure what a change costs; BENCH_BEFORE is the folder of its checkout.
if folder := os.environ.get("BENCH_BEFORE"):
    PEERS["before"] = Peer("before", "ours, before", "cacheops_lite", _cacheops(False), slot=0, folder=folder)
    # It shares its database with another version of the insideout peer: measure the two in separate runs.
    PEERS["before-near"] = Peer("before-near", "near, before", "cacheops_lite", _near, slot=3, folder=folder)
# This library on a Redis Cluster; BENCH_CLUSTER is its URL, see `bench.cluster`.
CLUSTER = Peer("cluster", "ours, cluster", "cacheops_lite", _cacheops(True), url=os.environ.get("BENCH_CLUSTER"))
if CLUSTER.url:
    PEERS[CLUSTER.name] = CLUSTER


def chosen(names: list[str]) -> tuple[list[Peer], list[str]]:
    """Return the installed peers of `names`, and notes on those that are missing or have another version."""
    peers, notes = [], []
    for peer in (PEERS[name] for name in PEERS if name in names):
        found = peer.installed()
        if found is None:
            notes.append(f"{peer.title} is left out: {peer.distribution} is not installed")
            continue
        peers.append(peer)
        if peer.wanted not in (None, found):
            notes.append(f"{peer.title} is {found}; the comparison is about {peer.wanted}")
    return peers, notes
