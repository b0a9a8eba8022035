"""Print tables and progress: with rich where it is installed and the output is a terminal, else as plain text."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any


def print_json(stdout: Any, data: Any) -> None:
    """Print `data` as indented JSON."""
    stdout.write(json.dumps(data, indent=2, default=str))


def print_table(stdout: Any, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows under the names of columns; numbers are aligned to the right."""
    texts = [[_text(value) for value in row] for row in rows]
    if not texts:
        stdout.write(f"{title}: none")
        return
    console = _console(stdout)
    if console is not None:
        _print_rich(console, title, columns, rows, texts)
        return
    widths = [max(map(len, column)) for column in zip(columns, *texts, strict=True)]
    numeric = [all(isinstance(row[i], (int, float)) or row[i] is None for row in rows) for i in range(len(columns))]
    stdout.write(title)
    for line in [list(columns), *texts]:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ]
        stdout.write("  " + "  ".join(cells).rstrip())
    stdout.write("")


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.2f}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def _console(stdout: Any) -> Any:
    if not getattr(stdout, "isatty", lambda: False)():
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(file=getattr(stdout, "_out", sys.stdout))


def _print_rich(console: Any, title: str, columns: Sequence[str], rows: Sequence[Any], texts: Sequence[Any]) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for i, name in enumerate(columns):
        is_number = all(isinstance(row[i], (int, float)) or row[i] is None for row in rows)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for line in texts:
        table.add_row(*line)
    console.print(table)


_COLOURS = {"ok": "green", "unknown": "cyan", "info": "blue", "warning": "yellow", "error": "bold red"}


def print_findings(stdout: Any, title: str, findings: Sequence[Any]) -> None:
    """Print findings with `level`, `id`, `found`, `meaning` and `advice`, each text on a line of its own."""
    console = _console(stdout)
    if console is not None:
        _print_rich_findings(console, title, findings)
        return
    stdout.write(title)
    level_width, id_width = (max(len(getattr(each, name)) for each in findings) for name in ("level", "id"))
    for each in findings:
        head = f"  {each.level:<{level_width}}  {each.id:<{id_width}}  "
        for text in filter(None, (each.found, each.meaning, each.advice)):
            stdout.write(f"{head}{text}")
            head = " " * len(head)
    stdout.write("")


def _print_rich_findings(console: Any, title: str, findings: Sequence[Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left")
    for name in ("level", "about", "what was found, what it means, what to do"):
        table.add_column(name, overflow="fold")
    for each in findings:
        text = Text("\n".join(filter(None, (each.found, each.meaning, each.advice))))
        table.add_row(Text(each.level, style=_COLOURS.get(each.level, "")), each.id, text)
    console.print(table)


@contextmanager
def progress_bar(stderr: Any, text: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that shows how many of `total` are done; it shows nothing where stderr is no terminal."""
    console = _console(stderr)
    if console is None:
        yield lambda done: None
        return
    from rich.progress import Progress

    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(text, total=total)
        yield lambda done: progress.update(task, completed=min(done, total))
