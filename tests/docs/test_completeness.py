"""Every public name, setting, check, reason and command has an entry with an anchor; the lists come from the code."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest
from django.core.management import BaseCommand, load_command_class
from django.db.models import query

import cacheops_lite
from cacheops_lite import conf, jinja2, signals, testing
from cacheops_lite.functions import filesystem_cache
from cacheops_lite.observe import Reason
from cacheops_lite.orm.queryset import ManagerMixin, QuerySetMixin
from tests.docs.blocks import DOCS

PACKAGE = Path(cacheops_lite.__file__).parent
SETTINGS_PAGE = (DOCS / "settings.rst").read_text("utf-8")
FILE_CACHE = {
    "FILE_CACHE_DIR": filesystem_cache.DEFAULT_DIRECTORY,
    "FILE_CACHE_TIMEOUT": filesystem_cache.DEFAULT_TIMEOUT_SECONDS,
}
# Those of `checks.messages`.
FUNCTIONS = ("error", "warning", "info")
OPTIONS = [field.name for field in fields(conf.Profile)]
COMMANDS = sorted(path.stem for path in (PACKAGE / "management" / "commands").glob("*.py") if path.stem != "__init__")


def subcommands() -> list[str]:
    found = []
    for name in COMMANDS:
        parser = load_command_class("cacheops_lite", name).create_parser("manage.py", name)
        for action in parser._actions:
            choices = action.choices if hasattr(action, "_name_parser_map") else ()
            found += [f"{name} {choice}" for choice in choices]
    return found


def check_ids() -> list[str]:
    """Return the ids of system checks that the sources of the package name."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text("utf-8")
        found |= {each.lower() for each in re.findall(r"cacheops_lite\.([EWI]\d{3})", text)}
        if "checks" in str(path.relative_to(PACKAGE)):
            found |= {f"{kind[0]}{int(number):03}" for kind, number in _numbered(ast.parse(text))}
    return sorted(found)


def _numbered(tree: ast.Module):
    """Return the kind and the number of each check that is made by a function of `checks.messages`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
            number = node.args[0]
            if isinstance(number, ast.Constant):
                yield node.func.id, number.value
        # ``problem, number, hint = ..., 3, HINT``
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
            for target, value in zip(node.targets[0].elts, getattr(node.value, "elts", ()), strict=False):
                if isinstance(target, ast.Name) and target.id == "number":
                    yield "error", value.value


def test_the_sources_name_the_checks():
    assert {"e001", "e002", "e003", "e009", "w001", "w006", "i001"} <= set(check_ids())


@pytest.mark.parametrize("name", cacheops_lite.__all__)
def test_a_public_name_has_an_entry(name, built):
    assert f"cacheops_lite.{name}" in built.python_names()


@pytest.mark.parametrize("module", [signals, testing, jinja2], ids=lambda module: module.__name__)
def test_public_names_of_a_module_have_entries(module, built):
    assert {f"{module.__name__}.{name}" for name in module.__all__} <= built.python_names()


def test_each_integration_has_entries(built):
    """Those of contrib that are called rather than installed as apps."""
    for path in (PACKAGE / "contrib").glob("*/installation.py"):
        module = importlib.import_module(f"cacheops_lite.contrib.{path.parent.name}")
        assert {f"{module.__name__}.install", f"{module.__name__}.uninstall"} <= built.python_names()


def test_methods_of_querysets_have_entries(built):
    """Those that Django does not have."""
    own = {name for name in vars(QuerySetMixin) if not name.startswith("_")} - methods_of_django()
    assert {"cache", "nocache", "explain_cache", "invalidated_update", "inplace", "cloning", "clone"} <= own
    assert {f"cacheops_lite.orm.queryset.QuerySetMixin.{name}" for name in own} <= built.python_names()


def test_methods_of_managers_are_named():
    page = (DOCS / "api.rst").read_text("utf-8")
    assert not [name for name in vars(ManagerMixin) if not name.startswith("_") and f"``{name}()``" not in page]


def methods_of_django() -> set[str]:
    """Return the names that the source of Django's `QuerySet` defines: at run time it has those of the app as well."""
    tree = ast.parse(Path(inspect.getfile(query)).read_text("utf-8"))
    (found,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "QuerySet"]
    return {node.name for node in found.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


@pytest.mark.parametrize("name", [*conf.DEFAULTS, *FILE_CACHE])
def test_a_setting_has_an_entry_with_its_default(name, built):
    """The entry gives the type, the default that the code has, and an example."""
    assert name in built.names["std:setting"]
    entry = SETTINGS_PAGE.partition(f".. setting:: {name}\n")[2].partition("\n.. setting::")[0]
    assert re.search(r"^:Type: .+", entry, re.M)
    default = re.search(r"^:Default: ``(.+?)``", entry, re.M)[1]
    assert ast.literal_eval(default) == {**conf.DEFAULTS, **FILE_CACHE}[name]
    assert ".. code-block:: python" in entry
    assert name in entry.partition(".. code-block:: python")[2]


@pytest.mark.parametrize("name", OPTIONS)
def test_a_profile_option_has_an_entry_with_its_default(name, built):
    assert name in built.names["std:profile-option"]
    entry = SETTINGS_PAGE.partition(f".. profile-option:: {name}\n")[2].partition("\n.. ")[0]
    default = re.search(r"^ +:Default: (?:``(.+?)``)?", entry, re.M)[1]
    assert re.search(r"^ +:Type: .+", entry, re.M)
    if default:
        assert ast.literal_eval(default) == getattr(conf.Profile(frozenset(), 0), name)


@pytest.mark.parametrize("name", check_ids())
def test_a_system_check_has_an_entry(name, built):
    assert built.names["std:label"][name] == f"checks.html#{name}"
    assert f'id="{name}"' in built.page("checks.html")


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.value)
def test_a_reason_has_an_entry_and_is_found_by_its_symptom(reason, built):
    assert built.names["std:label"][f"reason-{reason.value}"] == f"reasons.html#reason-{reason.value}"
    assert f'href="reasons.html#reason-{reason.value}"' in built.page("troubleshooting.html")


@pytest.mark.parametrize("name", check_ids())
def test_a_system_check_is_found_by_its_symptom(name, built):
    assert f'href="checks.html#{name}"' in built.page("troubleshooting.html")


@pytest.mark.parametrize("name", [*COMMANDS, *subcommands()])
def test_a_command_has_an_entry(name, built):
    assert name in built.names["std:command"]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_options_of_a_command_are_on_its_page(name):
    """Those of subcommands, too."""
    page = (DOCS / "commands.rst").read_text("utf-8")
    parser = load_command_class("cacheops_lite", name).create_parser("manage.py", name)
    common = BaseCommand().create_parser("manage.py", "any")
    assert not [option for option in _options(parser) - _options(common) if option not in page]


def _options(parser) -> set[str]:
    options = {option for option in parser._option_string_actions if option.startswith("--")}
    for action in parser._actions:
        for each in getattr(action, "_name_parser_map", {}).values():
            options |= _options(each)
    return options
