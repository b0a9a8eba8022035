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


def contested(writers):
    """Only the rows that two share."""
    return [
        [name for name in share if name.startswith("p") and int(name[1:-1]) in rows.SHARED]
        for share in divided(writers)
    ]


@dataclass
class Plan:
    """`lanes` of each writer; `pause` and `delays` are the longest ones, in seconds; `kills` are how many at most."""

    name: str
    lanes: list[list[str]] = field(default_factory=lambda: divided(2))
    readers: int = 2
    snapshot_readers: int = 0
    pause: float = 0.02
    delays: float = 0.0
    breakage: str = ""
    wide: bool = False
    width: int = 0
    kills: int = 0
    settings: dict = field(default_factory=dict)
    redis_options: tuple[str, ...] = ()
