"""Who is compared: each by name, with the settings that its own documentation recommends."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

TIMEOUT = 600
REDIS = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379")
REDIS_DATABASES = [int(number) for number in os.environ.get("BENCH_REDIS_DBS", "5,6,7,8").split(",")]


@dataclass(frozen=True)
class Peer:
    """One that is measured, in a process of its own."""

    name: str
    title: str
    app: str | None = None
    settings: Callable[[str], dict[str, Any]] = lambda url: {}
    # Which of REDIS_DATABASES it has.  Where they are too few peers share in turn, in an order in which no two who
    # share use the same names of keys.
    slot: int = 0
    # What has to be installed, and the version that the comparison is about.
    distribution: str | None = None
    wanted: str | None = None
    # "get" and "memory" read the same rows with no ORM at all.
    floor: str | None = None
    # A folder to import it from, instead of this one.
    folder: str | None = None

    @property
    def redis_url(self) -> str:
        return f"{REDIS}/{REDIS_DATABASES[self.slot % len(REDIS_DATABASES)]}"

    @property
    def caches(self) -> bool:
        return self.app is not None

    def installed(self) -> str | None:
        """Its version, None if it has to be installed and is not."""
        if self.distribution is None:
            return ""
        try:
            return version(self.distribution)
        except PackageNotFoundError:
            return None


def _cacheops(insideout: bool) -> Callable[[str], dict[str, Any]]:
    # Ours takes the same settings.
    def settings(url: str) -> dict[str, Any]:
        return {
            "CACHEOPS_REDIS": url,
            "CACHEOPS_INSIDEOUT": insideout,
            "CACHEOPS": {"library.note": None, "library.*": {"ops": "all", "timeout": TIMEOUT}},
        }

    return settings


def _cachalot(url: str) -> dict[str, Any]:
    return {
        "CACHES": {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": url}},
        "CACHALOT_TIMEOUT": TIMEOUT,
        "CACHALOT_UNCACHABLE_TABLES": ("django_migrations", "library_note"),
    }


_DJANGO_CACHEOPS = {"distribution": "django-cacheops", "wanted": "7.2"}
_DJANGO_CACHALOT = {"distribution": "django-cachalot", "wanted": "2.9.1"}

BARE = Peer("bare", "no cache")
CACHEOPS = Peer("cacheops", "cacheops", "cacheops", _cacheops(False), slot=0, **_DJANGO_CACHEOPS)
CACHEOPS_INSIDEOUT = Peer(
    "cacheops-insideout", "cacheops, insideout", "cacheops", _cacheops(True), slot=1, **_DJANGO_CACHEOPS
)
CACHALOT = Peer("cachalot", "cachalot", "cachalot", _cachalot, slot=4, **_DJANGO_CACHALOT)
OURS = Peer("ours", "ours", "cacheops_lite", _cacheops(False), slot=2)
OURS_INSIDEOUT = Peer("ours-insideout", "ours, insideout", "cacheops_lite", _cacheops(True), slot=3)
GET = Peer("get", "GET + loads", slot=5, floor="get")
MEMORY = Peer("memory", "memory", floor="memory")

PEERS = {peer.name: peer for peer in (BARE, CACHEOPS, CACHEOPS_INSIDEOUT, CACHALOT, OURS, OURS_INSIDEOUT, GET, MEMORY)}
# Another version of this library, to see what a change costs: BENCH_BEFORE is the folder of its checkout.
if folder := os.environ.get("BENCH_BEFORE"):
    PEERS["before"] = Peer("before", "ours, before", "cacheops_lite", _cacheops(False), slot=0, folder=folder)


def chosen(names: list[str]) -> tuple[list[Peer], list[str]]:
    """Those of `names` who are there; and who is not, or is there in another version."""
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
