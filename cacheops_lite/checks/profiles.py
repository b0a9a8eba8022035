"""Check the profiles in ``CACHEOPS``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model

from .. import conf
from ..conf import Profile, settings
from ..schema import is_tracked
from .messages import Messages, error, info, nearest, warning


def check_profiles(app_configs: Any, **kwargs: Any) -> Messages:
    """Check ``CACHEOPS`` and ``CACHEOPS_DEFAULTS``."""
    # Invalid values raise ImproperlyConfigured before this, when Django starts or the settings are overridden.
    entries = settings.CACHEOPS or {}
    return [
        *_no_profiles(entries),
        *_unknown_options("CACHEOPS_DEFAULTS", settings.CACHEOPS_DEFAULTS or {}),
        *(
            message
            for name, entry in entries.items()
            for message in _unknown_options(f"CACHEOPS entry '{name}'", entry)
        ),
        *(message for name, entry in entries.items() for message in _matched_models(name, entry is not None)),
        *(message for model in apps.get_models() for message in _wrong_cache_on_save(model)),
        *(message for model in apps.get_models() for message in _relations_without_profile(model)),
        *_local_get(entries),
    ]


def _no_profiles(entries: dict[str, Any]) -> Iterator[CheckMessage]:
    if not entries and settings.CACHEOPS_ENABLED:
        yield info(
            2,
            "CACHEOPS is not set or is empty, so no model has a profile: no queryset is cached, not even by .cache(), "
            "and writes are not followed.",
            "Write profiles, such as CACHEOPS = {'blog.*': {'ops': 'all', 'timeout': 3600}}.",
        )


def _local_get(entries: dict[str, Any]) -> Iterator[CheckMessage]:
    """Report that ``local_get`` makes writers wait here.  In django-cacheops it does not, but rows may be stale."""
    defaults = settings.CACHEOPS_DEFAULTS or {}
    options = {name: {**defaults, **entry} for name, entry in entries.items() if entry is not None}
    names = [repr(name) for name, each in options.items() if each.get("local_get") and not each.get("near")]
    if names:
        yield info(
            5,
            f"Profiles with 'local_get': {', '.join(names)}. What get() finds is kept in each process and is never "
            "stale. For that, each transaction that writes them waits for a lease before its commit, by default "
            f"{settings.CACHEOPS_NEAR_LEASE * 1000:g} milliseconds.",
            "Write 'near': True, or 'near': 'relaxed' for writers that don't wait, instead of 'local_get'.",
        )


def _relations_without_profile(model: type[Model]) -> Iterator[CheckMessage]:
    """Report relations to models without a profile, because queries that join them are not cached."""
    profile = conf.model_profile(model)
    if profile is None or not profile.ops - {"get"}:
        return
    relations = {
        field.name: field.related_model._meta.label
        for field in model._meta.concrete_fields
        if field.is_relation and isinstance(field.related_model, type) and not is_tracked(field.related_model)
    }
    if relations:
        names = ", ".join(f"{name} ({label})" for name, label in relations.items())
        labels = ", ".join(sorted({f"'{label.lower()}'" for label in relations.values()}))
        yield info(
            1,
            f"Relations of {model._meta.label} lead to models without a profile: {names}. Queries that join them are "
            "not cached, as their writes are not followed.",
            hint=f"Add {labels} to CACHEOPS, if only with {{'timeout': ...}}.",
            about=model,
        )


def _unknown_options(where: str, entry: dict[str, Any] | None) -> Iterator[CheckMessage]:
    known = [field.name for field in fields(Profile)]
    for option in entry or {}:
        if option not in known:
            hint = nearest(option, known) or f"Remove it, or write one of: {', '.join(known)}."
            yield warning(1, f"{where} has an unknown option {option!r}, which has no effect.", hint)


def _matched_models(name: str, is_cached: bool) -> Iterator[CheckMessage]:
    models = list(apps.get_models(include_auto_created=True, include_swapped=True))
    matched = [model for model in models if name.lower() in (model._meta.label_lower, _wildcard(model), "*.*")]
    if not matched:
        known = {label for model in models for label in (model._meta.label_lower, _wildcard(model))}
        hint = nearest(name.lower(), known) or "Write the label of an installed model, or 'app_label.*'."
        yield warning(3, f"CACHEOPS entry '{name}' names no installed model, so it has no effect.", hint)
    elif is_cached and not any(map(is_tracked, matched)):
        yield warning(
            4,
            f"CACHEOPS entry '{name}' has no effect: it names only models that have no rows, such as swapped ones.",
            "Name the model that is used instead, such as the one in AUTH_USER_MODEL.",
        )


def _wildcard(model: type[Model]) -> str:
    return f"{model._meta.app_label.lower()}.*"


def _wrong_cache_on_save(model: type[Model]) -> Iterator[CheckMessage]:
    profile = conf.model_profile(model)
    if profile is None or profile.cache_on_save in (True, False, "pk"):
        return
    try:
        is_known = model._meta.get_field(str(profile.cache_on_save)) in model._meta.concrete_fields
    except FieldDoesNotExist:
        is_known = False
    if not is_known:
        names = [field.name for field in model._meta.concrete_fields]
        message = (
            f"The CACHEOPS option 'cache_on_save' of {model._meta.label} is {profile.cache_on_save!r}, which is not a "
            "field with a column of this model: each save would fail."
        )
        hint = nearest(str(profile.cache_on_save), names) or "Write the name of a field, or True for the primary key."
        yield error(8, message, hint, model)
