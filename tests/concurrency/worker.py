"""The process of one writer or reader: ``python -m tests.concurrency.worker``.

It reads its configuration as a line of JSON (see `worker_pool.WorkerPool.start`), prints its database session, reads a
second line with more configuration, and works until the oracle is stopped.  Then it prints its figures as JSON.
"""

from __future__ import annotations

import json
import os
import sys


def set_up(config):
    """Set up Django with the database and the Redis server of the test that started this process."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    sys.path.insert(0, "example")
    import django
    from django.conf import settings

    for name, value in config["settings"].items():
        setattr(settings, name, value)
    settings.CACHEOPS_CLIENT_CLASS = None
    database = settings.DATABASES["default"]
    database["NAME"] = config["database"]
    if config.get("isolation"):
        database.setdefault("OPTIONS", {})["isolation_level"] = isolation(database["ENGINE"])
    django.setup()


def isolation(engine):
    """Return the value of Django's setting for REPEATABLE READ."""
    if engine.endswith("mysql"):
        return "repeatable read"
    from django.db.backends.postgresql.psycopg_any import IsolationLevel

    return IsolationLevel.REPEATABLE_READ


def session():
    """Return the database's id of this session, or None on SQLite, which has no sessions."""
    from django.db import connection

    sql = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT CONNECTION_ID()"}.get(connection.vendor)
    if sql is None:
        return None
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def work(config):
    from tests.concurrency.oracle import Oracle
    from tests.concurrency.reader import Reader
    from tests.concurrency.writer import Writer

    oracle = Oracle(config["oracle"])
    if config["role"] == "writer":
        writer = Writer(oracle, config["lanes"], config["seed"], config["pause"], config["ways"], config["waits"])
        writer.run()
        return writer.figures, []
    least = oracle.acknowledged if config["strict"] else oracle.settled
    reader = Reader(oracle, least, config["seed"], config["shapes"], config["wide"], config["stops"])
    (reader.run_on_snapshots if config.get("isolation") else reader.run)()
    return reader.figures, reader.problems


def main():
    config = json.loads(sys.stdin.readline())
    set_up(config)
    from cacheops_lite.store import invalidator
    from tests.concurrency import breakages, delays

    invalidator.FENCE_SECONDS = config["fence_seconds"]
    if config["breakage"]:
        breakages.install(config["breakage"])
    if config["delays"]:
        delays.install(config["seed"], config["delays"])
    print(json.dumps({"session": session()}), flush=True)
    config.update(json.loads(sys.stdin.readline()))
    figures, problems = work(config)
    print(json.dumps({"figures": figures, "problems": problems}), flush=True)


if __name__ == "__main__":
    main()
