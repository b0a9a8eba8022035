"""The documentation builds without a warning; every link inside it, and every image, leads somewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag

from tests.docs.blocks import DOCS, ROOT


class Links(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.targets, self.ids = set(), set()
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids.add(attributes.get("id"))
        for name in ("href", "src"):
            target = attributes.get(name)
            if target and not re.match(r"[a-z]+:|//", target) and tag in ("a", "img"):
                self.targets.add(target)


def test_it_builds_without_a_warning(built):
    """References that lead nowhere are warnings, as every name must resolve."""
    assert built.warnings == ""


def test_no_page_shows_an_error(built):
    """The theme prints some of its complaints into the page."""
    pages = [*built.directory.glob("*.html"), *built.directory.glob("[!_]*/*.html")]
    assert not [path.name for path in pages if "ERROR:" in path.read_text("utf-8")]


def test_links_and_images_lead_somewhere(built):
    """Anchors, too."""
    pages = {path: Links(path.read_text("utf-8")) for path in built.directory.rglob("*.html")}
    broken = []
    for path, links in pages.items():
        for target in links.targets:
            file, anchor = urldefrag(unquote(target))
            found = (path.parent / file).resolve() if file else path
            if not found.exists() or (anchor and found in pages and anchor not in pages[found].ids):
                broken.append(f"{path.relative_to(built.directory)}: {target}")
    assert not broken


def test_pages_that_the_code_names_exist():
    """Docstrings and messages name pages by their path in the repository."""
    missing = []
    for path in [
        *(ROOT / "cacheops_lite").rglob("*.py"),
        *ROOT.glob("*.rst"),
        *ROOT.glob("*.md"),
        *DOCS.rglob("*.rst"),
    ]:
        for name in re.findall(r"(?<!/)\bdocs/[\w/.-]+\.(?:rst|py|md|txt|json|svg|png)\b", path.read_text("utf-8")):
            if not (ROOT / name).exists():
                missing.append(f"{path.relative_to(ROOT)}: {name}")
    assert not missing


def test_drawings_are_readable_on_dark_pages():
    """Each SVG has a light ground of its own: readers of a dark page see dark text on it."""
    for path in (DOCS / "_static").rglob("*.svg"):
        text = path.read_text("utf-8")
        assert re.search(r"<rect[^>]*fill=\"#f[0-9a-f]{2,5}\"|fill: ?#f[0-9a-f]{2,5}", text) or "matplotlib" in text, (
            path
        )
