"""Make the messages of system checks, with their ids."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, TypeAlias

from django.core.checks import CheckMessage, Error, Info, Warning

Messages: TypeAlias = list[CheckMessage]


def error(number: int, message: str, hint: str | None = None, about: Any = None) -> CheckMessage:
    """Return the error with the id ``E{number}``."""
    return Error(message, hint=hint, obj=about, id=f"cacheops_lite.E{number:03}")


def warning(number: int, message: str, hint: str | None = None) -> CheckMessage:
    """Return the warning with the id ``W{number}``."""
    return Warning(message, hint=hint, id=f"cacheops_lite.W{number:03}")


def info(number: int, message: str, hint: str | None = None, about: Any = None) -> CheckMessage:
    """Return the information with the id ``I{number}``."""
    return Info(message, hint=hint, obj=about, id=f"cacheops_lite.I{number:03}")


def nearest(name: Any, known: Iterable[str]) -> str | None:
    """Return a hint that suggests the most similar of `known`, None if none is similar."""
    near = get_close_matches(str(name), list(known), n=1)
    return f"Did you mean {near[0]!r}?" if near else None
