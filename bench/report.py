"""Print the comparison as text."""

from __future__ import annotations

from typing import Any

from .comparison import PAIRS
from .peers import BARE, PEERS, Peer
from .tables import grid, header

Row = dict[str, Any]


def text(results: dict[str, Any]) -> str:
    """Return the whole report."""
    peers = [PEERS[name] for name in results["peers"]]
    operations = results["operations"]
    parts = [header(results), medians(operations, peers), ratios(operations, peers), absolutes(operations)]
    return "\n\n".join(part for part in [*parts, "\n".join(results["notes"])] if part) + "\n"


def medians(operations: list[Row], peers: list[Peer]) -> str:
    """Return the table of medians of all peers."""
    rows = [["microseconds, medians of rounds", *(_broken(peer.title) for peer in peers)]]
    for each in operations:
        title = each["title"] if each["unit"] == "us" else f"{each['title']} ({each['unit']})"
        rows.append([title, *(_median(each, peer) for peer in peers)])
    return grid(rows)


def _broken(title: str) -> str:
    return title.replace(", ", ",\n")


def _median(each: Row, peer: Peer) -> str:
    median = each["medians"].get(peer.name)
    if median is None:
        return ""
    sign = "+" if each["adds"] and peer is not BARE else ""
    return f"{median:{sign},.{0 if abs(median) >= 10 else 1}f}"


def ratios(operations: list[Row], peers: list[Peer]) -> str:
    """Return the table of ratios of our figures to those of others, and whether they are within their bounds."""
    there = {peer.name for peer in peers}
    pairs = [(a, b) for a, b in PAIRS if {a.name, b.name} <= there]
    bounded = {pair for each in operations for pair in each["bounds"]}
    head, rows = ["ratios"], []
    for a, b in pairs:
        head.append(_broken(f"{a.title}\n: {b.title}"))
        head += ["at\nmost", ""] if f"{a.name}:{b.name}" in bounded else []
    for each in operations:
        row = [each["title"]]
        for a, b in pairs:
            row += _ratio(each, a, b, f"{a.name}:{b.name}" in bounded)
        rows.append(row)
    return grid([head, *(row for row in rows if any(row[1:]))]) if pairs else ""


def _ratio(each: Row, a: Peer, b: Peer, is_bounded: bool) -> list[str]:
    """Return the cells of one pair: the ratio, and if the pair has bounds, the bound and whether it is met."""
    pair = f"{a.name}:{b.name}"
    ratio, bound = each["ratios"].get(pair), each["bounds"].get(pair)
    # A difference to the query without a cache is not compared with that query.
    if each["adds"] and b is BARE:
        ratio = None
    cells = [f"{ratio:.2f}" if ratio is not None else ""]
    if is_bounded:
        cells += [f"{bound:.2f}", verdict(ratio, bound)] if ratio is not None and bound is not None else ["", ""]
    return cells


def absolutes(operations: list[Row]) -> str:
    """Return the table of the operations whose bound is a number of units."""
    rows = [["bound by a number", "median", "at most", ""]]
    for each in operations:
        bound = each["bound_in_units"]
        for median in each["medians"].values() if bound is not None else ():
            digits = 3 if bound < 2 else 1
            shown = f"{median:.{digits}f} {each['unit']}"
            rows.append([each["title"], shown, f"{bound:.{digits}f}", verdict(median, bound)])
    return grid(rows) if len(rows) > 1 else ""


def verdict(figure: float, bound: float) -> str:
    return "ok" if figure <= bound else "over"
