"""Values by name, over a store of bytes.

Bytes carry a header, so that what is foreign, truncated or another name's is known for what it is.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

from ..utils import error_boundary
from .keys import FORMAT_VERSION
from .protocol import MISS
from .serializers import function_serializer

logger = logging.getLogger("cacheops_lite")

MAGIC = b"col%d" % FORMAT_VERSION
DIGEST_LENGTH = 12
HEADER_LENGTH = len(MAGIC) + DIGEST_LENGTH

SAME = object()  # As a timeout: what it was before.


class Payloads:
    """Values of any kind, kept under names for a timeout in seconds, or for the store's own with None.

    What is found but can't be read, being foreign, truncated or too old, is logged and counts as not there.
    """

    # What a store is: bytes by name.

    def _read(self, names: Sequence[str]) -> list[bytes | None]:
        raise NotImplementedError

    def _write(self, name: str, data: bytes, timeout: float | None, new: bool) -> bool:
        raise NotImplementedError

    def _swap(self, name: str, replace: Callable[[bytes | None], bytes | None], timeout: Any) -> None:
        raise NotImplementedError

    def _remove(self, names: Sequence[str]) -> int:
        raise NotImplementedError

    def _secret(self) -> bytes:
        return b""

    # Values by name.

    def load(self, name: str) -> Any:
        """The value of a name, MISS if there is none."""
        return self._decode(name, self._read([name])[0])

    def keep(self, name: str, value: Any, timeout: float | None, new: bool = False) -> bool:
        """Keep a value for `timeout` seconds, with `new` only if there is none.  Returns whether it is kept."""
        return self._store(name, self.encode(name, value), timeout, new)

    def drop(self, name: str) -> bool:
        """Forget the value of a name; False if there was none."""
        return bool(self._remove([name]))

    def change(self, name: str, func: Callable[[Any], Any], timeout: Any = SAME) -> Any:
        """Put what `func` makes of a value in its place, and return it; atomic, so that `func` may be called again.

        MISS, and nothing changes, if there is no value or `func` returns MISS.
        """
        made: Any = MISS

        def replace(data: bytes | None) -> bytes | None:
            nonlocal made
            value = self._decode(name, data)
            made = MISS if value is MISS else func(value)
            return None if made is MISS else self.encode(name, made)

        self._swap(name, replace, timeout)
        return made

    def encode(self, name: str, value: Any) -> bytes:
        """What a store keeps of a value.  Raises what the serializer does."""
        data = bytes(function_serializer().dumps(value))
        return self._header(name, data) + data

    def _decode(self, name: str, data: bytes | None) -> Any:
        if data is None:
            return MISS
        payload = data[HEADER_LENGTH:]
        if data[:HEADER_LENGTH] != self._header(name, payload):
            logger.warning("Ignored what is cached as %s: it is foreign or truncated", name)
            return MISS
        try:
            return function_serializer().loads(payload)
        except Exception as error:
            error_boundary.reraise_interrupt(error)
            logger.warning("Can't decode what is cached as %s: %s", name, error_boundary.describe_error(error))
            return MISS

    def _header(self, name: str, payload: bytes) -> bytes:
        md = hashlib.blake2b(name.encode() + b"\n", digest_size=DIGEST_LENGTH, key=self._secret())
        md.update(payload)
        return MAGIC + md.digest()

    def _store(self, name: str, data: bytes, timeout: float | None, new: bool = False) -> bool:
        if timeout == 0:
            if not new:
                self._remove([name])
            return False
        if self._write(name, data, timeout, new):
            return True
        # What can't be read must not keep others from its place.
        return new and self.load(name) is MISS and self._write(name, data, timeout, False)
