"""The process of one writer or reader."""

from __future__ import annotations

from django.db import connection
from django.test import override_settings

from cacheops_lite.store import invalidator
from tests.concurrency import breakages, delays
from tests.concurrency.oracle import Oracle
from tests.concurrency.reader import Reader
from tests.concurrency.writer import Writer


def isolation(engine):
    """Return the value of Django's setting for REPEATABLE READ."""
    if engine.endswith("mysql"):
        return "repeatable read"
    from django.db.backends.postgresql.psycopg_any import IsolationLevel

    return IsolationLevel.REPEATABLE_READ


def session():
    """Return the database's id of this session, or None on SQLite, which has no sessions."""
    sql = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT CONNECTION_ID()"}.get(connection.vendor)
    if sql is None:
        return None
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def work(config, lanes):
    oracle = Oracle(config["oracle"])
    if config["role"] == "writer":
        writer = Writer(oracle, lanes, config["seed"], config["pause"], config["ways"], config["waits"])
        writer.run()
        return writer.figures, []
    least = oracle.acknowledged if config["strict"] else oracle.settled
    reader = Reader(oracle, least, config["seed"], config["shapes"], config["wide"], config["stops"])
    (reader.run_on_snapshots if config.get("isolation") else reader.run)()
    return reader.figures, reader.problems


def main(config, pipe):
    """Send the database session, receive lanes, work until the oracle stops this process, and send figures."""
    if config.get("isolation"):
        options = connection.settings_dict.setdefault("OPTIONS", {})
        options["isolation_level"] = isolation(connection.settings_dict["ENGINE"])
    with override_settings(CACHEOPS_CLIENT_CLASS=None, **config["settings"]):
        invalidator.FENCE_SECONDS = config["fence_seconds"]
        if config["breakage"]:
            breakages.install(config["breakage"])
        if config["delays"]:
            delays.install(config["seed"], config["delays"])
        pipe.send(session())
        figures, problems = work(config, pipe.recv())
        pipe.send({"figures": figures, "problems": problems})
