"""Renew the figures of README.rst from those of the last run: ``python -m bench.readme``.

It writes the chart ``docs/_static/readme-chart.svg``, and the table between two comments of README.rst.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .peers import BARE, CACHALOT, CACHEOPS, OURS
from .style import BLUE, GREEN, GREY, ORANGE

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "_static" / "bench.json"
CHART = ROOT / "docs" / "_static" / "readme-chart.svg"
README = ROOT / "README.rst"
BEGIN, END = ".. figures: begin\n", ".. figures: end\n"

PEERS = {
    OURS.name: ("cacheops_lite", BLUE),
    CACHEOPS.name: ("django-cacheops", ORANGE),
    CACHALOT.name: ("django-cachalot", GREEN),
    BARE.name: ("no cache", GREY),
}
# Operations of the chart and of the table, and how the README calls them.
HITS = {
    "get": "get() by primary key",
    "fk": "foreign key access",
    "fetch-100": "100 rows",
    "select-related": "100 rows with 2 joins",
    "count": "count()",
    "aggregate": "aggregate()",
}
ADDED = {"miss-get": "a miss adds", "save": "a save adds", "saves": "100 saves in one transaction add"}
WIDTH, LEFT, BAR, GAP = 600, 150, 11, 12


def main() -> None:
    results = json.loads(RESULTS.read_text("utf-8"))
    CHART.write_text(chart(results), "utf-8")
    README.write_text(with_table(README.read_text("utf-8"), table(results)), "utf-8")


def with_table(text: str, new: str) -> str:
    """Return the text of the README with another table."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{new}\n{END}{rest.partition(END)[2]}"


def table(results: dict[str, Any]) -> str:
    """Return the table in reStructuredText, in microseconds."""
    operations = {each["name"]: each["medians"] for each in results["operations"]}
    rows = [["microseconds", *(title for title, _ in PEERS.values())]]
    for name, title in HITS.items():
        rows.append([f"{title}, hit", *(f"{operations[name][peer]:,.0f}" for peer in PEERS)])
    for name, title in ADDED.items():
        medians = operations[name]
        added = [f"+{medians[peer]:,.0f}" for peer in PEERS if peer != BARE.name]
        rows.append([title, *added, f"to {medians[BARE.name]:,.0f}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    about = results["about"]
    source = f"Medians of {about['rounds']}, {results['date'][:10]}; {about['database']}, {about['redis']}."
    return "\n".join([rule, lines[0], rule, *lines[1:], rule, "", source, ""])


def chart(results: dict[str, Any]) -> str:
    """Return a drawing of bars: the time of hits of each peer, beside the time without a cache."""
    operations = {each["name"]: each["medians"] for each in results["operations"]}
    group = len(PEERS) * BAR + GAP
    height = 58 + len(HITS) * group + 24
    longest = max(operations[name][peer] for name in HITS for peer in PEERS)
    scale = (WIDTH - LEFT - 70) / longest
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text x="10" y="20" font-size="14" font-weight="600" fill="#222222">'
        "Time of a read, in microseconds: shorter is better</text>",
    ]
    x = 10
    for title, color in PEERS.values():
        parts.append(f'<rect x="{x}" y="31" width="11" height="11" fill="{color}"/>')
        parts.append(f'<text x="{x + 16}" y="41" fill="#333333">{title}</text>')
        x += 36 + 7 * len(title)
    for number, (name, title) in enumerate(HITS.items()):
        top = 58 + number * group
        middle = top + len(PEERS) * BAR / 2 + 4
        parts.append(f'<text x="{LEFT - 8}" y="{middle:.0f}" text-anchor="end" fill="#222222">{title}</text>')
        for row, (peer, (_, color)) in enumerate(PEERS.items()):
            value = operations[name][peer]
            width, y = max(value * scale, 1), top + row * BAR
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 1}" fill="{color}"/>')
            weight = ' font-weight="600"' if peer == OURS.name else ""
            parts.append(
                f'<text x="{LEFT + width + 5:.1f}" y="{y + 9}" font-size="10" fill="#333333"{weight}>'
                f"{value:,.0f}</text>"
            )
    about = results["about"]
    parts.append(
        f'<text x="10" y="{height - 9}" font-size="10" fill="#555555">'
        f"Hits; {about['database']}, {about['redis']}, {about['rounds']}, {results['date'][:10]}</text>"
    )
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    main()
