"""The process of one writer or reader: ``python -m tests.concurrency.worker``.

It takes one line of JSON (see `team.Team.hire`), says ``ready``, waits for another line, with more of the same, and
works until the oracle says stop.  Then it prints its figures as JSON.
"""

from __future__ import annotations

import json
import os
import sys


def set_up(order):
    """Django on the database and the Redis of the test that started us."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    sys.path.insert(0, "example")
    import django
    from django.conf import settings

    for name, value in order["settings"].items():
        setattr(settings, name, value)
    settings.CACHEOPS_CLIENT_CLASS = None
    database = settings.DATABASES["default"]
    database["NAME"] = order["database"]
    if order.get("isolation"):
        database.setdefault("OPTIONS", {})["isolation_level"] = isolation(database["ENGINE"])
    django.setup()


def isolation(engine):
    """How Django's settings name REPEATABLE READ."""
    if engine.endswith("mysql"):
        return "repeatable read"
    from django.db.backends.postgresql.psycopg_any import IsolationLevel

    return IsolationLevel.REPEATABLE_READ


def session():
    """What the database calls our connection; None on SQLite, where processes are all there is."""
    from django.db import connection

    sql = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT CONNECTION_ID()"}.get(connection.vendor)
    if sql is None:
        return None
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def work(order):
    from tests.concurrency.oracle import Oracle
    from tests.concurrency.reader import Reader
    from tests.concurrency.writer import Writer

    oracle = Oracle(order["oracle"])
    if order["role"] == "writer":
        writer = Writer(oracle, order["lanes"], order["seed"], order["pause"], order["ways"])
        writer.run()
        return writer.figures, []
    least = oracle.acknowledged if order["strict"] else oracle.settled
    reader = Reader(oracle, least, order["seed"], order["shapes"], order["wide"], order["stops"])
    (reader.run_on_snapshots if order.get("isolation") else reader.run)()
    return reader.figures, reader.problems


def main():
    order = json.loads(sys.stdin.readline())
    set_up(order)
    from cacheops_lite.store import invalidator
    from tests.concurrency import breakages, delays

    invalidator.FENCE_SECONDS = order["hold_seconds"]
    if order["breakage"]:
        breakages.install(order["breakage"])
    if order["delays"]:
        delays.install(order["seed"], order["delays"])
    print(json.dumps({"session": session()}), flush=True)
    order.update(json.loads(sys.stdin.readline()))
    figures, problems = work(order)
    print(json.dumps({"figures": figures, "problems": problems}), flush=True)


if __name__ == "__main__":
    main()
