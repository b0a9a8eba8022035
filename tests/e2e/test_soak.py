"""The soak runs, and reports what it is there to find."""

import json
import math
import random
import signal
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench import soak_records, soak_verdicts
from bench.soak_records import AD_HOC, STEADY, Record
from bench.soak_server import Observation, merged
from bench.workload.histogram import Histogram
from bench.workload.worker import Figures
from bench.workload.zipf import Zipf
from tests.support import servers

ROOT = Path(__file__).parents[2]
STALE, SCRIPTS, SHAPES = (
    "stale results: 0",
    "largest time of a script: 5 ms",
    "dependency shapes of a table: at most 500",
)
RESULT, PROCESS = "memory per live result: flat", "memory of each process: flat"
ERRORS, END = "errors that were logged: 0", "the run ends as planned"


@pytest.fixture
def command(tmp_path):
    """Return the command of a short soak on SQLite, and the folder that it writes to."""
    servers.need_program()
    small = ["--database", "sqlite", "--objects", "1000", "--processes", "2", "--timeout", "20", "--interval", "1"]
    return [sys.executable, "-m", "bench.soak", *small, "--writes", "0.1", "--verify", "0.3", "--out", str(tmp_path)]


def run(command, tmp_path, *arguments):
    """Return the status of a soak, its results, and what is met by title."""
    done = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert (tmp_path / "soak.json").exists(), done.stdout + done.stderr
    assert (tmp_path / "soak.txt").read_text() in done.stdout
    results = json.loads((tmp_path / "soak.json").read_text())
    return done.returncode, results, {each["title"]: each["is_met"] for each in results["verdicts"]}


def test_a_soak_measures_both_phases_and_finds_nothing_stale(command, tmp_path):
    """What depends on the speed of the machine is not checked."""
    status, results, met = run(command, tmp_path, "--minutes", "0.07", "--ad-hoc-minutes", "0.03", "--ad-hoc", "0.3")
    assert [met[each] for each in (STALE, SHAPES, ERRORS)] == [True] * 3
    assert END not in met
    assert status == (False in met.values())
    assert (tmp_path / "soak.svg").exists() == (find_spec("matplotlib") is not None)
    steady, ad_hoc = ([each for each in results["records"] if each["phase"] == name] for name in (STEADY, AD_HOC))
    assert len(steady) >= 3
    assert all(each["latencies"][kind]["p50"] for each in steady for kind in ("hits", "misses"))
    assert sum(each["writes"] for each in steady) > 0
    assert sum(each["counts"].get("verified", 0) for each in steady) > 0
    # A bypass is a read that goes past the cache.
    assert sum(each["counts"].get("bypasses", 0) for each in results["records"]) == 0
    assert max(each["redis"]["shapes"] for each in ad_hoc) > max(each["redis"]["shapes"] for each in steady) > 0
    assert set(results["summary"][-1]["scripts"]) <= {"read", "fill", "invalidate", "release_fences", "check_server"}
    assert results["final"]["same"] > 0


def test_a_soak_on_a_cluster_observes_all_of_its_nodes(command, tmp_path):
    """What depends on the speed of the machine is not checked."""
    arguments = ["--cluster", "3", "--redis-memory", "9mb", "--minutes", "0.05", "--ad-hoc-minutes", "0"]
    _, results, met = run(command, tmp_path, *arguments)
    assert [met[each] for each in (STALE, SHAPES, ERRORS)] == [True] * 3
    assert END not in met
    assert "3 nodes of a cluster" in results["about"]["rounds"]
    assert results["final"]["same"] > 0
    last = results["records"][-1]["redis"]
    assert last["shapes"] > 0
    # Keys of all kinds, so of several tables, which have slots of their own.
    assert last["keys"] >= results["final"]["same"]


def test_what_nodes_tell_is_merged():
    first = Observation(10, 20, 3, {"v": 2, "s": 1}, 1, 2, 7, {"read": 1.0}, 0.1, 1.5, False, ["a"])
    second = Observation(100, 200, 30, {"v": 20, "t": 1}, 10, 20, 5, {"read": 0.5, "fill": 2.0}, 0.3, 2.0, True, ["b"])
    found = merged([first, second])
    assert found == Observation(
        *(110, 220, 33, {"v": 22, "s": 1, "t": 1}, 11, 22, 7, {"read": 1.0, "fill": 2.0}, 0.3, 3.5, True, ["a", "b"])
    )
    second.waited = None
    assert merged([first, second]).waited is None


def test_a_cache_that_loses_invalidations_fails(command, tmp_path):
    """The defect is deliberate."""
    arguments = ["--minutes", "0.05", "--ad-hoc-minutes", "0", "--exponent", "1.3", "--break", "losing_invalidations"]
    status, results, met = run(command, tmp_path, *arguments)
    assert status == 1
    assert met[STALE] is False
    assert sum(each["counts"].get("stale", 0) for each in results["records"]) > 0
    assert f"NOT MET: {STALE}" in (tmp_path / "soak.txt").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_a_soak_with_its_summary(command, tmp_path, number):
    """It ends after the present interval."""
    process = subprocess.Popen([*command, "--minutes", "10"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        for line in process.stdout:
            if "hit rate" in line:
                break
        process.send_signal(number)
        printed, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (tmp_path / "soak.txt").read_text() in printed
    assert f"met: {STALE}" in printed
    assert len(json.loads((tmp_path / "soak.json").read_text())["records"]) < 10


@pytest.mark.parametrize(
    "arguments", [["--writes", "2"], ["--minutes", "0"], ["--redis-memory", "much"], ["--cluster", "2"]]
)
def test_wrong_arguments_are_named(arguments):
    done = subprocess.run(
        [sys.executable, "-m", "bench.soak", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert f"argument {arguments[0]}: {arguments[1]} should be" in done.stderr


def records(growth=0.0, rss_growth=0.0, **redis):
    """Return the records of a run in which memory grows by these factors from begin to end."""
    found = []
    for i in range(30):
        figures = Figures(counts=Counter(verified=10), rss=round(1e8 * (1 + rss_growth * i / 30)))
        figures.hits.add(100.0)
        values = {"kinds": {"v": 1000}, "evicted": 0, "expired": 0, "shapes": 7, "scripts": {"read": 1.0}, "other": 0.1}
        values |= {
            "used": round(1e6 * (1 + growth * i / 30)),
            "rss": 0,
            "keys": 3000,
            "waited": 0.0,
            "is_truncated": False,
        }
        values |= redis
        found.append(Record(STEADY, 10.0 * (i + 1), 10.0, [figures], Observation(**values)))
    return found


def met_by(found, final=None, failure="", timeout=10):
    final = Counter({"same": 10}) if final is None else final
    return {each.title: each.is_met for each in soak_verdicts.verdicts(found, final, timeout, failure)}


def test_a_good_run_meets_all_bounds():
    assert met_by(records()) == dict.fromkeys([STALE, RESULT, PROCESS, SCRIPTS, SHAPES, ERRORS], True)


@pytest.mark.parametrize(
    ("title", "found"),
    [
        (RESULT, records(growth=1.0)),
        (PROCESS, records(rss_growth=0.5)),
        (SCRIPTS, records(scripts={"read": 1.0, "invalidate": 5.1})),
        (SHAPES, records(shapes=501)),
    ],
)
def test_each_bound_that_is_not_met_is_reported(title, found):
    assert [name for name, is_met in met_by(found).items() if is_met is not True] == [title]


def test_a_stale_result_at_the_end_is_reported():
    """It was found while no process wrote."""
    assert met_by(records(), Counter(same=10, different=1))[STALE] is False


def test_a_run_that_compared_nothing_does_not_count_as_free_of_stale_results():
    found = records()
    for each in found:
        each.figures.counts.clear()
    assert met_by(found, Counter())[STALE] is False


def test_a_run_whose_process_failed_is_reported():
    assert met_by(records(), failure="its process has ended")[END] is False
    assert met_by([], failure="its process has ended")[END] is False


def test_a_run_in_which_no_version_expired_is_not_judged_by_its_memory():
    """Versions live twice as long as results."""
    met = met_by(records(growth=1.0), timeout=100)
    assert met[RESULT] is met[PROCESS] is None


def test_the_most_popular_object_gets_the_share_of_zipfs_law():
    """With exponent 1 and n objects, 1 / (1 + 1/2 + ... + 1/n)."""
    zipf, number = Zipf(1000, 1.0, random.Random(1)), 20_000
    drawn = Counter(zipf.pk() for _ in range(number))
    expected = number / sum(1 / rank for rank in range(1, 1001))
    (_, first), (_, second) = drawn.most_common(2)
    assert math.isclose(first, expected, rel_tol=0.1)
    assert math.isclose(second, expected / 2, rel_tol=0.1)
    assert set(drawn) <= set(range(1, 1001))


def test_percentiles_of_a_histogram_are_accurate_to_one_per_cent():
    histogram = Histogram()
    for microseconds in range(1, 1001):
        histogram.add(float(microseconds))
    assert math.isclose(histogram.percentile(0.5), 500, rel_tol=0.02)
    assert math.isclose(histogram.percentile(0.99), 990, rel_tol=0.02)
    assert Histogram().percentile(0.5) is None


def test_the_summary_merges_the_records_of_a_third():
    first, *_ = soak_records.spans(records(scripts={"read": 2.5}))
    row = first.as_row()
    assert (row["title"], row["minutes"], row["verified"], row["scripts"]) == ("first third", 1.7, 100, {"read": 2.5})
