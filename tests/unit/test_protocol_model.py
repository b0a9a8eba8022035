"""The protocol's executable specification finds no stale read, and finds each simplification stale."""

import subprocess
import sys
from pathlib import Path

import pytest

MODEL = Path(__file__).parents[2] / "docs" / "model" / "stamps.py"


def walk(*arguments):
    return subprocess.run([sys.executable, MODEL, *arguments], capture_output=True, text=True, timeout=250).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["--writers", "2,3"],
        ["--readers", "3,3", "--writers", "2,3"],
        ["--writers", "2,3", "--variant", "cluster"],
        ["--readers", "3,3", "--writers", "2", "--coarse", "3"],
        ["--readers", "2", "--joined", "2", "--writers", "2,3"],
        ["--readers", "", "--joined", "2", "--writers", "2", "--coarse", "3"],
    ],
)
def test_no_interleaving_is_stale(arguments):
    """Readers, writers of both kinds and evictions, in every order."""
    assert walk(*arguments).startswith("safe")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--writers", "2,3"],
        ["--writers", "2", "--coarse", "3"],
        ["--readers", "2", "--joined", "2", "--writers", "2,3"],
    ],
)
def test_without_evictions_nobody_is_excused(arguments):
    """Also between a commit and its flush, and with a writer that dies there, no reader finds what is not committed."""
    assert walk("--evictions", "0", "--kills", "1", *arguments).startswith("safe")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--writers", "2,3"],
        ["--writers", "2", "--coarse", "3"],
        ["--readers", "2", "--joined", "1", "--writers", "2,3"],
    ],
)
def test_a_call_before_a_commit_may_be_interrupted_or_lose_its_reply(arguments):
    """Executed, half executed, not or late: after the flush no reader finds what is not committed."""
    assert walk("--evictions", "0", "--lost", "1", *arguments).startswith("safe")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--evictions", "0", "--lost", "1", "--break", "lift-unsure"],
        ["--evictions", "0", "--lost", "1", "--break", "release-unsure"],
        ["--break", "no-lock"],
        ["--break", "no-registry-gen"],
        ["--break", "late-stamps"],
        ["--break", "no-hold", "--evictions", "0"],
        ["--break", "early-drop"],
        ["--readers", "", "--joined", "1", "--writers", "2", "--break", "late-narrow"],
    ],
)
def test_each_simplification_is_found_stale(arguments):
    """So the walk can fail."""
    assert walk(*arguments).startswith("STALE")
