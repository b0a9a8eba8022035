"""The benchmarks run without errors; the tests do not check the times that they measure."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import redis

from bench.peers import PEERS
from bench.style import MARKERS
from tests.support import services

ROOT = Path(__file__).parents[2]
DRAWN = ("bench", "growth")


@pytest.fixture
def bench(tmp_path):
    """Return a function that runs a benchmark of this package on the tests' Redis and returns the figures that it
    wrote.
    """
    if not services.redis_answers():
        (pytest.fail if services.IN_CI else pytest.skip)(f"no Redis at {services.REDIS_URL}")
    redis.Redis.from_url(services.REDIS_URL).flushdb()
    server, _, number = services.REDIS_URL.rpartition("/")
    environment = {**os.environ, "BENCH_REDIS": server, "BENCH_REDIS_DBS": number}

    def run(name, module, *arguments):
        done = subprocess.run(
            [sys.executable, "-m", module, "--quick", "--out", tmp_path, *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert (tmp_path / f"{name}.svg").exists() == (name in DRAWN and find_spec("matplotlib") is not None)
        assert (tmp_path / f"{name}.txt").read_text() in done.stdout
        assert not redis.Redis.from_url(services.REDIS_URL).dbsize()
        return json.loads((tmp_path / f"{name}.json").read_text())

    return run


def test_the_comparison_measures_every_operation(bench):
    """It compares no cache and this package only."""
    results = bench("bench", "bench", "--peers", "bare", "ours")
    assert results["notes"] == []
    assert len(results["operations"]) > 20
    assert all("ours" in each["medians"] for each in results["operations"])
    assert all(set(each["medians"]) >= {"bare", "ours"} for each in results["operations"] if each["is_hit"])


def test_growth_measures_every_curve(bench):
    """It measures two points of each."""
    results = bench("growth", "bench.growth", "--peers", "ours")
    assert results["notes"] == []
    assert all(len(each["figures"]["ours"]) == 2 for each in results["curves"])
    assert len(results["curves"]) > 5


def test_signing_is_compared_with_a_checksum_and_with_no_check(bench):
    """Both on one row and on a hundred."""
    results = bench("bench-signing", "bench.signing")
    assert results["notes"] == []
    assert len(results["operations"]) == 4
    assert all(each["medians"]["ours"] > 0.5 for each in results["operations"])


def test_a_site_is_measured_under_load(bench):
    """Pages are read and written, without an error."""
    if shutil.which("wrk") is None:
        (pytest.fail if services.IN_CI else pytest.skip)("wrk is not installed")
    if not services.answers("127.0.0.1", 5432):
        (pytest.fail if services.IN_CI else pytest.skip)("no PostgreSQL")
    figures = bench("bench-site", "bench.site", "--peers", "bare", "ours")["figures"]
    assert [figure["peer"] for figure in figures] == ["bare", "ours"]
    assert all(figure["rate"] > 0 and not figure["errors"] for figure in figures)


def test_each_peer_can_be_drawn():
    assert set(PEERS) <= set(MARKERS) | {"cluster", "before"}
