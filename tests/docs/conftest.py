"""Fixtures: the built documentation, and what became of each code block."""

import pytest

from tests.docs import build, snippets


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The documentation as HTML."""
    return build.build(tmp_path_factory.mktemp("docs"))


@pytest.fixture(scope="session")
def results():
    """What became of each code block: by page, a list of (line, error or None)."""
    return snippets.run_all()
