"""Compare with django-cachex, which needs Python 3.14, on PostgreSQL: ``python -m bench.cachex [--debian forky]``.

An interpreter is looked for as by ``make versions``; the libraries are installed into ``.versions/cachex``.  The other
arguments are those of ``python -m bench``.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.versions import FOLDER, ROOT, found, unpacked

VERSION = "3.14"
PEERS = ("bare", "cachex", "ours", "ours-near")
LIBRARIES = ["django-cachex[redis-py]==0.14.1", "Django>=6,<7"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.cachex", description=__doc__)
    parser.add_argument("--debian", metavar="SUITE", help="take Python from this suite, such as forky")
    parser.add_argument("--out", type=Path, metavar="DIRECTORY", help="write table and JSON there")
    options, rest = parser.parse_known_args()
    interpreter = found(VERSION) or (unpacked(options.debian, VERSION) if options.debian else None)
    if interpreter is None:
        print(f"Python {VERSION} is not found: name a suite of Debian, such as --debian forky", file=sys.stderr)
        return 2
    python = installed(interpreter)
    with tempfile.TemporaryDirectory() as folder:
        command = [python, "-m", "bench", "--database", "postgresql", "--out", folder, "--peers", *PEERS, *rest]
        code = subprocess.run(command, cwd=ROOT).returncode
        for path in Path(folder).glob("bench-postgresql.*") if options.out else ():
            if path.suffix != ".svg":
                options.out.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, options.out / f"bench-cachex{path.suffix}")
    return code


def installed(interpreter: Path) -> Path:
    """Return the interpreter of an environment that has all libraries of the comparison."""
    folder = FOLDER / "cachex"
    python = folder / "bin" / "python"
    if not python.exists():
        virtualenv = [sys.executable, "-m", "virtualenv", "-q", "-p", interpreter, folder]
        subprocess.run(virtualenv, check=True)
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "-e", f"{ROOT}[postgresql]", *LIBRARIES], check=True)
    return python


if __name__ == "__main__":
    sys.exit(main())
