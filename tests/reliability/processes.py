"""Start, end and kill the processes of the load."""

from __future__ import annotations

import multiprocessing
from importlib import import_module

from tests.concurrency.worker_pool import TIMEOUT_SECONDS, wait_until_closed

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["tests.reliability.preloaded"])


class LoadProcess:
    """One process.  Call `ready`, which waits until it has started, then `begin`, and in the end `report`."""

    def __init__(self, config):
        self.role, self.name, self.pause = config["role"], config["name"], config["pause"]
        self.lanes, self._session = [], None
        self._pipe, its_end = context.Pipe()
        self._process = context.Process(target=_begin, args=(config, its_end), daemon=True)
        self._process.start()
        its_end.close()

    def ready(self):
        self._session = self._receive()

    def begin(self, lanes=()):
        self.lanes = list(lanes)
        self._pipe.send(self.lanes)

    def compare(self, all_that_it_reads):
        """Let a reader that ends compare what it reads with the database, or not."""
        self._pipe.send(all_that_it_reads)

    def report(self):
        """Wait until the process has ended, and return its report."""
        report = self._receive()
        self._process.join(TIMEOUT_SECONDS)
        return report

    def _receive(self):
        assert self._pipe.poll(TIMEOUT_SECONDS), f"a {self.role} does not answer"
        try:
            return self._pipe.recv()
        except EOFError:
            raise AssertionError(f"a {self.role} failed; its error is printed above") from None

    def kill(self):
        """Kill the process (SIGKILL) and wait until the database has closed its session."""
        self._process.kill()
        self._process.join(TIMEOUT_SECONDS)
        wait_until_closed(self._session)

    def close(self):
        self._process.kill()
        self._process.join(TIMEOUT_SECONDS)
        self._pipe.close()


def _begin(config, pipe):
    # What it imports needs the settings of Django, which only the process has that is forked.
    import_module("tests.reliability.worker").main(config, pipe)
