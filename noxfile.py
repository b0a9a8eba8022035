"""Run a part of the suite, mypy and ruff on each version of Python and Django: ``make versions``."""

from __future__ import annotations

import nox

PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
DJANGOS = ["5.2", "6.0", "6.1"]
# The oldest Python that a version of Django runs on.
OLDEST_PYTHON = {"5.2": (3, 10), "6.0": (3, 12), "6.1": (3, 12)}
# What depends most on the versions of Python and Django: Django's methods that are replaced, its queries that are
# analysed, functions that are identified, and types.
SMOKE = [
    *(f"tests/orm/test_{name}.py" for name in ("save_delete", "transparency", "execute_wrapper", "raw_queryset")),
    *(f"tests/query/test_{name}.py" for name in ("read_set", "releases", "fast_paths", "expression_identity")),
    *(f"tests/functions/test_{name}.py" for name in ("call_key", "decorators", "view_cache")),
    *("tests/reads/test_queryset_read.py", "tests/observe/test_decisions.py", "tests/adapters/test_testing.py"),
    "tests/typing",
]
# SQLite and the embedded store: no server is needed, and none that runs is used.
ENVIRONMENT = {"TEST_DATABASE": "sqlite", "TEST_STORES": "embedded-sets", "TEST_REDIS_URL": "redis://127.0.0.1:1/0"}

nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.stop_on_first_error = False
nox.options.error_on_missing_interpreters = False


def matrix() -> list[tuple[str, str]]:
    return [
        (python, django)
        for python in PYTHONS
        for django in DJANGOS
        if tuple(map(int, python.split("."))) >= OLDEST_PYTHON[django]
    ]


@nox.session
@nox.parametrize(("python", "django"), matrix())
def versions(session: nox.Session, django: str) -> None:
    """Install the extra ``test`` and run the tests named by the arguments, by default the smoke selection."""
    session.install("-q", "-e", ".[test]", f"Django=={django}.*")
    session.run(
        "python", "-c", "import sys, django; print('Python', sys.version.split()[0], 'Django', django.__version__)"
    )
    session.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *(session.posargs or SMOKE), env=ENVIRONMENT)
    session.run("mypy", "--cache-dir", session.create_tmp() + "/mypy")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
