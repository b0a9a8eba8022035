"""What a test has its team do."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.concurrency import rows


def divided(writers):
    """The lanes of each writer: rows of its own, and a lane of each row that two share."""
    shares = [[] for _ in range(writers)]
    for name in rows.LANES:
        pk = int(name.strip("pabc"))
        by_letter = name.startswith("p") and pk in rows.SHARED
        shares["ab".index(name[-1]) % writers if by_letter else pk % writers].append(name)
    return shares


PRECISE = ("save_fields", "save_fields_atomic", "save_deferred", "invalidated_update")


def contested(ways=PRECISE):
    """One row that two writers share, described precisely by both: nothing else drops what one of them forgets."""
    pk = rows.SHARED[0]
    return {
        "lanes": [[rows.lane(pk, "a")], [rows.lane(pk, "b")]],
        "ways": list(ways),
        "shapes": ["values", "days"],
        "delayed": ["writer"],
    }


@dataclass
class Plan:
    """`lanes` of each writer; `pause` and `delays` are the longest ones, in seconds; `kills` are how many at most.

    Readers never see less than what was acknowledged; if not `strict`, than what is settled (see `oracle`).  `ways` and
    `shapes` are the names of writes and reads, all by default; `delayed` the roles that have delays.
    """

    name: str
    lanes: list[list[str]] = field(default_factory=lambda: divided(2))
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
    hold_seconds: float = 30
    settings: dict = field(default_factory=dict)
    redis_options: tuple[str, ...] = ()
