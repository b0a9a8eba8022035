"""Removing members of sets of dependents whose values are gone."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from django.db import DEFAULT_DB_ALIAS
from redis.exceptions import ResponseError

from .store import get_client, keys, prefixes_of_database

__all__ = ["reap_conjs"]

logger = logging.getLogger("cacheops_lite")


def reap_conjs(
    chunk_size: int = 1000,
    min_conj_set_size: int = 1000,
    using: str = DEFAULT_DB_ALIAS,
    dry_run: bool = False,
) -> int:
    """Remove members of sets of dependents whose values are gone; the number removed, or with `dry_run` to be removed.

    There is no need to: each write to a set removes a few dead members, and sets expire.  This is for those who
    schedule it.  It looks at sets of `min_conj_set_size` members or more, under the prefixes of tables on the
    database `using`, some `chunk_size` keys at a time, so that Redis is never busy with it for long.

    A value that comes back between the look at it and its removal is no longer in the set.  That harms nothing, as sets
    are bookkeeping: an invalidation finds it by its versions all the same, and its memory is freed at its timeout.

    Raises ValueError for a `chunk_size` that is not positive.
    """
    if chunk_size < 1:
        raise ValueError(f"chunk_size should be 1 or more, not {chunk_size}")
    removed = 0
    for prefix in prefixes_of_database(using):
        for key in _large_sets(prefix, chunk_size, min_conj_set_size):
            gone = sum(_reap(key, members, dry_run) for members in _chunks(_members(key, chunk_size), chunk_size))
            logger.info("%s of the members of %r %s gone", gone, key, "are" if dry_run else "were")
            removed += gone
    return removed


def _large_sets(prefix: str, chunk_size: int, least: int) -> Iterator[bytes]:
    client = get_client()
    pattern = keys.escape_glob(keys.conjunction_set_key(prefix, "")) + "*"
    found: Iterable[Any] = client.scan_iter(match=pattern, count=chunk_size, _type="set")
    for chunk in _chunks(found, chunk_size):
        pipeline = client.pipeline(transaction=False)
        for key in chunk:
            pipeline.scard(key)
        # An error says that it is no set any more.
        sizes = pipeline.execute(raise_on_error=False)
        yield from (key for key, size in zip(chunk, sizes, strict=True) if isinstance(size, int) and size >= least)


def _members(key: bytes, chunk_size: int) -> Iterator[bytes]:
    try:
        yield from get_client().sscan_iter(key, count=chunk_size)
    except ResponseError as error:
        # Replaced after its size was told.
        if not str(error).startswith("WRONGTYPE"):
            raise
        logger.warning("Can't reap %r: %s", key, error)


def _reap(key: bytes, members: list[bytes], dry_run: bool) -> int:
    client = get_client()
    pipeline = client.pipeline(transaction=False)
    for member in members:
        pipeline.exists(member)
    gone = [member for member, there in zip(members, pipeline.execute(), strict=True) if not there]
    if not gone or dry_run:
        return len(gone)
    return int(client.srem(key, *gone))


def _chunks(items: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
