"""Sign what is stored outside of this process, so that nothing is unpickled which the project did not write.

A signature is a keyed BLAKE2b (RFC 7693) of a value and of its key, so that a value can't be moved to another key
either.  The key is derived from ``SECRET_KEY``; ``SECRET_KEY_FALLBACKS`` are accepted as well, so that it can be
rotated.  Without ``CACHEOPS_SIGNING`` it is a checksum, which finds damaged values, but anyone can make one.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Sequence
from hmac import compare_digest
from typing import Any, TypeAlias

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.encoding import force_bytes

from ..conf import on_change, settings
from ..utils import error_boundary

logger = logging.getLogger("cacheops_lite")

Bytes: TypeAlias = "bytes | memoryview"

SIGNATURE_LENGTH = 16
# Separates these signatures from others that are made with the same secret.
_PURPOSE = b"cacheops.values"

# Prepared hashes, the one that signs first; None until they are needed.
_keyed: list[Any] | None = None
_UNKEYED = [hashlib.blake2b(digest_size=SIGNATURE_LENGTH)]


def sign(name: str, head: bytes, body: Bytes, always: bool = False) -> bytes:
    """Return the signature of `head` and `body` as the value of `name`, in SIGNATURE_LENGTH bytes.

    With `always` it is keyed even without ``CACHEOPS_SIGNING``.
    """
    return _signature(_hashes(always)[0], name, head, body)


def is_signed(signature: Bytes, name: str, head: bytes, body: Bytes, always: bool = False) -> bool:
    """Return whether `sign` returns `signature` for the same arguments, with any of the keys that are accepted."""
    accepted = _hashes(always)
    if compare_digest(signature, _signature(accepted[0], name, head, body)):
        return True
    return any(compare_digest(signature, _signature(prepared, name, head, body)) for prepared in accepted[1:])


def report_invalid(name: str) -> None:
    """Log that the value of `name` has no valid signature; only the first one of this process."""
    if error_boundary.is_first_report("invalid signature"):
        logger.warning(
            "Ignored the cached value %s: its signature is not valid. Either it was stored by a project with another "
            "SECRET_KEY, which needs another Redis database, another CACHEOPS_PREFIX or the same "
            "CACHEOPS_SIGNING_KEYS, or something else writes to Redis. Further ones are only counted, as "
            "'invalid-signature'.",
            name,
        )


def _signature(prepared: Any, name: str, head: bytes, body: Bytes) -> bytes:
    encoded = name.encode()
    md = prepared.copy()
    # The lengths keep another division into name, head and body from having the same signature.
    md.update(b"%d %d %b%b" % (len(encoded), len(head), encoded, head))
    md.update(body)
    return md.digest()


def _hashes(always: bool) -> list[Any]:
    global _keyed
    if not (settings.CACHEOPS_SIGNING or always):
        return _UNKEYED
    if _keyed is None:
        _keyed = [_prepared(secret) for secret in _secrets()]
    return _keyed


def _prepared(secret: str | bytes) -> Any:
    key = hashlib.blake2b(force_bytes(secret), digest_size=32, person=_PURPOSE).digest()
    return hashlib.blake2b(key=key, digest_size=SIGNATURE_LENGTH)


def _secrets() -> Sequence[str | bytes]:
    check_keys()
    found = configured_secrets()
    if not found:
        # Django itself works without one, so must its queries.
        logger.error("%s, so no other process can use what this one stores in Redis", UNSIGNABLE)
    return found or [secrets.token_bytes(32)]


UNSIGNABLE = "There is neither a SECRET_KEY nor CACHEOPS_SIGNING_KEYS to sign cached values with"


def configured_secrets() -> Sequence[str | bytes]:
    """Return what the settings say values are signed with, the first one, and accepted with; empty for nothing."""
    if settings.CACHEOPS_SIGNING_KEYS:
        return settings.CACHEOPS_SIGNING_KEYS
    try:
        return [django_settings.SECRET_KEY, *getattr(django_settings, "SECRET_KEY_FALLBACKS", ())]
    except ImproperlyConfigured:
        return []


def check_keys() -> None:
    """Raise ImproperlyConfigured if ``CACHEOPS_SIGNING_KEYS`` is not a list of texts."""
    own = settings.CACHEOPS_SIGNING_KEYS
    if not isinstance(own, (list, tuple)) or not all(isinstance(each, (str, bytes)) and each for each in own):
        # The keys themselves are secret.
        raise ImproperlyConfigured(
            f"CACHEOPS_SIGNING_KEYS is a {type(own).__name__} that is not a list of texts. Write the keys with which "
            "values in Redis are signed, the current one first, or leave it empty to use SECRET_KEY"
        )


@on_change
def _forget(setting: str) -> None:
    global _keyed
    _keyed = None
