"""Plans: which processes a test starts, what they read and write, and what may fail."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.concurrency import rows


def lanes_by_writer(writers):
    """Return the lanes of each writer: all lanes of its own rows, and one lane of each row that two writers share."""
    shares = [[] for _ in range(writers)]
    for name in rows.LANES:
        pk = int(name.strip("pabc"))
        by_letter = name.startswith("p") and pk in rows.SHARED
        shares["ab".index(name[-1]) % writers if by_letter else pk % writers].append(name)
    return shares


PRECISE = ("save_fields", "save_fields_atomic", "save_deferred", "invalidated_update")


def contested(ways=PRECISE):
    """Return options for two writers of one row.

    Both invalidate precisely, so no whole-table invalidation hides a missing one.
    """
    pk = rows.SHARED[0]
    return {
        "lanes": [[rows.lane(pk, "a")], [rows.lane(pk, "b")]],
        "ways": list(ways),
        "shapes": ["values", "days"],
        "delayed": ["writer"],
    }


@dataclass
class Plan:
    """The options of a run.

    `lanes` lists the lanes of each writer.  `pause` and `delays` are maxima in seconds, `kills` is the maximal number
    of killed writers.  `ways` and `shapes` are the names of writes and reads, all by default; `delayed` lists the roles
    that have delays.  `wide` adds many large results, `width` is the length of the text of each row.

    With `cut_off`, writers reach Redis through a proxy (see `runs.cut_off_writers`), and acknowledge a write once it is
    committed, whether they still owe an invalidation or not.

    Each read returns all writes acknowledged before it; if not `strict`, all writes settled before it (see `oracle`).
    """

    name: str
    lanes: list[list[str]] = field(default_factory=lambda: lanes_by_writer(2))
    readers: int = 2
    snapshot_readers: int = 0
    pause: float = 0.02
    delays: float = 0.0
    delayed: list[str] = field(default_factory=lambda: ["writer", "reader"])
    ways: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    breakage: str = ""
    wide: bool = False
    width: int = 0
    kills: int = 0
    strict: bool = True
    fence_seconds: float = 30
    cut_off: bool = False
    settings: dict = field(default_factory=dict)
    redis_options: tuple[str, ...] = ()
