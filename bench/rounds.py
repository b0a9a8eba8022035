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
    # What was left out, and why.
    notes: list[str] = field(default_factory=list)


def measure(hands: list[Hand], operations: list[type[Operation]], rounds: int) -> Figures:
    """Have all of them do everything, `rounds` times."""
    figures = Figures()
    doers = {operation: _prepared(hands, operation, figures) for operation in operations}
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
    for hand in hands:
        if not operation.applies_to(hand.peer):
            continue
        try:
            result, queries = hand.do("prepare", operation.name)
        except Failed as failure:
            figures.notes.append(f"{hand.peer.title}: '{operation.title}' is left out, it failed\n{failure}")
            continue
        expected = expected or result
        if result != expected:
            figures.notes.append(f"{hand.peer.title}: '{operation.title}' is left out, its result is wrong")
        elif queries and hand.peer.caches:
            figures.notes.append(f"{hand.peer.title}: '{operation.title}' is left out, the second call ran SQL")
        else:
            doers.append(hand)
    return doers


def _round(doers: list[Hand], operation: type[Operation], chance: random.Random, figures: Figures) -> None:
    for hand in chance.sample(doers, len(doers)):
        try:
            figure, queries = hand.do("block", operation.name, operation.calls)
        except Failed as failure:
            raise SystemExit(f"{hand.peer.title} failed at '{operation.title}'\n{failure}") from None
        if queries and hand.peer.caches:
            raise SystemExit(f"{hand.peer.title}: '{operation.title}' was no hit")
        figures.rounds[operation.name].setdefault(hand.peer.name, []).append(figure)


def _progress(done: int, rounds: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {rounds} rounds", end="\n" if done == rounds else "", file=sys.stderr, flush=True)
