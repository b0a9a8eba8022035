"""Sphinx configuration."""

import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes

from cacheops_lite import __version__

project = "cacheops_lite"
copyright = "the cacheops_lite developers"
version = release = __version__
extensions = ["sphinx.ext.autodoc"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"cacheops_lite {release}"
html_static_path = ["_static"]
html_css_files = ["docs.css"]

# `name` in docstrings is code.
default_role = "code"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
add_module_names = False
# Every reference must resolve, except those to Python and Django, whose pages are not at hand.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!cacheops_lite).*")]


def setup(app):
    """Add roles and directives for what a user looks up by name: each has an anchor, and is in the index."""
    app.add_crossref_type("setting", "setting", indextemplate="pair: %s; setting")
    app.add_crossref_type("profile-option", "profile-option", indextemplate="pair: %s; profile option")
    app.add_crossref_type("command", "manage", indextemplate="pair: %s; management command")
    app.connect("doctree-read", show_methods_as_those_of_django)
    app.connect("source-read", list_every_reason_and_check)


def show_methods_as_those_of_django(app, doctree):
    """The app puts these methods into Django's classes: show them under the names that code uses."""
    names = {"QuerySetMixin.": "QuerySet.", "ManagerMixin.": "Manager."}
    for node in doctree.findall(addnodes.desc_addname):
        if node.astext() in names:
            node.children[:] = [nodes.Text(names[node.astext()])]


def list_every_reason_and_check(app, docname, source):
    """Replace the comments ``.. every-reason`` and ``.. every-check`` by links to all labels of these pages."""
    for marker, page, label in (
        ("every-reason", "reasons.rst", r"reason-([a-z-]+)"),
        ("every-check", "checks.rst", r"([a-z]\d{3})"),
    ):
        found = re.findall(rf"^\.\. _({label}):$", (Path(app.srcdir) / page).read_text("utf-8"), re.M)
        links = [f":ref:`{name.upper() if page == 'checks.rst' else name} <{target}>`" for target, name in found]
        source[0] = re.sub(rf"^\.\. {marker}$", ", ".join(links), source[0], flags=re.M)
