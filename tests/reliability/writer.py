"""A writer of the load: it acknowledges a write as soon as it has returned, as the application sees it."""

from __future__ import annotations

from contextlib import suppress

from tests.concurrency import writer
from tests.concurrency.plans import PRECISE
from tests.reliability.requests import Requests

# They invalidate precisely: what is invalidated by tables would hide a missing invalidation of a row.
WAYS = [*PRECISE, "save_locked", "save_in_savepoint", "save_whole", "update", "bulk_update"]


class Failed(Exception):
    """A write that raised, which is counted already; the oracle knows its version as begun, not as acknowledged."""


class Writer(writer.Writer):
    def __init__(self, oracle, lanes, seed, pause):
        super().__init__(oracle, lanes, seed, pause, WAYS, waits=False)
        self._requests = Requests()

    def _change_product(self):
        self.oracle.wait_while_quiet()
        super()._change_product()

    def _change_two(self):
        self.oracle.wait_while_quiet()
        super()._change_two()

    def _write(self, versions, write, *args):
        def timed():
            if not self._requests.call("writes", lambda: write(*args))[1]:
                raise Failed

        with suppress(Failed):
            super()._write(versions, timed)

    def report(self):
        """Deliver what is owed, and return what became of the writes."""
        writer.wait_for_deliveries()
        return self._requests.report()
