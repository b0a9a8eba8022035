"""Run Django's own test suite with all models cached, and compare each hit with a fresh read: ``make django-suite``.

The arguments are those of ``runtests.py``, such as names of its applications.  Tests that check SQL may fail; the
command fails only if a hit differs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path

import django

from tests.support.redis_databases import reserved

ROOT = Path(__file__).parents[2]
# Replacements in `runtests.py`: in its list of applications, and after its setup.
REPLACEMENTS = {
    "ALWAYS_INSTALLED_APPS = [": 'ALWAYS_INSTALLED_APPS = ["cacheops_lite",',
    "    TestRunner = get_runner(settings)\n": "    TestRunner = get_runner(settings)\n    compare_hits()\n",
}


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--child"]:
        return run(Path.cwd() / "runtests.py", arguments[1:])
    with tempfile.TemporaryDirectory() as folder, reserved(count=1) as (url,):
        tests = downloaded(Path(folder)) / "tests"
        environment = {**os.environ, "TEST_REDIS_URL": url, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tests)])}
        command = [sys.executable, "-m", "tests.djangosuite", "--child", "--settings=tests.djangosuite.settings"]
        return subprocess.run([*command, "--parallel=1", *arguments], cwd=tests, env=environment).returncode


def downloaded(folder: Path) -> Path:
    """Download the source distribution of the installed Django, which has its tests; return its folder."""
    wanted = f"django=={django.__version__}"
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--no-binary", ":all:", "-d", folder, wanted],
        check=True,
    )
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (source,) = (each for each in folder.iterdir() if each.is_dir())
    return source


def run(program: Path, arguments: list[str]) -> int:
    """Run ``runtests.py`` with the replacements, and return 1 if some hits differ."""
    from tests.djangosuite import hooks

    text = program.read_text("utf-8")
    for old, new in REPLACEMENTS.items():
        if text.count(old) != 1:
            raise SystemExit(f"{program} cannot be adapted: it contains {old!r} {text.count(old)} times, not once")
        text = text.replace(old, new)
    sys.argv = [str(program), *arguments]
    names = {"__name__": "__main__", "__file__": str(program), "compare_hits": hooks.install}
    try:
        # It prints which of Django's tests failed.
        with suppress(SystemExit):
            exec(compile(text, str(program), "exec"), names)
    finally:
        differ = hooks.report()
    return differ


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
