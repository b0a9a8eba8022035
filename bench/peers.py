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
    distribution: str | None = None
    # The version that the comparison is about.
    wanted: str | None = None
    settings: Callable[[str], dict[str, Any]] = lambda url: {}
    # Which of REDIS_DATABASES it has; more peers than there are share in turn, of which no two use the same names of keys.
    slot: int | None = None
    # "get" and "memory" read the same rows with no ORM at all.
    floor: str | None = None

    @property
    def redis_url(self) -> str:
        return f"{REDIS}/{REDIS_DATABASES[(self.slot or 0) % len(REDIS_DATABASES)]}"

    @property
    def caches(self) -> bool:
        return self.app is not None

    def absence(self) -> str | None:
        """Why it can't be measured here, None if it can."""
        if self.distribution is None:
            return None
        try:
            version(self.distribution)
        except PackageNotFoundError:
            return f"{self.title} is left out: {self.distribution} is not installed"
        return None

    def description(self) -> str:
        """Its title and version."""
        return f"{self.title} {version(self.distribution)}" if self.distribution else self.title


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


BARE = Peer("bare", "no cache")
CACHEOPS = Peer("cacheops", "cacheops", "cacheops", "django-cacheops", "7.2", _cacheops(False), slot=0)
CACHEOPS_INSIDEOUT = Peer(
    "cacheops-insideout", "cacheops insideout", "cacheops", "django-cacheops", "7.2", _cacheops(True), slot=1
)
OURS = Peer("ours", "ours", "cacheops_lite", None, None, _cacheops(False), slot=2)
OURS_INSIDEOUT = Peer("ours-insideout", "ours insideout", "cacheops_lite", None, None, _cacheops(True), slot=3)
CACHALOT = Peer("cachalot", "cachalot", "cachalot", "django-cachalot", "2.9.1", _cachalot, slot=4)
GET = Peer("get", "GET + loads", slot=5, floor="get")
MEMORY = Peer("memory", "memory", floor="memory")

PEERS = {peer.name: peer for peer in (BARE, CACHEOPS, CACHEOPS_INSIDEOUT, CACHALOT, OURS, OURS_INSIDEOUT, GET, MEMORY)}
