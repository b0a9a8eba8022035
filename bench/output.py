"""Write the results of a run to files."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def write(
    directory: Path, name: str, results: Any, printed: str, draw: Callable[[dict[str, Any], Path], None] | None = None
) -> None:
    """Write the table (.txt), the figures (.json) and, with `draw` if matplotlib is installed, the drawing (.svg)."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    (directory / f"{name}.txt").write_text(printed)
    if draw is None:
        return
    if find_spec("matplotlib") is None:
        print("There is no drawing, because matplotlib is not installed")
    else:
        draw(results, directory / f"{name}.svg")
