"""Prefetched instances, and what an application can see of them."""

from __future__ import annotations

from django.db import models
from django.db.models.query import QuerySet

from tests.rich.models import Item


def described(value, depth=4):
    """Describe all of a value that an application can see, except the identities of objects."""
    if isinstance(value, models.Model):
        if not depth:
            return str(value.pk)
        attributes = {name: each for name, each in vars(value).items() if name != "_state"}
        # Django adds an empty dictionary of fields when it is first asked for.
        state = {name: each for name, each in vars(value._state).items() if name != "peers" and each != {}}
        return type(value), described(attributes, depth - 1), described(state, depth - 1)
    if isinstance(value, QuerySet):
        return described_queryset(value, depth)
    if isinstance(value, dict):
        return [(described(name, 0), described(each, depth)) for name, each in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), [described(each, depth) for each in value]
    if isinstance(value, models.Field):
        return str(value)
    return type(value), value if isinstance(value, (str, int, float, bool, type(None), type)) else None


def described_queryset(queryset, depth):
    attributes = {name: each for name, each in vars(queryset).items() if name not in ("_query", "_deferred_filter")}
    has_deferred, filters = type(queryset._deferred_filter), described(queryset._deferred_filter, 0)
    before = vars(queryset)["_query"]
    query = queryset.query
    assert query is before
    # Without caches of Django, which may be None or missing.
    flags = [(name, each) for name, each in vars(query).items() if isinstance(each, (bool, str, int))]
    aliases = [*query.alias_refcount.items()], list(query.alias_map), sorted(query.used_aliases)
    return type(queryset), described(attributes, depth), has_deferred, filters, str(query), flags, aliases, queryset.db


def tagged():
    return list(Item.objects.prefetch_related("tags", "steps").order_by("pk"))
