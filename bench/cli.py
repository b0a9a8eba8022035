"""``python -m bench``: measure, print, write."""

from __future__ import annotations

import argparse
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .about import about
from .crew import crew
from .databases import DATABASES
from .peers import PEERS, Peer

ROOT = Path(__file__).parents[1]


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    peers, notes = chosen(options.peers)
    results = run(options, peers)
    results["notes"] = notes + results["notes"]
    from .report import text

    printed = text(results)
    print(printed, end="")
    write(options.out, results, printed)
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, help="how often everything is done (100)")
    parser.add_argument("--only", nargs="+", default=[], metavar="OPERATION", help="by name or the start of it")
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--database", choices=list(DATABASES), default="sqlite")
    parser.add_argument("--quick", action="store_true", help="see that it runs; its figures mean little")
    parser.add_argument("--out", type=Path, help="a directory for bench.json, bench.txt and bench.svg")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (2 if options.quick else 100)
    options.scale = 4_000 if options.quick else 10_000
    return options


def chosen(names: list[str]) -> tuple[list[Peer], list[str]]:
    """Those who are there, and why others are not."""
    peers = [peer for peer in PEERS.values() if peer.name in names]
    absences = {peer: peer.absence() for peer in peers}
    return [peer for peer in peers if absences[peer] is None], [each for each in absences.values() if each]


def run(options: argparse.Namespace, peers: list[Peer]) -> dict[str, Any]:
    """All that was found."""
    with crew(peers, options.database, options.scale) as hands:
        # Only now: the operations need models.
        from .comparison import compared
        from .rounds import measure
        from .suite import OPERATIONS

        operations = [
            each for name, each in OPERATIONS.items() if not options.only or name.startswith(tuple(options.only))
        ]
        figures = measure(hands, operations, options.rounds)
        return {
            "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            "about": about(peers, options.database, options.rounds),
            "peers": [peer.name for peer in peers],
            "operations": [compared(operation, figures) for operation in operations],
            "notes": figures.notes,
        }


def write(out: Path | None, results: dict[str, Any], printed: str) -> None:
    """The table and the figures, where asked for."""
    if out is None:
        return
    out.mkdir(parents=True, exist_ok=True)
    (out / "bench.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / "bench.txt").write_text(printed)
