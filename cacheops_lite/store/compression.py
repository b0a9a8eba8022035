"""Compress data against similar data that lies in Redis under a key of its own, so that little more than the
differences is stored with each value.
"""

from __future__ import annotations

import time
import zlib

from ..utils import LruMap
from . import keys
from .client import execute, execute_many, raise_error
from .signatures import SIGNATURE_LENGTH, is_signed, report_invalid, sign
from .time_limit import run_command

# How long this process trusts that data it compresses with is still in Redis.
TRUSTED_SECONDS = 300.0

# By key: the similar data, and until when (monotonic clock) it is surely in Redis.
_known: LruMap[str, tuple[bytes, float]] = LruMap(1000)


def compress(prefix: str, name: str, data: bytes, timeout: int) -> bytes:
    """Return `data` compressed against what Redis has as `name`; if it has nothing, `data` itself becomes that.

    It can be decompressed for at least `timeout` seconds, unless Redis loses the key.  Raises errors of Redis.
    """
    compressor = zlib.compressobj(1, zdict=_similar(keys.query_key(prefix, name), data, timeout))
    return compressor.compress(data) + compressor.flush()


def decompress(prefix: str, name: str, compressed: bytes) -> bytes | None:
    """Undo `compress`; None if Redis has lost the key.  Raises zlib.error for other data, and errors of Redis."""
    key = keys.query_key(prefix, name)
    similar = _unsealed(key, execute("GET", key))
    return None if similar is None else zlib.decompressobj(zdict=similar).decompress(compressed)


def forget() -> None:
    """Forget what this process knows to be in Redis; call it when that is removed."""
    _known.clear()


def _similar(key: str, data: bytes, timeout: int) -> bytes:
    known, now = _known.get(key), time.monotonic()
    if known is not None and now < known[1]:
        return known[0]
    seconds = 2 * timeout + 2 * int(TRUSTED_SECONDS)
    compressed = zlib.compress(data)
    sealed = sign(key, b"", compressed) + compressed
    commands = ("SET", key, sealed, "NX", "EX", seconds), ("EXPIRE", key, seconds), ("GET", key)
    # In one round trip.
    *_, found = map(raise_error, run_command(execute_many, [(command, None) for command in commands]))
    similar = _unsealed(key, found)
    if similar is None:
        # Redis has lost it, or it is not this project's.
        execute("SET", key, sealed, "EX", seconds)
        similar = data
    _known.put(key, (similar, now + TRUSTED_SECONDS))
    return similar


def _unsealed(key: str, found: object) -> bytes | None:
    """Return the data that is stored under a key, None if it is not signed."""
    if type(found) is not bytes:
        return None
    compressed = found[SIGNATURE_LENGTH:]
    if not is_signed(found[:SIGNATURE_LENGTH], key, b"", compressed):
        report_invalid(key)
        return None
    return zlib.decompress(compressed)
