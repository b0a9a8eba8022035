"""Check the values of single settings, and report unknown ones."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured

from .. import conf
from ..conf import settings
from ..store import check_prefix, function_serializer, payload_compression, signatures
from .messages import Messages, error, warning


def check_settings(app_configs: Any, **kwargs: Any) -> Messages:
    """Check the settings that do not depend on others, and report unknown ones."""
    messages: Messages = []
    if isinstance(long := settings.CACHEOPS_LONG_DISJUNCTION, bool) or not isinstance(long, int):
        message = (
            f"CACHEOPS_LONG_DISJUNCTION should be a whole number, not {long!r}: it is compared with numbers of "
            "alternatives in queries."
        )
        messages.append(error(6, message, f"Write a number, such as {conf.DEFAULTS['CACHEOPS_LONG_DISJUNCTION']}."))
    # Read from Django's settings: ours would have split a single name into its letters.
    skipped = getattr(django_settings, "CACHEOPS_SKIP_FIELDS", ())
    if not isinstance(skipped, (list, tuple, set, frozenset)) or not all(map(_is_field_type, skipped)):
        message = (
            f"CACHEOPS_SKIP_FIELDS should be a list of internal types or classes of fields, not {skipped!r}: other "
            "values match no field."
        )
        messages.append(error(7, message, "Write a list such as ['TextField', 'JSONField']."))
    try:
        function_serializer()
    except ImproperlyConfigured as problem:
        hint = "Write 'pickle', or a module or class with dumps() and loads(), or its dotted path."
        messages.append(error(5, f"{problem}. Results of functions and views can't be cached without it.", hint))
    try:
        check_prefix()
    except ImproperlyConfigured as problem:
        message = f"{problem}. Each read and each write would fail."
        hint = "Write a text such as 'shop:', a function that takes a query, or its dotted path."
        messages.append(error(10, message, hint))
    return [*messages, *_signing_keys(), *_compression(), *_unknown_settings()]


def _signing_keys() -> Iterator[CheckMessage]:
    if not settings.CACHEOPS_SIGNING:
        return
    try:
        signatures.check_keys()
    except ImproperlyConfigured as problem:
        yield error(12, f"{problem}. Each read and each write would fail.", "Write a list of texts, or remove it.")
        return
    if not signatures.configured_secrets():
        message = f"{signatures.UNSIGNABLE}: each process signs with a key of its own, so processes share no results."
        yield error(12, message, "Set SECRET_KEY, which Django needs anyway.")


def _compression() -> Iterator[CheckMessage]:
    name = settings.CACHEOPS_COMPRESSION
    if name is None or payload_compression.method_of(name) is not None:
        return
    package = payload_compression.PACKAGES.get(name)
    if package is None:
        message = f"CACHEOPS_COMPRESSION should be 'lz4', 'zstd' or None, not {name!r}: values are not compressed."
        yield error(13, message, "Write 'lz4' or 'zstd', or remove it.")
    else:
        message = f"CACHEOPS_COMPRESSION is {name!r}, but {package} is not installed: values are not compressed."
        hint = f"Run: pip install {package}. Processes without it can't read what others have compressed."
        yield error(13, message, hint)


def _is_field_type(value: Any) -> bool:
    return isinstance(value, str) or callable(getattr(value, "get_internal_type", None))


def _unknown_settings() -> Iterator[CheckMessage]:
    for name in sorted(dir(django_settings)):
        if name.startswith("CACHEOPS") and name not in conf.DEFAULTS:
            # The common prefix would make all names similar.
            known = {known.removeprefix("CACHEOPS_"): known for known in conf.DEFAULTS}
            near = get_close_matches(name.removeprefix("CACHEOPS_"), known, n=1)
            hint = f"Did you mean {known[near[0]]}?" if near else "Remove it."
            yield warning(2, f"{name} is not a setting of cacheops_lite, so it has no effect.", hint)
