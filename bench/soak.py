"""``python -m bench.soak``: read and write from several processes for as long as told, and check bounds.

Few of many objects get most of the load, by Zipf's law.  A share of the hits is compared with the database.  The soak
starts a Redis server of its own, or a cluster.  Ctrl-C ends it early, with the summary.  The status is 1 if a bound is
not met.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .about import about, now
from .databases import PostgreSQL, SQLite
from .output import write
from .peers import BARE, OURS
from .soak_records import AD_HOC, STEADY, Record, spans
from .soak_report import summary
from .soak_server import SoakCluster, SoakServer, soak_server
from .soak_verdicts import MAX_SCRIPT_MS, Verdict, verdicts
from .worker import configure
from .worker_pool import WorkerFailed, WorkerHandle
from .workload.population import Population, fill
from .workload.worker import Figures, Plan, Worker

TABLES = ["library_book", "library_author", "library_publisher", "library_country", "library_tag", "library_book_tags"]
# How many of all results are compared with the database at the end, while no process writes.
FINAL_SAMPLE = 2000


class SQLiteFile(SQLite):
    """SQLite in a file that several processes share."""

    title = "SQLite, in a file"

    def settings(self, copy: str | None) -> dict[str, Any]:
        options = {"timeout": 60, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"}
        return {**super().settings(None), "OPTIONS": options}

    def drop(self, copies: list[str]) -> None:
        for end in ("", "-wal", "-shm"):
            Path(self.path + end).unlink(missing_ok=True)


SOURCES = {"sqlite": SQLiteFile, "postgresql": PostgreSQL}


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    results, found = run(options)
    printed = summary(results)
    print(f"\n{printed}", end="")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    if options.out:
        from .soak_chart import draw

        write(options.out, "soak", results, printed, draw)
    return 1 if any(each.is_met is False for each in found) else 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    number = parser.add_argument
    number("--minutes", type=positive, default=10.0, help="of the steady load (default: 10)")
    number("--ad-hoc-minutes", type=float, help="of the load with many ad-hoc shapes after it (default: a fifth)")
    number("--ad-hoc", type=share, default=0.05, help="share of ad-hoc reads in these minutes (default: 0.05)")
    number("--processes", type=int, default=4, help="that read and write (default: 4)")
    number("--objects", type=int, default=1_000_000, help="books in the table (default: a million)")
    number("--writes", type=share, default=0.05, help="share of writes in all operations (default: 0.05)")
    number("--verify", type=share, default=0.02, help="share of hits compared with the database (default: 0.02)")
    number("--exponent", type=float, default=1.0, help="of Zipf's law: larger, and fewer objects get more (default: 1)")
    number("--timeout", type=int, default=60, help="of cached results, in seconds (default: 60)")
    number("--interval", type=positive, default=10.0, help="seconds between two records (default: 10)")
    number("--database", choices=list(SOURCES), help="default: postgresql if it is reached, else sqlite")
    number("--redis-memory", type=memory, default="256mb", help="maxmemory of the Redis server (default: 256mb)")
    number("--cluster", type=nodes, default=0, metavar="NODES", help="let a Redis Cluster of so many nodes share it")
    number("--seed", type=int, default=1)
    number("--json", type=Path, metavar="FILE", help="write all records there")
    number("--out", type=Path, metavar="DIRECTORY", help="write summary, JSON and SVG there")
    number("--break", dest="breakage", metavar="NAME", help="a defect of tests.concurrency.breakages, to be found")
    options = parser.parse_args(arguments)
    if options.processes < 1 or options.objects < 1000 or options.timeout < 1:
        parser.error("--processes and --timeout should be at least 1, --objects at least 1000")
    options.ad_hoc_minutes = options.minutes / 5 if options.ad_hoc_minutes is None else options.ad_hoc_minutes
    options.database = options.database or ("postgresql" if is_reached() else "sqlite")
    return options


def share(text: str) -> float:
    if not 0 <= float(text) <= 1:
        raise argparse.ArgumentTypeError(f"{text} should be a share from 0 to 1")
    return float(text)


def positive(text: str) -> float:
    if float(text) <= 0:
        raise argparse.ArgumentTypeError(f"{text} should be more than 0")
    return float(text)


def memory(text: str) -> str:
    if not re.fullmatch(r"[1-9]\d*(kb|mb|gb)", text.lower()):
        raise argparse.ArgumentTypeError(f"{text} should be a size such as 256mb")
    return text


def bytes_of(text: str) -> int:
    """Return the number of bytes that a size such as 256mb means."""
    return int(text[:-2]) * {"kb": 2**10, "mb": 2**20, "gb": 2**30}[text[-2:].lower()]


def nodes(text: str) -> int:
    # Redis wants three masters at least.
    if int(text) < 3:
        raise argparse.ArgumentTypeError(f"{text} should be at least 3")
    return int(text)


def is_reached() -> bool:
    """Return whether PostgreSQL answers where the environment says."""
    try:
        PostgreSQL("")._execute("SELECT 1")
    except Exception:
        return False
    return True


def run(options: argparse.Namespace) -> tuple[dict[str, Any], list[Verdict]]:
    """Return the results and the verdicts."""
    source = SOURCES[options.database](f"cacheops_lite_soak_{os.getpid()}")
    population = Population(options.objects)
    records: list[Record] = []
    failure, final = "", Counter[str]()
    try:
        source.create()
        configure(BARE, source.settings(None))
        _say(f"Creating {options.objects:,} books on {source.title} ...")
        fill(population)
        with soak_server(bytes_of(options.redis_memory), MAX_SCRIPT_MS, options.cluster) as server:
            priority = "real-time" if server.has_priority else "normal"
            shared = f"{options.cluster} nodes of a cluster, " if options.cluster else ""
            words = f"{shared}maxmemory {options.redis_memory}, {priority} priority\n{_in_words(options)}"
            described = about([OURS], options.database, words, source.title, server.node_url)
            with _workers(options, source.settings(None), server.url, population) as workers:
                try:
                    for record in _records(options, workers, server):
                        records.append(record)
                        _say(record.line())
                    final = workers[0].request("verify", FINAL_SAMPLE)
                except WorkerFailed as error:
                    failure = f"A process failed: {error}"
    finally:
        source.drop([])
    found = verdicts(records, final, options.timeout, failure)
    results = {
        "date": now(),
        "about": described,
        "options": {name: str(value) for name, value in vars(options).items()},
        "records": [each.as_json() for each in records],
        "final": dict(final),
        "verdicts": [vars(each) for each in found],
        "summary": [each.as_row() for each in spans(records)],
    }
    return results, found


def _in_words(options: argparse.Namespace) -> str:
    return (
        f"{options.objects:,} objects, {options.processes} processes, {100 * options.writes:g} % writes, "
        f"Zipf exponent {options.exponent:g}, timeout {options.timeout} s, seed {options.seed}"
    )


@contextmanager
def _workers(
    options: argparse.Namespace, database: dict[str, Any], redis_url: str, population: Population
) -> Iterator[list[WorkerHandle]]:
    shares = (options.exponent, options.writes, options.ad_hoc, options.verify)
    seeds = range(1000 * options.seed, 1000 * options.seed + options.processes)
    plans = [Plan(database, redis_url, population, *shares, options.timeout, seed, options.breakage) for seed in seeds]
    workers: list[WorkerHandle] = []
    try:
        workers += [WorkerHandle(OURS, Worker, plan) for plan in plans]
        yield workers
    finally:
        for worker in workers:
            worker.stop()


def _records(
    options: argparse.Namespace, workers: list[WorkerHandle], server: SoakServer | SoakCluster
) -> Iterator[Record]:
    """Yield a record of each interval, until the time is over or the end is requested.  Raises WorkerFailed."""
    # The first request waits until the process has started.
    _request(workers, 0.0, False)
    server.observe(TABLES)
    began = time.monotonic()
    with _end_requests() as requests:
        for phase, minutes in ((STEADY, options.minutes), (AD_HOC, options.ad_hoc_minutes)):
            until = time.monotonic() + 60 * minutes
            while not requests and (left := until - time.monotonic()) > 0.1 * options.interval:
                started = time.monotonic()
                parts = _request(workers, min(left, options.interval), phase == AD_HOC)
                ended = time.monotonic()
                yield Record(phase, ended - began, ended - started, parts, server.observe(TABLES))


def _request(workers: list[WorkerHandle], seconds: float, with_ad_hoc: bool) -> list[Figures]:
    for worker in workers:
        worker.send("run", seconds, with_ad_hoc)
    return [worker.receive() for worker in workers]


@contextmanager
def _end_requests() -> Iterator[list[int]]:
    """Yield a list that gets an element when Ctrl-C is pressed or SIGTERM comes; the second one interrupts."""
    requests: list[int] = []

    def note(number: int, frame: Any) -> None:
        requests.append(number)
        signal.signal(number, before[number])
        _say("Ending after this interval ...")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
