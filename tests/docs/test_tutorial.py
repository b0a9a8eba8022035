"""The tutorial works as printed: its blocks are typed into an empty folder, and what they print is compared.

A block whose class is ``only-sqlite`` or ``only-postgresql`` belongs to that setup.  A Python block with a caption is a
file, or is added to one; ``$`` begins a command; ``>>>`` is typed into a shell.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import DOCS, ROOT, Block, blocks_of
from tests.support import servers, services

BLOCKS = blocks_of(DOCS / "tutorial.rst")
# What the environment of the test has already.
INSTALLING = ("python3 -m venv", ". .venv/bin/activate", "pip install", "createdb")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# Runs the examples on its standard input as a shell of Django does.  The embedded Redis ends with its process,
# so each block is typed after the ones before it, from the beginning.
SHELL = """
import doctest, sys, django
django.setup()
from django.core.management import call_command
from cacheops_lite import invalidate_all
call_command("flush", interactive=False, verbosity=0)
invalidate_all()
test = doctest.DocTestParser().get_doctest(sys.stdin.read(), {}, "tutorial", None, 0)
result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE, verbose=False).run(test)
sys.exit(bool(result.failed))
"""


class Folder:
    """An empty folder in which the tutorial is typed."""

    def __init__(self, path: Path, setup: str, replacements: dict[str, str]):
        self.path, self.setup, self.replacements = path, setup, replacements
        self.port = servers.free_port()
        self.server: subprocess.Popen | None = None
        # As in an activated environment.
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "COVERAGE_"))},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }
        self.typed = 0

    def type(self, block: Block) -> None:
        only = block.options.get("class", "")
        if only and only != f"only-{self.setup}":
            return
        text = block.text
        for old, new in self.replacements.items():
            text = text.replace(old, new)
        if "caption" in block.options:
            self.write(block.options["caption"], text)
        elif block.language == "pycon":
            self.type_into_shell(text)
        else:
            for command, output in _commands(text):
                self.run(command, output)
        self.typed += 1

    def write(self, caption: str, text: str) -> None:
        name, _, where = caption.partition(", ")
        path = self.path / name
        assert path.parent.is_dir(), f"{name}: there is no such folder"
        assert where in ("", "at the end"), caption
        before = path.read_text("utf-8") + "\n" if where else ""
        path.write_text(before + text, "utf-8")

    def type_into_shell(self, text: str) -> None:
        environment = {**self.environment, "DJANGO_SETTINGS_MODULE": "mysite.settings"}
        self.session = getattr(self, "session", "") + text
        done = self.subprocess([sys.executable, "-c", SHELL], input=self.session, env=environment)
        if done.returncode:
            raise AssertionError(done.stdout + done.stderr)

    def run(self, command: str, expected: str) -> None:
        if command.startswith(INSTALLING) or command == "python manage.py shell":
            return
        command = command.replace(":8000", f":{self.port}")
        if command == "python manage.py runserver":
            self.start_server()
            return
        done = self.subprocess(["sh", "-c", command])
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        if not doctest.OutputChecker().check_output(expected, done.stdout.replace("\r", ""), FLAGS):
            raise AssertionError(f"$ {command}\nexpected:\n{expected}\ngot:\n{done.stdout}{done.stderr}")

    def subprocess(self, command: list[str], **options) -> subprocess.CompletedProcess:
        return subprocess.run(
            command, **{"cwd": self.path, "env": self.environment, "text": True, "capture_output": True, **options}
        )

    def start_server(self) -> None:
        command = [sys.executable, "manage.py", "runserver", "--noreload", str(self.port)]
        self.server = subprocess.Popen(
            command, cwd=self.path, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        is_listening = servers.listens(self.port, 30)
        assert self.server.poll() is None, "the server has ended"
        assert is_listening

    def stop_server(self) -> None:
        if self.server is not None:
            # Not SIGINT: processes of a background job ignore it.
            self.server.terminate()
            self.server.wait(20)


def _commands(text: str) -> list[tuple[str, str]]:
    """Return the commands of a block, each with what it prints."""
    parts = re.split(r"^\$ ", text, flags=re.M)
    assert not parts[0].strip()
    return [(command, output) for command, _, output in (part.partition("\n") for part in parts[1:])]


def type_all(folder: Folder) -> None:
    try:
        for block in BLOCKS:
            try:
                folder.type(block)
            except AssertionError as error:
                raise AssertionError(f"docs/tutorial.rst:{block.line}: {error}") from error
    finally:
        folder.stop_server()
    assert folder.typed > 10


needs_tools = pytest.mark.skipif(not shutil.which("curl"), reason="the tutorial uses curl")


@needs_tools
def test_with_sqlite_and_the_embedded_redis(tmp_path):
    type_all(Folder(tmp_path, "sqlite", {}))


@needs_tools
def test_with_postgresql_and_redis(tmp_path):
    """On a database of its own, and the Redis of the run."""
    server = services.database_settings("postgresql")
    if not services.answers(server["HOST"], int(server["PORT"])) or not services.redis_answers():
        (pytest.fail if services.IN_CI else pytest.skip)("PostgreSQL or Redis does not answer")
    import psycopg

    name = f"cacheops_lite_tutorial_{os.getpid()}"
    options = {key: server[key] for key in ("HOST", "PORT", "USER", "PASSWORD")}
    address = {key.lower(): value for key, value in options.items() if value}
    with psycopg.connect(dbname="postgres", autocommit=True, **address) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        try:
            replacements = {
                '"NAME": "blog"': ", ".join(f'"{key}": {value!r}' for key, value in {"NAME": name, **options}.items()),
                "redis://localhost:6379/0": services.REDIS_URL,
            }
            type_all(Folder(tmp_path, "postgresql", replacements))
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def test_commands_that_the_test_leaves_out_are_known():
    """They install what the tests have installed."""
    found = [command for block in BLOCKS if block.language == "console" for command, _ in _commands(block.text)]
    assert {shlex.split(command)[0] for command in found if command.startswith(INSTALLING)} == {
        *("python3", ".", "pip", "createdb")
    }
