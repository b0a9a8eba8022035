"""What became of the requests of one process of the load."""

from __future__ import annotations

import heapq
import time
from collections import Counter

# Only requests since the fault count, and the parent knows when it began: so the longest are reported with their times.
LONGEST = 50


class Requests:
    """Counts requests and errors, and keeps the longest requests; times are those of the system's monotonic clock."""

    def __init__(self):
        self.figures, self.errors, self._longest, self._last_error = Counter(), Counter(), [], ""

    def call(self, kind, request):
        """Call `request`, count it and take its time; return its result, and whether it succeeded."""
        began = time.monotonic()
        try:
            return request(), True
        except Exception as error:
            self.errors[f"{type(error).__name__} of {kind}"] += 1
            self._last_error = f"{type(error).__name__}: {error}"
            return None, False
        finally:
            self.figures[kind] += 1
            found = (time.monotonic() - began, began, kind)
            (heapq.heappush if len(self._longest) < LONGEST else heapq.heappushpop)(self._longest, found)

    def report(self):
        """Return all of it; ``longest`` are lists of seconds, begin and kind."""
        return {
            "figures": self.figures,
            "errors": self.errors,
            "last_error": self._last_error,
            "longest": self._longest,
        }
