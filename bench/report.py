"""The comparison as text."""

from __future__ import annotations

from typing import Any

from .comparison import PAIRS
from .peers import BARE, PEERS, Peer

SHORT = {
    "bare": "no cache",
    "cacheops": "cacheops",
    "cacheops-insideout": "c. insideout",
    "cachalot": "cachalot",
    "ours": "ours",
    "ours-insideout": "o. insideout",
    "get": "GET + loads",
    "memory": "memory",
}


def text(results: dict[str, Any]) -> str:
    """All of it."""
    peers = [PEERS[name] for name in results["peers"]]
    parts = [header(results), medians(results["operations"], peers), ratios(results["operations"], peers)]
    if results["notes"]:
        parts.append("\n".join(results["notes"]))
    return "\n\n".join(parts) + "\n"


def header(results: dict[str, Any]) -> str:
    """When, where, of what."""
    about = results["about"]
    return "\n".join(
        [
            f"{results['date']}  {about['database']}, {about['redis']}, {about['rounds']} rounds",
            f"{about['machine']}; {about['python']}; {', '.join(about['versions'])}",
        ]
    )


def medians(operations: list[dict[str, Any]], peers: list[Peer]) -> str:
    """Of all peers."""
    rows = [["microseconds, medians", *(SHORT[peer.name] for peer in peers)]]
    for each in operations:
        title = each["title"] if each["unit"] == "us" else f"{each['title']} ({each['unit']})"
        rows.append([title, *(_figure(each, peer) for peer in peers)])
    return grid(rows)


def _figure(each: dict[str, Any], peer: Peer) -> str:
    median = each["medians"].get(peer.name)
    if median is None:
        return ""
    sign = "+" if each["adds"] and peer is not BARE else ""
    return f"{median:{sign},.{0 if abs(median) >= 10 else 1}f}"


def ratios(operations: list[dict[str, Any]], peers: list[Peer]) -> str:
    """Ours to others', and whether they are within the bound."""
    there = {peer.name for peer in peers}
    pairs = [(a, b) for a, b in PAIRS if {a.name, b.name} <= there]
    if not pairs:
        return ""
    head = ["ratios, medians of rounds"]
    for a, b in pairs:
        head.append(f"{SHORT[a.name]} : {SHORT[b.name]}")
        if b.name == "cacheops":
            head += ["at most", ""]
    rows = [head]
    for each in operations:
        row = [each["title"]]
        for a, b in pairs:
            ratio = each["ratios"].get(f"{a.name}:{b.name}")
            # What is added to the bare query can't be held against it.
            row.append("" if ratio is None or (each["adds"] and b is BARE) else f"{ratio:.2f}")
            if b.name == "cacheops":
                bound = each["insideout_bound" if a.name == "ours-insideout" else "bound"]
                row += ["", ""] if bound is None or ratio is None else [f"{bound:.2f}", verdict(ratio, bound)]
        rows.append(row)
    return grid(rows)


def verdict(ratio: float, bound: float) -> str:
    return "ok" if ratio <= bound else "over"


def grid(rows: list[list[str]]) -> str:
    """Columns, the first to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join([row[0].ljust(widths[0]), *rest]).rstrip())
        del first
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)
