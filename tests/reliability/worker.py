"""The process of one reader or writer of the load."""

from __future__ import annotations

from django.test import override_settings

from cacheops_lite.store import invalidator
from tests.concurrency.worker import session
from tests.reliability import breakages
from tests.reliability.load import LoadOracle
from tests.reliability.reader import Reader
from tests.reliability.writer import Writer


def main(config, pipe):
    """Send the database session, receive what to do, work until the oracle stops this process, and send a report.

    A reader then receives whether to compare all that it reads through the cache with the database.
    """
    if config["fence_seconds"]:
        invalidator.FENCE_SECONDS = config["fence_seconds"]
    with override_settings(CACHEOPS_CLIENT_CLASS=None, **config["settings"]):
        if config["breakage"]:
            breakages.install(config["breakage"])
        pipe.send(session())
        lanes = pipe.recv()
        oracle = LoadOracle(config["oracle"], config["name"])
        if config["role"] == "writer":
            writer = Writer(oracle, lanes, config["seed"], config["pause"])
            writer.run()
            pipe.send(writer.report())
        else:
            reader = Reader(oracle, config["name"], config["seed"])
            reader.run()
            pipe.send(reader.report(pipe.recv()))
