"""Runs every test on each database that is there, then the linters; the command behind ``make test``.

What is missing is named and skipped; where CI is set it is a failure.  Arguments go to pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from queue import Queue

import redis

from tests.support import services

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
# What does not depend on the database runs once; each mode of the store runs on a real Redis and on the embedded one.
ONCE = ["tests/unit", "tests/e2e", "tests/integration", "tests/property"]
# What must not differ without the ways that are there for speed: one contract suite of each kind.
CONTRACTS = (
    *("reads", "rests_on_queries", "rests_on_relations", "cached_as", "store", "races", "transactions"),
    *("writes", "saves", "mass", "values_compared", "values_stored"),
)
SLOWLY = [
    *(f"tests/integration/test_{name}.py" for name in CONTRACTS),
    *("tests/property/test_directory.py", "tests/property/test_shop.py"),
    "tests/property/test_machine.py::test_no_random_history_of_the_rich_schema_leaves_a_stale_read",
]
EVERYWHERE = ["tests/integration", "tests/property", "tests/concurrency"]
STORES = {"sqlite": "redis-sets embedded-insideout", "postgresql": "redis-insideout", "mariadb": "redis-sets"}


def missing(database: str) -> str | None:
    """Why `database` can't be used, None if it can."""
    if database == "postgresql":
        host, port = os.environ.get("TEST_POSTGRESQL_HOST", "127.0.0.1"), os.environ.get("TEST_POSTGRESQL_PORT", 5432)
        return None if services.answers(host, int(port)) else f"PostgreSQL: nobody answers at {host}:{port}"
    if database == "mariadb":
        if find_spec("MySQLdb") is None:
            return "MariaDB: mysqlclient is not installed"
        host = os.environ.get("TEST_MARIADB_HOST", "127.0.0.1")
        return None if services.answers(host, 3306) else f"MariaDB: nobody answers at {host}:3306"
    return None


@contextmanager
def redis_of_our_own(count: int) -> Iterator[list[str]]:
    """URLs of as many Redis databases that no other run on this machine uses: tests empty them."""
    if "TEST_REDIS_URL" in os.environ or not services.redis_answers():
        yield [services.REDIS_URL]
        return
    root = services.REDIS_URL.rpartition("/")[0]
    locks = redis.Redis.from_url(f"{root}/15")
    taken: list[int] = []
    try:
        for number in range(9, 15):
            if len(taken) < count and locks.set(f"cacheops_lite:tests:{number}", os.getpid(), nx=True, ex=3600):
                taken.append(number)
        if not taken:
            raise SystemExit("six runs at a time are too many: set TEST_REDIS_URL")
        yield [f"{root}/{number}" for number in taken]
    finally:
        for number in taken:
            locks.delete(f"cacheops_lite:tests:{number}")


def main(arguments: list[str]) -> int:
    # Half of the time is waiting, and most machines have two cores.
    with redis_of_our_own(count=2) as urls:
        return run_all(arguments, urls)


def run_all(arguments: list[str], urls: list[str]) -> int:
    asked = os.environ.get("TEST_DATABASES", "sqlite postgresql mariadb").split()
    reasons = {database: missing(database) for database in asked}
    absent = [reason for reason in reasons.values() if reason]
    if not services.redis_answers():
        absent.append(f"Redis: nobody answers at {services.REDIS_URL}")
    report(reasons, absent)
    if absent and services.IN_CI:
        print("CI is set: what is missing is a failure")
        return 1
    run("coverage", "erase")
    free: Queue[str] = Queue()
    for url in urls:
        free.put(url)

    def run_on(leg: Leg) -> int:
        url = free.get()
        try:
            return run_tests(leg, {**os.environ, **leg.environment, "TEST_REDIS_URL": url})
        finally:
            free.put(url)

    # Coverage slows down what it measures, and what other databases add to SQLite's is little.
    found = [
        Leg(database, arguments, is_measured=not arguments and (database == "sqlite" or len(asked) == 1))
        for database, reason in reasons.items()
        if reason is None
    ]
    if "sqlite" in asked and not arguments:
        found.append(
            Leg("sqlite", SLOWLY, {"TEST_FAST_PATHS": "off", "TEST_STORES": "embedded-sets", "TEST_EXAMPLES": "15"})
        )
    with ThreadPoolExecutor(len(urls)) as pool:
        codes = list(pool.map(run_on, found))
    failed = [str(leg) for leg, code in zip(found, codes, strict=True) if code]
    if not arguments:
        failed += [name for name, command in CHECKS.items() if run(*command)]
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nall passed", flush=True)
    return bool(failed)


@dataclass
class Leg:
    """A run of pytest on one database, of what is fit for it unless told."""

    database: str
    where: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    is_measured: bool = False

    def __str__(self) -> str:
        told = "".join(f" {name}={value}" for name, value in self.environment.items())
        return f"tests on {self.database}{told}"


def run_tests(leg: Leg, environment: dict[str, str]) -> int:
    """Run a leg, and show what it said when it is done."""
    environment["TEST_DATABASE"] = leg.database
    environment.setdefault("TEST_STORES", STORES[leg.database])
    where = leg.where or (ONCE if leg.database == "sqlite" else EVERYWHERE)
    command = [BIN / "python"]
    if leg.is_measured:
        environment["COVERAGE_PROCESS_START"] = str(ROOT / "pyproject.toml")
        command = [BIN / "coverage", "run"]
    command += ["-m", "pytest", "-q", *where]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    print(f"\n--- {leg}\n{done.stdout}", flush=True)
    return done.returncode


CHECKS = {
    "joining coverage": ["coverage", "combine", "--quiet"],
    "coverage of 95 %": ["coverage", "report", "--fail-under=95"],
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
    "layers": ["lint-imports", "--no-logo"],
}


def report(reasons: dict[str, str | None], absent: list[str]) -> None:
    import django

    found = ", ".join(name for name, reason in reasons.items() if reason is None)
    server = services.REDIS_URL if services.redis_answers() else "embedded only"
    print(f"Python {sys.version.split()[0]}, Django {django.__version__}; databases: {found}; Redis: {server}")
    for reason in absent:
        print(f"missing, so skipped: {reason}")
    sys.stdout.flush()


def run(command: str, *arguments: str) -> int:
    return subprocess.run([BIN / command, *arguments], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
