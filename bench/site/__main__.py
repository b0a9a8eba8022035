"""``python -m bench.site``: requests per second and latencies of a site, for each peer and several shares of writes.

The site runs under gunicorn on PostgreSQL; wrk (Debian's package) sends requests for pages of books and authors, few of
which get most.  Peers take turns within each round.  Load generator, site and databases share this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from .. import redisdbs
from ..about import about, now
from ..databases import PostgreSQL
from ..library.amounts import AUTHORS
from ..operations import FULL, QUICK
from ..output import write
from ..peers import BARE, CACHALOT, CACHEOPS, OURS, OURS_NEAR, PEERS, Peer, chosen
from ..tables import grid, header
from ..worker import configure
from ..worker_pool import fill

SHARES_OF_WRITES = (0.0, 0.01, 0.1)
START_SECONDS = 30


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    for command in ("wrk", "gunicorn"):
        if found(command) is None:
            print(f"{command} is not installed: apt-get install wrk, pip install gunicorn", file=sys.stderr)
            return 2
    results = run(options)
    printed = text(results)
    print(printed, end="")
    if options.out:
        write(options.out, "bench-site", results, printed)
    return 1 if any(figure["errors"] for figure in results["figures"]) else 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.site", description=__doc__)
    names = [each.name for each in (BARE, CACHEOPS, CACHALOT, OURS, OURS_NEAR)]
    parser.add_argument("--peers", nargs="+", default=names, choices=list(PEERS), metavar="PEER")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="of load in each round, for each peer (default: 5)")
    parser.add_argument("--workers", type=int, default=2, help="processes of gunicorn (default: 2)")
    parser.add_argument("--connections", type=int, default=4, help="of wrk (default: 4)")
    parser.add_argument(
        "--writes", type=float, nargs="+", default=list(SHARES_OF_WRITES), help="shares of all requests"
    )
    parser.add_argument("--books", type=int, default=FULL.books)
    parser.add_argument("--quick", action="store_true", help="a fast trial run; its figures mean little")
    parser.add_argument("--out", type=Path, metavar="DIRECTORY", help="write table and JSON there")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds = options.seconds = 1
        options.books, options.writes = QUICK.books, [0.1]
    return options


def found(command: str) -> str | None:
    """Return the path of a command, preferably that of this virtual environment."""
    return shutil.which(command, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Return the results of all peers."""
    peers, notes = chosen(options.peers)
    name = f"cacheops_lite_site_{os.getpid()}"
    source = PostgreSQL(name)
    redisdbs.claim()
    try:
        source.create()
        configure(BARE, source.settings(None))
        fill(options.books)
        with ExitStack() as stack:
            ports = {}
            for peer in peers:
                source.copy(peer.name)
                ports[peer.name] = stack.enter_context(site(peer, name, options.workers))
            figures = [
                {"peer": peer, "writes": writes, **figure}
                for writes in options.writes
                for peer, figure in measured(ports, writes, options).items()
            ]
            rounds = f"{options.rounds} rounds of {options.seconds} s, {options.workers} processes, "
            rounds += f"{options.connections} connections"
            return {"date": now(), "about": about(peers, "postgresql", rounds), "figures": figures, "notes": notes}
    finally:
        source.drop([peer.name for peer in peers])
        redisdbs.release()


@contextmanager
def site(peer: Peer, run_name: str, workers: int) -> Iterator[int]:
    """Run the site of a peer; yield its port."""
    port = free_port()
    environment = {**os.environ, "BENCH_SITE_PEER": peer.name, "BENCH_SITE_RUN": run_name}
    command = [found("gunicorn"), "--workers", str(workers), "--bind", f"127.0.0.1:{port}", "--log-level", "warning"]
    command += ["--chdir", str(Path(__file__).parents[2]), "bench.site.pages:application"]
    process = subprocess.Popen(command, env=environment)
    try:
        wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_for(port: int) -> None:
    """Wait until the site answers."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urlopen(f"http://127.0.0.1:{port}/book/1/", timeout=START_SECONDS):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def measured(ports: dict[str, int], writes: float, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return the median figures of each peer: requests per second, and latencies in milliseconds."""
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in ports}
    for number in range(-1, options.rounds):
        for name, port in ports.items():
            # The first round warms caches up.
            seconds = options.seconds if number >= 0 else max(options.seconds // 2, 1)
            figure = load(port, writes, seconds, options, seed=number + 2)
            if number >= 0:
                rounds[name].append(figure)
    return {
        name: {
            "rate": statistics.median(each["requests"] / each["seconds"] for each in figures),
            "p50": statistics.median(each["p50"] for each in figures),
            "p99": statistics.median(each["p99"] for each in figures),
            "errors": sum(each["errors"] for each in figures),
        }
        for name, figures in rounds.items()
    }


def load(port: int, writes: float, seconds: int, options: argparse.Namespace, seed: int) -> dict[str, float]:
    """Put a site under load and return what wrk found."""
    command = [found("wrk"), "-t1", f"-c{options.connections}", f"-d{seconds}s", "--timeout", "10s"]
    command += ["-s", str(Path(__file__).with_name("load.lua")), f"http://127.0.0.1:{port}"]
    command += ["--", str(options.books), str(AUTHORS), str(writes), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def text(results: dict[str, Any]) -> str:
    """Return the table."""
    rows = [["", "writes", "requests\nper second", "p50\nms", "p99\nms", "to no cache"]]
    for figure in results["figures"]:
        bare = [each for each in results["figures"] if each["peer"] == BARE.name and each["writes"] == figure["writes"]]
        ratio = f"{figure['rate'] / bare[0]['rate']:.2f}" if bare else ""
        own = [f"{figure['rate']:,.0f}", f"{figure['p50']:.1f}", f"{figure['p99']:.1f}"]
        rows.append([PEERS[figure["peer"]].title, f"{figure['writes']:.0%}", *own, ratio])
    failed = [
        f"{figure['peer']}: {figure['errors']} requests failed" for figure in results["figures"] if figure["errors"]
    ]
    return "\n".join([header(results), "", grid(rows), *results["notes"], *failed]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
