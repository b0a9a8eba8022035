"""Tell databases with the same name apart, and recognize one that has two names.

Names of databases are unique on a server only: a staging database or a restored copy may have the name of the live one,
and a connection pooler may give one database two names.  So each process asks the database for its identity.

- The keys of results end with a digest of the identity.  So databases with the same name share versions, and each
  write invalidates the results of both, but no process reads a result of the other database.
- Each process notes in Redis under which name it knows an identity.  A process that knows the database under another
  name than the one noted reads past the cache, and invalidates under both names.
- It also notes whose database the name is.  The simple cache, which knows no database, is of that one only.

Notes are renewed while processes use them.  A name belongs to another database when the first one is known to be gone,
because it had the same name on the same server, or when it has not been used for an hour.  Then all results
under the name are removed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.signals import connection_created

from ..conf import on_change, settings
from ..observe import Bypass, Reason
from ..schema import DatabaseIdentity, identity_of_database, tracked_columns
from ..utils import error_boundary
from . import keys
from .circuit_breaker import call_for_write, suppress_tolerated
from .client import CLIENT_SETTINGS, unlink
from .database_names import (
    database_name,
    is_declared,
    name_in_settings,
    other_names,
    primary_of,
    remember_configured,
)
from .database_notes import Note, read_note, write_note
from .invalidator import clear
from .namespaces import prefix_of, prefix_of_table, prefixes_with_name
from .redis_errors import STORE_ERRORS

logger = logging.getLogger("cacheops_lite")

# A process compares again after this time; after the shorter one if it could not.
COMPARE_SECONDS = 60.0
RETRY_SECONDS = 5.0
# A process that only writes compares again after this time if Redis could not be reached.
FAILED_SECONDS = 5.0
SUFFIX_LENGTH = 8
_UID = "cacheops_lite.store.database_comparison"


@dataclass(slots=True)
class _Comparison:
    """What comparing the database of an alias found.  `until` is on the monotonic clock."""

    name: Any
    until: float
    # The suffix of the keys of results.
    suffix: str = ""
    bypass: Bypass | None = None
    # Whether another database has the name.
    is_namesake: bool = False


@dataclass(slots=True)
class _Known:
    """By alias, what was found; by alias and NAME, the identities of the databases that were connected to."""

    comparisons: dict[str, _Comparison] = field(default_factory=dict)
    identities: dict[tuple[str, Any], DatabaseIdentity] = field(default_factory=dict)
    # On the monotonic clock.
    failed_until: dict[str, float] = field(default_factory=dict)


_known = _Known()


def _fresh(alias: str) -> _Comparison | None:
    """Return the last comparison, None if it is due again."""
    found = _known.comparisons.get(alias)
    if found is not None and time.monotonic() < found.until and found.name == name_in_settings(alias):
        return found
    return None


def bypass_of_database(alias: str) -> Bypass | None:
    """Return why results of this database must be neither read from the cache nor stored, None if they may.

    The first call in a process connects to the database.  Raises errors of Redis unless reads degrade.
    """
    found = _fresh(alias)
    if found is not None:
        return found.bypass
    with suppress_tolerated():
        return _compare_anew(alias).bypass
    return Bypass(Reason.REDIS_AWAY)


def keep_compared(alias: str) -> None:
    """Compare again if it is due.  Call it before a write is recorded, which may have to invalidate under two names.

    While a process only writes, another one may take the name of its database over.  Raises no error of Redis: the
    invalidation will meet it.
    """
    if _fresh(alias) or not settings.CACHEOPS_ENABLED:
        return
    now = time.monotonic()
    if now < _known.failed_until.get(alias, 0.0):
        return
    try:
        _compare_anew(alias)
    except STORE_ERRORS:
        _known.failed_until[alias] = now + FAILED_SECONDS


def is_of_another_database() -> bool:
    """Return whether Redis has results of another database under the name of the default one.

    Call it within `circuit_breaker.call`.  Raises errors of Redis.
    """
    found = _fresh(DEFAULT_DB_ALIAS) or _compare_anew(DEFAULT_DB_ALIAS, lambda func: func())
    return found.is_namesake or found.bypass is not None


def value_suffix(alias: str) -> str:
    """Return the suffix of the keys of this database's results, as the last comparison found it."""
    found = _known.comparisons.get(alias)
    return "" if found is None else found.suffix


def install() -> None:
    """Compare each database that Django connects to."""
    remember_configured()
    connection_created.connect(_on_connection_created, dispatch_uid=_UID)


def uninstall() -> None:
    """Stop doing so, and forget what was found."""
    connection_created.disconnect(dispatch_uid=_UID)
    forget()


def compare_again(alias: str) -> None:
    """Forget what was found of one database."""
    _known.comparisons.pop(alias, None)


def forget() -> None:
    """Forget what was found: it is compared again."""
    _known.comparisons.clear()
    _known.identities.clear()
    _known.failed_until.clear()
    other_names.clear()


@on_change
def _forget_comparisons(setting: str) -> None:
    if setting in ("CACHEOPS_DATABASE_NAMES", "CACHEOPS_PREFIX", *CLIENT_SETTINGS):
        _known.comparisons.clear()


def _on_connection_created(sender: Any, connection: Any, **kwargs: Any) -> None:
    # A write of this connection must know under which other name it has to invalidate.
    try:
        alias = connection.alias
        if settings.CACHEOPS_ENABLED and _is_of_alias(connection) and not is_declared(alias) and not _fresh(alias):
            _learn(connection)
            _compare_identity(alias, call_for_write)
    except STORE_ERRORS as error:
        # A failure of the cache must not prevent the connection to the database.
        logger.debug("Can't compare the database %r with that of other processes: %s", connection.alias, error)
    except Exception as error:
        error_boundary.reraise_interrupt(error)
        error_boundary.log_failure("Can't compare a database with that of other processes", error)


def _is_of_alias(connection: Any) -> bool:
    # The test runner makes connections of its own, to a database from which it creates others.
    configured = connections.settings.get(connection.alias)
    return configured is not None and configured["NAME"] == connection.settings_dict["NAME"]


def _learn(connection: Any) -> None:
    identity = identity_of_database(connection)
    # If the database does not answer now, the identity is most likely still the same.
    if identity is not None:
        _known.identities[connection.alias, connection.settings_dict["NAME"]] = identity


def _compare_anew(alias: str, run: Callable[[Callable[[], _Comparison]], _Comparison] = call_for_write) -> _Comparison:
    """Compare through `run`, which is not called if there is nothing to ask Redis for.

    By default `run` calls Redis as a write does: after a timeout, the write that follows does not wait again.
    """
    name = name_in_settings(alias)
    primary = primary_of(alias)
    if primary is not None:
        # The results of a replica are those of its primary.
        found = replace(_fresh(primary) or _compare_anew(primary, run), name=name)
    elif is_declared(alias):
        found = _Comparison(name, float("inf"))
    else:
        _learn_if_connected(alias)
        if (alias, name) not in _known.identities:
            _connect(alias)
        # The receiver compares a new connection.
        return _fresh(alias) or _compare_identity(alias, run)
    _known.comparisons[alias] = found
    return found


def _compare_identity(alias: str, run: Callable[[Callable[[], _Comparison]], _Comparison]) -> _Comparison:
    """Compare the identity that is known of a database, if one is."""
    name = name_in_settings(alias)
    identity = _known.identities.get((alias, name))
    if identity is None:
        found = _Comparison(name, time.monotonic() + RETRY_SECONDS)
    else:
        found = run(partial(_compared, alias, name, identity))
    _known.comparisons[alias] = found
    return found


def _learn_if_connected(alias: str) -> None:
    """Ask again: the connection may lead to another database by now.  An error would break a transaction."""
    connection = connections[alias]
    if connection.connection is not None and not connection.in_atomic_block and connection.autocommit:
        _learn(connection)


def _connect(alias: str) -> None:
    """Connect to the database of `alias`; the receiver learns its identity."""
    try:
        connections[alias].ensure_connection()
    except Exception as error:
        # The database is unreachable, or a test forbids connections.  The read that follows raises the error.
        error_boundary.reraise_interrupt(error)


def _compared(alias: str, name: Any, identity: DatabaseIdentity) -> _Comparison:
    """Compare with the notes in Redis.  Without one that contradicts, note that the name is that of this database."""
    suffix = f".{keys.digest(identity.database)[:SUFFIX_LENGTH]}"
    found = _Comparison(name, time.monotonic() + COMPARE_SECONDS, suffix)
    own_name, where = database_name(alias), _where(alias)
    prefix = _prefix(alias)
    of_name = keys.database_key(prefix, alias)
    of_identity = keys.database_key(prefix.removesuffix(own_name), keys.digest(identity.database))
    namesake, other = read_note(of_name), read_note(of_identity)
    other_names.pop(alias, None)
    is_another = namesake is not None and namesake.text != identity.database
    if other is not None and other.text != own_name and other.is_used:
        other_names[alias] = other.text
        found.bypass = _bypass(
            f"other processes call this database {_readable(other.text)}, and this one {_readable(own_name)}"
        )
        return found
    if namesake is not None and is_another and namesake.is_used and namesake.server != identity.server:
        found.is_namesake = True
        _report(
            f"Two databases are called {_readable(own_name)}, one at {namesake.where}, and that of this process at "
            f"{where}.  Their writes invalidate each other's results, and this process does not use the simple cache"
        )
    else:
        if is_another:
            for each in prefixes_with_name(own_name):
                clear(each)
        write_note(of_name, Note(identity.database, identity.server, where, time.time()))
    if other is None or other.text != own_name:
        # Writers may have used another name meanwhile.
        _drop_versions(alias)
    write_note(of_identity, Note(own_name, identity.server, where, time.time()))
    return found


def _prefix(alias: str) -> str:
    # The prefix may depend on the table, so it is that of any one.
    return prefix_of(dbs=[alias], tables=sorted(tracked_columns())[:1])


def _where(alias: str) -> str:
    configured = connections.settings[alias]
    if connections[alias].vendor == "sqlite":
        return str(configured["NAME"])
    return f"{configured.get('HOST') or 'localhost'}:{configured.get('PORT') or 'the standard port'}"


def _readable(name: str) -> str:
    return repr(name.rstrip(":"))


def _bypass(detail: str) -> Bypass:
    _report(f"{detail[0].upper()}{detail[1:]}, so this one reads past the cache")
    return Bypass(Reason.OTHER_NAME, detail)


def _report(text: str) -> None:
    if error_boundary.is_first_report(("database", text)):
        logger.warning("%s.  %s", text, Reason.OTHER_NAME.hint)


def _drop_versions(alias: str) -> None:
    """Invalidate all results of a database, by its table versions and dependency indexes."""
    names = [
        key_of(prefix_of_table(table, alias), table)
        for table in map(keys.name_in_keys, tracked_columns())
        for key_of in (keys.index_key, keys.table_version_key)
    ]
    unlink(names)
