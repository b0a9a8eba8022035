"""Record what becomes of each read, where it is decided.  Whatever shows or counts reads consumes these records."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from django.conf import settings as django_settings

from ..conf import on_change
from ..signals import cache_decision
from ..utils import error_boundary
from .reasons import Outcome, Reason

logger = logging.getLogger("cacheops_lite")

Observer = Callable[["Decision"], None]
_observers: list[Observer] = []
# Reasons that a developer should know about: a profile or .cache() has no effect.  The others are as intended.
DEFEATING = frozenset(
    {
        Reason.TABLE_WITHOUT_PROFILE,
        Reason.NON_DETERMINISTIC,
        Reason.UNKNOWN_TABLE,
        Reason.NOT_ANALYSABLE,
        Reason.UNSTORABLE,
    }
)


@dataclass(frozen=True, slots=True)
class Bypass:
    """Why a read does not use the cache.  It is falsy, so that it can stand where a policy or a read is expected."""

    reason: Reason
    detail: str = ""

    def __bool__(self) -> Literal[False]:
        return False

    def __str__(self) -> str:
        return f"{self.reason.text}: {self.detail}" if self.detail else self.reason.text


@dataclass(slots=True)
class Decision:
    """What became of one read.

    `operation` is one of ``get``, ``fetch``, ``count``, ``exists``, ``aggregate``, ``raw`` and ``call``.  For a
    decorated function `model` is None and `func` is set.  `seconds` is the time of the whole read.  `size` is the
    length of the stored value in bytes, 0 if none was read.  `caller` is ``file:line`` of the application.
    """

    operation: str
    model: Any
    reason: Reason
    detail: str = ""
    func: Any = None
    key: str = ""
    seconds: float = 0.0
    size: int = 0
    using: str = ""
    caller: str = ""

    @property
    def outcome(self) -> Outcome:
        return self.reason.outcome


def is_observed() -> bool:
    """Return whether anything consumes decisions: an observer, receivers of ``cache_decision``, or the log in DEBUG."""
    return bool(_observers or cache_decision.receivers or (_read_debug() if _debug is None else _debug))


# Django's settings are slow to ask, and each read asks.
_debug: bool | None = None


def _read_debug() -> bool:
    global _debug
    _debug = bool(django_settings.DEBUG)
    return _debug


@on_change
def _forget_debug(setting: str) -> None:
    global _debug
    if setting == "DEBUG":
        _debug = None


def observe(observer: Observer) -> None:
    """Call `observer` with each decision.  What it raises is logged."""
    _observers.append(observer)


def unobserve(observer: Observer) -> None:
    """Undo `observe`."""
    _observers.remove(observer)


def publish(decision: Decision) -> None:
    """Hand a decision to all consumers.  None of them can break the read."""
    decision.caller = decision.caller or error_boundary.call_site()
    for observer in list(_observers):
        error_boundary.call_or_default("An observer of the cache failed", partial(observer, decision), None)
    cache_decision.send_robust(sender=decision.model, decision=decision)
    if _read_debug() and decision.reason in DEFEATING:
        warn_once(decision)


def warn_once(decision: Decision) -> None:
    """Log why a read is not cached, once per call site and reason."""
    decision.caller = decision.caller or error_boundary.call_site()
    if error_boundary.is_first_report((decision.reason, decision.detail, decision.caller)):
        label = decision.model._meta.label if decision.model is not None else decision.func
        detail = f" ({decision.detail})" if decision.detail else ""
        logger.warning(
            "%s() of %s at %s is not cached: %s%s. %s",
            *(decision.operation, label, decision.caller, decision.reason.text, detail, decision.reason.hint),
        )
