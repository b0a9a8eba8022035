"""Draw the pictures of the documentation: ``python docs/drawings.py`` writes docs/_static/drawings/*.svg."""

from __future__ import annotations

from html import escape
from pathlib import Path

OUT = Path(__file__).parent / "_static" / "drawings"
INK, SOFT, BLUE, ORANGE, GREEN, GREY = "#222222", "#555555", "#0072B2", "#D55E00", "#007a5a", "#999999"
WIDTH = 720


class Drawing:
    """An SVG drawing on a light ground, which dark pages need too."""

    def __init__(self, height: int, title: str):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            'font-family="system-ui, sans-serif" font-size="13" role="img">',
            f"<title>{escape(title)}</title>",
            "<defs>",
            *(
                f'<marker id="{color[1:]}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
                f'orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="{color}"/></marker>'
                for color in (INK, BLUE, ORANGE, GREEN, GREY)
            ),
            "</defs>",
            f'<rect width="{WIDTH}" height="{height}" rx="6" fill="#ffffff"/>',
        ]

    def text(self, x: float, y: float, text: str, color: str = INK, anchor: str = "start", **style: object) -> None:
        extra = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in style.items())
        self.parts.append(f'<text x="{x}" y="{y}" fill="{color}" text-anchor="{anchor}"{extra}>{escape(text)}</text>')

    def box(self, x: float, y: float, width: float, height: float, title: str, *lines: str, color: str = INK) -> None:
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="#f6f8fa" stroke="{color}"/>'
        )
        top = y + height / 2 + 4 - 9 * len(lines)
        self.text(x + width / 2, top, title, color, "middle", font_weight=600)
        for number, line in enumerate(lines, 1):
            self.text(x + width / 2, top + 18 * number, line, SOFT, "middle", font_size=12)

    def arrow(self, x: float, y: float, x2: float, y2: float, color: str = INK, dashed: bool = False) -> None:
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<line x1="{x}" y1="{y}" x2="{x2}" y2="{y2}" stroke="{color}" stroke-width="1.5"{dash} '
            f'marker-end="url(#{color[1:]})"/>'
        )

    def save(self, name: str) -> None:
        OUT.mkdir(parents=True, exist_ok=True)
        (OUT / f"{name}.svg").write_text("\n".join([*self.parts, "</svg>", ""]), "utf-8")


class Sequence(Drawing):
    """A sequence of messages between participants, from top to bottom."""

    LANES = {"application": 80, "cacheops_lite": 265, "Redis": 460, "database": 640}

    def __init__(self, height: int, title: str):
        super().__init__(height, title)
        for name, x in self.LANES.items():
            self.box(x - 62, 14, 124, 30, name, color=BLUE if name == "cacheops_lite" else INK)
            self.parts.append(f'<line x1="{x}" y1="44" x2="{x}" y2="{height - 14}" stroke="#cccccc"/>')
        self.y = 72

    def send(self, sender: str, receiver: str, text: str, color: str = INK, dashed: bool = False) -> None:
        start, end = self.LANES[sender], self.LANES[receiver]
        middle = (start + end) / 2
        self.label(middle, text, color)
        self.arrow(start, self.y + 5, end, self.y + 5, color, dashed)
        self.y += 34

    def label(self, x: float, text: str, color: str) -> None:
        width = 6.7 * len(text)
        self.parts.append(f'<rect x="{x - width / 2}" y="{self.y - 12}" width="{width}" height="15" fill="#ffffff"/>')
        self.text(x, self.y, text, color, "middle", font_size=12)

    def band(self, text: str, color: str) -> None:
        self.parts.append(f'<line x1="14" y1="{self.y}" x2="{WIDTH - 14}" y2="{self.y}" stroke="#dddddd"/>')
        self.text(18, self.y + 19, text, color, font_weight=600)
        self.y += 44


def overview() -> None:
    drawing = Drawing(230, "Reads come from Redis; a write invalidates before its commit")
    drawing.box(20, 80, 130, 70, "Django", "querysets, saves")
    drawing.box(250, 80, 150, 70, "cacheops_lite", "in each process", color=BLUE)
    drawing.box(540, 22, 160, 62, "Redis", "results, versions")
    drawing.box(540, 146, 160, 62, "database", "rows")
    drawing.arrow(150, 103, 250, 103, GREEN)
    drawing.text(200, 96, "read", GREEN, "middle")
    drawing.arrow(150, 130, 250, 130, ORANGE)
    drawing.text(200, 147, "write", ORANGE, "middle")
    drawing.arrow(400, 92, 540, 42, GREEN)
    drawing.text(392, 40, "1 hit: one round trip", GREEN, font_size=12)
    drawing.arrow(400, 112, 540, 70, ORANGE)
    drawing.text(488, 112, "1 invalidate", ORANGE, font_size=12)
    drawing.arrow(400, 126, 540, 168, GREEN)
    drawing.text(488, 136, "2 miss: read, store", GREEN, font_size=12)
    drawing.arrow(400, 140, 540, 194, ORANGE)
    drawing.text(408, 200, "2 commit", ORANGE, font_size=12)
    drawing.save("overview")


def read() -> None:
    drawing = Sequence(392, "The way of a read")
    drawing.send("application", "cacheops_lite", "Article.objects.get(pk=7)")
    drawing.send("cacheops_lite", "Redis", "value, versions: 1 MGET")
    drawing.band("all versions are unchanged: hit", GREEN)
    drawing.send("cacheops_lite", "application", "an instance made of the rows", GREEN)
    drawing.band("no value, or a version has changed: miss", ORANGE)
    drawing.send("cacheops_lite", "Redis", "create missing versions", ORANGE)
    drawing.send("cacheops_lite", "database", "SELECT", ORANGE)
    drawing.send("cacheops_lite", "Redis", "store, if no version changed", ORANGE)
    drawing.send("cacheops_lite", "application", "the instance", ORANGE)
    drawing.save("read")


def write() -> None:
    drawing = Sequence(366, "The way of a write")
    drawing.send("application", "cacheops_lite", "article.save()")
    drawing.send("cacheops_lite", "database", "BEGIN; read the row, locked: the before image")
    drawing.send("cacheops_lite", "database", "UPDATE")
    drawing.send("cacheops_lite", "Redis", "invalidate and fence, in 1 call", ORANGE)
    drawing.band("from here on no result of before is valid, and none can be stored", ORANGE)
    drawing.send("cacheops_lite", "database", "COMMIT", BLUE)
    drawing.send("cacheops_lite", "Redis", "release the fence", GREEN, dashed=True)
    drawing.send("cacheops_lite", "application", "done", GREEN)
    drawing.save("write")


def save() -> None:
    drawing = Drawing(302, "What a save invalidates")
    drawing.box(20, 60, 190, 76, "article 7, before", "author 1", "is_public = False")
    drawing.box(20, 196, 190, 76, "article 7, after", "author 1", "is_public = True")
    drawing.arrow(115, 136, 115, 196, ORANGE)
    drawing.text(125, 171, "save()", ORANGE)
    drawing.text(250, 34, "cached result", SOFT, font_size=12)
    drawing.text(500, 34, "after the save", SOFT, font_size=12)
    rows = [
        ("get(pk=7)", True, "it is this row"),
        ("filter(is_public=False)", True, "the row met it before"),
        ("filter(is_public=True)", True, "the row meets it now"),
        ('filter(author=1).values("title")', False, "reads other columns"),
        ("filter(author=2)", False, "the row never met it"),
        ("get(pk=8)", False, "another row"),
        ("Tag.objects.all()", False, "another table"),
    ]
    for number, (query, is_invalid, why) in enumerate(rows):
        y = 48 + number * 35
        color = ORANGE if is_invalid else GREEN
        drawing.parts.append(f'<rect x="240" y="{y}" width="460" height="28" rx="4" fill="#f6f8fa" stroke="{color}"/>')
        drawing.text(250, y + 19, query, INK, font_family="ui-monospace, monospace", font_size=12)
        drawing.text(500, y + 19, f"{'invalid' if is_invalid else 'kept'}: {why}", color, font_size=12)
    drawing.save("save")


if __name__ == "__main__":
    overview()
    read()
    write()
    save()
