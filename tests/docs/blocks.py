"""Find the code blocks of a page of the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# Records of decisions describe the code of their time.
PAGES = sorted(
    [ROOT / "README.rst", *(path for path in DOCS.rglob("*.rst") if not {"decisions", "_build"} & {*path.parts})]
)

DIRECTIVE = re.compile(r"^(?P<indent> *)\.\. (?:code-block|code)::[ ]*(?P<language>\S*) *$")
OPTION = re.compile(r"^ +:(?P<name>[\w-]+):(?: (?P<value>.*))?$")
# ``.. not run: why`` before a block.
EXEMPTION = re.compile(r"^ *\.\. not run:(?P<reason>.*)$")


@dataclass
class Block:
    """A code block.  `language` is "literal" for an indented block after ``::``; `line` counts from 1."""

    page: str
    line: int
    language: str
    text: str
    options: dict[str, str] = field(default_factory=dict)
    exempt: str | None = None


def name_of(page: Path) -> str:
    page = page.absolute()
    return str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page, in their order."""
    return list(_blocks(name_of(page), page.read_text("utf-8").splitlines()))


def _blocks(page: str, lines: list[str]) -> Iterator[Block]:
    number = 0
    while number < len(lines):
        line = lines[number]
        found = DIRECTIVE.match(line)
        is_literal = not found and line.rstrip().endswith("::") and not line.lstrip().startswith("..")
        number += 1
        if not found and not is_literal:
            continue
        start, indent = number, len(line) - len(line.lstrip())
        options = {}
        while found and number < len(lines) and (option := OPTION.match(lines[number])):
            options[option["name"]] = option["value"] or ""
            number += 1
        body = []
        while number < len(lines) and (not lines[number].strip() or _indent(lines[number]) > indent):
            body.append(lines[number])
            number += 1
        language = found["language"] if found else "literal"
        text = dedent("\n".join(body)).strip("\n") + "\n"
        yield Block(page, start, language, text, options, _exemption(lines, start - 1))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _exemption(lines: list[str], before: int) -> str | None:
    for line in reversed(lines[:before]):
        if line.strip():
            found = EXEMPTION.match(line)
            return found["reason"].strip() if found else None
    return None
