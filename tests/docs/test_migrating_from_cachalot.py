"""The page names every setting and every public name of django-cachalot."""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.docs.blocks import DOCS

PAGE = (DOCS / "migrating-from-cachalot.rst").read_text("utf-8")


def source_of(module: str) -> str:
    found = find_spec("cachalot")
    if found is None:
        pytest.skip("django-cachalot is not installed: it comes with the extra bench")
    return (Path(found.origin).parent / f"{module}.py").read_text("utf-8")


def test_every_setting_is_on_the_page():
    settings = set(re.findall(r"^    (CACHALOT_[A-Z_]+) = ", source_of("settings"), re.M))
    assert len(settings) > 12
    assert not [name for name in settings if f"``{name}``" not in PAGE]


def test_every_public_name_is_on_the_page():
    (names,) = re.findall(r"^__all__ = (\(.*\))", source_of("api"), re.M)
    assert not [name for name in ast.literal_eval(names) if name not in PAGE]
    assert "post_invalidation" in source_of("signals")
    assert "post_invalidation" in PAGE
