"""The name that keys have for a database, so that results of different databases never meet in one Redis.

It follows from ``DATABASES``, because a hit makes no connection: the name of the database, in tests that of the test
database.  ``CACHEOPS_DATABASE_NAMES`` replaces it.  Aliases with the same name are replicas of one another.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections

from ..conf import on_change, settings
from ..schema import is_in_memory, sqlite_path
from ..utils import after_fork_in_child
from .keys import fresh_token

# Other names are shortened, and told apart by a digest.
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.]{0,31}")
_SHORT_LENGTH = 16
_SEARCH_PATH = re.compile(r"search_path\s*=\s*(\S+)")

# By alias and NAME.
_names: dict[tuple[str, Any], str] = {}
# Stands for the name of a database in memory that a single connection has.
_OF_CONNECTION = "(of the connection)"
# Replaced whenever names may have changed.
_era = object()
# By alias: the NAME when the app was installed.  In tests the alias has another one.
_configured: dict[str, Any] = {}
# By alias: names that a test gives to its databases, instead of all others.
_replaced: dict[str, str] = {}
# By alias, the further name of its database that other processes use, see `database_comparison`.
other_names: dict[str, str] = {}
# What distinguishes the memory of this process from others'.
_process_token = fresh_token()


def database_name(alias: str) -> str:
    """Return the name in keys of the database that `alias` is connected to, with a colon; empty if it has none.

    Raises ImproperlyConfigured if ``CACHEOPS_DATABASE_NAMES`` is invalid.
    """
    configured_name = name_in_settings(alias)
    found = _names.get((alias, configured_name))
    if found is None:
        is_private = _is_private_to_connection(alias, configured_name)
        found = _names[alias, configured_name] = _OF_CONNECTION if is_private else _make(alias, configured_name)
    return _name_of_connection(connections[alias], configured_name) if found is _OF_CONNECTION else found


def name_in_settings(alias: str) -> Any:
    """Return the NAME of the database that `alias` is connected to: the test runner changes it."""
    # Threads have connections of their own, but share these dicts with them.
    try:
        return connections.settings[alias]["NAME"]
    except KeyError:
        return connections[alias].settings_dict.get("NAME")


def database_names() -> list[str]:
    """Return the names of all databases of this project, that of the default one first.

    A write invalidates under all of them: on another server than that of the settings, two may be the same database.
    """
    aliases = dict.fromkeys((DEFAULT_DB_ALIAS, *connections))
    return list(dict.fromkeys([*map(database_name, aliases), *other_names.values()]))


def is_declared(alias: str) -> bool:
    """Return whether the project itself says which database this is, or it has none that another process can reach.

    Then it need not be compared with what other processes see.
    """
    name = name_in_settings(alias)
    if not name or _declared(alias, name) is not None or primary_of(alias) is not None:
        return True
    return connections[alias].vendor == "sqlite" and is_in_memory(name)


def remember_configured() -> None:
    """Note which databases ``CACHEOPS_DATABASE_NAMES`` names: those that the aliases have now, not test databases."""
    global _configured
    _configured = {alias: name_in_settings(alias) for alias in connections}
    _forget_names()


@contextmanager
def replaced_names(names: dict[str, str]) -> Iterator[None]:
    """Use these names, by alias, in keys within this context, instead of those that the settings imply."""
    global _replaced
    before, _replaced = _replaced, names
    _forget_names()
    try:
        yield
    finally:
        _replaced = before
        _forget_names()


def declared_names() -> dict[str, str]:
    """Return ``CACHEOPS_DATABASE_NAMES``.  Raises ImproperlyConfigured if it is invalid."""
    found = settings.CACHEOPS_DATABASE_NAMES or {}
    is_dict = isinstance(found, dict) and all(isinstance(each, str) for pair in found.items() for each in pair)
    if not is_dict or any(name and not _PLAIN.fullmatch(name) for name in found.values()):
        raise ImproperlyConfigured(
            f"CACHEOPS_DATABASE_NAMES is {found!r}; it should be a dict from aliases of DATABASES to names of at most "
            "32 letters, digits, dots and underscores, such as {'default': 'live'}"
        )
    return found


def _forget_names() -> None:
    global _era
    _era = object()
    _names.clear()


def _make(alias: str, name: Any) -> str:
    declared = _declared(alias, name)
    if declared is not None:
        return _with_colon(declared)
    mirrored = primary_of(alias)
    if mirrored is not None:
        return database_name(mirrored)
    found = _automatic(alias, name)
    # Test databases of projects that need a name of their own.
    outer = declared_names().get(alias)
    return _with_colon(f"{outer}.{found}" if outer and found else found)


def _with_colon(name: str) -> str:
    return f"{name}:" if name else ""


def _declared(alias: str, name: Any) -> str | None:
    if alias in _replaced:
        return _replaced[alias]
    declared = declared_names().get(alias)
    return declared if _configured.get(alias, name) == name else None


def primary_of(alias: str) -> str | None:
    """Return the alias that this one is declared to be a replica of, by ``TEST["MIRROR"]``."""
    mirrored = _mirror_setting(alias)
    is_other = mirrored is not None and mirrored in connections.settings and mirrored != alias
    return mirrored if is_other and _mirror_setting(str(mirrored)) is None else None


def _mirror_setting(alias: str) -> str | None:
    return (connections.settings.get(alias, {}).get("TEST") or {}).get("MIRROR")


def _automatic(alias: str, name: Any) -> str:
    if not name:
        return ""
    connection = connections[alias]
    if connection.vendor == "sqlite":
        if is_in_memory(name):
            return f"memory-{_digest(f'{_process_token} {name}')}"
        path = sqlite_path(name)
        return _shortened(os.path.basename(path), path)
    text = str(name)
    search_path = _SEARCH_PATH.search(str((connection.settings_dict.get("OPTIONS") or {}).get("options", "")))
    if search_path is not None:
        return _shortened(text, f"{text} {search_path[1]}")
    return text if _PLAIN.fullmatch(text) else _shortened(text, text)


def _name_of_connection(connection: Any, name: Any) -> str:
    """Return the name of a database in memory that only `connection` has."""
    era, found = connection.__dict__.get("_cacheops_name", (None, ""))
    if era is (current := _era):
        return str(found)
    declared = _declared(connection.alias, name)
    if declared is not None:
        found = _with_colon(declared)
    else:
        process, own = connection.__dict__.get("_cacheops_own_name", (None, ""))
        found = own if process is _process_token else f"memory-{_digest(fresh_token())}:"
        connection._cacheops_own_name = _process_token, found
    connection._cacheops_name = current, found
    return found


def _is_private_to_connection(alias: str, name: Any) -> bool:
    # With a shared cache, all connections of the process have the same database.
    is_sqlite = bool(name) and connections[alias].vendor == "sqlite"
    return is_sqlite and is_in_memory(name) and "cache=shared" not in str(name)


def _shortened(text: str, whole: str) -> str:
    return f"{re.sub('[^A-Za-z0-9_.]', '', text)[:_SHORT_LENGTH]}-{_digest(whole)}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()


@on_change
def _forget(setting: str) -> None:
    if setting == "CACHEOPS_DATABASE_NAMES":
        _forget_names()


@after_fork_in_child
def _renew_token_in_child() -> None:
    global _process_token
    _process_token = fresh_token()
    _forget_names()
