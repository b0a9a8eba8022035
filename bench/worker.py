"""The worker process of a peer: it runs what the parent process requests."""

from __future__ import annotations

import gc
import hashlib
import signal
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from .databases import DATABASES
from .peers import PEERS, Peer


def serve(pipe: Connection, make_worker: Callable[..., Any], *arguments: Any) -> None:
    """Answer requests of the parent, the method of a worker and its arguments, until it sends None."""
    # Ctrl-C interrupts the parent, which stops the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker = None
    while (message := pipe.recv()) is not None:
        try:
            if worker is None:
                worker = make_worker(*arguments)
            method, *given = message
            pipe.send((True, getattr(worker, method)(*given)))
        except Exception:
            pipe.send((False, traceback.format_exc()))
    pipe.close()


def configure(peer: Peer, database: dict[str, Any], **further: Any) -> None:
    """Configure Django with the settings of `peer`; `further` settings prevail."""
    import django
    from django.conf import settings

    if peer.folder is not None:
        sys.path.insert(0, peer.folder)
    settings.configure(
        INSTALLED_APPS=[*([peer.app] if peer.app else []), "bench.library"],
        DATABASES={"default": database},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        SECRET_KEY="benchmark",
        USE_TZ=True,
        **{**peer.settings(peer.redis_url), **further},
    )
    django.setup()


class Worker:
    """The public methods are the requests of the parent."""

    def __init__(self, peer_name: str, database: str, run: str, scale: Any):
        peer = PEERS[peer_name]
        source = DATABASES[database](run)
        configure(peer, source.settings(peer.name))
        source.connected()
        self.peer = peer
        self.scale = scale
        self._operations: dict[str, Any] = {}
        self._curves: dict[str, Any] = {}

    def prepare(self, name: str) -> tuple[bytes | None, int]:
        """Prepare an operation; for a hit, return a digest of its result and how many queries its second call ran."""
        from .floors import FLOORS
        from .suite import OPERATIONS

        operation = OPERATIONS[name](self.peer, self.scale)
        operation.prepare()
        if self.peer.floor:
            operation = FLOORS[self.peer.floor](operation)
        self._operations[name] = operation
        if not operation.is_hit:
            return None, 0
        first = digest(operation.step()[1])
        with CountedQueries() as queries:
            second = digest(operation.step()[1])
        if first != second:
            raise AssertionError("the cached result is not equal to the first")
        return second, queries.count

    def settle(self) -> None:
        """Exclude all present objects from garbage collection."""
        gc.collect()
        gc.freeze()

    def block(self, name: str) -> tuple[float, int]:
        """Return the figure of one block and, for a hit, how many queries one more call ran."""
        operation = self._operations[name]
        figure = operation.block()
        if not operation.is_hit:
            return figure, 0
        with CountedQueries() as queries:
            operation.step()
        return figure, queries.count

    def arrange(self, name: str, x: int) -> None:
        """Arrange a curve at `x`."""
        from .curves import CURVES

        self._curves[name] = self._curves.get(name) or CURVES[name](self.peer)
        self._curves[name].arrange(x)

    def figure(self, name: str, x: int) -> float:
        """Return the figure of a curve at `x`."""
        return self._curves[name].figure(x)


def digest(result: Any) -> bytes:
    """Return a digest that is equal for equal results."""
    from .operations import plain

    return hashlib.blake2b(repr(plain(result)).encode()).digest()


class CountedQueries:
    """A context manager that counts SQL queries."""

    def __enter__(self) -> CountedQueries:
        from django.db import connection

        self.count = 0
        self._wrapper = connection.execute_wrapper(self._count)
        self._wrapper.__enter__()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._wrapper.__exit__(*exc_info)

    def _count(self, execute: Any, *arguments: Any) -> Any:
        self.count += 1
        return execute(*arguments)
