"""The workers, as the parent sees them."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from . import redisdbs
from .databases import DATABASES
from .operations import Scale
from .peers import BARE, Peer
from .worker import configure, serve


class Failed(Exception):
    """What a worker could not do, with its traceback."""


class Hand:
    """One worker."""

    def __init__(self, peer: Peer, *arguments: Any):
        context = multiprocessing.get_context("spawn")
        self.peer = peer
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, peer.name, *arguments), daemon=True)
        self._process.start()
        theirs.close()

    def tell(self, *message: Any) -> None:
        """Have something done; `answer` is to be asked for next."""
        # If its process has ended, the answer will say so.
        with suppress(OSError):
            self._pipe.send(message)

    def answer(self) -> Any:
        """The answer to what it was told.  Raises Failed."""
        try:
            done, answer = self._pipe.recv()
        except (EOFError, OSError):
            raise Failed("its process has ended") from None
        if not done:
            raise Failed(answer)
        return answer

    def do(self, *message: Any) -> Any:
        """Tell, and wait for the answer.  Raises Failed."""
        self.tell(*message)
        return self.answer()

    def stop(self) -> None:
        """End its process."""
        with suppress(OSError):
            self._pipe.send(None)
            self._process.join(30)
        self._process.terminate()


@contextmanager
def crew(peers: Iterable[Peer], database: str, scale: Scale) -> Iterator[list[Hand]]:
    """A worker for each peer, on a copy of the same data; this process is set up as the one without a cache."""
    run, peers = f"cacheops_lite_bench_{os.getpid()}", list(peers)
    source = DATABASES[database](run)
    # Dictionaries are laid out alike in all processes.
    os.environ.setdefault("PYTHONHASHSEED", "0")
    redisdbs.claim()
    hands: list[Hand] = []
    try:
        source.create()
        configure(BARE, source.settings(None))
        _fill(scale)
        for peer in peers:
            source.copy(peer.name)
            hands.append(Hand(peer, database, run, scale))
        yield hands
    finally:
        for hand in hands:
            hand.stop()
        source.drop([peer.name for peer in peers])
        redisdbs.release()


def _fill(scale: Scale) -> None:
    """Load the original and let go of it."""
    from django.core.management import call_command
    from django.db import connection, transaction

    from .library.data import load

    call_command("migrate", verbosity=0, run_syncdb=True)
    with transaction.atomic():
        load(scale.books)
    connection.close()
