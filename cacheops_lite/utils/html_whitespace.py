"""The whitespace rule of cached fragments: what stands between two tags becomes one newline or one space.

Nothing else changes.  What a tag, a comment or an attribute is, the HTML standard says; what does not end by the end of
the text is left alone, and so is all that follows it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

# HTML's own: a no-break space is text.
SPACE = r" \t\n\f\r"

LINE_END = re.compile(r"[\n\r]")
GAP = re.compile(rf"[{SPACE}]+")
CANDIDATE = re.compile(rf">[{SPACE}]+<")
MARKUP = re.compile(rf"<(?:(?P<tag>/?[a-zA-Z][^{SPACE}/>]*)|[!?/])")
NO_TAG = re.compile(r"<!--(?:-?>|.*?--!?>)|<!\[CDATA\[.*?\]\]>|<(?!!--|!\[CDATA\[)[^>]*>", re.DOTALL)
# Quotes count only where a value begins.  Each part matches whatever follows, so that there is nothing to try again.
ATTRIBUTE = re.compile(
    rf"""[{SPACE}/]* [^{SPACE}/>][^{SPACE}/>=]*
    (?: [{SPACE}]*=[{SPACE}]* (?: "[^"]*(?:"|\Z) | '[^']*(?:'|\Z) | [^{SPACE}>]* ) )?""",
    re.VERBOSE,
)

# To HTML their content is text: it ends at the first end tag of theirs, whatever comes before.
TEXT = frozenset({"script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"})
# Those of them that are not worth a setting.
ALWAYS_KEPT = frozenset({"title", "xmp", "iframe", "noembed", "noframes"})


def tidied(text: str, keep: str | Collection[str]) -> str:
    """`text` by the rule.  `keep`: elements (lower case) in which whitespace stays as it is, or ``"all"``."""
    if keep == "all" or not CANDIDATE.search(text):
        return text
    parts: list[str] = []
    done = 0
    for start, end in _gaps(text, ALWAYS_KEPT.union(keep)):
        parts += text[done:start], "\n" if LINE_END.search(text, start, end) else " "
        done = end
    return "".join([*parts, text[done:]])


def _gaps(text: str, keep: Collection[str]) -> Iterator[tuple[int, int]]:
    """Where there is nothing but whitespace between two tags, outside of `keep`."""
    after: int | None = None
    kept, depth = "", 0
    for start, end, name in _tags(text, keep):
        if not depth and after is not None and GAP.fullmatch(text, after, start):
            yield after, start
        after = end
        if not depth and name in keep:
            kept, depth = name, 1
        elif depth:
            depth += (name == kept) - (name == f"/{kept}")


def _tags(text: str, keep: Collection[str]) -> Iterator[tuple[int, int, str]]:
    """Where each tag starts and ends, and its name, with a slash before that of an end tag."""
    position = 0
    while match := MARKUP.search(text, position):
        end = _end(text, match)
        if end is None:
            return
        position = end
        if match["tag"] is None:
            continue
        name = match["tag"].lower()
        yield match.start(), end, name
        if name in TEXT and name in keep:
            closing = re.compile(rf"</{name}(?=[{SPACE}/>])", re.IGNORECASE).search(text, end)
            if closing is None:
                return
            position = closing.start()


def _end(text: str, match: re.Match[str]) -> int | None:
    """Where the tag or comment ends that begins at `match`, None if it does not."""
    if match["tag"] is None:
        whole = NO_TAG.match(text, match.start())
        return None if whole is None else whole.end()
    position = match.end()
    while attribute := ATTRIBUTE.match(text, position):
        position = attribute.end()
    end = text.find(">", position)
    return None if end < 0 else end + 1
