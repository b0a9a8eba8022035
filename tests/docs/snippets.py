"""Run the code blocks of all pages in one process of their own: they need other settings than the tests."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict

from tests.docs.blocks import ROOT


def run_all(*pages: str) -> dict[str, list[tuple[int, str | None]]]:
    command = [sys.executable, "-m", "tests.docs.run_snippets", *pages]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    results = defaultdict(list)
    for each in json.loads(done.stdout):
        results[each["page"]].append((each["line"], each["error"]))
    return results
