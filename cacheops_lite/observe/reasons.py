"""Name every outcome of a read and every reason for it.  Each has an entry in docs/reasons.rst."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Outcome(Enum):
    """What became of a read: a hit, a miss, or a read that did not use the cache."""

    HIT = "hit"
    MISS = "miss"
    BYPASS = "bypass"


class _Entry(NamedTuple):
    outcome: Outcome
    text: str
    hint: str


class Reason(Enum):
    """Why a read had its outcome.  The value is the anchor of the entry in docs/reasons.rst."""

    outcome: Outcome
    text: str
    hint: str

    def __new__(cls, anchor: str, entry: _Entry) -> Reason:
        reason = object.__new__(cls)
        reason._value_ = anchor
        reason.outcome, reason.text, reason.hint = entry
        return reason

    # Enum's own is slow, and each read counts its reason.
    __hash__ = object.__hash__

    HIT = "hit", _Entry(Outcome.HIT, "a valid result is in the cache", "")

    NEAR_HIT = "near-hit", _Entry(Outcome.HIT, "a valid result is in the near cache of this process", "")

    NOT_STORED = (
        "not-stored",
        _Entry(
            Outcome.MISS,
            "no result is stored: none was yet, a write removed it, or it expired or was evicted",
            "Nothing to do if later reads hit. Otherwise see whether Redis evicts keys (INFO stats, evicted_keys).",
        ),
    )
    INVALIDATED = (
        "invalidated",
        _Entry(
            Outcome.MISS,
            "a write invalidated the result",
            "If this happens often, the query depends on rows that are written often; see its dependencies.",
        ),
    )
    UNDECODABLE = (
        "undecodable",
        _Entry(
            Outcome.MISS,
            "the stored value can't be decoded",
            "Another release stored it, or a class in it is gone. The next read stores it anew.",
        ),
    )
    INVALID_SIGNATURE = (
        "invalid-signature",
        _Entry(
            Outcome.MISS,
            "the stored value is damaged, or this project did not sign it",
            "Projects that share results need the same CACHEOPS_SIGNING_KEYS. Otherwise find out what writes to Redis.",
        ),
    )
    FENCED = (
        "fenced",
        _Entry(
            Outcome.MISS,
            "a writer is about to commit a change of one of the tables, so nothing is stored until it has",
            "Nothing to do: the fence is released after the commit, at the latest after 30 seconds.",
        ),
    )

    NO_PROFILE = (
        "no-profile",
        _Entry(
            Outcome.BYPASS,
            "the model has no profile in CACHEOPS",
            "Add an entry for the model to CACHEOPS, or call .cache() where a profile without ops exists.",
        ),
    )
    TABLE_WITHOUT_PROFILE = (
        "table-without-profile",
        _Entry(
            Outcome.BYPASS,
            "the query reads a table whose model has no profile, so its writes are not followed",
            'Give that model a profile, if only {"timeout": ...}, or "*.*".',
        ),
    )
    OPERATION_NOT_IN_OPS = (
        "operation-not-in-ops",
        _Entry(
            Outcome.BYPASS,
            "the profile does not cache this operation",
            "Add the operation to the profile's ops, or call .cache().",
        ),
    )
    NOCACHE = ("nocache", _Entry(Outcome.BYPASS, "the queryset was made with .nocache()", "Remove the call."))
    DISABLED = (
        "disabled",
        _Entry(Outcome.BYPASS, "CACHEOPS_ENABLED is off", "Set CACHEOPS_ENABLED = True."),
    )
    FOR_WRITE = (
        "for-write",
        _Entry(
            Outcome.BYPASS,
            "Django reads the row to write it",
            "Nothing to do: what is written must come from the database.",
        ),
    )
    SELECT_FOR_UPDATE = (
        "select-for-update",
        _Entry(
            Outcome.BYPASS,
            "select_for_update() locks rows, which only the database can do",
            "Remove select_for_update() where no lock is needed.",
        ),
    )
    ITERATOR = (
        "iterator",
        _Entry(
            Outcome.BYPASS,
            "iterator() streams results past the cache",
            "Call .cache() on the queryset, or evaluate it without iterator().",
        ),
    )
    RAW = (
        "raw",
        _Entry(Outcome.BYPASS, "raw() is cached only if you call .cache() on it", "Call .cache() on the raw queryset."),
    )
    ADMIN = (
        "admin",
        _Entry(
            Outcome.BYPASS,
            "Django's admin reads from the database",
            "Set CACHEOPS_CACHE_ADMIN = True if its lists may come from the cache.",
        ),
    )
    NON_DETERMINISTIC = (
        "non-deterministic",
        _Entry(
            Outcome.BYPASS,
            "the result is no function of the data alone, as with order_by('?') or Now()",
            "Call .cache() if one result may serve until a write or the timeout.",
        ),
    )
    TRANSACTION_HAS_WRITTEN = (
        "transaction-has-written",
        _Entry(
            Outcome.BYPASS,
            "the transaction has written, so its reads may show what is not committed",
            "Read before you write, or end the transaction first.",
        ),
    )
    SNAPSHOT_PINNED = (
        "snapshot-pinned",
        _Entry(
            Outcome.MISS,
            "the transaction reads from a snapshot that may be older than the versions, so its results are not stored",
            "On SQLite every transaction does, so ATOMIC_REQUESTS keeps results from being stored. On PostgreSQL and "
            "MariaDB use READ COMMITTED.",
        ),
    )
    UNKNOWN_TABLE = (
        "unknown-table",
        _Entry(
            Outcome.BYPASS,
            "SQL in the query may read tables that can't be determined",
            "Use expressions instead of raw SQL, or cache the function with cached_as() and name what it depends on.",
        ),
    )
    NOT_ANALYSABLE = (
        "not-analysable",
        _Entry(
            Outcome.BYPASS,
            "the query can't be analysed",
            "The detail names the cause. Cache the function with cached_as() and name what it depends on.",
        ),
    )
    NO_ROWS = (
        "no-rows",
        _Entry(
            Outcome.BYPASS,
            "Django knows without a query that there are no results",
            "Nothing to do: no query is sent.",
        ),
    )
    UNSTORABLE = (
        "unstorable",
        _Entry(
            Outcome.BYPASS,
            "a result of this query could not be serialized less than a minute ago",
            "Leave fields out by only() or values(), or make their values picklable.",
        ),
    )
    TOO_LARGE = (
        "too-large",
        _Entry(
            Outcome.BYPASS,
            "a result of this query was larger than CACHEOPS_MAX_RESULT_BYTES less than a minute ago",
            "Read fewer rows or columns at once, by slices, only() or values(), or raise the limit.",
        ),
    )
    OTHER_NAME = (
        "other-name",
        _Entry(
            Outcome.BYPASS,
            "other processes know this database under another name, so writes may invalidate under that name only",
            "Say which database it is by CACHEOPS_DATABASE_NAMES, or TEST['MIRROR'] for a replica.",
        ),
    )
    REDIS_AWAY = (
        "redis-away",
        _Entry(
            Outcome.BYPASS,
            "Redis is unreachable, or refuses invalidations",
            "See the log. Reads use the cache again as soon as Redis answers and all invalidations are delivered.",
        ),
    )
