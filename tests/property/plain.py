"""Turn results into plain values that are equal only if the application cannot distinguish the results."""

from __future__ import annotations

from typing import Any

from django.db.models import Model, QuerySet


def plain(value: Any, above: tuple[int, ...] = ()) -> Any:
    """Return `value` as plain values with their types; instances as their attributes.

    The rows of an unordered queryset are sorted.  `above` are the ids of the instances that contain `value`, because
    related instances may refer to each other.
    """
    if isinstance(value, QuerySet):
        rows = [plain(each, above) for each in value]
        return rows if value.ordered else sorted(rows, key=repr)
    if isinstance(value, Model):
        return instance(value, above)
    if isinstance(value, dict):
        return "dict", sorted(((plain(key), plain(each, above)) for key, each in value.items()), key=repr)
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [plain(each, above) for each in value]
    if isinstance(value, memoryview):
        return "memoryview", bytes(value)
    return type(value).__name__, repr(value)


def instance(value: Model, above: tuple[int, ...]) -> Any:
    if id(value) in above:
        return type(value).__name__, value.pk
    above += (id(value),)
    state = value._state
    attributes = {name: each for name, each in value.__dict__.items() if not name.startswith("_")}
    lists = getattr(value, "_prefetched_objects_cache", {})
    parts = [plain(part, above) for part in (attributes, state.fields_cache, lists)]
    return type(value).__name__, parts, state.adding, state.db
