"""What an examination of the server found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

# From harmless to serious.  "unknown": the server does not tell.
LEVELS = ("ok", "unknown", "info", "warning", "error")


@dataclass(slots=True)
class Finding:
    """One result: `found` says what is so, `meaning` why it matters, `advice` what to write or to do.

    `id` is also the anchor in docs/doctor.rst, after ``doctor-``.
    """

    id: str
    level: str
    found: str
    meaning: str = ""
    advice: str = ""


@dataclass(slots=True)
class Examination:
    """All findings about the server at `address`, which has no password."""

    address: str
    setting: str
    server: str
    findings: list[Finding]

    @property
    def level(self) -> str:
        """The most serious level."""
        return max((each.level for each in self.findings), key=LEVELS.index, default="ok")

    def as_dict(self) -> dict[str, Any]:
        """Return the examination as values that JSON knows."""
        return {**asdict(self), "level": self.level}
