"""The executable specification of the protocol finds no stale read, and finds a stale read in each simplification."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODEL = Path(__file__).parents[2] / "docs" / "model" / "protocol.py"
# ``make models`` walks all; these take long.
IN_FULL = pytest.mark.skipif("TEST_MODELS" not in os.environ, reason="make models")


def walk(*arguments):
    return subprocess.run([sys.executable, MODEL, *arguments], capture_output=True, text=True, timeout=250).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--writers", "2,3"],
        ["--readers", "3,3", "--writers", "2,3"],
        ["--writers", "2,3", "--variant", "cluster"],
        ["--readers", "2", "--joined", "1", "--writers", "2,3", "--variant", "cluster"],
        ["--writers", "2,3", "--variant", "parts"],
        ["--readers", "2", "--joined", "1", "--writers", "2,3", "--variant", "parts"],
        ["--readers", "3,3", "--writers", "2", "--coarse", "3"],
        pytest.param(["--readers", "2", "--joined", "2", "--writers", "2,3"], marks=IN_FULL),
        ["--readers", "", "--joined", "2", "--writers", "2", "--coarse", "3"],
    ],
)
def test_no_interleaving_is_stale(arguments):
    """Readers, writers of both kinds and evictions are combined in every order."""
    assert walk(*arguments).startswith("safe")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--writers", "2,3"],
        ["--writers", "2", "--coarse", "3"],
        pytest.param(["--readers", "2", "--joined", "2", "--writers", "2,3"], marks=IN_FULL),
    ],
)
def test_without_evictions_no_read_is_stale_between_a_commit_and_its_release(arguments):
    """This applies also if the writer is killed in between: readers return committed rows."""
    assert walk("--evictions", "0", "--kills", "1", *arguments).startswith("safe")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--writers", "2,3"],
        pytest.param(["--writers", "2,3", "--variant", "parts"], marks=IN_FULL),
        pytest.param(["--writers", "2", "--coarse", "3"], marks=IN_FULL),
        ["--readers", "2", "--joined", "1", "--writers", "2,3"],
    ],
)
def test_a_call_before_a_commit_may_be_interrupted_or_lose_its_reply(arguments):
    """Redis may execute it, half of it, late or never: after the release no read is stale."""
    assert walk("--evictions", "0", "--lost", "1", *arguments).startswith("safe")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--writers", "2,3"],
        pytest.param(["--writers", "2", "--coarse", "3"], marks=IN_FULL),
        pytest.param(["--readers", "2", "--joined", "1", "--writers", "2,3"], marks=IN_FULL),
        ["--readers", "2", "--writers", "2", "--evictions", "1"],
    ],
)
def test_a_restart_from_an_older_snapshot_brings_nothing_back(arguments):
    """At any moment, whatever readers and writers are doing."""
    assert walk("--evictions", "0", "--restores", "1", *arguments).startswith("safe")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--readers", "2", "--writers", "2,3"],
        ["--writers", "2", "--coarse", "3"],
        ["--readers", "2", "--joined", "1", "--evictions", "0"],
        ["--readers", "2", "--evictions", "0", "--kills", "1"],
        ["--readers", "2", "--evictions", "0", "--lost", "1"],
        ["--readers", "2", "--writers", "2", "--evictions", "0", "--restores", "1"],
    ],
)
def test_the_call_before_a_commit_may_be_sent_before_the_statement(arguments):
    """If both images are known then, the row is locked, and the reply is read before the commit."""
    assert walk("--variant", "overlap", *arguments).startswith("safe")


OVERLAP = ["--variant", "overlap", "--evictions", "0"]
MOVES = ["--variant", "cluster", "--evictions", "0", "--moves", "1"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--readers", "2", "--writers", "2,3"],
        pytest.param(["--readers", "3,3", "--writers", "2", "--coarse", "3"], marks=IN_FULL),
        pytest.param(["--readers", "", "--joined", "2", "--writers", "2,3"], marks=IN_FULL),
        ["--readers", "2", "--writers", "2", "--lost", "1"],
        ["--readers", "2", "--writers", "2,3", "--kills", "1"],
        ["--readers", "2", "--writers", "2,3", "--evictions", "1"],
    ],
)
def test_the_slot_of_a_table_may_move_to_another_node_key_by_key(arguments):
    """Of a cluster, at any moment, whatever readers and writers are doing."""
    assert walk(*MOVES, *arguments).startswith("safe")


@pytest.mark.parametrize(
    "arguments",
    [
        [*MOVES, "--readers", "2", "--break", "moved-fence-removed"],
        [*MOVES, "--readers", "2", "--break", "fence-last"],
        [*MOVES, "--readers", "2", "--break", "undeclared-keys"],
        ["--evictions", "0", "--restores", "1", "--break", "no-epoch"],
        ["--evictions", "0", "--restores", "1", "--break", "old-fence-kept"],
        ["--evictions", "0", "--lost", "1", "--break", "assume-invalidated"],
        ["--evictions", "0", "--lost", "1", "--break", "release-only"],
        ["--variant", "parts", "--break", "fence-again"],
        ["--variant", "parts", "--evictions", "0", "--break", "unfenced-part"],
        ["--variant", "parts", "--evictions", "0", "--readers", "", "--joined", "2", "--break", "coarse-last"],
        [*OVERLAP, "--break", "commit-unanswered"],
        [*OVERLAP, "--break", "sent-unlocked"],
        [*OVERLAP, "--break", "before-image-only"],
        [*OVERLAP, "--lost", "1", "--break", "assume-sent"],
        ["--break", "no-lock"],
        ["--break", "same-table-version"],
        ["--break", "late-versions"],
        ["--break", "no-fence", "--evictions", "0"],
        ["--break", "early-drop"],
        ["--readers", "", "--joined", "1", "--writers", "2", "--break", "late-row-level"],
    ],
)
def test_each_simplification_is_found_stale(arguments):
    """This shows that the check can fail."""
    assert walk(*arguments).startswith("STALE")
