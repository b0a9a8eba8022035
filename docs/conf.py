"""Sphinx configuration."""

from cacheops_lite import __version__

project = "cacheops_lite"
copyright = "the cacheops_lite developers"
version = release = __version__
extensions = ["sphinx.ext.autodoc"]
html_theme = "furo"
exclude_patterns = ["_build"]
