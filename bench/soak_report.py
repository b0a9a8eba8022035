"""Print the summary of the soak."""

from __future__ import annotations

from typing import Any

from .soak_records import MIB
from .tables import grid, header

JUDGED = {True: "met", False: "NOT MET", None: "not judged"}


def summary(results: dict[str, Any]) -> str:
    """Return a table of the thirds of the steady load and what came after it, and the verdicts."""
    spans = results["summary"]
    rows = [["", *(_head(span) for span in spans)]]
    for title, show in ROWS.items():
        rows.append([title, *(show(span) for span in spans)])
    for kind in ("hits", "misses", "writes"):
        for percentile in ("p50", "p99"):
            cells = [_number(span["latencies"][kind][percentile]) for span in spans]
            rows.append([f"{kind}, {percentile} (microseconds)", *cells])
    for name in sorted({name for span in spans for name in span["scripts"]}):
        cells = [f"{span['scripts'][name]:.1f}" if name in span["scripts"] else "<0.2" for span in spans]
        rows.append([f"largest time of {name}.lua (ms)", *cells])
    rows.append(["largest time of another command (ms)", *(f"{span['other']:.1f}" for span in spans)])
    waited = ("-" if span["waited"] is None else f"{span['waited']:.1f}" for span in spans)
    rows.append(["Redis waited for a processor (ms an interval)", *waited])
    return "\n\n".join([header(results), grid(rows), "\n".join(map(_line, results["verdicts"]))]) + "\n"


def _head(span: dict[str, Any]) -> str:
    return f"{span['title']}\n{span['minutes']:g} min"


def _mib(name: str) -> Any:
    return lambda span: "-" if span[name] is None else f"{span[name] / MIB:.1f}"


def _integer(name: str) -> Any:
    return lambda span: _number(span[name])


ROWS = {
    "operations a second": _integer("operations_per_second"),
    "hit rate (%)": lambda span: f"{100 * span['hit_rate']:.1f}",
    "memory of Redis, used (MiB)": _mib("used"),
    "memory of Redis, resident (MiB)": _mib("redis_rss"),
    "keys": _integer("keys"),
    "results": _integer("results"),
    "memory per live result (bytes)": _integer("bytes_per_result"),
    "keys evicted": _integer("evicted"),
    "keys expired": _integer("expired"),
    "memory of a process (MiB)": _mib("rss"),
    "shapes of the largest index": _integer("shapes"),
    "hits compared with the database": _integer("verified"),
    "of these stale": _integer("stale"),
}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _line(verdict: dict[str, Any]) -> str:
    return f"{JUDGED[verdict['is_met']]}: {verdict['title']}: {verdict['found']}"
