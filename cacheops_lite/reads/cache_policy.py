"""Decide whether and how reads of a queryset are cached, by its profile and transaction.

What a query contains can keep it from being cached as well: `query.read_set` decides that.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import router
from django.db.models import Model, QuerySet

from ..conf import Near, model_profile, on_change, settings
from ..observe import Bypass, Reason, counters, decisions
from ..store import NearOptions
from ..writes import unit_of_work_for


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """Which operations of a queryset are cached, and how: its model's profile, changed by ``cache()`` or ``nocache()``.

    `timeout` is in seconds.
    """

    ops: frozenset[str]
    timeout: int
    lock: bool
    db_agnostic: bool
    local_get: bool = False
    near: Near = False
    # In seconds.
    near_lease: float = 0.0
    # The application called cache(), so that non-deterministic queries are cached as well.
    is_explicit: bool = False
    # Why no operation is cached, if it is not the profile's choice.
    bypass_reason: Reason | None = None

    def near_options(self, operation: str, is_rows: bool) -> NearOptions | None:
        """Return how results of an operation are kept in the near cache, None if they are not."""
        near = self.near or (self.local_get and operation == "get")
        return _shared_options(self.near_lease, near is True, is_rows) if near else None


@lru_cache(maxsize=64)
def _shared_options(lease: float, is_strict: bool, is_rows: bool) -> NearOptions:
    return NearOptions(lease, is_strict, is_rows)


def policy_of(queryset: Any) -> CachePolicy | None:
    """Return how `queryset` is cached, None for a model without a profile."""
    # Decorators may ask before `install()` gave querysets this attribute.
    return getattr(queryset, "_cacheops_policy", None) or policy_of_model(queryset.model)


@lru_cache(maxsize=1024)
def policy_of_model(model: type[Model]) -> CachePolicy | None:
    """Return how querysets of `model` are cached by default, None if it has no profile."""
    profile = model_profile(model)
    if profile is None:
        return None
    return CachePolicy(
        *(profile.ops, profile.timeout, profile.lock, profile.db_agnostic, profile.local_get),
        *(profile.near, profile.near_lease),
    )


@on_change
def _forget_policies(setting: str) -> None:
    policy_of_model.cache_clear()


def is_uncached(queryset: Any, operation: str | None) -> bool:
    """Return whether no operation of `queryset` is cached.  Such querysets should cost next to no overhead.

    The bypass is recorded for `operation`; None if the read makes another one that is.
    """
    policy = policy_of(queryset)
    if policy is not None and policy.ops:
        return False
    # This package's own reads of before images are marked like Django's reads for writes.
    if operation is not None and not queryset._for_write and (counters.is_on or decisions.is_observed()):
        record_bypass(queryset, operation, _NO_PROFILE if policy is None else _why_not(queryset, operation, policy))
    return True


def record_bypass(queryset: Any, operation: str, bypass: Bypass) -> None:
    """Count and publish that the database was read without the cache."""
    if counters.is_on:
        counters.note(queryset.model, operation, bypass.reason, bypass.detail)
    if decisions.is_observed():
        decisions.publish_bypass(operation, queryset.model, bypass, queryset._db or "")


def require_policy(queryset: QuerySet[Any]) -> CachePolicy:
    """Return how `queryset` is cached.  Raises ImproperlyConfigured for a model without a profile."""
    policy = policy_of(queryset)
    if policy is None:
        options = queryset.model._meta
        raise ImproperlyConfigured(
            f"Cacheops is not enabled for {options.app_label}.{options.model_name} model.\n"
            f"If you don't want to cache anything by default you can configure it with empty ops."
        )
    return policy


def pin_database(queryset: Any) -> Any:
    """Return the queryset, or a copy that names its database, as a router may choose another one at each call."""
    # A queryset that methods change in place can't be copied.
    if queryset._db is not None or not router.routers or queryset._cacheops_cloning == 0:
        return queryset
    return queryset.using(queryset.db)


def active_policy(queryset: Any, op: str) -> CachePolicy | Bypass:
    """Return how to cache operation `op` of `queryset` in the current transaction, or why it must not be cached."""
    policy = policy_of(queryset)
    if policy is None or op not in policy.ops or queryset._for_write or not settings.CACHEOPS_ENABLED:
        return _why_not(queryset, op, policy)
    if queryset.query.select_for_update:
        return _BYPASSES[Reason.SELECT_FOR_UPDATE]
    if unit_of_work_for(queryset.db).is_dirty:
        return _BYPASSES[Reason.TRANSACTION_HAS_WRITTEN]
    return policy


_BYPASSES = {reason: Bypass(reason) for reason in Reason}
_NO_PROFILE = _BYPASSES[Reason.NO_PROFILE]


def _why_not(queryset: Any, op: str, policy: CachePolicy | None) -> Bypass:
    if policy is None:
        return _NO_PROFILE
    if policy.bypass_reason is not None:
        return _BYPASSES[policy.bypass_reason]
    if op not in policy.ops:
        return _BYPASSES[Reason.OPERATION_NOT_IN_OPS]
    if queryset.query.select_for_update:
        return _BYPASSES[Reason.SELECT_FOR_UPDATE]
    return _BYPASSES[Reason.FOR_WRITE if queryset._for_write else Reason.DISABLED]
