"""README.rst renders on PyPI, its links lead somewhere, and its figures are those that the benchmark printed."""

from __future__ import annotations

import re
from itertools import takewhile

import pytest

import hatch_build
from bench import readme
from tests.docs.blocks import ROOT

README = (ROOT / "README.rst").read_text("utf-8")
PROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
URLS = dict(re.findall(r'^(\w+) = "(https://[^"]+)"$', PROJECT, re.M))
ON_PYPI = hatch_build.absolute(README, URLS)


def test_the_first_lines_say_what_it_is_and_the_two_commands():
    """About ten lines, then ``make demo`` and ``make test``."""
    before = list(takewhile(lambda line: not line.startswith(".. code-block"), README.splitlines()))
    assert len([line for line in before if line.strip()]) <= 12
    assert len(before) < 20
    assert README.index("make demo") < README.index("make test") < README.index(".. image::")


def test_pypi_renders_it():
    """PyPI refuses a description with errors or unknown directives."""
    renderer = pytest.importorskip("readme_renderer.rst")
    html = renderer.render(ON_PYPI)
    assert html is not None
    # A cell of the table that begins like "(1)" would become a list.
    assert "<ol" not in html
    targets = re.findall(r'(?:href|src)="([^"]+)"', html)
    assert len(targets) > 20
    assert not [target for target in targets if not target.startswith(("https://", "#"))]


def test_links_lead_to_files():
    """In the repository, links are relative."""
    targets = [found[0] for found in hatch_build.TARGET.finditer(README)]
    assert len(targets) > 20
    assert not [target for target in targets if not (ROOT / target).exists()]


def test_links_on_pypi_lead_to_pages_that_are_built(built):
    """Images, too."""
    site = URLS["Documentation"] + "en/latest/"
    pages = re.findall(rf"{re.escape(site)}([\w./-]+\.(?:html|svg|png))", ON_PYPI)
    assert len(pages) > 15
    assert not [page for page in pages if not (built.directory / page).exists()]


def test_addresses_stand_in_one_place():
    """So that they can be changed at once."""
    assert {"Homepage", "Documentation", "Source", "Changelog", "Issues"} <= URLS.keys()
    hosts = [re.match(r"https://([^/]+/[\w.-]*)", url)[1].rstrip("/") for url in URLS.values()]
    elsewhere = [*(ROOT / "docs").rglob("*.rst"), *(ROOT / "cacheops_lite").rglob("*.py"), *ROOT.glob("*.[rm][sd]*")]
    assert not [path for path in elsewhere if any(host in path.read_text("utf-8") for host in hosts)]


@pytest.fixture(scope="module")
def figures():
    import json

    return json.loads(readme.RESULTS.read_text("utf-8"))


def test_the_table_has_the_figures_of_the_last_run(figures):
    """``python -m bench.readme`` renews it."""
    assert readme.with_table(README, readme.table(figures)) == README


def test_the_chart_has_the_figures_of_the_last_run(figures):
    """``python -m bench.readme`` renews it."""
    assert readme.CHART.read_text("utf-8") == readme.chart(figures)
