"""What the package says it runs on: lower limits of dependencies only, and the versions that are tested."""

import ast
import os
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests import versions

tomllib = pytest.importorskip("tomllib") if sys.version_info < (3, 11) else __import__("tomllib")

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
# The peers that benchmarks compare with: figures are of one version.
PINNED = {"bench": {"django-cacheops", "django-cachalot"}}
UPPER_LIMITS = {"<", "<=", "==", "===", "~=", "!="}


def requirements():
    by_extra = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
    return [(extra, Requirement(text)) for extra, texts in by_extra.items() for text in texts]


def limits(requirement):
    return {specifier.operator for specifier in requirement.specifier} & UPPER_LIMITS


def test_no_dependency_has_an_upper_limit():
    """A limit would keep a project from a new version until this package is released again."""
    limited = [
        f"{requirement} ({extra or 'dependencies'})"
        for extra, requirement in requirements()
        if limits(requirement) and requirement.name not in PINNED.get(extra, ())
    ]
    assert not limited
    assert PROJECT["requires-python"] == ">=3.10"


def test_the_pins_of_peers_are_the_only_ones():
    """Others would go by unnoticed."""
    pinned = {(extra, requirement.name) for extra, requirement in requirements() if limits(requirement)}
    assert pinned == {(extra, name) for extra, names in PINNED.items() for name in names}


@pytest.mark.parametrize("text", ["redis>=5,<7", "redis==5.0", "redis~=5.0", "redis<=7", "redis!=6.0"])
def test_each_kind_of_upper_limit_is_found(text):
    """Also an exclusion, which says that a version was not made to work."""
    assert limits(Requirement(text))
    assert not limits(Requirement("redis>=5.0"))


def constant(name):
    for node in ast.parse((ROOT / "noxfile.py").read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f"noxfile.py has no {name}")


def classified(prefix):
    found = [re.fullmatch(rf"{prefix} :: (\d+\.\d+)", text) for text in PROJECT["classifiers"]]
    return [match[1] for match in found if match]


def test_the_classifiers_name_the_versions_that_nox_runs():
    """`make versions` runs them."""
    assert classified("Programming Language :: Python") == constant("PYTHONS")
    assert classified("Framework :: Django") == constant("DJANGOS")


def test_a_shim_without_an_interpreter_is_not_taken(tmp_path, monkeypatch):
    """pyenv puts a script for each version on PATH, which fails unless that version is active."""
    own = ".".join(map(str, sys.version_info[:2]))
    shims, real = tmp_path / "shims", tmp_path / "real"
    for folder, text in ((shims, "exit 127"), (real, f'exec "{sys.executable}" "$@"')):
        folder.mkdir()
        script = folder / f"python{own}"
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{shims}{os.pathsep}{real}")
    assert versions.found(own) == real / f"python{own}"
    monkeypatch.setenv("PATH", str(shims))
    assert versions.found(own) is None


def test_a_python_that_is_not_found_is_left_out_unless_root_can_unpack_it(tmp_path, monkeypatch, capsys):
    """Unpacking keeps the owners of files."""
    monkeypatch.setattr(versions, "FOLDER", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert versions.unpacked("forky", "3.14") is None
    assert "only root can unpack it" in capsys.readouterr().err
