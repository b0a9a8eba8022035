"""Which library a client class comes from: redis-py, or a fork of it such as valkey-py.

A fork has the classes of redis-py under its own package, and names some arguments after itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import redis

# Modules of redis-py that a fork has as well, and what is used of them.
_PARTS = {
    "exceptions": ("ConnectionError", "TimeoutError", "ResponseError"),
    "connection": ("Connection",),
    "backoff": ("NoBackoff",),
    "retry": ("Retry",),
    "sentinel": ("Sentinel",),
}


@dataclass(frozen=True, slots=True)
class ClientLibrary:
    """redis-py or a fork of it.  `name` is that of the package."""

    name: str

    @property
    def is_redis_py(self) -> bool:
        return self.name == "redis"

    @property
    def connect_argument(self) -> str:
        """The argument of a client that is called with each new connection."""
        return f"{self.name}_connect_func"

    @property
    def class_argument(self) -> str:
        """The argument of ``Sentinel.master_for`` that is the class of the client."""
        return f"{self.name}_class"

    def part(self, module: str, name: str) -> Any:
        """Return a class of the library."""
        return getattr(import_module(f"{self.name}.{module}"), name)

    def no_retry(self) -> Any:
        """Return the argument by which a client does not repeat a failed call."""
        return self.part("retry", "Retry")(self.part("backoff", "NoBackoff")(), 0)


def library_of(client_class: Any) -> ClientLibrary | None:
    """Return the library that a class, or the nearest of its base classes, comes from; None if there is none."""
    return _library_of_class(client_class) if isinstance(client_class, type) else None


@cache
def _library_of_class(client_class: Any) -> ClientLibrary | None:
    if issubclass(client_class, redis.Redis):
        return ClientLibrary("redis")
    for each in client_class.__mro__:
        name = each.__module__.partition(".")[0]
        if hasattr(each, "execute_command") and _has_all_parts(name):
            return ClientLibrary(name)
    return None


@cache
def _has_all_parts(name: str) -> bool:
    try:
        return all(
            isinstance(getattr(import_module(f"{name}.{module}"), each, None), type)
            for module, names in _PARTS.items()
            for each in names
        )
    except ImportError:
        return False
