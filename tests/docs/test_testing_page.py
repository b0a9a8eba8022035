"""The tests on the page about tests are run by pytest, in the project of the snippets."""

import os
import subprocess
import sys

from tests.docs.blocks import DOCS, ROOT, blocks_of

# The front page that the tests on the page are about.
URLS = """
from blog.models import Tag
from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("", lambda request: HttpResponse(", ".join(tag.name for tag in Tag.objects.all())))]
"""


def test_the_tests_on_the_page_pass(tmp_path):
    """Those for pytest and those for unittest, one file for each block."""
    blocks = [block.text for block in blocks_of(DOCS / "testing.rst") if "def test_" in block.text]
    for number, text in enumerate(blocks):
        (tmp_path / f"test_block_{number}.py").write_text(text, "utf-8")
    (tmp_path / "page_settings.py").write_text("from tests.docs.settings import *\nROOT_URLCONF = 'page_urls'\n")
    (tmp_path / "page_urls.py").write_text(URLS)
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "page_settings",
        "DOCS_SNIPPETS_DATABASE": str(tmp_path / "docs.sqlite3"),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT), str(ROOT / "tests" / "docs" / "project")]),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, "-c", os.devnull]
    done = subprocess.run([*command, tmp_path], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{sum(text.count('def test_') for text in blocks)} passed" in done.stdout
