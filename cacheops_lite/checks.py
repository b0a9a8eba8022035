"""System checks of the settings, run by ``manage.py check`` and at the start of most commands.

Ids are stable; docs/checks.rst lists them.  No check connects to Redis or to a database.  A message says what is wrong
and why it matters; its hint says what to write instead.
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
from django.core.checks import CheckMessage, Error, Info, Warning
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

REDIS_HINT = (
    "Write a URL such as 'redis://localhost:6379/1', or a dict of arguments of the client class, such as "
    "{'host': 'localhost', 'port': 6379, 'db': 1}."
)
SENTINEL_HINT = "Write a dict such as {'locations': [('localhost', 26379)], 'service_name': 'mymaster'}."
CLIENT_CLASS_HINT = "Write a class, or its dotted path, such as 'redis.Redis'."


def install() -> None:
    """Register the checks with Django."""
    for check in CHECKS:
        registry.register(check, TAG)


def uninstall() -> None:
    """Unregister the checks."""
    registry.registered_checks.difference_update(CHECKS)


def check_profiles(app_configs: Any, **kwargs: Any) -> Messages:
    """Check ``CACHEOPS`` and ``CACHEOPS_DEFAULTS``."""
    # Invalid values raise ImproperlyConfigured before this, when Django starts or the settings are overridden.
    entries = settings.CACHEOPS or {}
    return [
        *_unknown_options("CACHEOPS_DEFAULTS", settings.CACHEOPS_DEFAULTS or {}),
        *(
            message
            for name, entry in entries.items()
            for message in _unknown_options(f"CACHEOPS entry '{name}'", entry)
        ),
        *(message for name, entry in entries.items() for message in _matched_models(name, entry is not None)),
        *(message for model in apps.get_models() for message in _wrong_cache_on_save(model)),
        *(message for model in apps.get_models() for message in _relations_without_profile(model)),
    ]


def _relations_without_profile(model: type[Model]) -> Iterator[CheckMessage]:
    """Report joins that keep queries from being cached: the first that a new user meets, and nothing else says so."""
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
        yield Info(
            f"Relations of {model._meta.label} lead to models without a profile: {names}. Queries that join them are "
            "not cached, as their writes are not followed.",
            hint=f"Add {labels} to CACHEOPS, if only with {{'timeout': ...}}.",
            obj=model,
            id="cacheops_lite.I001",
        )


def _unknown_options(where: str, entry: dict[str, Any] | None) -> Iterator[CheckMessage]:
    known = [field.name for field in fields(Profile)]
    for option in entry or {}:
        if option not in known:
            hint = _nearest(option, known) or f"Remove it, or write one of: {', '.join(known)}."
            yield _warning(1, f"{where} has an unknown option {option!r}, which has no effect.", hint)


def _matched_models(name: str, is_cached: bool) -> Iterator[CheckMessage]:
    models = list(apps.get_models(include_auto_created=True, include_swapped=True))
    matched = [model for model in models if name.lower() in (model._meta.label_lower, _wildcard(model), "*.*")]
    if not matched:
        known = {label for model in models for label in (model._meta.label_lower, _wildcard(model))}
        hint = _nearest(name.lower(), known) or "Write the label of an installed model, or 'app_label.*'."
        yield _warning(3, f"CACHEOPS entry '{name}' names no installed model, so it has no effect.", hint)
    elif is_cached and not any(map(is_tracked, matched)):
        yield _warning(
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
        hint = _nearest(str(profile.cache_on_save), names) or "Write the name of a field, or True for the primary key."
        yield _error(8, message, hint, model)


def check_settings(app_configs: Any, **kwargs: Any) -> Messages:
    """Check the settings that do not depend on others, and report unknown ones."""
    messages: Messages = []
    if isinstance(long := settings.CACHEOPS_LONG_DISJUNCTION, bool) or not isinstance(long, int):
        message = (
            f"CACHEOPS_LONG_DISJUNCTION should be a whole number, not {long!r}: it is compared with numbers of "
            "alternatives in queries."
        )
        messages.append(_error(6, message, f"Write a number, such as {conf.DEFAULTS['CACHEOPS_LONG_DISJUNCTION']}."))
    # Read from Django's settings: ours would have split a single name into its letters.
    skipped = getattr(django_settings, "CACHEOPS_SKIP_FIELDS", ())
    if not isinstance(skipped, (list, tuple, set, frozenset)) or not all(map(_is_field_type, skipped)):
        message = (
            f"CACHEOPS_SKIP_FIELDS should be a list of internal types or classes of fields, not {skipped!r}: other "
            "values match no field."
        )
        messages.append(_error(7, message, "Write a list such as ['TextField', 'JSONField']."))
    try:
        function_serializer()
    except ImproperlyConfigured as error:
        hint = "Write 'pickle', or a module or class with dumps() and loads(), or its dotted path."
        messages.append(_error(5, f"{error}. Results of functions and views can't be cached without it.", hint))
    return [*messages, *_unknown_settings()]


def _is_field_type(value: Any) -> bool:
    return isinstance(value, str) or callable(getattr(value, "get_internal_type", None))


def _unknown_settings() -> Iterator[CheckMessage]:
    for name in sorted(dir(django_settings)):
        if name.startswith("CACHEOPS") and name not in conf.DEFAULTS:
            # The common prefix would make all names similar.
            known = {known.removeprefix("CACHEOPS_"): known for known in conf.DEFAULTS}
            near = get_close_matches(name.removeprefix("CACHEOPS_"), known, n=1)
            hint = f"Did you mean {known[near[0]]}?" if near else "Remove it."
            yield _warning(2, f"{name} is not a setting of cacheops_lite, so it has no effect.", hint)


def check_redis(app_configs: Any, **kwargs: Any) -> Messages:
    """Check ``CACHEOPS_REDIS``, ``CACHEOPS_SENTINEL`` and ``CACHEOPS_CLIENT_CLASS`` without creating a client."""
    address, sentinel = settings.CACHEOPS_REDIS, settings.CACHEOPS_SENTINEL
    messages: Messages = []
    if address and sentinel:
        message = "CACHEOPS_REDIS and CACHEOPS_SENTINEL are both set: only one of them can say where Redis is."
        messages.append(_error(1, message, "Remove one of them."))
    client_class: Any = settings.CACHEOPS_CLIENT_CLASS or redis.Redis
    if isinstance(client_class, str):
        try:
            client_class = import_string(client_class)
        except ImportError as error:
            message = f"CACHEOPS_CLIENT_CLASS {client_class!r} can't be imported: {error}"
            return [*messages, _error(4, message, CLIENT_CLASS_HINT)]
    if not callable(client_class):
        message = (
            f"CACHEOPS_CLIENT_CLASS should be a class or its path, not {client_class!r}: it is called for a client."
        )
        return [*messages, _error(4, message, CLIENT_CLASS_HINT)]
    if sentinel:
        problem, number, hint = _sentinel_problem(sentinel), 3, SENTINEL_HINT
    else:
        problem, number, hint = _address_problem(address, client_class), 2, REDIS_HINT
    return [*messages, _error(number, problem, hint)] if problem else messages


def _sentinel_problem(options: Any) -> str | None:
    if not isinstance(options, dict):
        return f"CACHEOPS_SENTINEL should be a dict, not {options!r}."
    if missing := {"locations", "service_name"} - set(options):
        return f"CACHEOPS_SENTINEL lacks {' and '.join(sorted(missing))}: without them the master can't be found."
    locations = options["locations"]
    is_list = isinstance(locations, (list, tuple)) and locations
    if not is_list or not all(isinstance(each, (list, tuple)) and len(each) == 2 for each in locations):
        return f"CACHEOPS_SENTINEL has 'locations' that should be a list of (host, port), not {locations!r}."
    return None


def _address_problem(address: Any, client_class: Any) -> str | None:
    if not isinstance(address, (str, dict)):
        return f"CACHEOPS_REDIS should be a dict or a URL, not {address!r}."
    try:
        options: dict[str, Any] = address if isinstance(address, dict) else _url_options(address, client_class)
    except ValueError as error:
        return f"CACHEOPS_REDIS is not a URL of a Redis server: {error}"
    if options.get("decode_responses"):
        return "CACHEOPS_REDIS has decode_responses, but cached values are bytes, not text: leave decode_responses out."
    return _unknown_arguments(options, client_class) if isinstance(address, dict) else None


def _url_options(url: str, client_class: Any) -> dict[str, Any]:
    # Other client classes may accept other URLs.
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
        return f"CACHEOPS_REDIS has arguments that {client_class.__name__} does not accept: {error}."
    return None


def check_apps(app_configs: Any, **kwargs: Any) -> Messages:
    """Check for other apps that cache querysets."""
    messages: Messages = []
    if apps.is_installed("cacheops"):
        message = "INSTALLED_APPS has both cacheops and cacheops_lite, which patch the same methods of querysets."
        messages.append(_error(9, message, "Remove one of them."))
    if apps.is_installed("cachalot"):
        message = (
            "INSTALLED_APPS has both cachalot and cacheops_lite: results are cached twice, and those that cachalot "
            "caches are invalidated only by its own rules."
        )
        messages.append(_warning(5, message, "Remove one of them."))
    return messages


def _error(number: int, message: str, hint: str | None = None, about: Any = None) -> CheckMessage:
    return Error(message, hint=hint, obj=about, id=f"cacheops_lite.E{number:03}")


def _warning(number: int, message: str, hint: str | None = None) -> CheckMessage:
    return Warning(message, hint=hint, id=f"cacheops_lite.W{number:03}")


def _nearest(name: Any, known: Iterable[str]) -> str | None:
    near = get_close_matches(str(name), list(known), n=1)
    return f"Did you mean {near[0]!r}?" if near else None


CHECKS: list[Callable[..., Messages]] = [check_profiles, check_settings, check_redis, check_apps]
