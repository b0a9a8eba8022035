"""The layout of a value in Redis, and what a reader found out about one.

A value consists of a seal (the digest of the versions that it carries, and a signature), a header with the names and
the tokens of its row-level dependencies, if it has such, how long it took to compute, its origin, and its payload.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..schema import RowsByDependency
from ..utils import LruMap
from .keys import TOKEN_LENGTH
from .payload_compression import unpacked
from .signatures import SIGNATURE_LENGTH, is_signed, report_invalid, sign
from .version_set import VersionSet

DIGEST_LENGTH = 16
# A stored value begins with the digest of its versions and its signature.
SEAL_LENGTH = DIGEST_LENGTH + SIGNATURE_LENGTH
# The length of each of the two decimal numbers before a header.
SIZE_LENGTH = 8


class _Miss:
    def __repr__(self) -> str:
        return "MISS"

    def __bool__(self) -> bool:
        return False


MISS = _Miss()


@dataclass(slots=True)
class Lookup:
    """What a read found: the payload of a valid value or MISS, and the versions to store a new value under.

    `versions` are None if some do not exist yet.  `is_outdated` tells that a value is stored that is no longer valid,
    as far as the commands of this lookup show it, `is_unsigned` that one is stored whose signature is not valid, and
    `is_undecodable` that one is stored whose compression this process does not know.
    `compute_seconds` is how long the value took to compute, and
    `origin` what it was read by (see `reads.origin`).
    """

    key: str
    version_set: VersionSet
    payload: bytes | _Miss
    versions: list[bytes] | None
    is_outdated: bool = False
    is_unsigned: bool = False
    is_undecodable: bool = False
    compute_seconds: float = 0.0
    origin: bytes = b""
    # The groups of row-level dependencies that the value names, as JSON.
    names: bytes = b""
    # The versions that the value carries besides those.
    carried: Sequence[bytes] = ()


def checked(lookup: Lookup, seal: bytes, names: bytes, body: memoryview, versions: Sequence[bytes]) -> Lookup:
    """Add to `lookup` what it found: a value with this seal, if that is right for the versions that it should carry.

    `names` are those of its row-level dependencies.
    """
    digest = seal[:DIGEST_LENGTH]
    if not is_signed(seal[DIGEST_LENGTH:], lookup.key, digest + names, body):
        report_invalid(lookup.key)
        lookup.is_unsigned = True
    elif digest != digest_of(lookup.key, versions):
        lookup.is_outdated = True
    else:
        microseconds, length = _ORIGIN_HEADER.unpack_from(body)
        start = _ORIGIN_HEADER.size + SIGNATURE_LENGTH if length else _ORIGIN_HEADER.size
        lookup.compute_seconds = microseconds / 1e6
        lookup.names, lookup.carried = names, versions
        lookup.origin = bytes(body[start : start + length])
        # After the signature was checked: nothing unsigned is decompressed.
        payload = unpacked(bytes(body[start + length :]))
        lookup.is_undecodable = payload is None
        lookup.payload = MISS if payload is None else payload
    return lookup


def described_rows(
    version_set: VersionSet, rows_by_dependency: RowsByDependency | None
) -> tuple[list[dict[str, Any]], bytes]:
    """Return the groups of row-level dependencies of a value, and what its signature covers of them; empty for none."""
    if not version_set.coarse:
        return [], b""
    groups = version_set.row_level_groups(rows_by_dependency or {})
    return groups, json.dumps([{name: group[name] for name in SIGNED_NAMES} for group in groups]).encode()


def make_seal(key: str, versions: Sequence[bytes], names: bytes, body: bytes) -> bytes:
    """Return the seal of a value that carries `versions`."""
    digest = digest_of(key, versions)
    return digest + sign(key, digest + names, body)


def digest_of(key: str, versions: Sequence[bytes]) -> bytes:
    # It proves that a value belongs to its key, because a reply may belong to another request.  All versions of a kind
    # have the same length, so joining them is unambiguous.
    return hashlib.blake2b(b"".join([*versions, key.encode()]), digest_size=DIGEST_LENGTH).digest()


def row_version_keys(groups: Iterable[dict[str, Any]]) -> list[str]:
    """Return the keys of the versions of row-level dependencies."""
    return [group["version"] + value + group["tail"] for group in groups for value in group["values"]]


def split_header(value: bytes) -> tuple[bytes, bytes, memoryview]:
    """Return the names and the tokens in the header of a value, and what follows it; all empty if it is damaged."""
    start = SEAL_LENGTH + 2 * SIZE_LENGTH
    sizes = value[SEAL_LENGTH : SEAL_LENGTH + SIZE_LENGTH], value[SEAL_LENGTH + SIZE_LENGTH : start]
    if not all(len(size) == SIZE_LENGTH and size.isdigit() for size in sizes):
        return b"", b"", memoryview(b"")
    middle = start + int(sizes[0])
    end = middle + int(sizes[1])
    return value[start:middle], value[middle:end], memoryview(value)[end:]


def expected_rows(groups: list[dict[str, Any]], tokens: bytes, found: list[bytes | None]) -> dict[str, bytes] | None:
    """Return the version that each row-level dependency should have, by its key; None if it can't have any.

    `groups` and `tokens` are what the header says, `found` begins with the table versions.
    """
    expected: dict[str, bytes] = {}
    try:
        tokens_by_group = json.loads(tokens)
        for group, own_tokens in zip(groups, tokens_by_group, strict=True):
            table_version = found[group["owner"] - 1]
            if table_version is None:
                return None
            for value, token in zip(group["values"], own_tokens, strict=True):
                expected[group["version"] + value + group["tail"]] = table_version[:TOKEN_LENGTH] + token.encode()
    except (ValueError, TypeError, AttributeError):
        # The tokens are not signed.
        return None
    return expected


# What the signature of a value covers of its row-level dependencies.
SIGNED_NAMES = frozenset({"owner", "version", "tail", "values"})
# Before the payload of a value: the microseconds that it took to compute, and the length of the origin, which follows.
_ORIGIN_HEADER = struct.Struct(">IH")
_ORIGIN_HEAD = b"origin"
MAX_MICROSECONDS, MAX_ORIGIN_LENGTH = 2**32 - 1, 2**16 - 1


def origin_header(key: str, lookup: Lookup) -> bytes:
    """Return what stands before the payload of a value: how long it took to compute, and its origin if it is short.

    The origin has a signature of its own, so that it can be read without the payload.
    """
    microseconds = min(round(lookup.compute_seconds * 1e6), MAX_MICROSECONDS)
    origin = lookup.origin if len(lookup.origin) <= MAX_ORIGIN_LENGTH else b""
    signature = sign(key, _ORIGIN_HEAD, origin) if origin else b""
    return _ORIGIN_HEADER.pack(microseconds, len(origin)) + signature + origin


def stored_origin(key: str, value: bytes) -> bytes:
    """Return the origin that a stored value has, whether it is valid or not; empty if it has none that is signed.

    The beginning of the value is enough.
    """
    start = SEAL_LENGTH
    # With row-level dependencies a header comes first, see fill.lua.
    sizes = [value[at : at + SIZE_LENGTH] for at in (start, start + SIZE_LENGTH)]
    if all(len(size) == SIZE_LENGTH and size.isdigit() for size in sizes):
        start += sum(SIZE_LENGTH + int(size) for size in sizes)
    try:
        _, length = _ORIGIN_HEADER.unpack_from(value, start)
    except struct.error:
        # The value is truncated.
        return b""
    start += _ORIGIN_HEADER.size
    end = start + SIGNATURE_LENGTH
    signature, origin = value[start:end], value[end : end + length]
    return origin if origin and is_signed(signature, key, _ORIGIN_HEAD, origin) else b""


# What read.lua replies instead of names if a dependency index has no room for a new shape.
INDEX_FULL = b"full"

# A guess whether a value will be found: it only decides between MGET and a script that also creates versions.
probably_cached: LruMap[str, bool] = LruMap(4096)
