"""The test runner reserves Redis databases, and a killed run does not keep them reserved."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from tests import run
from tests.support import redis_databases, services

pytestmark = pytest.mark.skipif(not services.redis_answers(), reason="no Redis")

RESERVE = """
import sys
from tests.support.redis_databases import reserved
with reserved(1) as (url,):
    print(url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def another_run():
    """A process that has reserved a database, its URL, and a client of the database that holds the locks."""
    environment = {name: value for name, value in os.environ.items() if name != "TEST_REDIS_URL"}
    process = subprocess.Popen(
        [sys.executable, "-c", RESERVE], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    root = services.REDIS_URL.rpartition("/")[0]
    with process, redis.Redis.from_url(f"{root}/{redis_databases.LOCKS_DATABASE}") as client:
        url = process.stdout.readline().strip()
        yield process, redis_databases.lock_key(int(url.rpartition("/")[2])), client
        process.kill()


def test_a_run_that_ends_releases_its_database(another_run):
    process, key, client = another_run
    assert client.exists(key)
    process.communicate()
    assert not client.exists(key)


def test_the_lock_of_a_killed_run_expires_soon(another_run):
    """The lock lives for seconds and its run extends it."""
    process, key, client = another_run
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < client.ttl(key) <= redis_databases.LOCK_SECONDS <= 60
    client.delete(key)


def test_a_run_that_lives_extends_its_lock(monkeypatch):
    """Also one that takes longer than a lock lives."""
    monkeypatch.delenv("TEST_REDIS_URL", raising=False)
    monkeypatch.setattr(redis_databases, "REFRESH_SECONDS", 0.01)
    with redis_databases.reserved(1) as (url,):
        root, _, number = url.rpartition("/")
        client = redis.Redis.from_url(f"{root}/{redis_databases.LOCKS_DATABASE}")
        key = redis_databases.lock_key(int(number))
        client.expire(key, 2)
        while client.ttl(key) <= 2:
            pass
    assert not client.exists(key)


def test_every_test_runs_on_some_database():
    """The paths that legs leave out, or run alone, exist."""
    for path in (
        *run.ONCE,
        *run.OF_THE_STORE,
        *run.UNMEASURED,
        run.CONCURRENCY,
        *run.CONTRACTS,
        *run.CONTRACTS_OF_VALUES,
    ):
        assert (run.ROOT / path.partition("::")[0]).exists(), path


def is_run_by(leg, path):
    """Return whether a leg runs the file `path`; it may run a part of it only if this is named by its test."""
    ignored = {each.removeprefix("--ignore=") for each in leg.arguments if each.startswith("--ignore=")}
    parents = {path, *map(str, Path(path).parents)}
    return bool(parents & set(leg.arguments)) and not parents & ignored


def test_each_file_of_tests_is_run_by_some_leg():
    """Apart from those that have a command of their own."""
    legs = run.legs_of([], ["sqlite", "postgresql", "mariadb"])
    files = [str(path.relative_to(run.ROOT)) for path in Path(run.ROOT, "tests").rglob("test_*.py")]
    assert len(files) > 100
    left_out = {path for path in files if not any(is_run_by(leg, path) for leg in legs)}
    assert {path for path in left_out if not path.startswith("tests/projects/")} == {run.BROWSER}
