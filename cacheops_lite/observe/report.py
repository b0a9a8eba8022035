"""The report on one read: what would become of it, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .reasons import Outcome, Reason


@dataclass
class CacheReport:
    """What would become of a read.

    `profile` is the profile in words.  `seconds_left` is the time that the stored value has to live, None if none is
    stored.  `dependencies` says in words which rows the result depends on: a write that changes one of them
    invalidates it.  `near` says whether the near cache of this process answers, empty where results are not kept there.
    `hint` says what to do.
    """

    operation: str
    label: str
    profile: str
    reason: Reason
    detail: str = ""
    key: str = ""
    seconds_left: int | None = None
    dependencies: list[str] = field(default_factory=list)
    near: str = ""

    @property
    def outcome(self) -> Outcome:
        return self.reason.outcome

    @property
    def hint(self) -> str:
        return self.reason.hint

    def as_dict(self) -> dict[str, Any]:
        """Return the report as a dict of values that JSON knows."""
        return {
            "operation": self.operation,
            "label": self.label,
            "profile": self.profile,
            "outcome": self.outcome.value,
            "reason": self.reason.value,
            "text": self.reason.text,
            "detail": self.detail,
            "key": self.key,
            "seconds_left": self.seconds_left,
            "near": self.near,
            "dependencies": self.dependencies,
            "hint": self.hint,
        }

    def __str__(self) -> str:
        detail = f" ({self.detail})" if self.detail else ""
        lines = [
            f"{self.operation} of {self.label}: {self.outcome.value}, {self.reason.text}{detail}",
            f"profile: {self.profile}",
        ]
        if self.key:
            lines.append(f"key: {self.key}")
        if self.seconds_left is not None:
            lines.append(f"expires in: {self.seconds_left} s")
        if self.near:
            lines.append(f"near: {self.near}")
        if self.dependencies:
            lines += ["invalidated by changes of:", *(f"  {each}" for each in self.dependencies)]
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)
