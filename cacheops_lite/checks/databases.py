"""Check that databases which share cached results hold the same data."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured

from .. import conf
from ..store import declared_names
from .messages import Messages, error, warning


def check_databases(app_configs: Any, **kwargs: Any) -> Messages:
    """Check ``CACHEOPS_DATABASE_NAMES``, and ``DATABASES`` for entries that look like undeclared replicas."""
    try:
        unknown = sorted(set(declared_names()) - set(django_settings.DATABASES))
    except ImproperlyConfigured as problem:
        message = f"{problem}. Each read and each write would fail."
        return [error(11, message, "Write a dict such as {'default': 'live'}.")]
    messages = list_undeclared_replicas(django_settings.DATABASES)
    if unknown:
        message = (
            f"CACHEOPS_DATABASE_NAMES names {', '.join(map(repr, unknown))}, which DATABASES does not have: results of "
            "the database that was meant are kept under another name."
        )
        known = ", ".join(map(repr, django_settings.DATABASES))
        messages.append(error(11, message, f"Write aliases of DATABASES: {known}."))
    return messages


def list_undeclared_replicas(databases: dict[str, dict[str, Any]]) -> Messages:
    """Return a warning for each pair of `databases` that share results although no setting declares them replicas."""
    profiles = [conf.model_profile(model) for model in apps.get_models()]
    if not any(profile is not None and profile.db_agnostic for profile in profiles):
        return []
    return list(_undeclared_replicas(databases))


def _undeclared_replicas(databases: dict[str, dict[str, Any]]) -> Iterator[CheckMessage]:
    for (one, first), (other, second) in combinations(databases.items(), 2):
        if not _name(first) or _name(first) != _name(second) or _is_declared(one, other, databases):
            continue
        name = f"ENGINE {first.get('ENGINE')!r} and NAME {str(first.get('NAME'))!r}"
        yield warning(
            7,
            f"DATABASES {one!r} and {other!r} have the same {name}, so they are taken for replicas of one another: "
            "what is cached of one of them also answers reads of the other, because 'db_agnostic' is True by default. "
            "If their data differ, results are wrong.",
            f"If one is a replica, say so: 'TEST': {{'MIRROR': {one!r}}} in DATABASES[{other!r}]. If their "
            f"data differ, name them apart by CACHEOPS_DATABASE_NAMES = {{{other!r}: 'another name'}}, or write "
            "'db_agnostic': False into CACHEOPS_DEFAULTS.",
        )


def _name(database: dict[str, Any]) -> tuple[Any, str] | None:
    name = database.get("NAME")
    return (database.get("ENGINE"), str(name)) if name else None


def _is_declared(one: str, other: str, databases: dict[str, dict[str, Any]]) -> bool:
    """Return whether the settings declare what two databases with the same name are."""
    if any(database.get("TEST", {}).get("MIRROR") for database in (databases[one], databases[other])):
        return True
    names = getattr(django_settings, "CACHEOPS_DATABASE_NAMES", None)
    if isinstance(names, dict) and (one in names or other in names):
        # Distinct names tell them apart, and equal ones declare them replicas.
        return True
    return _place(databases[one]) == _place(databases[other])


def _place(database: dict[str, Any]) -> tuple[Any, ...] | object:
    """Return what the server and the session have in common for entries that can only mean the same data."""
    if ":memory:" in str(database.get("NAME")):
        # Each connection has its own.
        return object()
    return tuple(str(database.get(key) or "") for key in ("HOST", "PORT", "OPTIONS"))
