"""A base class for stores of Python values on top of a store of bytes, such as Redis or files.

It serializes values (see `serializers`) and signs them (see `signatures`), so that a foreign, changed or truncated
entry, or that of another name, counts as a miss.  Results of querysets do not pass through here: see `protocol`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from ..observe import Counted, Reason, counters
from ..utils import error_boundary
from .keys import FORMAT_VERSION
from .protocol import MISS
from .serializers import function_serializer
from .signatures import SIGNATURE_LENGTH, is_signed, report_invalid, sign

logger = logging.getLogger("cacheops_lite")

MAGIC = b"col%d" % FORMAT_VERSION
HEADER_LENGTH = len(MAGIC) + SIGNATURE_LENGTH

# Passed as a timeout: keep the present one.
SAME_TIMEOUT = object()


class ValueStore:
    """Store values under names, each for a timeout in seconds; with None the subclass decides.

    An entry that cannot be read, because it is foreign, truncated or too old, is logged and counts as missing.
    """

    # Subclasses store bytes under names by these five methods.

    def _read(self, names: Sequence[str]) -> list[bytes | None]:
        raise NotImplementedError

    def _write(self, name: str, data: bytes, timeout: float | None, new: bool) -> bool:
        raise NotImplementedError

    def _swap(self, name: str, replace: Callable[[bytes | None], bytes | None], timeout: Any) -> None:
        raise NotImplementedError

    def _remove(self, names: Sequence[str]) -> int:
        raise NotImplementedError

    # Whether entries are signed even without CACHEOPS_SIGNING.
    always_signs = False

    # Values under names.

    def load(self, name: str) -> Any:
        """Return the value of `name`, MISS if there is none."""
        return self._decode(name, self._read([name])[0])

    def keep(self, name: str, value: Any, timeout: float | None, new: bool = False) -> bool:
        """Store a value for `timeout` seconds, with `new` only if there is none.  Return whether it is stored."""
        return self._store(name, self.encode(name, value), timeout, new)

    def drop(self, name: str) -> bool:
        """Remove the value of `name`.  Return False if there was none."""
        return bool(self._remove([name]))

    def change(self, name: str, func: Callable[[Any], Any], timeout: Any = SAME_TIMEOUT) -> Any:
        """Replace a value by ``func(value)`` atomically, and return the new value.  `func` may be called repeatedly.

        If there is no value, or `func` returns MISS, nothing changes and MISS is returned.
        """
        changed: Any = MISS

        def replace(data: bytes | None) -> bytes | None:
            nonlocal changed
            value = self._decode(name, data)
            changed = MISS if value is MISS else func(value)
            return None if changed is MISS else self.encode(name, changed)

        self._swap(name, replace, timeout)
        return changed

    def encode(self, name: str, value: Any) -> bytes:
        """Return the bytes to store for a value.  Raises what the serializer does."""
        data = bytes(function_serializer().dumps(value))
        return MAGIC + sign(name, MAGIC, data, self.always_signs) + data

    def _decode(self, name: str, data: bytes | None) -> Any:
        if data is None:
            return MISS
        payload = memoryview(data)[HEADER_LENGTH:]
        is_own = data.startswith(MAGIC) and is_signed(
            data[len(MAGIC) : HEADER_LENGTH], name, MAGIC, payload, self.always_signs
        )
        if not is_own:
            counters.add(Counted(type(self).__name__, "call", Reason.INVALID_SIGNATURE.value))
            report_invalid(name)
            return MISS
        try:
            return function_serializer().loads(bytes(payload))
        except Exception as error:
            error_boundary.reraise_interrupt(error)
            logger.warning("Can't decode the cached value %s: %s", name, error_boundary.describe_error(error))
            return MISS

    def _store(self, name: str, data: bytes, timeout: float | None, new: bool = False) -> bool:
        if timeout == 0:
            if not new:
                self._remove([name])
            return False
        if self._write(name, data, timeout, new):
            return True
        # An entry that cannot be read must not prevent a new value from being stored.
        return new and self.load(name) is MISS and self._write(name, data, timeout, False)
