"""Record what becomes of each read, where it is decided.  Whatever shows or counts reads consumes these records."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from django.conf import settings as django_settings

from ..conf import on_change
from ..signals import cache_decision
from ..utils import error_boundary
from . import counters
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
        Reason.TOO_LARGE,
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
    decorated function `model` is None and `func` is set.  `seconds` is the time of the whole read.  `compute_seconds`
    is the time of the database or of the decorated function: for a hit that of the read that stored the value.
    `fill_seconds` is the time of storing the result at the end of a miss, 0 if it was not stored.  `size` is the length
    of the value that was found or stored, in bytes, 0 if there is none.  `dependencies` are the names of what the
    result depends on, as `store.describe_dependency` takes them.  Those on rows of `joined_tables` that came back are
    known only to the read that stores the result.  `origin` is what the value was read by, see `reads.origin`.
    `caller` is ``file:line`` of the application.
    """

    operation: str
    model: Any
    reason: Reason
    detail: str = ""
    func: Any = None
    key: str = ""
    seconds: float = 0.0
    compute_seconds: float = 0.0
    fill_seconds: float = 0.0
    size: int = 0
    using: str = ""
    dependencies: list[str] = field(default_factory=list)
    joined_tables: list[str] = field(default_factory=list)
    origin: bytes = b""
    caller: str = ""

    @property
    def outcome(self) -> Outcome:
        return self.reason.outcome


def are_recorded() -> bool:
    """Return whether decisions are counted or anything else consumes them."""
    return counters.is_on or is_observed()


def is_observed() -> bool:
    """Return whether anything consumes decisions: an observer, receivers of ``cache_decision``, or the log in DEBUG."""
    return bool(_is_debug or _observers or cache_decision.receivers)


# Django's settings are slow to ask, and each read asks: `install` sets this.
_is_debug = False


def install() -> None:
    """Log reasons if DEBUG is on."""
    global _is_debug
    _is_debug = bool(django_settings.DEBUG)


@on_change
def _on_change(setting: str) -> None:
    if setting == "DEBUG":
        install()


def observe(observer: Observer) -> None:
    """Call `observer` with each decision.  What it raises is logged."""
    _observers.append(observer)


def unobserve(observer: Observer) -> None:
    """Undo `observe`."""
    _observers.remove(observer)


def publish_bypass(operation: str, model: Any, bypass: Bypass, using: str = "", func: Any = None) -> None:
    """Publish a read that did not use the cache; `model` is None for a decorated function, `func`."""
    publish(Decision(operation, model, bypass.reason, bypass.detail, func=func, using=using))


def publish(decision: Decision) -> None:
    """Hand a decision to all consumers.  None of them can break the read."""
    decision.caller = decision.caller or error_boundary.call_site()
    for observer in list(_observers):
        error_boundary.call_or_default("An observer of the cache failed", partial(observer, decision), None)
    cache_decision.send_robust(sender=decision.model, decision=decision)
    if _is_debug and decision.reason in DEFEATING:
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
