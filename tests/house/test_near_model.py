"""The executable specification of the near cache finds no stale read, and finds one in each simplification."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODEL = Path(__file__).parents[2] / "docs" / "model" / "near.py"
CLUSTER_MODEL = MODEL.with_name("near_cluster.py")
# ``make models`` walks all; these take a minute or two.
IN_FULL = pytest.mark.skipif("TEST_MODELS" not in os.environ, reason="make models")
ONE_WRITER = ["--writers", "1", "--losses", "0"]
TWO_WRITERS = ["--losses", "0"]


def walk(*arguments, model=MODEL):
    return subprocess.run([sys.executable, model, *arguments], capture_output=True, text=True, timeout=500).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--losses", "0", "--evictions", "0"], marks=IN_FULL),
        ["--writers", "1", "--losses", "1", "--evictions", "0"],
        pytest.param(["--writers", "1"], marks=IN_FULL),
        pytest.param(["--losses", "0"], marks=IN_FULL),
        pytest.param(["--lease", "3", "--writers", "1"], marks=IN_FULL),
    ],
)
def test_no_near_read_is_stale(arguments):
    """A reader, writers, evictions and broken connections are combined in every order."""
    assert walk(*arguments).startswith("safe")


@pytest.mark.parametrize(
    ("simplification", "arguments"),
    [
        *((each, ONE_WRITER) for each in ("no-wait", "short-wait", "from-reply", "bcast", "unchecked")),
        *((each, ONE_WRITER) for each in ("absent-is-none", "entry-first")),
        ("unregistered", [*ONE_WRITER, "--registration", "none"]),
        ("kept", ["--writers", "1", "--evictions", "0"]),
        pytest.param("no-fence", ONE_WRITER, marks=IN_FULL),
        *(
            pytest.param(each, TWO_WRITERS, marks=IN_FULL)
            for each in ("early-none", "no-token", "blind-renewal", "late-reply")
        ),
    ],
)
def test_each_simplification_of_near_caches_is_found_stale(simplification, arguments):
    """This shows that the check can fail."""
    assert walk("--break", simplification, *arguments).startswith("STALE")


@pytest.mark.parametrize(
    "arguments", [pytest.param(["--writers", "1"], marks=IN_FULL), pytest.param([], marks=IN_FULL)]
)
def test_no_near_read_of_several_nodes_is_stale(arguments):
    """Each has its own lease, and a slot moves to another one."""
    assert walk("--lease", "1", *arguments, model=CLUSTER_MODEL).startswith("safe")


@pytest.mark.parametrize(
    "simplification",
    [
        "one-lease",
        *(pytest.param(each, marks=IN_FULL) for each in ("no-void", "entry-first", "ping", "one-answer", "mixed")),
    ],
)
def test_each_simplification_on_a_cluster_is_found_stale(simplification):
    """This shows that the check can fail."""
    assert walk("--lease", "1", "--break", simplification, model=CLUSTER_MODEL).startswith("STALE")
