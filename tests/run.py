"""Runs every test on each database that is there, then the linters; the command behind ``make test``.

What is missing is named and skipped; where CI is set it is a failure.  Arguments go to pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import redis

from tests import services

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
# What does not depend on the database runs once, and the embedded Redis on one database.
ONCE = ["tests/unit", "tests/e2e", "tests/integration", "tests/property"]
EVERYWHERE = ["tests/integration", "tests/property", "tests/concurrency"]
REAL_STORES = "redis-sets redis-insideout"


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
def redis_of_our_own() -> Iterator[None]:
    """Use a Redis database that no other run on this machine uses: tests empty it."""
    if "TEST_REDIS_URL" in os.environ or not services.redis_answers():
        yield
        return
    root = services.REDIS_URL.rpartition("/")[0]
    locks = redis.Redis.from_url(f"{root}/15")
    for number in range(9, 15):
        lock = f"cacheops_lite:tests:{number}"
        if locks.set(lock, os.getpid(), nx=True, ex=3600):
            break
    else:
        raise SystemExit("six runs at a time are too many: set TEST_REDIS_URL")
    services.REDIS_URL = os.environ["TEST_REDIS_URL"] = f"{root}/{number}"
    try:
        yield
    finally:
        locks.delete(lock)


def main(arguments: list[str]) -> int:
    with redis_of_our_own():
        return run_all(arguments)


def run_all(arguments: list[str]) -> int:
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
    failed = []
    for database in (name for name, reason in reasons.items() if reason is None):
        print(f"\n--- tests on {database}", flush=True)
        environment["TEST_DATABASE"] = database
        if database != "sqlite":
            environment.setdefault("TEST_STORES", REAL_STORES)
        where = arguments or (ONCE if database == "sqlite" else EVERYWHERE)
        if run("coverage", "run", "-m", "pytest", "-q", *where, env=environment):
            failed.append(f"tests on {database}")
    if not arguments:
        failed += [name for name, command in CHECKS.items() if run(*command, env=environment)]
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nall passed", flush=True)
    return bool(failed)


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
