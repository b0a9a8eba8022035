"""Remove dead members from conjunction sets: keys of results that are no longer cached."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from django.db import DEFAULT_DB_ALIAS
from redis.exceptions import ResponseError

from .store import get_client, keys, prefixes_of_database, scan, uses_cluster

__all__ = ["reap_conjs"]

logger = logging.getLogger("cacheops_lite")


def reap_conjs(
    chunk_size: int = 1000,
    min_conj_set_size: int = 1000,
    using: str = DEFAULT_DB_ALIAS,
    dry_run: bool = False,
) -> int:
    """Remove dead members from conjunction sets, and return how many: keys of results that are no longer cached.

    You do not need to call this: each write to a set removes a few dead members, and sets expire; on a Redis Cluster
    there are none.  It is kept for projects that schedule it.  It checks sets of `min_conj_set_size` members or more,
    under the prefixes of tables on the database `using`, about `chunk_size` keys at a time, so that it never blocks
    Redis for long.  With `dry_run` it removes nothing, and returns how many members it would remove.

    A result may be cached again between the check and the removal of its key from a set.  That is harmless, as sets are
    only bookkeeping: the result is still invalidated by its versions, and its memory is freed at its timeout.

    Raises ValueError for a `chunk_size` that is not positive.
    """
    if chunk_size < 1:
        raise ValueError(f"chunk_size should be 1 or more, not {chunk_size}")
    removed = 0
    if uses_cluster():
        return removed
    for prefix in prefixes_of_database(using):
        for key in _large_sets(prefix, chunk_size, min_conj_set_size):
            dead = sum(_reap(key, members, dry_run) for members in _chunks(_members(key, chunk_size), chunk_size))
            logger.info("%s dead members of %r %s", dead, key, "found" if dry_run else "removed")
            removed += dead
    return removed


def _large_sets(prefix: str, chunk_size: int, min_size: int) -> Iterator[bytes]:
    pattern = keys.escape_glob(keys.conjunction_set_key(prefix, "")) + "*"
    for chunk in _chunks(chain.from_iterable(scan(pattern, chunk_size, "set")), chunk_size):
        pipeline = get_client().pipeline(transaction=False)
        for key in chunk:
            pipeline.scard(key)
        # The size is an error if another client replaced the set by another type.
        sizes = pipeline.execute(raise_on_error=False)
        yield from (key for key, size in zip(chunk, sizes, strict=True) if isinstance(size, int) and size >= min_size)


def _members(key: bytes, chunk_size: int) -> Iterator[bytes]:
    try:
        yield from get_client().sscan_iter(key, count=chunk_size)
    except ResponseError as error:
        # Another client replaced the set after its size was read.
        if not str(error).startswith("WRONGTYPE"):
            raise
        logger.warning("Can't reap %r: %s", key, error)


def _reap(key: bytes, members: list[bytes], dry_run: bool) -> int:
    client = get_client()
    pipeline = client.pipeline(transaction=False)
    for member in members:
        pipeline.exists(member)
    dead = [member for member, exists in zip(members, pipeline.execute(), strict=True) if not exists]
    if not dead or dry_run:
        return len(dead)
    return int(client.srem(key, *dead))


def _chunks(items: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
