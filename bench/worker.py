"""A peer in its process: does what the parent says, one block at a time."""

from __future__ import annotations

import traceback
from multiprocessing.connection import Connection
from typing import Any

from .databases import DATABASES
from .peers import PEERS, Peer


def serve(pipe: Connection, peer_name: str, database: str, run: str, scale: int) -> None:
    """Answer the parent until it says stop."""
    worker = None
    while (message := pipe.recv()) is not None:
        try:
            if worker is None:
                worker = Worker(PEERS[peer_name], database, run, scale)
            verb, *arguments = message
            pipe.send((True, getattr(worker, verb)(*arguments)))
        except Exception:
            pipe.send((False, traceback.format_exc()))
    pipe.close()


def configure(peer: Peer, database: dict[str, Any]) -> None:
    """Set Django up as `peer` wants it."""
    import django
    from django.conf import settings

    settings.configure(
        INSTALLED_APPS=[*([peer.app] if peer.app else []), "bench.library"],
        DATABASES={"default": database},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        **peer.settings(peer.redis_url),
    )
    django.setup()


class Worker:
    def __init__(self, peer: Peer, database: str, run: str, scale: int):
        source = DATABASES[database](run)
        configure(peer, source.settings(peer.name))
        source.connected()
        self.peer = peer
        self.scale = scale
        self.operations: dict[str, Any] = {}

    def ready(self) -> None:
        """Answered once Django is up."""

    def prepare(self, name: str) -> tuple[Any, int | None]:
        """Prepare an operation; for a hit, return its result and how many SQL queries its second call ran."""
        from .floors import FLOORS
        from .suite import OPERATIONS

        operation = OPERATIONS[name](self.peer, self.scale)
        operation.prepare()
        if self.peer.floor:
            operation = FLOORS[self.peer.floor](operation)
        self.operations[name] = operation
        if not operation.is_hit:
            return None, None
        first = fingerprint(operation.step()[1])
        with counted() as queries:
            second = fingerprint(operation.step()[1])
        if first != second:
            raise AssertionError("the cached result is not equal to the first")
        return second, queries.count

    def block(self, name: str, calls: int) -> tuple[float, int]:
        """Measure one block; the figure, and how many SQL queries one more call ran if it is a hit."""
        operation = self.operations[name]
        figure = operation.block(calls)
        if not operation.is_hit:
            return figure, 0
        with counted() as queries:
            operation.step()
        return figure, queries.count


def fingerprint(result: Any) -> bytes:
    """Equal for equal results."""
    import hashlib

    from .operations import plain

    return hashlib.blake2b(repr(plain(result)).encode()).digest()


class counted:  # noqa: N801
    """Counts SQL queries within."""

    def __enter__(self) -> counted:
        from django.db import connection

        self.count = 0
        self._wrapper = connection.execute_wrapper(self._note)
        self._wrapper.__enter__()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._wrapper.__exit__(*exc_info)

    def _note(self, execute: Any, *arguments: Any) -> Any:
        self.count += 1
        return execute(*arguments)
