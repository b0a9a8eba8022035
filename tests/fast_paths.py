"""Switches of what is there for speed or precision alone."""

from __future__ import annotations

from cacheops_lite import direct, hydration, narrowing, plans, wire

MODULES = (plans, direct, hydration, narrowing, wire)


def switch(on: bool) -> None:
    for module in MODULES:
        module.ENABLED = on
