"""Run each scenario, with and without CACHEOPS_STRICT, and write the tables; the command behind ``make reliability``.

It takes about a quarter of an hour and needs PostgreSQL and a program of Redis.  The result is written to
``docs/_static/reliability.json``, and the tables of ``docs/reliability.rst`` are made of it.  Arguments are parts of
the names of scenarios; the rows of others are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import date
from importlib.metadata import version
from pathlib import Path

from tests.reliability import report
from tests.support import servers

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "_static" / "reliability.json"
TABLES = ROOT / "docs" / "reliability.inc"
TESTS = "tests/reliability/test_scenarios.py"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of names, such as 'sentinel'")
    names = parser.parse_args().names
    before = json.loads(RESULTS.read_text("utf-8"))["rows"] if names else []
    with tempfile.TemporaryDirectory() as folder:
        found, code = run_tests(names, Path(folder) / "rows")
    results = {
        "date": date.today().isoformat(),
        "database": described_database(),
        "server": described_server(),
        "redis-py": version("redis"),
        "python": ".".join(map(str, sys.version_info[:3])),
        "django": version("Django"),
        "rows": merged(before, found),
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    TABLES.write_text(report.tables(results), "utf-8")
    print(f"written to {RESULTS.relative_to(ROOT)} and {TABLES.relative_to(ROOT)}")
    return code


def run_tests(names: list[str], path: Path) -> tuple[list[dict], int]:
    """Run the scenarios; return their rows, and the exit code of pytest."""
    environment = {"TEST_DATABASE": "postgresql", **os.environ, "TEST_RELIABILITY_RESULTS": str(path)}
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--tb=short", TESTS]
    command += ["-k", " or ".join(names)] if names else []
    done = subprocess.run(command, cwd=ROOT, env=environment)
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return list(map(json.loads, lines)), done.returncode


def merged(before: list[dict], found: list[dict]) -> list[dict]:
    """Return all rows in the order of the scenarios, new ones in place of older ones."""
    # It imports parts of the package, which need the settings of Django.
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    from tests.reliability.scenarios import SCENARIOS

    rows = {(row["scenario"], row["strict"]): row for row in [*before, *found]}
    ordered = [rows.get((each.name, is_strict)) for is_strict in (False, True) for each in SCENARIOS]
    return [row for row in ordered if row]


def described_server() -> str:
    """Return the name and the version of the program of Redis."""
    text = subprocess.run([servers.PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout
    words = dict(word.split("=", 1) for word in text.split() if "=" in word)
    return f"{'Valkey' if 'alkey' in text else 'Redis'} {words['v']}"


def described_database() -> str:
    """Return the name of the database, with its version if it is PostgreSQL."""
    if os.environ.get("TEST_DATABASE", "postgresql") != "postgresql":
        return os.environ["TEST_DATABASE"]
    text = subprocess.run(["psql", "--version"], capture_output=True, text=True, check=True).stdout
    return f"PostgreSQL {text.split()[2].partition('.')[0]}"


if __name__ == "__main__":
    sys.exit(main())
