"""Build the documentation once in a run."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sphinx.util.inventory import InventoryFile

from tests.docs.blocks import DOCS, ROOT


@dataclass
class Build:
    directory: Path
    warnings: str

    @cached_property
    def names(self) -> dict[str, dict[str, str]]:
        """What the pages describe: by kind, such as ``py:function``, each name with its page and anchor."""
        with (self.directory / "objects.inv").open("rb") as file:
            inventory = InventoryFile.load(file, "", lambda base, uri: uri)
        return {
            kind: {name: item[2] if isinstance(item, tuple) else item.uri for name, item in items.items()}
            for kind, items in inventory.items()
        }

    def python_names(self) -> set[str]:
        return {name for kind, names in self.names.items() if kind.startswith("py:") for name in names}

    def page(self, name: str) -> str:
        return (self.directory / name).read_text("utf-8")


def build(directory: Path) -> Build:
    command = [sys.executable, "-m", "sphinx", "-q", "-d", str(directory / ".doctrees"), str(DOCS), str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    return Build(directory, done.stderr)
