"""Where the settings say that Redis is, in a form that can be compared and shown: it has no password."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from ..conf import on_change, settings

# The settings that say which server is used.
CLIENT_SETTINGS = frozenset({"CACHEOPS_REDIS", "CACHEOPS_SENTINEL", "CACHEOPS_CLIENT_CLASS", "CACHEOPS_REDIS_TIMEOUT"})
DEFAULT_HOST, DEFAULT_PORT = "localhost", 6379
_LOCAL_HOSTS = frozenset({"localhost", "localhost.localdomain", "::1", "0.0.0.0", "::"})  # noqa: S104


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A database of a Redis server.  `socket` is the path of a Unix socket, empty for TCP."""

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    db: int = 0
    socket: str = ""
    has_password: bool = False

    @property
    def is_local(self) -> bool:
        """Return whether only this machine can be meant."""
        return bool(self.socket) or self.host.lower() in _LOCAL_HOSTS or self.host.startswith("127.")

    @property
    def place(self) -> tuple[str, int, int]:
        """What two addresses of one database have in common, however each of them is written."""
        if self.socket:
            return self.socket, 0, self.db
        return "localhost" if self.is_local else self.host.lower(), self.port, self.db

    def __str__(self) -> str:
        if self.socket:
            return f"unix:{self.socket}, database {self.db}"
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}/{self.db}"


def parse_address(value: Any) -> ServerAddress | None:
    """Return the address in a URL or in a dict of redis-py's arguments; None if it has none that is understood."""
    with suppress(ValueError, TypeError, AttributeError):
        if isinstance(value, str):
            return _address_in_url(value)
        if isinstance(value, Mapping):
            return _address_in_options(value)
    return None


def _address_in_url(url: str) -> ServerAddress | None:
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    has_password = bool(parts.password or query.get("password"))
    if parts.scheme in ("unix", "redis+socket", "socket"):
        db = _number(query.get("db", query.get("virtual_host")))
        return ServerAddress(db=db, socket=unquote(parts.path), has_password=has_password)
    if parts.scheme.removesuffix("+cluster") not in ("redis", "rediss", "valkey", "valkeys"):
        return None
    if parts.scheme.endswith("+cluster"):
        # The first of its nodes.
        parts = parts._replace(netloc=parts.netloc.partition(",")[0])
    db = _number(query.get("db", unquote(parts.path).strip("/")))
    host = unquote(parts.hostname or query.get("host", DEFAULT_HOST))
    return ServerAddress(host, parts.port or DEFAULT_PORT, db, "", has_password)


def _address_in_options(options: Mapping[str, Any]) -> ServerAddress:
    return ServerAddress(
        str(options.get("host") or DEFAULT_HOST),
        int(options.get("port") or DEFAULT_PORT),
        _number(options.get("db")),
        str(options.get("unix_socket_path") or ""),
        bool(options.get("password") or options.get("credential_provider")),
    )


def _number(text: Any) -> int:
    return int(text or 0)


def configured_address() -> ServerAddress | None:
    """Return where ``CACHEOPS_REDIS`` says that Redis is; None with Sentinel or if the setting is not understood."""
    return None if settings.CACHEOPS_SENTINEL else parse_address(settings.CACHEOPS_REDIS)


def address_setting() -> str:
    """Return the name of the setting that says where Redis is."""
    return "CACHEOPS_SENTINEL" if settings.CACHEOPS_SENTINEL else "CACHEOPS_REDIS"


@cache
def describe_address() -> str:
    """Return where the settings say that Redis is, without a password."""
    sentinel = settings.CACHEOPS_SENTINEL
    if isinstance(sentinel, Mapping) and sentinel:
        places = []
        for each in sentinel.get("locations") or ():
            with suppress(TypeError, ValueError):
                host, port = each
                places.append(f"{host}:{port}")
        return f"service {sentinel.get('service_name')!r} of Sentinel {', '.join(places)}"
    return str(configured_address() or "an address that is not understood")


@on_change
def _forget(setting: str) -> None:
    describe_address.cache_clear()
