"""Start, address and stop the worker processes, one for each peer."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from . import redisdbs
from .databases import DATABASES
from .operations import Scale
from .peers import BARE, Peer
from .worker import Worker, configure, serve


class WorkerFailed(Exception):
    """A worker could not run a request; the text is its traceback."""


class WorkerHandle:
    """One worker process, as seen by the parent."""

    def __init__(self, peer: Peer, make_worker: Callable[..., Any], *arguments: Any):
        context = multiprocessing.get_context("spawn")
        self.peer = peer
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, make_worker, *arguments), daemon=True)
        self._process.start()
        theirs.close()

    def send(self, *message: Any) -> None:
        """Send a request; call `receive` for its answer before the next one."""
        # If the process has ended, `receive` reports it.
        with suppress(OSError):
            self._pipe.send(message)

    def receive(self) -> Any:
        """Wait for the answer to the request and return it.  Raises WorkerFailed."""
        try:
            done, answer = self._pipe.recv()
        except (EOFError, OSError):
            raise WorkerFailed("its process has ended") from None
        if not done:
            raise WorkerFailed(answer)
        return answer

    def request(self, *message: Any) -> Any:
        """Send a request and return its answer.  Raises WorkerFailed."""
        self.send(*message)
        return self.receive()

    def stop(self) -> None:
        """Stop the process."""
        with suppress(OSError):
            self._pipe.send(None)
            self._process.join(30)
        self._process.terminate()


@contextmanager
def worker_pool(peers: Iterable[Peer], database: str, scale: Scale) -> Iterator[list[WorkerHandle]]:
    """Start a worker for each peer on a copy of the same data; this process is configured without a cache."""
    run, peers = f"cacheops_lite_bench_{os.getpid()}", list(peers)
    source = DATABASES[database](run)
    # With the same hash seed, dictionaries and sets have the same layout in all processes.
    os.environ.setdefault("PYTHONHASHSEED", "0")
    redisdbs.claim()
    workers: list[WorkerHandle] = []
    try:
        source.create()
        configure(BARE, source.settings(None))
        fill(scale.books)
        for peer in peers:
            source.copy(peer.name)
            workers.append(WorkerHandle(peer, Worker, peer.name, database, run, scale))
        yield workers
    finally:
        for worker in workers:
            worker.stop()
        source.drop([peer.name for peer in peers])
        redisdbs.release()


def fill(books: int) -> None:
    """Fill the original database and close the connection to it."""
    from django.core.management import call_command
    from django.db import connection, transaction

    from .library.data import load

    call_command("migrate", verbosity=0, run_syncdb=True)
    with transaction.atomic():
        load(books)
    connection.close()
