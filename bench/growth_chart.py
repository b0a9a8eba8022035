"""Draw how cost grows: a panel for each curve, with the same lines in each (small multiples)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from .peers import PEERS
from .style import MARKERS, figure, plain_axes, save

COLUMNS = 3
# An axis whose largest value is so many times its smallest is logarithmic.
LOGARITHMIC_RANGE = 50


def draw(results: dict[str, Any], path: Path) -> None:
    curves = [curve for curve in results["curves"] if any(curve["figures"].values())]
    rows = math.ceil(len(curves) / COLUMNS)
    drawing = figure(10, 2.6 * rows + 1)
    panels = drawing.subplots(rows, COLUMNS, squeeze=False).flat
    for axes, curve in zip(panels, curves, strict=False):
        _panel(axes, curve)
    for axes in list(panels)[len(curves) :]:
        axes.set_visible(False)
    _legend(drawing, results["peers"])
    save(drawing, results, path)


def _panel(axes: Any, curve: dict[str, Any]) -> None:
    plain_axes(axes)
    axes.set_title(curve["title"], loc="left", fontsize=8)
    axes.set_xlabel(curve["x"], fontsize=8)
    axes.set_ylabel({"us": "microseconds"}.get(curve["unit"], curve["unit"]), fontsize=8)
    axes.tick_params(labelsize=8)
    for name, figures in curve["figures"].items():
        axes.plot(curve["points"], figures, markersize=4, linewidth=1.2, **MARKERS[name])
    if curve["points"][-1] >= LOGARITHMIC_RANGE * curve["points"][0]:
        axes.set_xscale("log")
    if _is_wide(curve["figures"]):
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def _is_wide(figures: dict[str, list[float]]) -> bool:
    values = [value for each in figures.values() for value in each]
    return min(values) > 0 and max(values) > LOGARITHMIC_RANGE * min(values)


def _legend(drawing: Any, names: list[str]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=PEERS[name].title, markersize=4, linewidth=1.2, **MARKERS[name]) for name in names]
    drawing.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)
