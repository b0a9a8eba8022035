"""The error of a write that is rolled back because its results cannot be invalidated: see ``CACHEOPS_STRICT``."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

from django.db import DatabaseError

from ..store import WriteSet, address_setting, describe_address

# How many tables the message names.
MAX_TABLES = 5


class InvalidationError(DatabaseError):
    """With ``CACHEOPS_STRICT``, a transaction was rolled back, as Redis did not confirm its invalidation.

    The error of Redis is its ``__cause__``.
    """


def refused_commit(write_sets: Mapping[str, WriteSet], error: Exception) -> InvalidationError:
    """Return the error that tells why a transaction with these write sets is not committed."""
    tables = sorted({unquote(table) for write_set in write_sets.values() for table in write_set.all_tables()})
    more = f" and {len(tables) - MAX_TABLES} more" if len(tables) > MAX_TABLES else ""
    return InvalidationError(
        f"Redis at {describe_address()}, which {address_setting()} names, did not confirm that cached results of "
        f"{', '.join(tables[:MAX_TABLES])}{more} are invalidated. With CACHEOPS_STRICT = True the transaction was "
        "therefore rolled back before its commit: nothing was written, and no cached result is stale. Repeat the "
        "transaction when Redis answers; 'manage.py cacheops doctor' examines it. To commit without Redis, and "
        f"invalidate once it is back, set CACHEOPS_STRICT = False. Redis said: {error}"
    )
