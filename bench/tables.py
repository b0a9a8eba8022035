"""Format tables as text."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any


def header(results: dict[str, Any]) -> str:
    """Return the date, the machine and the versions of a run."""
    about = results["about"]
    return "\n".join(
        [
            f"{results['date']}; {about['database']}, {about['redis']}; {about['rounds']}",
            f"{about['machine']}; {about['python']}",
            ", ".join(about["versions"]),
        ]
    )


def grid(rows: list[list[str]]) -> str:
    """Return a table.  The first column is left-aligned; the first row is the head, whose cells may be multi-line."""
    head, *body = rows
    lines = [list(line) for line in zip_longest(*(_bottom_aligned(cell, head) for cell in head), fillvalue="")]
    widths = [max(map(len, column)) for column in zip(*lines, *body, strict=True)]
    printed = [_line(row, widths) for row in (*lines, *body)]
    printed.insert(len(lines), "-" * (sum(widths) + 2 * len(widths) - 2))
    return "\n".join(printed)


def _bottom_aligned(cell: str, head: list[str]) -> list[str]:
    """Return the lines of a cell of the head, aligned to the bottom."""
    most = max(each.count("\n") for each in head)
    return [*[""] * (most - cell.count("\n")), *cell.split("\n")]


def _line(row: list[str], widths: list[int]) -> str:
    first, *others = row
    cells = [first.ljust(widths[0])]
    cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
    return "  ".join(cells).rstrip()
