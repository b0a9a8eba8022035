"""Collapse whitespace in cached HTML fragments: whitespace between two tags becomes one newline or one space.

Nothing else changes.  Tags, comments and attributes are recognized as the HTML standard says.  Markup that does not end
within the text is left alone, with all the text after it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

# HTML's whitespace.  A no-break space is text.
SPACE = r" \t\n\f\r"

LINE_END = re.compile(r"[\n\r]")
GAP = re.compile(rf"[{SPACE}]+")
GAP_BETWEEN_TAGS = re.compile(rf">[{SPACE}]+<")
MARKUP_START = re.compile(rf"<(?:(?P<tag>/?[a-zA-Z][^{SPACE}/>]*)|[!?/])")
COMMENT_OR_DECLARATION = re.compile(r"<!--(?:-?>|.*?--!?>)|<!\[CDATA\[.*?\]\]>|<(?!!--|!\[CDATA\[)[^>]*>", re.DOTALL)
# Quotes count only at the start of a value.  Each part matches all that it can, so that the pattern never backtracks.
ATTRIBUTE = re.compile(
    rf"""[{SPACE}/]* [^{SPACE}/>][^{SPACE}/>=]*
    (?: [{SPACE}]*=[{SPACE}]* (?: "[^"]*(?:"|\Z) | '[^']*(?:'|\Z) | [^{SPACE}>]* ) )?""",
    re.VERBOSE,
)

# Elements whose content is text: it ends at their first end tag, whatever stands before that.
TEXT_ELEMENTS = frozenset({"script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"})
# Those of them that always keep their whitespace; the others are settings of the user.
ALWAYS_KEPT = frozenset({"title", "xmp", "iframe", "noembed", "noframes"})


def collapse_whitespace(text: str, keep: str | Collection[str]) -> str:
    """Return `text` with collapsed whitespace.

    `keep` names elements, in lower case, whose content keeps its whitespace; ``"all"`` returns the text unchanged.
    """
    if keep == "all" or not GAP_BETWEEN_TAGS.search(text):
        return text
    parts: list[str] = []
    done = 0
    for start, end in _gaps(text, ALWAYS_KEPT.union(keep)):
        parts += text[done:start], "\n" if LINE_END.search(text, start, end) else " "
        done = end
    return "".join([*parts, text[done:]])


def _gaps(text: str, keep: Collection[str]) -> Iterator[tuple[int, int]]:
    """Yield start and end of each run of whitespace between two tags, outside of the elements in `keep`."""
    previous_end: int | None = None
    kept_element, depth = "", 0
    for start, end, name in _tags(text, keep):
        if not depth and previous_end is not None and GAP.fullmatch(text, previous_end, start):
            yield previous_end, start
        previous_end = end
        if not depth and name in keep:
            kept_element, depth = name, 1
        elif depth:
            depth += (name == kept_element) - (name == f"/{kept_element}")


def _tags(text: str, keep: Collection[str]) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and lower-case name of each tag; the names of end tags begin with a slash."""
    position = 0
    while match := MARKUP_START.search(text, position):
        end = _end_of_markup(text, match)
        if end is None:
            return
        position = end
        if match["tag"] is None:
            continue
        name = match["tag"].lower()
        yield match.start(), end, name
        if name in TEXT_ELEMENTS and name in keep:
            closing = re.compile(rf"</{name}(?=[{SPACE}/>])", re.IGNORECASE).search(text, end)
            if closing is None:
                return
            position = closing.start()


def _end_of_markup(text: str, match: re.Match[str]) -> int | None:
    """Return where the tag or comment that begins at `match` ends, or None if it does not end."""
    if match["tag"] is None:
        whole = COMMENT_OR_DECLARATION.match(text, match.start())
        return None if whole is None else whole.end()
    position = match.end()
    while attribute := ATTRIBUTE.match(text, position):
        position = attribute.end()
    end = text.find(">", position)
    return None if end < 0 else end + 1
