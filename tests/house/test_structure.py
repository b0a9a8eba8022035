"""The structure of the package: small modules and functions, subpackages with a public interface, standard words."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "cacheops_lite"
MODULES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted(PACKAGE.rglob("*.lua"))
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.rst"), *(ROOT / "docs").rglob("*.rst"), *(ROOT / "docs" / "model").glob("*.py")]
    if "decisions" not in path.parts and "_build" not in path.parts
)
WINGS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py") if "__all__" in path.read_text("utf-8"))
# Packages whose names are for projects that use this one.
FOR_PROJECTS = {"testing"}
LINES_OF_A_MODULE = 330
LINES_OF_A_FUNCTION = 60

# Words of version 0.1 that the field does not use, each with the contexts in which it is another, ordinary word.
RETIRED = {
    "stamps?": (),
    "schemes?": ("scheme, host", "scheme of a url", r"\.scheme\b"),
    "registr(?:y|ies)": (
        *(r"checks\.registry", r"from django\.core\.checks", r"registry\.(?:(?:un)?register|deployment)"),
        # Prometheus keeps its metrics in one.
        *("prometheus_client", "collectorregistry", "registry ?=", r"\(registry\b"),
    ),
    "generations?": (),
    "basis": ("on the basis of",),
    "recorders?": ("row_recorder", "row recorder", "rowrecorder"),
    "narrowings?": (),
    "narrowable": (),
    "outbox": (),
    "courier": (),
    "lately": (),
    "untold": (),
    "whoever": (),
    "nobody": (),
    "somebody": (),
}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_and_functions_are_short(path):
    """A module can be read at once; a function fits on a screen."""
    assert len(path.read_text("utf-8").splitlines()) <= LINES_OF_A_MODULE
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(tree_of(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.end_lineno - node.lineno + 1 > LINES_OF_A_FUNCTION
    }
    assert not long


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_wing_is_entered_through_its_door(path):
    """The names stand in ``__all__`` of ``__init__.py``."""
    here = path.relative_to(PACKAGE).parts
    for node in ast.walk(tree_of(path)):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        parents = here[: len(here) - node.level]
        target = [*parents, *(node.module or "").split(".")] if node.module else [*parents]
        if not target or target[0] not in WINGS or target[0] == here[0]:
            continue
        assert len(target) == 1, f"line {node.lineno} goes past the door of {target[0]}"
        missing = {alias.name for alias in node.names} - set(door(target[0]))
        assert not missing, f"line {node.lineno} imports {missing}, which {target[0]}'s __all__ does not name"


def door(wing: str) -> list[str]:
    for node in tree_of(PACKAGE / wing / "__init__.py").body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
            return ast.literal_eval(node.value)
    raise AssertionError(f"{wing} has no __all__")


@pytest.mark.parametrize("wing", [wing for wing in WINGS if wing not in FOR_PROJECTS])
def test_a_door_names_only_what_other_wings_use(wing):
    """Names that only its own modules use are left out."""
    used = set()
    for path in MODULES:
        if path.parent.name != wing:
            used |= {
                alias.name
                for node in ast.walk(tree_of(path))
                if isinstance(node, ast.ImportFrom) and node.level and (node.module or "").split(".")[-1] == wing
                for alias in node.names
            }
    assert set(door(wing)) == used


def test_the_wings_are_those_of_the_import_contract():
    """The contract stands in setup.cfg."""
    contract = (ROOT / "setup.cfg").read_text("utf-8")
    assert all(f"[importlinter:contract:{wing}]" in contract for wing in WINGS)
    assert len(WINGS) == 12


@pytest.mark.parametrize("path", [*MODULES, *SCRIPTS, *PAGES], ids=name_of)
def test_retired_words_are_gone(path):
    """Decision records keep the words of their time; the glossary translates them."""
    found = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        words = re.sub(r"_+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", line)).lower()
        for word, ordinary in RETIRED.items():
            if re.search(rf"\b{word}\b", words) and not any(re.search(each, line.lower()) for each in ordinary):
                found.append(f"{number}: {line.strip()}")
    if path.name == "glossary.rst":
        return
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_names_of_version_0_1_are_gone(path):
    """These words are ordinary in prose, but were used as names with a meaning of their own."""
    retired = {
        "held",
        "lift",
        "_lift",
        "told",
        "tell",
        "_tell",
        "look",
        "looks",
        "frame",
        "frames",
        "term",
        "terms",
        "guard",
    }
    allowed = {"utils/error_boundary.py": {"frame"}, "jinja2.py": {"look"}}.get(str(path.relative_to(PACKAGE)), set())
    names = {
        token.string
        for token in tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline)
        if token.type == tokenize.NAME
    }
    assert not names & (retired - allowed)
