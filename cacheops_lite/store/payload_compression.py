"""Compress large payloads of values, if ``CACHEOPS_COMPRESSION`` says how.

A compressed payload begins with `MAGIC`, the letter of its method and its size.  One that begins so by chance is stored
behind the letter `_PLAIN`.  Readers know all methods whose library is installed, whatever their setting is.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import NamedTuple

from ..conf import settings
from ..utils import error_boundary

# In bytes: compressing less saves no time and little memory.
MIN_SIZE = 1024
# In bytes, of a decompressed payload; Redis stores no more in one value.
MAX_SIZE = 512 * 2**20
MAGIC = b"\0cz1"
_PLAIN = b"-"
# The letter of the method, and the size without compression.
_HEADER = struct.Struct(">cI")
_START = len(MAGIC) + _HEADER.size


class Method(NamedTuple):
    """A way to compress; `decompress` takes the size, and returns no more than one byte more than that."""

    letter: bytes
    compress: Callable[[bytes], bytes]
    decompress: Callable[[bytes, int], bytes]


def _lz4() -> Method:
    block = import_module("lz4.block")
    return Method(
        b"l",
        lambda data: block.compress(data, store_size=False),
        lambda data, size: block.decompress(data, uncompressed_size=size),
    )


def _zstd() -> Method:
    try:
        # Since Python 3.14.
        zstd = import_module("compression.zstd")
    except ImportError:
        zstandard = import_module("zstandard")
        return Method(
            b"z",
            lambda data: zstandard.ZstdCompressor().compress(data),
            lambda data, size: zstandard.ZstdDecompressor().stream_reader(data).read(size + 1),
        )
    return Method(
        b"z",
        lambda data: zstd.compress(data),
        lambda data, size: zstd.ZstdDecompressor().decompress(data, max_length=size + 1),
    )


_METHODS: dict[str, Callable[[], Method]] = {"lz4": _lz4, "zstd": _zstd}
# By method: the package that provides it, as pip names it.
PACKAGES = {"lz4": "lz4", "zstd": "zstandard"}


@cache
def method_of(name: str) -> Method | None:
    """Return the method of this name, None if there is none or its library is not installed."""
    try:
        return _METHODS[name]() if name in _METHODS else None
    except ImportError:
        return None


def packed(payload: bytes) -> bytes:
    """Return what to store of a payload: a compressed one if it is large and becomes smaller."""
    name = settings.CACHEOPS_COMPRESSION
    method = method_of(name) if name and MIN_SIZE <= len(payload) <= MAX_SIZE else None
    if method is not None:
        compressed = method.compress(payload)
        if len(compressed) + _START < len(payload):
            return MAGIC + _HEADER.pack(method.letter, len(payload)) + compressed
    return MAGIC + _HEADER.pack(_PLAIN, 0) + payload if payload.startswith(MAGIC) else payload


def unpacked(stored: bytes) -> bytes | None:
    """Undo `packed`; None if this process does not know the method, or the data is damaged."""
    if not stored.startswith(MAGIC):
        return stored
    if len(stored) < _START:
        return None
    letter, size = _HEADER.unpack_from(stored, len(MAGIC))
    if letter == _PLAIN:
        return stored[_START:]
    methods = [method for method in map(method_of, _METHODS) if method is not None and method.letter == letter]
    if not methods or size > MAX_SIZE:
        return None
    try:
        payload = methods[0].decompress(stored[_START:], size)
    except Exception as error:
        error_boundary.reraise_interrupt(error)
        return None
    return payload if len(payload) == size else None
