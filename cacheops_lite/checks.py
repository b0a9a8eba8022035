"""System checks: what is wrong with the settings, told by ``manage.py check`` and at the start of every command.

Ids are stable; docs/checks.rst lists them.  No check connects to Redis or to a database.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, TypeAlias

import redis
from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning
from django.core.checks.registry import registry
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db.models import Model
from django.utils.module_loading import import_string
from redis.connection import parse_url

from . import conf
from .conf import Profile, settings
from .schema import is_tracked
from .store import function_serializer

TAG = "cacheops_lite"

Messages: TypeAlias = list[CheckMessage]


def install() -> None:
    """Have Django run our checks."""
    for check in CHECKS:
        registry.register(check, TAG)


def uninstall() -> None:
    """Have Django forget them."""
    registry.registered_checks.difference_update(CHECKS)


def check_profiles(app_configs: Any, **kwargs: Any) -> Messages:
    """``CACHEOPS`` and ``CACHEOPS_DEFAULTS``."""
    # What makes no sense there raises earlier, when Django starts or they are overridden.
    entries = settings.CACHEOPS or {}
    return [
        *_unknown_options("CACHEOPS_DEFAULTS", settings.CACHEOPS_DEFAULTS or {}),
        *(
            message
            for name, entry in entries.items()
            for message in _unknown_options(f"CACHEOPS entry '{name}'", entry)
        ),
        *(message for name, entry in entries.items() for message in _entry(name, entry is not None)),
        *(message for model in apps.get_models() for message in _cache_on_save(model)),
    ]


def _unknown_options(where: str, entry: dict[str, Any] | None) -> Iterator[CheckMessage]:
    known = [field.name for field in fields(Profile)]
    for option in entry or {}:
        if option not in known:
            yield _warning(1, f"{where} has an unknown option {option!r}.", _nearest(option, known))


def _entry(name: str, caches: bool) -> Iterator[CheckMessage]:
    models = list(apps.get_models(include_auto_created=True, include_swapped=True))
    named = [model for model in models if name.lower() in (model._meta.label_lower, _wildcard(model), "*.*")]
    if not named:
        known = {label for model in models for label in (model._meta.label_lower, _wildcard(model))}
        yield _warning(3, f"CACHEOPS entry '{name}' names no installed model.", _nearest(name.lower(), known))
    elif caches and not any(map(is_tracked, named)):
        yield _warning(
            4,
            f"CACHEOPS entry '{name}' has no effect: nothing that it names is watched.",
            "Models that are swapped for others have no rows; name what they are swapped for.",
        )


def _wildcard(model: type[Model]) -> str:
    return f"{model._meta.app_label.lower()}.*"


def _cache_on_save(model: type[Model]) -> Iterator[CheckMessage]:
    profile = conf.model_profile(model)
    if profile is None or profile.cache_on_save in (True, False, "pk"):
        return
    try:
        known = model._meta.get_field(str(profile.cache_on_save)) in model._meta.concrete_fields
    except FieldDoesNotExist:
        known = False
    if not known:
        names = [field.name for field in model._meta.concrete_fields]
        message = f"'cache_on_save' is {profile.cache_on_save!r}, which is no field of {model._meta.label}."
        hint = _nearest(str(profile.cache_on_save), names) or "True stands for the primary key."
        yield _error(8, message, hint, model)


def check_settings(app_configs: Any, **kwargs: Any) -> Messages:
    """Settings that stand for themselves."""
    messages: Messages = []
    if isinstance(long := settings.CACHEOPS_LONG_DISJUNCTION, bool) or not isinstance(long, int):
        messages.append(_error(6, f"CACHEOPS_LONG_DISJUNCTION should be a whole number, not {long!r}."))
    # As it is written: a name alone would count as its letters.
    skipped = getattr(django_settings, "CACHEOPS_SKIP_FIELDS", ())
    if not isinstance(skipped, (list, tuple, set, frozenset)) or not all(map(_is_field_type, skipped)):
        message = f"CACHEOPS_SKIP_FIELDS should be a list of internal types or classes of fields, not {skipped!r}."
        messages.append(_error(7, message))
    try:
        function_serializer()
    except ImproperlyConfigured as error:
        messages.append(_error(5, str(error)))
    return [*messages, *_unknown_settings()]


def _is_field_type(value: Any) -> bool:
    return isinstance(value, str) or callable(getattr(value, "get_internal_type", None))


def _unknown_settings() -> Iterator[CheckMessage]:
    for name in sorted(dir(django_settings)):
        if name.startswith("CACHEOPS") and name not in conf.DEFAULTS:
            # What all names begin with makes none of them likely.
            known = {known.removeprefix("CACHEOPS_"): known for known in conf.DEFAULTS}
            near = get_close_matches(name.removeprefix("CACHEOPS_"), known, n=1)
            hint = f"Did you mean {known[near[0]]}?" if near else None
            yield _warning(2, f"{name} is no setting of cacheops_lite and has no effect.", hint)


def check_redis(app_configs: Any, **kwargs: Any) -> Messages:
    """``CACHEOPS_REDIS``, ``CACHEOPS_SENTINEL`` and ``CACHEOPS_CLIENT_CLASS``, without making a client of them."""
    address, sentinel = settings.CACHEOPS_REDIS, settings.CACHEOPS_SENTINEL
    messages: Messages = []
    if address and sentinel:
        messages.append(_error(1, "CACHEOPS_REDIS and CACHEOPS_SENTINEL are mutually exclusive."))
    client_class: Any = settings.CACHEOPS_CLIENT_CLASS or redis.Redis
    if isinstance(client_class, str):
        try:
            client_class = import_string(client_class)
        except ImportError as error:
            return [*messages, _error(4, f"CACHEOPS_CLIENT_CLASS {client_class!r} can't be imported: {error}")]
    if not callable(client_class):
        return [*messages, _error(4, f"CACHEOPS_CLIENT_CLASS should be a class or its path, not {client_class!r}.")]
    if sentinel:
        problem, number = _sentinel_problem(sentinel), 3
    else:
        problem, number = _address_problem(address, client_class), 2
    return [*messages, _error(number, problem)] if problem else messages


def _sentinel_problem(options: Any) -> str | None:
    if not isinstance(options, dict):
        return f"CACHEOPS_SENTINEL should be a dict, not {options!r}."
    if not {"locations", "service_name"} <= set(options):
        return "Specify locations and service_name for CACHEOPS_SENTINEL."
    locations = options["locations"]
    is_list = isinstance(locations, (list, tuple)) and locations
    if not is_list or not all(isinstance(each, (list, tuple)) and len(each) == 2 for each in locations):
        return f"'locations' of CACHEOPS_SENTINEL should be a list of (host, port), not {locations!r}."
    return None


def _address_problem(address: Any, client_class: Any) -> str | None:
    if not isinstance(address, (str, dict)):
        return f"CACHEOPS_REDIS should be a dict or a URL, not {address!r}."
    try:
        options: dict[str, Any] = address if isinstance(address, dict) else _url_options(address, client_class)
    except ValueError as error:
        return f"CACHEOPS_REDIS is no URL of a Redis: {error}"
    if options.get("decode_responses"):
        return "Cached values are bytes: leave decode_responses out of CACHEOPS_REDIS."
    return _unknown_arguments(options, client_class) if isinstance(address, dict) else None


def _url_options(url: str, client_class: Any) -> dict[str, Any]:
    # Another class may understand other URLs.
    if not (isinstance(client_class, type) and issubclass(client_class, redis.Redis)):
        return {}
    return dict(parse_url(url))


def _unknown_arguments(options: dict[str, Any], client_class: Any) -> str | None:
    try:
        signature = inspect.signature(client_class)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind(**options)
    except TypeError as error:
        return f"CACHEOPS_REDIS does not fit {client_class.__name__}: {error}."
    return None


def check_apps(app_configs: Any, **kwargs: Any) -> Messages:
    """Other apps that cache querysets, too."""
    messages: Messages = []
    if apps.is_installed("cacheops"):
        message = "Both cacheops and cacheops_lite are in INSTALLED_APPS: each patches querysets."
        messages.append(_error(9, message, "Remove one of them."))
    if apps.is_installed("cachalot"):
        message = "Both cachalot and cacheops_lite are in INSTALLED_APPS: results are cached twice."
        messages.append(_warning(5, message, "A result that cachalot keeps is invalidated by its rules alone."))
    return messages


def _error(number: int, message: str, hint: str | None = None, about: Any = None) -> CheckMessage:
    return Error(message, hint=hint, obj=about, id=f"cacheops_lite.E{number:03}")


def _warning(number: int, message: str, hint: str | None = None) -> CheckMessage:
    return Warning(message, hint=hint, id=f"cacheops_lite.W{number:03}")


def _nearest(name: Any, known: Iterable[str]) -> str | None:
    near = get_close_matches(str(name), list(known), n=1)
    return f"Did you mean {near[0]!r}?" if near else None


CHECKS: list[Callable[..., Messages]] = [check_profiles, check_settings, check_redis, check_apps]
