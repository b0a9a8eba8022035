"""``python -m bench``: measure, print and draw the comparison."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .about import about, now
from .databases import DATABASES
from .operations import FULL, QUICK
from .output import write
from .peers import OURS, OURS_INSIDEOUT, PEERS, Peer, chosen
from .worker_pool import worker_pool


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    peers, notes = chosen(options.peers)
    results, failed = run(options, peers)
    results["notes"] = notes + results["notes"]
    # Imported here, because operations need models, and models need settings.
    from .report import text

    name = "bench" if options.database == "sqlite" else f"bench-{options.database}"
    printed = text(results)
    print(printed, end="")
    if options.out:
        from .chart import draw

        write(options.out, name, results, printed, draw)
    return 1 if failed & {OURS.name, OURS_INSIDEOUT.name} else 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, help="number of rounds (default: 100)")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="OPERATION", help="only operations whose names begin so"
    )
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=list(PEERS), metavar="PEER")
    parser.add_argument("--database", choices=list(DATABASES), default="sqlite")
    parser.add_argument("--quick", action="store_true", help="a fast trial run; its figures mean little")
    parser.add_argument("--out", type=Path, metavar="DIRECTORY", help="write table, JSON and SVG there")
    options = parser.parse_args(arguments)
    options.scale = QUICK if options.quick else FULL
    options.rounds = options.rounds or (2 if options.quick else 100)
    # Each miss needs a book that was not read before.
    if not 0 < options.rounds <= options.scale.books // 10:
        parser.error(f"--rounds should be between 1 and {options.scale.books // 10}")
    return options


def run(options: argparse.Namespace, peers: list[Peer]) -> tuple[dict[str, Any], set[str]]:
    """Return the results, and the names of the peers that failed."""
    with worker_pool(peers, options.database, options.scale) as workers:
        from .comparison import compared
        from .rounds import measure
        from .suite import OPERATIONS

        operations = [
            each for name, each in OPERATIONS.items() if not options.only or name.startswith(tuple(options.only))
        ]
        figures = measure(workers, operations, options.rounds)
        rounds = f"{options.rounds} rounds" + (", quick: figures mean little" if options.quick else "")
        results = {
            "date": now(),
            "about": about(peers, options.database, rounds),
            "peers": [peer.name for peer in peers],
            "operations": [compared(operation, figures, options.database) for operation in operations],
            "notes": figures.notes,
        }
        return results, figures.failed
