"""``python -m bench.growth``: measure, print and draw how the cost of this library and of cacheops grows."""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .about import about, now
from .databases import DATABASES
from .operations import FULL, QUICK
from .output import write
from .peers import CACHEOPS, CACHEOPS_INSIDEOUT, OURS, OURS_INSIDEOUT, PEERS, Peer, chosen
from .tables import grid, header
from .worker_pool import WorkerFailed, WorkerHandle, worker_pool

if TYPE_CHECKING:
    from .curves import Curve

GROWING = [CACHEOPS.name, CACHEOPS_INSIDEOUT.name, OURS.name, OURS_INSIDEOUT.name]


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    peers, notes = chosen(options.peers)
    results = run(options, peers)
    results["notes"] = notes + results["notes"]
    printed = text(results)
    print(printed, end="")
    if options.out:
        from .growth_chart import draw

        write(options.out, "growth", results, printed, draw)
    return 1 if any(note.startswith(OURS.title) for note in results["notes"]) else 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="CURVE", help="only curves whose names begin so")
    parser.add_argument("--peers", nargs="+", default=GROWING, choices=GROWING, metavar="PEER")
    parser.add_argument("--database", choices=list(DATABASES), default="sqlite")
    parser.add_argument("--quick", action="store_true", help="a fast trial run with two points of each curve")
    parser.add_argument("--out", type=Path, metavar="DIRECTORY", help="write tables, JSON and SVG there")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, peers: list[Peer]) -> dict[str, Any]:
    """Return the results."""
    notes: list[str] = []
    with worker_pool(peers, options.database, QUICK if options.quick else FULL) as workers:
        # Imported here, because curves need models, and models need settings.
        from .curves import CURVES

        curves = [each for name, each in CURVES.items() if not options.only or name.startswith(tuple(options.only))]
        found = [_curve(workers, curve, options.quick, notes) for curve in curves]
        return {
            "date": now(),
            "about": about(peers, options.database, "medians" + (", quick" if options.quick else "")),
            "peers": [peer.name for peer in peers],
            "curves": found,
            "notes": notes,
        }


def _curve(workers: list[WorkerHandle], curve: type[Curve], quick: bool, notes: list[str]) -> dict[str, Any]:
    """Return the medians of all rounds; a peer that fails once is left out."""
    participants = [worker for worker in workers if not curve.only or worker.peer.name in curve.only]
    points = curve.points[:2] if quick else curve.points
    found: dict[str, dict[int, list[float]]] = {worker.peer.name: {x: [] for x in points} for worker in participants}
    rng = random.Random(1)
    for number in range(1 if quick else curve.rounds):
        for x in (x for x in points if number < curve.rounds_at(x)):
            for worker, figure in _point(participants, curve, x, rng).items():
                if isinstance(figure, WorkerFailed):
                    notes.append(f"{worker.peer.title}: '{curve.title}' is left out, it failed at {x:,}\n{figure}")
                    participants.remove(worker)
                    del found[worker.peer.name]
                else:
                    found[worker.peer.name][x].append(figure)
        _progress(".")
    _progress(f" {curve.title}\n")
    names = {"name": curve.name, "title": curve.title, "x": curve.x, "unit": curve.unit}
    figures = {name: [statistics.median(each[x]) for x in points] for name, each in found.items()}
    return {**names, "points": list(points), "figures": figures}


def _point(
    participants: list[WorkerHandle], curve: type[Curve], x: int, rng: random.Random
) -> dict[WorkerHandle, float | WorkerFailed]:
    """Let all workers arrange the point at once, then measure them one by one in random order."""
    found: dict[WorkerHandle, float | WorkerFailed] = {}
    for worker in participants:
        worker.send("arrange", curve.name, x)
    for worker in participants:
        try:
            worker.receive()
        except WorkerFailed as failure:
            found[worker] = failure
    ready = [worker for worker in participants if worker not in found]
    for worker in rng.sample(ready, len(ready)):
        try:
            found[worker] = worker.request("figure", curve.name, x)
        except WorkerFailed as failure:
            found[worker] = failure
    return found


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(text, end="", file=sys.stderr, flush=True)


def text(results: dict[str, Any]) -> str:
    """Return a table for each curve."""
    tables = [_table(curve) for curve in results["curves"]]
    return "\n\n".join([header(results), *tables, *results["notes"]]) + "\n"


def _table(curve: dict[str, Any]) -> str:
    peers = [PEERS[name] for name in curve["figures"]]
    rows = [[curve["x"], *(peer.title for peer in peers)]]
    for i, x in enumerate(curve["points"]):
        rows.append([f"{x:,}", *(f"{curve['figures'][peer.name][i]:,.0f}" for peer in peers)])
    return f"{curve['title']} ({curve['unit']})\n\n{grid(rows)}"


if __name__ == "__main__":
    sys.exit(main())
