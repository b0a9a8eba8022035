"""Compare over a network, where a round trip takes longer: ``python -m bench.network [--microseconds 250 1000]``.

Proxies on this machine add that time to each round trip to Redis and to PostgreSQL.  The other arguments are those of
``python -m bench``.  Ends with status 1 if a near get takes more than its bound.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis

from .latency import Latency
from .output import write

# Of a near get, to a hit of django-cacheops, with the first of the added times.
NEAR_BOUND = 0.05
PINGS = 200


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.network", description=__doc__)
    parser.add_argument("--microseconds", nargs="+", type=int, default=[250, 1000], help="added to each round trip")
    options, rest = parser.parse_known_args()
    results = [_measured(microseconds, rest) for microseconds in options.microseconds]
    printed = "\n".join(text for text, _ in results)
    print(printed, end="")
    directory = _directory(rest)
    if directory is not None:
        write(directory, "bench-network", [each for _, each in results], printed)
    gets = [each for each in results[0][1]["operations"] if each["name"] == "get"]
    ratio = gets[0]["ratios"].get("ours-near:cacheops") if gets else None
    return 0 if ratio is not None and ratio <= NEAR_BOUND else 1


def _directory(rest: list[str]) -> Path | None:
    return Path(rest[rest.index("--out") + 1]) if "--out" in rest else None


def _measured(microseconds: int, rest: list[str]) -> tuple[str, dict[str, Any]]:
    """Return the tables of one run, and its results."""
    from . import cli
    from .peers import BARE, CACHALOT, CACHEOPS, OURS, OURS_NEAR, REDIS, chosen

    server = urlsplit(REDIS)
    host, port = server.hostname or "127.0.0.1", server.port or 6379
    with ExitStack() as stack:
        to_redis = stack.enter_context(Latency(host, port, microseconds / 1e6))
        database = (
            os.environ.get("BENCH_POSTGRESQL_HOST", "127.0.0.1"),
            int(os.environ.get("BENCH_POSTGRESQL_PORT", "5432")),
        )
        to_database = stack.enter_context(Latency(*database, microseconds / 1e6))
        took = [_round_trip(each) for each in (port, to_redis.port)]
        # Workers are processes of their own, which read these.
        os.environ["BENCH_REDIS"] = f"redis://127.0.0.1:{to_redis.port}"
        os.environ["BENCH_POSTGRESQL_PORT"] = str(to_database.port)
        try:
            names = [each.name for each in (BARE, CACHEOPS, CACHALOT, OURS, OURS_NEAR)]
            options = cli.parse(["--database", "postgresql", "--peers", *names, *rest])
            peers, notes = chosen(options.peers)
            results, _ = cli.run(options, peers)
        finally:
            os.environ["BENCH_REDIS"], os.environ["BENCH_POSTGRESQL_PORT"] = REDIS, str(database[1])
    notes.insert(0, f"a round trip to Redis took {took[0]:.0f} microseconds, and {took[1]:.0f} through the proxy")
    results["notes"] = notes + results["notes"]
    from .report import text

    return f"{microseconds} microseconds added to each round trip\n{text(results)}", results


def _round_trip(port: int) -> float:
    """Return how long a PING takes, in microseconds."""
    client = redis.Redis(port=port)
    times = []
    for _ in range(PINGS):
        started = time.perf_counter()
        client.ping()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e6


if __name__ == "__main__":
    sys.exit(main())
