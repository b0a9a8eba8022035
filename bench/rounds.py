"""Operations of all peers, interleaved round by round: noise of the machine hits all alike."""

from __future__ import annotations

import random
import sys
from collections import defaultdict
from dataclasses import dataclass, field

from .crew import Failed, Hand
from .operations import Operation


@dataclass
class Figures:
    """By operation, then by peer: the figure of each round, in the same order for all."""

    rounds: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(dict))
    # What was left out, and why; and of whom.
    notes: list[str] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)

    def leave_out(self, hand: Hand, operation: type[Operation], reason: str) -> None:
        self.notes.append(f"{hand.peer.title}: '{operation.title}' is left out, {reason}")
        self.failed.add(hand.peer.name)
        self.rounds[operation.name].pop(hand.peer.name, None)


def measure(hands: list[Hand], operations: list[type[Operation]], rounds: int) -> Figures:
    """Have all of them do everything, `rounds` times."""
    figures = Figures()
    doers = {operation: _prepared(hands, operation, figures) for operation in operations}
    for hand in hands:
        hand.do("settle")
    chance = random.Random(1)
    for number in range(rounds):
        for operation in operations:
            if number % operation.every == 0 if operation.every else number == rounds - 1:
                _round(doers[operation], operation, chance, figures)
        _progress(number + 1, rounds)
    return figures


def _prepared(hands: list[Hand], operation: type[Operation], figures: Figures) -> list[Hand]:
    """Those who do it, do it right and, if it is a hit, without SQL."""
    doers, expected = [], None
    for hand in (hand for hand in hands if operation.applies_to(hand.peer)):
        try:
            result, queries = hand.do("prepare", operation.name)
        except Failed as failure:
            figures.leave_out(hand, operation, f"it failed\n{failure}")
            continue
        # The first is the one without a cache.
        expected = expected or result
        if result != expected:
            figures.leave_out(hand, operation, "its result is wrong")
        elif queries and hand.peer.caches:
            figures.leave_out(hand, operation, "the second call ran SQL")
        else:
            doers.append(hand)
    return doers


def _round(doers: list[Hand], operation: type[Operation], chance: random.Random, figures: Figures) -> None:
    for hand in chance.sample(doers, len(doers)):
        try:
            figure, queries = hand.do("block", operation.name)
            if queries and hand.peer.caches:
                raise Failed("what should have been a hit ran SQL")
        except Failed as failure:
            figures.leave_out(hand, operation, f"it failed\n{failure}")
            doers.remove(hand)
        else:
            figures.rounds[operation.name].setdefault(hand.peer.name, []).append(figure)


def _progress(done: int, rounds: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {rounds} rounds", end="\n" if done == rounds else "", file=sys.stderr, flush=True)
