"""Draw the comparison: a row for each operation, a dot for each peer, time on a logarithmic scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .peers import BARE, CACHEOPS, MEMORY, OURS, PEERS, Peer
from .style import MARKERS, figure, plain_axes, save

ROW = 0.3


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw three panels: hits, what misses and writes cost in addition to the plain ones, and memory."""
    peers = [PEERS[name] for name in results["peers"] if name != MEMORY.name]
    operations = [each for each in results["operations"] if each["medians"]]
    timed = [each for each in operations if each["unit"] == "us"]
    panels = [
        ("hits, microseconds", [each for each in timed if each["is_hit"]], peers),
        # These figures are differences to the peer without a cache, so that peer has none.
        ("misses and writes, microseconds", [each for each in timed if not each["is_hit"]], _without_bare(peers)),
        ("memory, bytes", [each for each in operations if each["unit"] == "bytes"], peers),
    ]
    panels = [panel for panel in panels if panel[1]]
    heights = [len(rows) + 2 for _, rows, _ in panels]
    drawing = figure(9, ROW * sum(heights) + 1.2)
    for axes, (title, rows, shown) in zip(
        drawing.subplots(len(panels), 1, height_ratios=heights, squeeze=False)[:, 0], panels, strict=True
    ):
        _panel(axes, title, rows, shown)
    _legend(drawing, peers)
    save(drawing, results, path)


def _without_bare(peers: list[Peer]) -> list[Peer]:
    return [peer for peer in peers if peer is not BARE]


def _panel(axes: Any, title: str, rows: list[dict[str, Any]], peers: list[Peer]) -> None:
    plain_axes(axes)
    axes.set_title(title, loc="left", fontsize=9, color="#555555")
    if all(row["unit"] == "us" for row in rows):
        axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [row["title"] for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    for y, row in enumerate(rows):
        for x in _bounds(row):
            axes.plot([x, x], [y - 0.4, y + 0.4], color=MARKERS[OURS.name]["color"], linewidth=1.5)
        for peer in peers:
            median = row["medians"].get(peer.name, 0)
            # A difference smaller than the noise may be negative, which a logarithmic scale cannot show.
            if median > 0:
                axes.plot(median, y, linestyle="none", markersize=6.5, **MARKERS[peer.name])

    if axes.get_xscale() == "linear":
        axes.set_xlim(left=0)


def _bounds(row: dict[str, Any]) -> list[float]:
    """Return the upper bound of our figure, if there is one."""
    if row["bound_in_units"] is not None:
        return [row["bound_in_units"]]
    bound, theirs = row["bounds"].get(f"{OURS.name}:{CACHEOPS.name}"), row["medians"].get(CACHEOPS.name)
    return [] if bound is None or theirs is None else [bound * theirs]


def _legend(drawing: Any, peers: list[Peer]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], linestyle="none", label=peer.title, **MARKERS[peer.name]) for peer in peers]
    handles.append(Line2D([], [], color=MARKERS[OURS.name]["color"], linewidth=1.5, label="bound for ours"))
    drawing.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)
