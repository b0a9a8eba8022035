"""The style of drawings: colours for readers with any colour vision, hollow markers for insideout modes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .peers import BARE, CACHALOT, CACHEOPS, CACHEOPS_INSIDEOUT, CACHEX, GET, MEMORY, OURS, OURS_INSIDEOUT, OURS_NEAR

BLUE, ORANGE, GREEN, GREY, BLACK = "#0072B2", "#D55E00", "#009E73", "#777777", "#222222"

MARKERS: dict[str, dict[str, Any]] = {
    BARE.name: {"color": GREY, "marker": "D"},
    CACHEOPS.name: {"color": ORANGE, "marker": "o"},
    CACHEOPS_INSIDEOUT.name: {"color": ORANGE, "marker": "o", "markerfacecolor": "white"},
    CACHALOT.name: {"color": GREEN, "marker": "s"},
    OURS.name: {"color": BLUE, "marker": "o"},
    OURS_INSIDEOUT.name: {"color": BLUE, "marker": "o", "markerfacecolor": "white"},
    OURS_NEAR.name: {"color": BLUE, "marker": "*"},
    CACHEX.name: {"color": GREEN, "marker": "^"},
    GET.name: {"color": BLACK, "marker": "|"},
    MEMORY.name: {"color": GREY, "marker": "|"},
}


def figure(width: float, height: float) -> Any:
    """Return an empty drawing of the given size in inches."""
    import matplotlib
    from matplotlib.figure import Figure

    # Text is not converted to paths, and the same figures give the same file.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bench", "font.size": 9})
    return Figure(figsize=(width, height), layout="constrained")


def plain_axes(axes: Any) -> None:
    """Remove what is not needed: two spines; draw a light grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, which="major", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def caption(results: dict[str, Any]) -> str:
    """Return the date, the machine and the versions, to be shown below a drawing."""
    about = results["about"]
    first = f"{results['date']}; {about['database']}, {about['redis']}; {about['rounds']}"
    return "\n".join([first, f"{about['machine']}; {about['python']}", ", ".join(about["versions"])])


def save(drawing: Any, results: dict[str, Any], path: Path) -> None:
    """Write the drawing with its caption."""
    drawing.supxlabel(caption(results), x=0.01, ha="left", fontsize=7, color="#555555")
    drawing.savefig(path, format="svg", metadata={"Date": None, "Creator": "bench"})
    # matplotlib writes spaces at the ends of lines.
    path.write_text("".join(f"{line.rstrip()}\n" for line in path.read_text().splitlines()))
