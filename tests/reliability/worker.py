"""The process of one reader or writer of the load: ``python -m tests.reliability.worker``.

As `tests.concurrency.worker` it reads its configuration as a line of JSON, prints its database session, begins with a
second line, and works until the oracle stops it.  A reader then waits for a third line, which says whether to compare
all that it reads through the cache with the database.  At the end it prints its report as JSON.
"""

from __future__ import annotations

import json
import sys

from tests.concurrency.worker import session, set_up


def configuration():
    return json.loads(sys.stdin.readline())


def work(config):
    from tests.reliability.load import LoadOracle
    from tests.reliability.reader import Reader
    from tests.reliability.writer import Writer

    oracle = LoadOracle(config["oracle"], config["name"])
    if config["role"] == "writer":
        writer = Writer(oracle, config["lanes"], config["seed"], config["pause"])
        writer.run()
        return writer.report()
    reader = Reader(oracle, config["name"], config["seed"])
    reader.run()
    return reader.report(configuration()["compares"])


def main():
    config = configuration()
    set_up(config)
    if config["fence_seconds"]:
        from cacheops_lite.store import invalidator

        invalidator.FENCE_SECONDS = config["fence_seconds"]
    if config["breakage"]:
        from tests.reliability import breakages

        breakages.install(config["breakage"])
    print(json.dumps({"session": session()}), flush=True)
    config.update(configuration())
    print(json.dumps(work(config)), flush=True)


if __name__ == "__main__":
    main()
