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
from importlib.util import find_spec
from pathlib import Path
from queue import Queue

import redis

from tests import services

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
# What does not depend on the database runs once, and the embedded Redis on one database, in one mode.
ONCE = ["tests/unit", "tests/e2e", "tests/integration", "tests/property"]
EVERYWHERE = ["tests/integration", "tests/property", "tests/concurrency"]
REAL_STORES = "redis-sets redis-insideout"
ALL_STORES = f"{REAL_STORES} embedded-sets"


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
    environment = {**os.environ, "COVERAGE_PROCESS_START": str(ROOT / "pyproject.toml")}
    run("coverage", "erase", env=environment)
    free: Queue[str] = Queue()
    for url in urls:
        free.put(url)

    def run_on(database: str) -> int:
        url = free.get()
        try:
            return run_tests(database, arguments, {**environment, "TEST_DATABASE": database, "TEST_REDIS_URL": url})
        finally:
            free.put(url)

    found = [database for database, reason in reasons.items() if reason is None]
    with ThreadPoolExecutor(len(urls)) as pool:
        codes = list(pool.map(run_on, found))
    failed = [f"tests on {database}" for database, code in zip(found, codes, strict=True) if code]
    if not arguments:
        failed += [name for name, command in CHECKS.items() if run(*command, env=environment)]
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nall passed", flush=True)
    return bool(failed)


def run_tests(database: str, arguments: list[str], environment: dict[str, str]) -> int:
    """Run the tests on one database, and show what they said when they are done."""
    environment.setdefault("TEST_STORES", ALL_STORES if database == "sqlite" else REAL_STORES)
    where = arguments or (ONCE if database == "sqlite" else EVERYWHERE)
    command = [BIN / "coverage", "run", "-m", "pytest", "-q", *where]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    print(f"\n--- tests on {database}\n{done.stdout}", flush=True)
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


def run(command: str, *arguments: str, env: dict[str, str]) -> int:
    return subprocess.run([BIN / command, *arguments], cwd=ROOT, env=env).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
