"""The package imports without settings, respects its import layers, and its wheel contains all files."""

import pkgutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import cacheops_lite
from tests.support import services

ROOT = Path(cacheops_lite.__file__).parents[1]
# Django Debug Toolbar reads the settings when it is imported, and these modules subclass or decorate what it has.
TOOLBAR = {f"cacheops_lite.contrib.debug_toolbar.{name}" for name in ("panel", "views")}
MODULES = [
    module.name
    for module in pkgutil.walk_packages(cacheops_lite.__path__, "cacheops_lite.")
    # Django imports models, and then what registers them with the admin, once its settings are known.
    if "._" not in module.name and module.name not in TOOLBAR and not module.name.endswith((".models", ".admin"))
]


def python(*arguments, **kwargs):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=250, **kwargs)


# Each module is imported in a process of its own, forked from one that has imported the package: Python does that first
# for each of its modules.
IMPORT_EACH = """
import importlib, os, sys, traceback
import cacheops_lite
for name in sys.argv[1:]:
    child = os.fork()
    if not child:
        status = 0
        try:
            importlib.import_module(name)
        except BaseException:
            print(name, "can't be imported alone:", traceback.format_exc(), file=sys.stderr, flush=True)
            status = 1
        os._exit(status)
    if os.waitpid(child, 0)[1]:
        print(name)
"""


def test_each_module_imports_without_settings_and_without_a_warning(tmp_path):
    """An import neither reads settings nor connects."""
    environment = {"PATH": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    done = python("-W", "error", "-c", IMPORT_EACH, *MODULES, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "", done.stderr
    assert len(MODULES) > 150


def test_imports_go_downwards_only():
    """Imports respect the layers of setup.cfg."""
    pytest.importorskip("importlinter")
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_names_what_the_package_gives():
    """``__all__`` lists only documented names."""
    for name in cacheops_lite.__all__:
        assert getattr(cacheops_lite, name).__doc__
    assert tuple(map(int, cacheops_lite.__version__.split("."))) == cacheops_lite.VERSION


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The built wheel."""
    if not services.IN_CI:
        pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("wheel")
    done = python("-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT))
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_carries_every_file_of_the_package(wheel):
    """This includes Lua scripts, templates and `py.typed`."""
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info" not in name}
    there = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "cacheops_lite").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert inside == there
    assert "cacheops_lite/store/lua/invalidate.lua" in inside


def test_the_installed_wheel_works(wheel, tmp_path):
    """It caches and invalidates."""
    target = tmp_path / "installed"
    done = python("-m", "pip", "install", "--no-deps", "--quiet", "--target", str(target), str(wheel))
    assert done.returncode == 0, done.stderr
    script = tmp_path / "project.py"
    script.write_text(PROJECT)
    done = python(str(script), cwd=tmp_path, env={"PYTHONPATH": str(target), "PATH": ""})
    assert done.stdout.split() == [str(target / "cacheops_lite"), "1", "1", "0"], done.stderr


PROJECT = """
import os.path
import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "cacheops_lite"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    CACHEOPS_CLIENT_CLASS="fakeredis.FakeRedis",
    CACHEOPS={"contenttypes.*": {"ops": "all", "timeout": 60}},
)
django.setup()
import cacheops_lite
from django.core.management import call_command
from django.contrib.contenttypes.models import ContentType
from django.db import connection

call_command("migrate", verbosity=0)
print(os.path.dirname(cacheops_lite.__file__))
made = ContentType.objects.create(app_label="x", model="y")
objects = ContentType.objects.filter(app_label="x")
print(objects.count())
connection.execute_wrappers.append(lambda *args: print("SQL"))
print(objects.count())
connection.execute_wrappers.pop()
made.delete()
print(objects.count())
"""
