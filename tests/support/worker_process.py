"""A process that reads or writes until it is stopped, and then reports."""

from __future__ import annotations

from django.db import connection

from tests.support import processes
from tests.support.waiting import wait_until


class WorkerProcess:
    """One process.  Call `ready`, which waits until it has started, then `begin`, and in the end `report`.

    It runs `main(config, pipe)` of a module, which sends its database session, receives what to do, and sends a report.
    """

    def __init__(self, module, config):
        self.role = config["role"]
        self.lanes, self._session = [], None
        self._pipe, its_end = processes.context.Pipe()
        self._process = processes.start_named(module, "main", config, its_end)
        self.pid = self._process.pid
        its_end.close()

    def ready(self):
        self._session = self._receive()

    def begin(self, lanes=()):
        self.lanes = list(lanes)
        self._pipe.send(self.lanes)

    def report(self):
        """Wait until the process has ended, and return its report."""
        report = self._receive()
        self._process.join(processes.PATIENCE)
        return report

    def _receive(self):
        assert self._pipe.poll(processes.PATIENCE), f"a {self.role} does not answer"
        try:
            return self._pipe.recv()
        except EOFError:
            raise AssertionError(f"a {self.role} failed; its error is printed above") from None

    def kill(self):
        """Kill the process (SIGKILL) and wait until the database has closed its session, whose last statement may run.

        A session of None has none: SQLite has no sessions.
        """
        self._process.kill()
        self._process.join(processes.PATIENCE)
        if self._session is not None:
            is_closed = wait_until(lambda: not _is_open(self._session), processes.PATIENCE)
            assert is_closed, "the session does not end"

    def close(self):
        self._process.kill()
        self._process.join(processes.PATIENCE)
        self._pipe.close()


def _is_open(session):
    table, key = {
        "postgresql": ("pg_stat_activity", "pid"),
        "mysql": ("information_schema.processlist", "id"),
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT 1 FROM {table} WHERE {key} = %s", [session])
        return cursor.fetchone() is not None
