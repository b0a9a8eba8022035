"""``python -m bench.growth``: how cost grows, ours and cacheops; measured, printed and drawn."""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .about import about, now
from .crew import Failed, Hand, crew
from .databases import DATABASES
from .operations import FULL, QUICK
from .output import write
from .peers import CACHEOPS, CACHEOPS_INSIDEOUT, OURS, OURS_INSIDEOUT, PEERS, Peer, chosen
from .tables import grid, header

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
    parser.add_argument("--only", nargs="+", default=[], metavar="CURVE", help="those whose names begin so")
    parser.add_argument("--peers", nargs="+", default=GROWING, choices=GROWING, metavar="PEER")
    parser.add_argument("--database", choices=list(DATABASES), default="sqlite")
    parser.add_argument("--quick", action="store_true", help="only see that it runs: two points of each curve")
    parser.add_argument("--out", type=Path, metavar="DIRECTORY", help="write tables, JSON and SVG there")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, peers: list[Peer]) -> dict[str, Any]:
    """All that was found."""
    notes: list[str] = []
    with crew(peers, options.database, QUICK if options.quick else FULL) as hands:
        # Only now: curves need models.
        from .curves import CURVES

        curves = [each for name, each in CURVES.items() if not options.only or name.startswith(tuple(options.only))]
        found = [_curve(hands, curve, options.quick, notes) for curve in curves]
        return {
            "date": now(),
            "about": about(peers, options.database, "medians" + (", quick" if options.quick else "")),
            "peers": [peer.name for peer in peers],
            "curves": found,
            "notes": notes,
        }


def _curve(hands: list[Hand], curve: type[Curve], quick: bool, notes: list[str]) -> dict[str, Any]:
    """The medians of all rounds; who fails once is out."""
    doers = [hand for hand in hands if not curve.only or hand.peer.name in curve.only]
    points = curve.points[:2] if quick else curve.points
    found: dict[str, dict[int, list[float]]] = {hand.peer.name: {x: [] for x in points} for hand in doers}
    chance = random.Random(1)
    for number in range(1 if quick else curve.rounds):
        for x in (x for x in points if number < curve.rounds_at(x)):
            for hand, figure in _point(doers, curve, x, chance).items():
                if isinstance(figure, Failed):
                    notes.append(f"{hand.peer.title}: '{curve.title}' is left out, it failed at {x:,}\n{figure}")
                    doers.remove(hand)
                    del found[hand.peer.name]
                else:
                    found[hand.peer.name][x].append(figure)
        _progress(".")
    _progress(f" {curve.title}\n")
    names = {"name": curve.name, "title": curve.title, "x": curve.x, "unit": curve.unit}
    figures = {name: [statistics.median(each[x]) for x in points] for name, each in found.items()}
    return {**names, "points": list(points), "figures": figures}


def _point(doers: list[Hand], curve: type[Curve], x: int, chance: random.Random) -> dict[Hand, float | Failed]:
    """Arranged by all at once, measured one after the other in random order."""
    found: dict[Hand, float | Failed] = {}
    for hand in doers:
        hand.tell("arrange", curve.name, x)
    for hand in doers:
        try:
            hand.answer()
        except Failed as failure:
            found[hand] = failure
    ready = [hand for hand in doers if hand not in found]
    for hand in chance.sample(ready, len(ready)):
        try:
            found[hand] = hand.do("figure", curve.name, x)
        except Failed as failure:
            found[hand] = failure
    return found


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(text, end="", file=sys.stderr, flush=True)


def text(results: dict[str, Any]) -> str:
    """A table for each curve."""
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
