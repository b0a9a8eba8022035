"""Draw the soak: memory, hit rate, latencies and script times over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .soak_records import MIB
from .soak_verdicts import MAX_SCRIPT_MS
from .style import BLACK, BLUE, GREEN, GREY, ORANGE, figure, plain_axes, save

COLOURS = {"hits": BLUE, "misses": GREEN, "writes": ORANGE}


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw six panels with a common axis of time; the load with ad-hoc shapes is shaded."""
    records = results["records"]
    minutes = [each["end"] / 60 for each in records]
    drawing = figure(9, 7.5)
    panels = drawing.subplots(3, 2, sharex=True)
    for axes in panels.flat:
        plain_axes(axes)
        axes.tick_params(labelsize=8)
        _shade(axes, records)
    for axes in panels[-1]:
        axes.set_xlabel("minutes", fontsize=8)
    (memory, result), (rate, latency), (resident, scripts) = panels
    _lines(memory, minutes, {"": [each["redis"]["used"] / MIB for each in records]}, "Redis, MiB used")
    _lines(result, minutes, {"": [each["redis"]["bytes_per_result"] for each in records]}, "bytes per live result")
    _lines(rate, minutes, {"": [100 * each["hit_rate"] for each in records]}, "hit rate, %")
    rate.set_ylim(0, 100)
    _draw_latencies(latency, minutes, records)
    numbers = range(len(records[0]["rss"])) if records else ()
    of_processes = {f"process {i + 1}": [_mib(each["rss"][i]) for each in records] for i in numbers}
    _lines(resident, minutes, of_processes, "memory of each process, MiB", GREY)
    largest = [max(each["redis"]["scripts"].values(), default=0.0) for each in records]
    _lines(scripts, minutes, {"": largest}, "largest time of a script, ms", BLACK)
    scripts.axhline(MAX_SCRIPT_MS, color=ORANGE, linewidth=1, linestyle=":")
    save(drawing, results, path)


def _mib(value: int | None) -> float | None:
    return None if value is None else value / MIB


def _lines(axes: Any, minutes: list[float], lines: dict[str, list[Any]], title: str, colour: str = BLUE) -> None:
    axes.set_title(title, loc="left", fontsize=8)
    for figures in lines.values():
        axes.plot(minutes, [float("nan") if each is None else each for each in figures], color=colour, linewidth=1.2)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def _draw_latencies(axes: Any, minutes: list[float], records: list[dict[str, Any]]) -> None:
    axes.set_title("latency, microseconds: median, and dotted 99th percentile", loc="left", fontsize=8)
    for kind, colour in COLOURS.items():
        for percentile, style in (("p50", "-"), ("p99", ":")):
            figures = [each["latencies"][kind][percentile] or float("nan") for each in records]
            label = kind if percentile == "p50" else None
            axes.plot(minutes, figures, color=colour, linestyle=style, linewidth=1.2, label=label)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.legend(fontsize=7, frameon=False, ncols=3)


def _shade(axes: Any, records: list[dict[str, Any]]) -> None:
    later = [each for each in records if each["phase"] != "steady"]
    if later:
        begin = later[0]["end"] - later[0]["seconds"]
        axes.axvspan(begin / 60, later[-1]["end"] / 60, color="#eeeeee", zorder=0)
