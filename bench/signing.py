"""Measure what signing adds to hits: ``python -m bench.signing``.

The arguments are those of ``python -m bench``.  Ends with status 1 if a hit takes more than its bound, unless the run
is ``--quick``.
"""

from __future__ import annotations

import math
import sys
from typing import Any

from . import cli
from .output import write
from .peers import OURS, chosen
from .tables import grid, header

# The standard error of a median is 1.25 times that of a mean; the quartiles of a normal distribution are 1.35 standard
# deviations apart.
MEDIAN_ERROR = 1.25 / 1.35


def text(results: dict[str, Any], rounds: int) -> str:
    """Return the report: each ratio with its standard error and its bound."""
    from .report import verdict

    rows = [["a hit, in proportion", "median", "error", "at\nmost", ""]]
    for each in results["operations"]:
        bound = each["bound_in_units"]
        for peer, median in each["medians"].items():
            first, third = each["quartiles"][peer]
            error = MEDIAN_ERROR * (third - first) / math.sqrt(rounds)
            cells = ["", ""] if bound is None else [f"{bound:.2f}", verdict(median, bound)]
            rows.append([each["title"], f"{median:.3f}", f"{error:.3f}", *cells])
    return "\n\n".join([header(results), grid(rows), *results["notes"]]) + "\n"


def main() -> int:
    options = cli.parse(["--peers", OURS.name, "--only", "signing", *sys.argv[1:]])
    peers, notes = chosen(options.peers)
    results, failed = cli.run(options, peers)
    results["notes"] = notes + results["notes"]
    printed = text(results, options.rounds)
    print(printed, end="")
    if options.out:
        write(options.out, "bench-signing", results, printed)
    return 0 if not failed and (options.quick or _is_within(results["operations"])) else 1


def _is_within(operations: list[dict[str, Any]]) -> bool:
    bounded = [each for each in operations if each["bound_in_units"] is not None]
    return all(median <= each["bound_in_units"] for each in bounded for median in each["medians"].values())


if __name__ == "__main__":
    sys.exit(main())
