"""Run every test on each database that is found, then the linters; the command behind ``make test``.

A missing service is named and skipped; where CI is set it is a failure.  Arguments go to pytest.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from queue import Queue

from tests.support import services
from tests.support.redis_databases import reserved

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
# Tests whose result depends neither on the database nor on the store: they run once.
ONCE = [
    *("tests/house", "tests/docs", "tests/e2e", "tests/sql", "tests/typing", "tests/query/test_field_identity.py"),
    "tests/utils/test_lru.py",
    *("tests/schema/test_predicates.py", "tests/schema/test_tokens.py", "tests/utils/test_html_whitespace.py"),
    *(f"tests/functions/test_{name}.py" for name in ("call_key", "filesystem_cache", "simple_caches")),
    *("tests/adapters/test_checks.py", "tests/adapters/test_conf.py", "tests/store/test_keys.py"),
    *("tests/contrib", "tests/observe/test_every_read.py", "tests/inspection/test_statistics.py"),
    *("tests/adapters/test_cacheops_command.py", "tests/store/test_database_names.py"),
    # They start servers and processes of their own.
    *(
        f"tests/store/test_{name}.py"
        for name in ("failure_kinds", "failures", "healing", "operation_limits", "server_epoch", "signatures", "spool")
    ),
    *(f"tests/store/test_{name}.py" for name in ("ways_to_connect", "failover", "client_requirements", "cluster")),
    *(f"tests/store/test_{name}.py" for name in ("error_translation", "commands", "messages", "limited_connection")),
    *(f"tests/store/test_{name}.py" for name in ("near_cache", "near_cluster", "spool_watch")),
    *("tests/store/test_time_limits.py", "tests/inspection/test_doctor.py", "tests/utils/test_error_boundary.py"),
    *(f"tests/orm/test_{name}.py" for name in ("prefetch", "prefetched_objects", "prefetch_decisions")),
    *("tests/store/test_derived_shapes.py", "tests/store/test_payload_compression.py", "tests/property/test_kept.py"),
]
# A browser takes minutes: ``make e2e``.
BROWSER = "tests/e2e/test_browser.py"
# Tests whose result depends on whether the database is SQLite or a server, not on which server.
OF_A_SERVER = [
    *("tests/functions", "tests/observe", "tests/compat", "tests/adapters/test_apps.py"),
    *("tests/adapters/test_testing.py", "tests/store/test_cluster_fences.py", "tests/writes/test_strict.py"),
    *("tests/query/test_fast_paths.py", "tests/reads/test_near.py"),
    *(f"tests/store/test_{name}.py" for name in ("interrupts", "namespaces", "outages", "refusals")),
]
# Tests whose result depends on the store alone: they run in both modes, on SQLite.
OF_THE_STORE = [
    *(f"tests/store/test_{name}.py" for name in ("protocol", "redis_connection", "replies", "fill_lock")),
    *(f"tests/adapters/test_{name}.py" for name in ("jinja2", "templatetags", "reaper")),
    "tests/functions/test_view_cache.py",
]
# They take long because they start many servers; a leg of their own keeps the others short.
OWN_SERVERS = [
    f"tests/store/test_{name}.py" for name in ("ways_to_connect", "cluster", "near_cluster", "failover", "failures")
]
# Most of their time they wait for servers and processes, so they run beside tests that keep a core busy.
WAITING = ["tests/store", "tests/inspection", "tests/functions", "tests/adapters", "tests/contrib"]
# Tests of processes that read and write at once: SQLite has one writer at a time, so they run on the others.
CONCURRENCY = "tests/concurrency"
# Faults of servers under load: once, on the database that `make reliability` uses.
RELIABILITY = "tests/reliability"
# ``make coverage``: it slows tests down, so it is measured by itself.
MEASURES = bool(os.environ.get("TEST_COVERAGE"))
# What takes many times longer while coverage is measured, and covers hardly a line that other tests do not.
UNMEASURED = ["tests/house", "tests/docs", "tests/e2e", "tests/property", "tests/typing"]
# Results must not depend on fast paths: one contract suite of each kind runs without them, too.  It runs with the names
# that databases have by default.
CONTRACTS = [
    *(f"tests/reads/test_{name}.py" for name in ("queryset_read", "races")),
    *(f"tests/query/test_{name}.py" for name in ("read_set", "read_set_of_relations")),
    *(
        f"tests/writes/test_{name}.py"
        for name in ("instance_writes", "queryset_writes", "unit_of_work", "values_stored")
    ),
    *("tests/functions/test_decorators.py", "tests/store/test_protocol.py", "tests/orm/test_save_delete.py"),
    *("tests/property/test_directory.py", "tests/property/test_shop.py"),
    "tests/property/test_machine.py::test_no_random_history_of_the_rich_schema_leaves_a_stale_read",
]
# Those of values depend on fast paths, but not on the store.
CONTRACTS_OF_VALUES = ["tests/schema/test_values_compared.py"]
# What must not fail with Redis, which is asked more where databases have names.
OUTAGES = ["tests/store/test_outages.py", "tests/store/test_messages.py"]
# Random histories: SQLite runs as many as by default, and ``make fuzz`` runs them for as long as told.
FEWER_HISTORIES = {"TEST_EXAMPLES": "15"}
STORES = ["redis-sets", "redis-insideout", "embedded-sets", "embedded-insideout"]
PERCENT = re.compile(r"\[ *(\d+)%\]$")
# No test stops the machine, so commits need not wait for the disk.
UNSYNCHRONIZED = {"PGOPTIONS": "-c synchronous_commit=off"}
# Seconds between two lines of progress of one leg.
PROGRESS_SECONDS = 30


@dataclass
class Leg:
    """One run of pytest: a database, and the store modes on a kind of Redis."""

    database: str
    stores: str
    arguments: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    is_measured: bool = False
    # What distinguishes it from other runs on this database with these stores.
    part: str = ""

    def __str__(self) -> str:
        options = "".join(f" {name}={value}" for name, value in self.environment.items())
        return f"{self.database} {self.stores}{options}{self.part and ', '}{self.part}"


def main(arguments: list[str]) -> int:
    # A third of their time tests wait for servers, so one run more than there are cores keeps these busy.
    requested = os.environ.get("TEST_DATABASES", "sqlite postgresql mariadb").split()
    with reserved(len(requested) if arguments else (os.cpu_count() or 1) + 1) as urls:
        return run_all(arguments, requested, urls)


def run_all(arguments: list[str], requested: list[str], urls: list[str]) -> int:
    reasons = {database: missing(database) for database in requested}
    absent = [reason for reason in reasons.values() if reason]
    if not services.redis_answers():
        absent.append(f"Redis: nothing answers at {services.REDIS_URL}")
    report(reasons, absent)
    if absent and services.IN_CI:
        print("CI is set: a missing service is a failure")
        return 1
    run("coverage", "erase")
    legs = [leg for leg in legs_of(arguments, requested) if reasons[leg.database] is None]
    free: Queue[str] = Queue()
    for url in urls:
        free.put(url)

    def run_on(leg: Leg) -> int:
        url = free.get()
        try:
            return run_tests(leg, {**os.environ, **leg.environment, "TEST_REDIS_URL": url})
        finally:
            free.put(url)

    with ThreadPoolExecutor(len(urls)) as pool:
        codes = list(pool.map(run_on, legs))
    failed = [str(leg) for leg, code in zip(legs, codes, strict=True) if code]
    if not arguments:
        checks = {**CHECKS, **COVERAGE_CHECKS} if MEASURES else CHECKS
        failed += [name for name, command in checks.items() if run(*command)]
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nall passed", flush=True)
    return bool(failed)


def legs_of(arguments: list[str], databases: list[str]) -> list[Leg]:
    """The runs of pytest, the longest first: one of each kind, or with ``TEST_MATRIX`` each database in each mode.

    Each store mode runs on a real Redis, and what depends on the store on the embedded one, too.  Each database sees
    one mode.  If asked for, coverage is measured on SQLite: other databases add little to it.
    """
    if arguments:
        stores = os.environ.get("TEST_STORES")
        usual = {"sqlite": "redis-sets embedded-insideout", "postgresql": "redis-insideout", "mariadb": "redis-sets"}
        return [Leg(database, stores or usual[database], arguments) for database in databases]
    if os.environ.get("TEST_MATRIX"):
        tests = ["tests", *ignoring(*ONCE, RELIABILITY)]
        return [Leg(database, stores, tests) for database in databases for stores in STORES]
    everywhere = ["tests", *ignoring(*ONCE, *OF_THE_STORE, CONCURRENCY, RELIABILITY)]
    legs = [
        Leg(
            "sqlite",
            "redis-sets",
            ["tests", *ignoring(CONCURRENCY, *WAITING, RELIABILITY, *UNMEASURED)],
            FEWER_HISTORIES,
            is_measured=MEASURES,
        ),
        Leg("postgresql", "redis-insideout", everywhere, FEWER_HISTORIES),
        Leg("sqlite", "redis-sets", [*WAITING, *ignoring(*OWN_SERVERS)], is_measured=MEASURES, part="store, adapters"),
        Leg("sqlite", "redis-sets", [*UNMEASURED, *ignoring(BROWSER)], part="tools and documentation"),
        Leg("postgresql", "redis-insideout", [CONCURRENCY, RELIABILITY], part="processes"),
        Leg("mariadb", "redis-sets", [*everywhere, *ignoring(*OF_A_SERVER)], FEWER_HISTORIES),
        Leg("sqlite", "redis-sets", OWN_SERVERS, is_measured=MEASURES, part="servers"),
        Leg(
            "sqlite",
            "embedded-sets",
            [*CONTRACTS, *CONTRACTS_OF_VALUES, *OUTAGES],
            {"TEST_FAST_PATHS": "off", "TEST_DATABASE_NAMES": "on", "TEST_EXAMPLES": "15"},
        ),
        Leg("mariadb", "redis-sets", [CONCURRENCY], part="processes"),
        Leg("sqlite", "embedded-insideout redis-insideout", OF_THE_STORE, is_measured=MEASURES),
        Leg("sqlite", "embedded-insideout", CONTRACTS, FEWER_HISTORIES, is_measured=MEASURES),
    ]
    return [leg for leg in legs if leg.database in databases]


def ignoring(*paths: str) -> list[str]:
    return [f"--ignore={path}" for path in paths]


def run_tests(leg: Leg, environment: dict[str, str]) -> int:
    """Run a leg, with a line of progress now and then; at its end print what pytest printed."""
    environment |= {"TEST_DATABASE": leg.database, "TEST_STORES": leg.stores, **UNSYNCHRONIZED}
    # Many tests start processes, each of which would compile the package anew.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [BIN / "python"]
    if leg.is_measured:
        environment["COVERAGE_PROCESS_START"] = str(ROOT / "pyproject.toml")
        command = [BIN / "coverage", "run"]
    command += ["-m", "pytest", "-q", *leg.arguments]
    started = shown = time.monotonic()
    lines: list[str] = []
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            percent, now = PERCENT.search(line.rstrip()), time.monotonic()
            if percent and now > shown + PROGRESS_SECONDS:
                shown = now
                print(f"{leg}: {percent[1]} % after {now - started:.0f} s", flush=True)
    print(f"\n--- {leg}, {time.monotonic() - started:.0f} s\n{''.join(lines)}", flush=True)
    return process.returncode


def missing(database: str) -> str | None:
    """Why `database` can't be used, None if it can."""
    if database == "postgresql":
        host, port = os.environ.get("TEST_POSTGRESQL_HOST", "127.0.0.1"), os.environ.get("TEST_POSTGRESQL_PORT", 5432)
        return None if services.answers(host, int(port)) else f"PostgreSQL: nothing answers at {host}:{port}"
    if database == "mariadb":
        if find_spec("MySQLdb") is None:
            return "MariaDB: mysqlclient is not installed"
        host = os.environ.get("TEST_MARIADB_HOST", "127.0.0.1")
        return None if services.answers(host, 3306) else f"MariaDB: nothing answers at {host}:3306"
    return None


COVERAGE_CHECKS = {
    "joining coverage": ["coverage", "combine", "--quiet"],
    "coverage of 95 %": ["coverage", "report", "--fail-under=95"],
}
CHECKS = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
    "import contracts": ["lint-imports", "--no-logo"],
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
