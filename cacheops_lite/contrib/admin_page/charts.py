"""Draw charts as SVG.  Colors come from the page's style sheet, so that they follow the admin's themes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone

from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

# In units of the view box.
WIDTH, HEIGHT = 600, 180
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 28
# How many times are written below a chart.
TIME_LABELS = 4


@dataclass(slots=True)
class Point:
    """What happened in an interval that began at `time`, in seconds since 1970; the value is None if it has none."""

    time: int
    value: float | None
    text: str


@dataclass(slots=True)
class _Canvas:
    points: Sequence[Point]
    top_value: float
    step: float = field(init=False)

    def __post_init__(self) -> None:
        self.step = (WIDTH - LEFT - RIGHT) / max(1, len(self.points))

    def x(self, index: int) -> float:
        """Return the left end of an interval."""
        return LEFT + index * self.step

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - value / self.top_value * (HEIGHT - TOP - BOTTOM)


def line_chart(title: str, points: Sequence[Point], top_value: float, top_label: str) -> SafeString:
    """Return a chart of values from 0 to `top_value` as a line, with a gap where there is no value."""
    canvas = _Canvas(points, top_value)
    middle = canvas.step / 2
    lines = []
    for run in _runs(points):
        places = [f"{canvas.x(index) + middle:.1f},{canvas.y(value):.1f}" for index, value in run]
        # A line of one point is visible by its round ends.
        lines.append((" ".join(places if len(places) > 1 else places * 2),))
    return _chart(title, canvas, top_label, format_html_join("", '<polyline class="line" points="{}"/>', lines))


def bar_chart(title: str, points: Sequence[Point]) -> SafeString:
    """Return a chart of numbers as bars."""
    top_value = round_up(max((point.value or 0 for point in points), default=0))
    canvas = _Canvas(points, top_value)
    bars = [
        (
            f"{canvas.x(index):.1f}",
            f"{canvas.y(value):.1f}",
            f"{canvas.step * 0.8:.1f}",
            f"{_height(canvas, value):.1f}",
        )
        for index, value in ((index, point.value) for index, point in enumerate(points))
        if value
    ]
    drawn = format_html_join("", '<rect class="bar" x="{}" y="{}" width="{}" height="{}"/>', bars)
    return _chart(title, canvas, f"{top_value:,}", drawn)


def round_up(number: float) -> int:
    """Return the least of 1, 2, 5, 10, 20, 50, ... that is not smaller."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            if factor * power >= number:
                return factor * power
        power *= 10


def time_text(seconds: int) -> str:
    """Return a time of day, in the current time zone, of a time in seconds since 1970."""
    return date_format(localtime(datetime.fromtimestamp(seconds, timezone.utc)), "H:i")


def _height(canvas: _Canvas, value: float) -> float:
    return canvas.y(0) - canvas.y(value)


def _runs(points: Iterable[Point]) -> Iterator[list[tuple[int, float]]]:
    """Yield the indexes and values of points that follow each other without a gap."""
    run: list[tuple[int, float]] = []
    for index, point in enumerate(points):
        if point.value is not None:
            run.append((index, point.value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _chart(title: str, canvas: _Canvas, top_label: str, drawn: SafeString) -> SafeString:
    return format_html(
        '<svg class="cacheops-chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}</svg>',
        *(WIDTH, HEIGHT, title, _axes(canvas, top_label), drawn, _tooltips(canvas)),
    )


def _axes(canvas: _Canvas, top_label: str) -> SafeString:
    lines = [(LEFT, f"{y:.1f}", WIDTH - RIGHT, f"{y:.1f}") for y in (canvas.y(0), canvas.y(canvas.top_value))]
    every = max(1, len(canvas.points) // TIME_LABELS)
    times = [
        (f"{canvas.x(index):.1f}", HEIGHT - 8, time_text(canvas.points[index].time))
        for index in range(0, len(canvas.points) - every // 2, every)
    ]
    values = [
        (LEFT - 6, f"{canvas.y(value) + 5:.1f}", label) for value, label in ((0.0, "0"), (canvas.top_value, top_label))
    ]
    return format_html(
        "{}{}{}",
        format_html_join("", '<line class="axis" x1="{}" y1="{}" x2="{}" y2="{}"/>', lines),
        format_html_join("", '<text x="{}" y="{}">{}</text>', times),
        format_html_join("", '<text class="value" x="{}" y="{}">{}</text>', values),
    )


def _tooltips(canvas: _Canvas) -> SafeString:
    """Return an invisible bar for each interval, whose title browsers show below the pointer."""
    bars = [
        (f"{canvas.x(index):.1f}", TOP, f"{canvas.step:.1f}", HEIGHT - TOP - BOTTOM, time_text(point.time), point.text)
        for index, point in enumerate(canvas.points)
    ]
    return format_html_join(
        "", '<rect class="interval" x="{}" y="{}" width="{}" height="{}"><title>{}: {}</title></rect>', bars
    )
