"""Replace what only makes the package faster or more precise by what says that it does not apply."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from cacheops_lite.orm import prefetch
from cacheops_lite.query import hydrator, row_dependencies
from cacheops_lite.reads import point_lookup, queryset_read
from cacheops_lite.store import named_rows, redis_connection

# By name: where the decision is made whether a fast path applies, and an answer that says no.
DECISIONS = {
    "plans": (queryset_read, "_read_from_plan", lambda *arguments: None),
    "point lookups": (point_lookup, "lookup_model_of", lru_cache(lambda model: None)),
    "hydration": (hydrator, "_fast_model", lru_cache(lambda model: model)),
    "row-level dependencies": (row_dependencies, "usable_for", lambda row_level, is_sliced: ()),
    "prefetched querysets": (prefetch, "makes_plain_querysets", lru_cache(lambda *arguments: False)),
    "remembered names of rows": (named_rows, "last_named", lambda key: None),
    "kept connections": (redis_connection, "is_supported", lambda client: False),
}
_ORIGINALS = {name: getattr(module, function) for name, (module, function, _) in DECISIONS.items()}


def switch(on: bool) -> None:
    """Switch all fast paths on or off."""
    for name in DECISIONS:
        setattr(*switched(name, on))


def switched(name: str, on: bool) -> tuple[Any, str, Any]:
    """Return the arguments of ``setattr()``, and so of ``monkeypatch.setattr()``, that switch a fast path on or off."""
    module, function, never = DECISIONS[name]
    return module, function, _ORIGINALS[name] if on else never


def is_on(name: str) -> bool:
    """Return whether a fast path is on."""
    module, function, _ = DECISIONS[name]
    return getattr(module, function) is _ORIGINALS[name]
