"""Values in Redis that tests make by hand."""

from __future__ import annotations

import struct

from cacheops_lite.store import signatures, stored_value


def with_payload(key: str, value: bytes, payload: bytes) -> bytes:
    """Return a stored value without row-level dependencies, with another payload and a valid signature."""
    digest = value[: stored_value.DIGEST_LENGTH]
    body = struct.pack(">IH", 0, 0) + payload
    return digest + signatures.sign(key, digest, body) + body
