"""Django's own test suite with all of its models cached, where each hit is compared with what a fresh read finds; the
command behind ``make django-suite``.

Arguments are what ``runtests.py`` takes, such as names of its applications.  Tests that look at SQL may fail; what
counts are the hits that differ.
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
# Where `runtests.py` has its list of applications, and where all is set up.
PLACES = {
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
    """Django's sources, of the version that is installed; its distribution of sources has its tests."""
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
    """Run Django's program, changed in two places."""
    from tests.djangosuite import hooks

    text = program.read_text("utf-8")
    for place, change in PLACES.items():
        if text.count(place) != 1:
            raise SystemExit(f"{program} has another form: {place!r} stands there {text.count(place)} times")
        text = text.replace(place, change)
    sys.argv = [str(program), *arguments]
    names = {"__name__": "__main__", "__file__": str(program), "compare_hits": hooks.install}
    try:
        # What of Django's tests failed it says.
        with suppress(SystemExit):
            exec(compile(text, str(program), "exec"), names)
    finally:
        differ = hooks.report()
    return differ


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
