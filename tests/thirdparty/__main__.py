"""Run the test suites of packages that extend Django's queries, with all models cached: ``make third-party``.

Each hit is compared with a fresh read, as by ``make django-suite``.  A suite is part of the package's source
distribution; packages whose distribution has no tests are covered by ``tests/compat/test_packages.py``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.support.redis_databases import reserved

ROOT = Path(__file__).parents[2]
# For each requirement: the packages that its tests need.
SUITES = {"django-queryable-properties==1.13.0": ["mock", "parameterized", "six", "pytest-asyncio"]}


def main(arguments: list[str]) -> int:
    with reserved(count=1) as (url,):
        return max(run(requirement, url, arguments) for requirement in SUITES)


def run(requirement: str, url: str, arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, packages = downloaded(requirement, folder), folder / "packages"
        pip("install", "--target", packages, "--no-deps", requirement, *SUITES[requirement])
        environment = {
            **os.environ,
            "TEST_REDIS_URL": url,
            "PYTHONPATH": os.pathsep.join(map(str, (folder / "ours", source, packages))),
        }
        # Both projects have a package `tests`, so that of this project gets another name.
        (folder / "ours").mkdir()
        (folder / "ours" / "cacheops_lite").symlink_to(ROOT / "cacheops_lite")
        (folder / "ours" / "our_tests").symlink_to(ROOT / "tests")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "our_tests.thirdparty.plugin", "-p", "no:cacheprovider"]
        # This test checks the second query, but the comparison adds queries.
        command += [
            "--deselect=tests/test_queries/test_annotations.py::TestExpressionAnnotations::test_sliced_prefetch"
        ]
        command += ["--ds=our_tests.thirdparty.settings", "-o", "asyncio_mode=auto", *(arguments or ["tests"])]
        return subprocess.run(command, cwd=source, env=environment).returncode


def downloaded(requirement: str, folder: Path) -> Path:
    """Download and unpack the source distribution of a package; return its folder."""
    pip("download", "--no-deps", "--no-binary", ":all:", "-d", folder, requirement)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (source,) = (each for each in folder.iterdir() if each.is_dir())
    return source


def pip(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "pip", "-qq", *map(str, arguments)], check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
