"""Compare two ways of the same read in one process, by turns: they differ far less than two processes do."""

from __future__ import annotations

import statistics
from typing import ClassVar

from .operations import Operation
from .peers import OURS


class Alternating(Operation):
    """The figure is the time of the one way, divided by that of the other; `calls` are those of each."""

    unit = "on : off"
    is_hit = False
    bound = None
    only = frozenset({OURS.name})
    calls: ClassVar[int] = 300
    # Calls between two switches.
    turn: ClassVar[int] = 1
    # Calls after a switch that are not counted.
    turn_warmups: ClassVar[int] = 0

    def switch(self, is_on: bool) -> None:
        """Let further calls go the one way or the other."""
        raise NotImplementedError

    def reset(self) -> None:
        """Undo the last `switch`."""
        self.switch(True)

    def block(self) -> float:
        for _ in range(self.warmups):
            self.step()
        taken: dict[bool, list[float]] = {True: [], False: []}
        try:
            for number in range(2 * self.calls // self.turn):
                # On, off, off, on: what changes steadily counts for both alike.
                is_on = number % 4 in (0, 3)
                self.switch(is_on)
                for _ in range(self.turn_warmups):
                    self.step()
                taken[is_on] += [self.step()[0] for _ in range(self.turn)]
        finally:
            self.reset()
        return statistics.median(taken[True]) / statistics.median(taken[False])
