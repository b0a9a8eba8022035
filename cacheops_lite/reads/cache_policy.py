"""Decide whether and how reads of a queryset are cached."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import router
from django.db.models import Model, QuerySet

from ..conf import model_profile, on_change, settings
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
    # The application called cache(), so that non-deterministic queries are cached as well.
    is_explicit: bool = False


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
    return CachePolicy(profile.ops, profile.timeout, profile.lock, profile.db_agnostic, profile.local_get)


@on_change
def _forget_policies(setting: str) -> None:
    policy_of_model.cache_clear()


def is_uncached(queryset: Any) -> bool:
    """Return whether no operation of `queryset` is cached.  Such querysets should cost next to no overhead."""
    policy = policy_of(queryset)
    return policy is None or not policy.ops


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


def active_policy(queryset: Any, op: str) -> CachePolicy | None:
    """Return how to cache operation `op` of `queryset` in the current transaction, None if it must not be cached."""
    policy = policy_of(queryset)
    if policy is None or op not in policy.ops or queryset._for_write or not settings.CACHEOPS_ENABLED:
        return None
    if queryset.query.select_for_update or unit_of_work_for(queryset.db).is_dirty:
        return None
    return policy
