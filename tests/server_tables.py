"""What became of the tests on each server, and the tables of ``docs/production/servers.rst``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tests.support.ways import WAYS

# Tests of the ways to connect, by the file that they are in.
WAYS_FILE = "test_ways_to_connect"
OTHER_WAYS = {
    ("test_failover", "redis-py"): "Sentinel, forced failover",
    ("test_failover", "valkey-py"): "valkey-py, Sentinel, forced failover",
    ("test_cluster", None): "cluster of three nodes",
}
WAYS_BY_LENGTH = sorted(WAYS, key=len, reverse=True)
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


def read_report(path: Path) -> dict[str, str]:
    """Return by id what became of each test in a report of pytest."""
    outcomes = {}
    for case in ElementTree.parse(path).iter("testcase"):
        kinds = {each.tag for each in case}
        outcome = FAILED if kinds & {"failure", "error"} else SKIPPED if "skipped" in kinds else PASSED
        outcomes[f"{case.get('classname')}::{case.get('name')}"] = outcome
    return outcomes


def way_of(test: str) -> str | None:
    """Return the way to connect that a test is about."""
    file, _, name = test.partition("::")
    file, parameters = file.rpartition(".")[2], name.partition("[")[2].rstrip("]")
    for key in ((file, parameters), (file, None)):
        if key in OTHER_WAYS:
            return OTHER_WAYS[key]
    if file != WAYS_FILE:
        return None
    return next((way for way in WAYS_BY_LENGTH if f"-{parameters}-".endswith(f"-{way}-")), None)


def counted(outcomes: dict[str, str]) -> dict[str, Any]:
    """Return the numbers of tests, the ids of those that failed, and the outcome by way to connect."""
    numbers = Counter(outcomes.values())
    by_way: dict[str, Counter] = {}
    for test, outcome in outcomes.items():
        if way := way_of(test):
            by_way.setdefault(way, Counter())[outcome] += 1
    return {
        **{kind: numbers[kind] for kind in (PASSED, FAILED, SKIPPED)},
        "failures": sorted(test for test, outcome in outcomes.items() if outcome == FAILED),
        **({"ways": {way: dict(each) for way, each in by_way.items()}} if by_way else {}),
    }


def summary(outcomes: dict[str, str]) -> str:
    numbers = Counter(outcomes.values())
    return ", ".join(f"{numbers[kind]} {kind}" for kind in (PASSED, FAILED, SKIPPED))


def tables(results: dict[str, Any]) -> str:
    """Return the tables of the page."""
    libraries = ", ".join(f"{name} {number}" for name, number in results["libraries"].items())
    made = (
        f"Run on {results['date']} with {libraries}, Django {results['django']}, Python {results['python']}, "
        "by ``make servers``."
    )
    parts = [
        f".. Made by tests/servers.py from docs/_static/servers.json.\n\n{made}\n",
        _table("Servers", ["Server", "Program from", "Tests passed", "failed"], _server_rows(results)),
        _table("Ways to connect, on each server", ["", *map(_name, results["servers"])], _way_rows(results)),
        _table("The contract suite through each connection", _CONNECTION_HEADER, _connection_rows(results)),
    ]
    return "\n".join(parts)


_CONNECTION_HEADER = ["Connection", "Server", "Tests passed", "failed"]


def _name(row: dict[str, Any]) -> str:
    return f"{row['server']} {row['version']}"


def _server_rows(results: dict[str, Any]) -> list[list[Any]]:
    return [
        [_name(row), f"``{row['package']}`` (PyPI)" if row["package"] else "Debian", row["passed"], row["failed"]]
        for row in results["servers"]
    ]


def _connection_rows(results: dict[str, Any]) -> list[list[Any]]:
    return [[row["connection"], _name(row), row["passed"], row["failed"]] for row in results["connections"]]


def _way_rows(results: dict[str, Any]) -> list[list[Any]]:
    ways = [*WAYS, *OTHER_WAYS.values()]
    return [[way, *(_cell(row, way) for row in results["servers"])] for way in ways]


def _cell(row: dict[str, Any], way: str) -> str:
    numbers = row.get("ways", {}).get(way, {})
    if numbers.get(FAILED):
        return f"{numbers[FAILED]} failed"
    if numbers.get(PASSED):
        return "yes"
    return "built without TLS" if way == "TLS" and not row["has_tls"] else "not tested"


def _table(title: str, header: list[Any], rows: list[list[Any]]) -> str:
    lines = [f".. list-table:: {title}", "   :header-rows: 1", ""]
    for row in [header, *rows]:
        lines += [f"   {'*' if not number else ' '} - {cell}".rstrip() for number, cell in enumerate(row)]
    return "\n".join(lines) + "\n"
