"""Measure the operations of all peers, interleaved round by round, so that noise of the machine affects all alike."""

from __future__ import annotations

import random
import sys
from collections import defaultdict
from dataclasses import dataclass, field

from .operations import Operation
from .worker_pool import WorkerFailed, WorkerHandle


@dataclass
class Figures:
    """The figure of each round by operation, then by peer; the rounds have the same order for all."""

    rounds: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(dict))
    # What was left out and why; and the names of the peers that failed.
    notes: list[str] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)

    def leave_out(self, worker: WorkerHandle, operation: type[Operation], reason: str) -> None:
        self.notes.append(f"{worker.peer.title}: '{operation.title}' is left out, {reason}")
        self.failed.add(worker.peer.name)
        self.rounds[operation.name].pop(worker.peer.name, None)


def measure(workers: list[WorkerHandle], operations: list[type[Operation]], rounds: int) -> Figures:
    """Run all operations on all workers, `rounds` times."""
    figures = Figures()
    participants = {operation: _prepared(workers, operation, figures) for operation in operations}
    for worker in workers:
        worker.request("settle")
    rng = random.Random(1)
    for number in range(rounds):
        for operation in operations:
            if number % operation.every == 0 if operation.every else number == rounds - 1:
                _round(participants[operation], operation, rng, figures)
        _progress(number + 1, rounds)
    return figures


def _prepared(workers: list[WorkerHandle], operation: type[Operation], figures: Figures) -> list[WorkerHandle]:
    """Return the workers that run the operation, with the right result and, if it is a hit, without SQL."""
    participants, expected = [], None
    for worker in (worker for worker in workers if operation.applies_to(worker.peer)):
        try:
            result, queries = worker.request("prepare", operation.name)
        except WorkerFailed as failure:
            figures.leave_out(worker, operation, f"it failed\n{failure}")
            continue
        # The first worker is the one without a cache.
        expected = expected or result
        if result != expected:
            figures.leave_out(worker, operation, "its result is wrong")
        elif queries and worker.peer.caches:
            figures.leave_out(worker, operation, "the second call ran SQL")
        else:
            participants.append(worker)
    return participants


def _round(participants: list[WorkerHandle], operation: type[Operation], rng: random.Random, figures: Figures) -> None:
    for worker in rng.sample(participants, len(participants)):
        try:
            figure, queries = worker.request("block", operation.name)
            if queries and worker.peer.caches:
                raise WorkerFailed("what should have been a hit ran SQL")
        except WorkerFailed as failure:
            figures.leave_out(worker, operation, f"it failed\n{failure}")
            participants.remove(worker)
        else:
            figures.rounds[operation.name].setdefault(worker.peer.name, []).append(figure)


def _progress(done: int, rounds: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {rounds} rounds", end="\n" if done == rounds else "", file=sys.stderr, flush=True)
