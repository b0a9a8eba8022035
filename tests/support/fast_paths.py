"""Switches for modules that only make the package faster or more precise."""

from __future__ import annotations

from cacheops_lite.query import hydrator, plan_cache, row_dependencies
from cacheops_lite.reads import point_lookup
from cacheops_lite.store import redis_connection

MODULES = (plan_cache, point_lookup, hydrator, row_dependencies, redis_connection)


def switch(on: bool) -> None:
    for module in MODULES:
        module.ENABLED = on
