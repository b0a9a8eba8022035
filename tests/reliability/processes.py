"""The processes of the load."""

from __future__ import annotations

from tests.support.worker_process import WorkerProcess


class LoadProcess(WorkerProcess):
    """A reader or writer with a name, and a writer with a pause between its writes in seconds."""

    def __init__(self, config):
        super().__init__("tests.reliability.worker", config)
        self.name, self.pause = config["name"], config["pause"]

    def compare(self, all_that_it_reads):
        """Let a reader that ends compare what it reads with the database, or not."""
        self._pipe.send(all_that_it_reads)
