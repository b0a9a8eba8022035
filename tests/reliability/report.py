"""The tables of ``docs/reliability.rst``."""

from __future__ import annotations

from typing import Any

HEADER = [
    *("Fault", "Reads", "Hits", "Writes", "Errors", "Slowest read", "Slowest write"),
    *("Stale in the fault", "Stale reads", "Stuck", "Without caching"),
]


def tables(results: dict[str, Any]) -> str:
    """Return the tables of the page."""
    versions = f"redis-py {results['redis-py']}, Django {results['django']}, Python {results['python']}"
    made = (
        f"Run on {results['date']} on {results['database']} and {results['server']}, with {versions}, "
        "by ``make reliability``."
    )
    parts = [f".. Made by tests/reliability from docs/_static/reliability.json.\n\n{made}\n"]
    for is_strict, title in ((False, "Degrading"), (True, "Degrading, with CACHEOPS_STRICT")):
        rows = [cells(row) for row in results["rows"] if row["strict"] is is_strict]
        parts.append(table(title, [HEADER, *rows]))
    return "\n".join(parts)


def cells(row: dict[str, Any]) -> list[str]:
    """Return the cells of a row; lengths of requests in milliseconds, else seconds."""
    return [
        f"{row['scenario']}, {row['fault_seconds']:.1f} s",
        *(str(row[name]) for name in ("reads", "hits", "writes")),
        ", ".join(f"{number} ``{error.partition(' of ')[0]}``" for error, number in row["errors"].items()) or "0",
        *(f"{1000 * row[name]:.0f} ms" for name in ("slowest_read", "slowest_write")),
        *(str(row[name]) for name in ("stale_in_the_fault", "stale", "stuck")),
        "never again" if row["seconds_without_caching"] is None else f"{row['seconds_without_caching']:.1f} s",
    ]


def table(title: str, rows: list[list[str]]) -> str:
    lines = [f".. list-table:: {title}", "   :header-rows: 1", ""]
    for row in rows:
        lines += [f"   {'*' if not number else ' '} - {cell}" for number, cell in enumerate(row)]
    return "\n".join(lines) + "\n"
