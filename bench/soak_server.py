"""The Redis server of the soak, or the nodes of a cluster, and what they tell of memory, keys and slowest scripts."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

import redis

from tests.support import cluster
from tests.support.servers import PROGRAM, Server

# Shorter commands are not noted.  In microseconds.
SLOWLOG_MICROSECONDS = 200
SLOWLOG_LENGTH = 1000
SLOWLOG_SECONDS = 1.0
# As docs/production/sizing.rst advises.
POLICY = "allkeys-lru"
# How many keys are drawn to find out how many there are of each kind.
SAMPLE = 5000
KEY = re.compile(rb"^(.*?)cacheops:([a-z]):")
# How many characters the slow log keeps of an argument.
KEPT_CHARACTERS = 100


@dataclass
class Observation:
    """The server at the end of an interval.  Bytes, numbers of keys, and milliseconds of commands in the interval."""

    used: int
    rss: int
    keys: int
    kinds: dict[str, int]
    evicted: int
    expired: int
    shapes: int
    # The largest time of each script, and of any other command: that one shows how much the machine adds.
    scripts: dict[str, float]
    other: float
    # Milliseconds that the server was ready to run and had no processor, None where the system does not tell.
    waited: float | None
    # Whether the slow log was full: then a larger time may be missing.
    is_truncated: bool
    slow_calls: list[str] = field(default_factory=list)

    @property
    def results(self) -> int:
        return self.kinds.get("v", 0)

    @property
    def bytes_per_result(self) -> float | None:
        return self.used / self.results if self.results else None


class SoakServer:
    """A Redis server that evicts, with real-time priority where that is permitted.

    The slow log tells how long a script took from its begin to its end.  With the priority, that does not include
    waiting for a processor, which the other processes of the soak occupy.
    """

    def __init__(self, server: Server, bound_ms: float):
        self.url = self.node_url = server.url
        self._bound_ms = bound_ms
        self._client = redis.Redis(port=server.port)
        self.has_priority = _prioritise(server.process.pid)
        self._startup = self._client.info("memory")["used_memory_startup"]
        self._process = server.process.pid
        self._evicted = self._expired = 0
        self._waited = 0.0
        self._names = _names_of_scripts()
        self._noted: list[dict[str, Any]] = []
        self._is_truncated = False
        self._lock, self._is_over = Lock(), Event()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Read the slow log every second: it is short, because its entries take memory as keys do."""
        watcher = Thread(target=self._watch_slowlog, name="slowlog", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            self._is_over.set()
            watcher.join()

    def _watch_slowlog(self) -> None:
        while not self._is_over.wait(SLOWLOG_SECONDS):
            self._read_slowlog()

    def _read_slowlog(self) -> None:
        with self._lock:
            entries = self._client.slowlog_get(SLOWLOG_LENGTH)
            self._client.slowlog_reset()
            self._is_truncated |= len(entries) >= SLOWLOG_LENGTH
            self._noted += entries

    def observe(self, tables: list[str]) -> Observation:
        """Return what the server tells of the time since the last call; `tables` are those that are cached."""
        self._read_slowlog()
        with self._lock:
            noted, is_truncated = self._noted, self._is_truncated
            self._noted, self._is_truncated = [], False
        memory: Any = self._client.info("memory")
        stats: Any = self._client.info("stats")
        number = self._client.dbsize()
        kinds, prefixes = self._sample(number)
        found = Observation(
            used=memory["used_memory"] - self._startup,
            rss=memory["used_memory_rss"],
            keys=number,
            kinds=kinds,
            evicted=stats["evicted_keys"] - self._evicted,
            expired=stats["expired_keys"] - self._expired,
            shapes=self._largest_index(prefixes, tables),
            scripts={},
            other=0.0,
            waited=self._waited_since(),
            is_truncated=is_truncated,
        )
        self._evicted, self._expired = stats["evicted_keys"], stats["expired_keys"]
        self._add_times(found, noted)
        return found

    def _waited_since(self) -> float | None:
        """Return how many milliseconds the server waited for a processor since the last call."""
        try:
            # Nanoseconds of the main thread, which executes commands: on a processor, and waiting for one.
            waited = int(Path(f"/proc/{self._process}/schedstat").read_text().split()[1]) / 1e6
        except (OSError, IndexError):
            return None
        before, self._waited = self._waited, waited
        return round(waited - before, 2)

    def _add_times(self, found: Observation, noted: list[dict[str, Any]]) -> None:
        for entry in noted:
            command, milliseconds = entry["command"], entry["duration"] / 1000
            name = self._name_of(command)
            if name is None:
                # What the soak itself asks for is not part of the load.
                if not command.startswith((b"INFO", b"SLOWLOG", b"RANDOMKEY", b"SCAN", b"SMEMBERS")):
                    found.other = max(found.other, milliseconds)
                continue
            found.scripts[name] = max(found.scripts.get(name, 0.0), milliseconds)
            if milliseconds > self._bound_ms:
                found.slow_calls.append(_described(name, milliseconds, command))

    def _sample(self, number: int) -> tuple[dict[str, int], set[bytes]]:
        """Return how many keys there are of each kind, estimated from a sample, and the prefixes of keys."""
        if not number:
            return {}, set()
        pipeline = self._client.pipeline(transaction=False)
        for _ in range(SAMPLE):
            pipeline.randomkey()
        drawn = [match for key in pipeline.execute() if key is not None and (match := KEY.match(key))]
        counts = Counter(match[2].decode() for match in drawn)
        kinds = {kind: round(number * count / SAMPLE) for kind, count in counts.items()}
        return kinds, {match[1] for match in drawn}

    def _largest_index(self, prefixes: set[bytes], tables: list[str]) -> int:
        """Return the number of shapes of the table that has most; marks of the index begin with @."""
        from cacheops_lite.store.keys import index_key

        pipeline = self._client.pipeline(transaction=False)
        for prefix in prefixes:
            for table in tables:
                pipeline.smembers(index_key(prefix.decode(), table))
        indexes = []
        for members in pipeline.execute(raise_on_error=False):
            # A node of a cluster has some of the tables.
            if isinstance(members, redis.exceptions.MovedError):
                continue
            if isinstance(members, Exception):
                raise members
            indexes.append(members)
        return max((sum(not each.startswith(b"@") for each in members) for members in indexes), default=0)

    def _name_of(self, command: bytes) -> str | None:
        """Return the name of the script that a command runs, None for another command."""
        kind, _, rest = command.partition(b" ")
        if kind not in (b"EVALSHA", b"EVAL"):
            return None
        found = [name for beginning, name in self._names.items() if rest.startswith(beginning)]
        return found[0] if found else "unknown"


def _names_of_scripts() -> dict[bytes, str]:
    """Return the names of the package's scripts by their digests and by the beginnings of their sources."""
    from cacheops_lite.store.client import script_digest, script_source, stripped_source

    names = {}
    for name in (path.name.removesuffix(".lua") for path in (files("cacheops_lite.store") / "lua").iterdir()):
        names[script_digest(name).encode()] = name
        for source in (script_source(name), stripped_source(name)):
            names[source.encode()[:KEPT_CHARACTERS]] = name
    return names


def _described(name: str, milliseconds: float, command: bytes) -> str:
    """Return a line about a call: the slow log ends long ones with the number of further arguments."""
    text = command.decode(errors="replace")
    more = re.search(r"\((\d+) more arguments\)", text)
    arguments = len(text.split(" ")) + (int(more[1]) if more else 0)
    return f"{name}: {milliseconds:.1f} ms, about {arguments} arguments: ... {text[42:300]}"


def _prioritise(process: int) -> bool:
    try:
        os.sched_setscheduler(process, os.SCHED_FIFO, os.sched_param(1))
    except (AttributeError, OSError):
        return False
    return True


class SoakCluster:
    """The nodes of a cluster, observed as one server."""

    def __init__(self, nodes: list[SoakServer], url: str):
        self._nodes, self.url, self.node_url = nodes, url, nodes[0].url
        self.has_priority = all(each.has_priority for each in nodes)

    def observe(self, tables: list[str]) -> Observation:
        """Return what the nodes tell of the time since the last call: sums, and the largest times and indexes."""
        return merged([each.observe(tables) for each in self._nodes])


def merged(parts: list[Observation]) -> Observation:
    """Return what the nodes of a cluster tell, as if it came from one server."""
    kinds: Counter[str] = Counter()
    scripts: dict[str, float] = {}
    for each in parts:
        kinds.update(each.kinds)
        for name, milliseconds in each.scripts.items():
            scripts[name] = max(scripts.get(name, 0.0), milliseconds)
    waited = [each.waited for each in parts if each.waited is not None]
    sums = {name: sum(getattr(each, name) for each in parts) for name in ("used", "rss", "keys", "evicted", "expired")}
    return Observation(
        **sums,
        kinds=dict(kinds),
        shapes=max(each.shapes for each in parts),
        scripts=scripts,
        other=max(each.other for each in parts),
        waited=round(sum(waited), 2) if len(waited) == len(parts) else None,
        is_truncated=any(each.is_truncated for each in parts),
        slow_calls=[call for each in parts for call in each.slow_calls],
    )


@contextmanager
def soak_server(memory_bytes: int, bound_ms: float, nodes: int = 0) -> Iterator[SoakServer | SoakCluster]:
    """Start a server with so much memory, or a cluster whose `nodes` share it, and remove it afterwards.

    Raises SystemExit if its program is missing or refuses the options.
    """
    if shutil.which(PROGRAM) is None:
        raise SystemExit(f"{PROGRAM} is not installed: the soak starts a server of its own")
    options = ["--maxmemory", str(memory_bytes // max(nodes, 1)), "--maxmemory-policy", POLICY]
    options += ["--slowlog-log-slower-than", str(SLOWLOG_MICROSECONDS), "--slowlog-max-len", str(SLOWLOG_LENGTH)]
    with ExitStack() as stack:
        if nodes:
            running = stack.enter_context(cluster.running(*options, masters=nodes))
            found = [SoakServer(each, bound_ms) for each in running.nodes]
        else:
            server = Server(*options)
            stack.callback(server.remove)
            server.start()
            found = [SoakServer(server, bound_ms)]
        for each in found:
            stack.enter_context(each.watched())
        yield SoakCluster(found, running.url) if nodes else found[0]
