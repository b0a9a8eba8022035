"""What a read returned, as plain values that differ wherever a user could tell a difference."""

from __future__ import annotations

from typing import Any

from django.db.models import Model, QuerySet


def plain(value: Any, above: tuple[int, ...] = ()) -> Any:
    """`value` with types told, instances by all that they hold; rows of a queryset without order, in one of ours.

    `above` are the instances that hold it: those that are related hold each other.
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
    held = {name: each for name, each in value.__dict__.items() if not name.startswith("_")}
    lists = getattr(value, "_prefetched_objects_cache", {})
    parts = [plain(part, above) for part in (held, state.fields_cache, lists)]
    return type(value).__name__, parts, state.adding, state.db
