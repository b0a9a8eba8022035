"""mypy and pyright accept and refuse the lines of a sample project that its comments say.

A line with the comment ``# error`` must be refused by each checker, one with ``# error: pyright`` by that checker only;
all other lines must be accepted.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import cacheops_lite
from cacheops_lite.orm import queryset
from cacheops_lite.orm.manager import ManagerMixin
from tests.support import services

HERE = Path(__file__).parent
PACKAGE = Path(cacheops_lite.__file__).parent
MARKER = re.compile(r"# error(?:: (\w+))?$")
PLUGINS = ["mypy_django_plugin.main", "cacheops_lite.mypy"]


def needs(tool):
    """Skip the test without the tool, except in CI, where it must be there."""
    found = shutil.which(tool, path=Path(sys.executable).parent)
    if found is None and not services.IN_CI:
        pytest.skip(f"{tool} is not installed")
    return found


def marked(folder, checker):
    """The lines that the comments say `checker` refuses."""
    return {
        (path.relative_to(folder).as_posix(), number)
        for path in folder.rglob("*.py")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if (found := MARKER.search(line)) and found[1] in (None, checker)
    }


def run(folder, *arguments):
    path = os.pathsep.join([str(PACKAGE.parent), str(folder)])
    environment = {**os.environ, "PYTHONPATH": path, "MYPYPATH": str(folder)}
    return subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=250)


def refused_by_mypy(folder, *options):
    done = run(folder, needs("mypy"), "--output=json", *options, ".")
    assert not done.stderr, done.stderr
    errors = [json.loads(line) for line in done.stdout.splitlines()]
    return {(error["file"], error["line"]) for error in errors if error["severity"] == "error"}


def refused_by_pyright(folder):
    done = run(folder, needs("basedpyright"), "--outputjson", "--pythonpath", sys.executable)
    return {
        (Path(error["file"]).relative_to(folder).as_posix(), error["range"]["start"]["line"] + 1)
        for error in json.loads(done.stdout)["generalDiagnostics"]
        if error["severity"] == "error"
    }


@pytest.fixture
def project(tmp_path):
    """A copy of the sample project, which is no part of this one."""
    folder = tmp_path.resolve() / "project"
    shutil.copytree(HERE / "project", folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def configure(folder, plugins):
    path = folder / "mypy.ini"
    path.write_text((HERE / "project" / "mypy.ini").read_text().format(plugins=", ".join(plugins)))


@pytest.mark.parametrize("plugins", [PLUGINS, PLUGINS[::-1]], ids=["django-stubs-first", "cacheops-first"])
def test_mypy_knows_querysets_managers_and_decorated_functions(project, plugins):
    """The order of the plugins does not matter."""
    configure(project, plugins)
    assert refused_by_mypy(project) == marked(project, "mypy")


def test_mypy_knows_them_when_it_reads_its_cache(project):
    """What the plugin adds to Django's classes is stored in mypy's cache, from which a second run takes it."""
    configure(project, PLUGINS)
    refused_by_mypy(project)
    path = project / "querysets.py"
    path.write_text(path.read_text() + "\nArticle.objects.filter(title='').cache(timeout='5')  # error\n")
    assert refused_by_mypy(project) == marked(project, "mypy")


def test_pyright_knows_named_types_and_decorated_functions(project):
    """It has no plugins, so it knows querysets and managers whose types a project names."""
    assert refused_by_pyright(project) == marked(project, "pyright")


def test_mypy_without_django_stubs_knows_what_is_not_of_django(tmp_path):
    """Models and querysets are then Any."""
    folder = tmp_path.resolve() / "without_stubs"
    shutil.copytree(HERE / "without_stubs", folder)
    environment = tmp_path / "environment"
    venv.create(environment, symlinks=True)
    (site_packages,) = environment.glob("lib/python*/site-packages")
    (site_packages / "cacheops_lite").symlink_to(PACKAGE)
    for name in ("django", "redis", "asgiref"):
        (site_packages / name).symlink_to(Path(__import__(name).__file__).parent)
    found = refused_by_mypy(folder, "--python-executable", str(environment / "bin" / "python"))
    assert found == marked(folder, "mypy")


def parameters(node_or_class, name):
    """The parameters of a method as in the source, without their annotations' quotes."""
    functions = [node for node in node_or_class.body if isinstance(node, ast.FunctionDef) and node.name == name]
    return ast.unparse(functions[0].args)


def classes(path):
    return {node.name: node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.ClassDef)}


@pytest.mark.parametrize(
    ("mixin", "module", "declared"),
    [(queryset.QuerySetMixin, "queryset", "CachedQuerySet"), (ManagerMixin, "manager", "_ManagerMethods")],
    ids=["querysets", "managers"],
)
def test_declared_methods_are_those_of_the_mixins(mixin, module, declared):
    """With the same parameters; the sample project calls each of them."""
    written = classes(PACKAGE / "orm" / f"{module}.py")[mixin.__name__]
    stub = classes(PACKAGE / "typing.pyi")[declared]
    # Django has no method of the names that are this package's own.
    added = {name for name, method in vars(mixin).items() if callable(method) and not name.startswith("_")}
    names = {name for name in added if not callable(getattr(queryset.django, name, None))}
    assert names >= {"cache", "nocache", "explain_cache", "inplace", "invalidated_update"}
    assert {name: parameters(written, name) for name in names} == {name: parameters(stub, name) for name in names}
    sample = (HERE / "project" / "querysets.py").read_text()
    assert not [name for name in names if f".{name}(" not in sample]
