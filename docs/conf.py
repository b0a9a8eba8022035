"""Sphinx configuration."""

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


def show_methods_as_those_of_django(app, doctree):
    """The app puts these methods into Django's classes: show them under the names that code uses."""
    names = {"QuerySetMixin.": "QuerySet.", "ManagerMixin.": "Manager."}
    for node in doctree.findall(addnodes.desc_addname):
        if node.astext() in names:
            node.children[:] = [nodes.Text(names[node.astext()])]
