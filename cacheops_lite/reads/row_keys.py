"""Make the cache key and the version set of one row that is looked up by a unique column, without building SQL."""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Any

from django.db import connections
from django.db.models import Field, Model
from django.db.models.signals import class_prepared

from ..conf import on_change
from ..query import active_locale, model_layout, mutable_positions
from ..schema import INDETERMINATE, Dependency, columns, field_traits, name_in_keys, overrides, text_token
from ..store import Digest, VersionSet, digest, prefixes_of_row, value_key, value_suffix
from ..utils import LruMap, error_boundary

KeyAndVersions = tuple[str, VersionSet]

_keys_and_versions: LruMap[Hashable, KeyAndVersions] = LruMap(1000)
# Longer texts are hardly looked up twice.
MAX_REMEMBERED_CHARS = 200


class LookupModel:
    """A model whose rows can be looked up directly: its unique fields, by the names that ``get()`` accepts for them."""

    def __init__(self, model: type[Model]):
        options = model._meta
        self.model = model
        self.fields: dict[str, Field[Any, Any]] = {}
        # By class of these fields.  Registering a lookup replaces the dict that ``get_class_lookups()`` returns.
        self.class_lookups: dict[type, Any] = {}
        for field in options.concrete_fields:
            is_unique = field.primary_key or (field.unique and not field.is_relation)
            if is_unique and overrides.compares_like_django(field):
                self.class_lookups[type(field)] = type(field).get_class_lookups()
                names = {field.name, field.attname} | ({"pk"} if field.primary_key else set())
                self.fields.update({spelling: field for each in names for spelling in (each, f"{each}__exact")})
        self.mutable = mutable_positions(options.concrete_fields)
        self.depends_on_locale = not all(map(field_traits.loads_like_django, options.concrete_fields))
        self.attnames = [field.attname for field in options.concrete_fields]
        self.table = options.db_table
        self.table_in_keys = name_in_keys(options.db_table)
        self.fingerprint = digest("get", model_layout(model))


@lru_cache(maxsize=1024)
def lookup_model_of(model: type[Model]) -> LookupModel | None:
    """Return what is known of `model`, None if its rows do not lie in one table or have no single key column."""
    concrete: Any = model._meta.concrete_model
    is_simple = concrete is not None and not concrete._meta.parents and concrete._meta.pk.column is not None
    return LookupModel(model) if is_simple else None


def key_and_versions(
    lookup_model: LookupModel, field: Field[Any, Any], value: Any, using: str, db_agnostic: bool
) -> KeyAndVersions | None:
    """Return the cache key and the version set of the row whose `field` has this value, None if it has no token.

    The type of `value` is one of `sql.KEY_TYPES`.
    """
    prefixes = prefixes_of_row(lookup_model.table, lookup_model.table_in_keys, using)
    locale = active_locale() if lookup_model.depends_on_locale else ""
    suffix = value_suffix(using)
    identity = lookup_model, field, value, using, db_agnostic, prefixes, locale, suffix
    found = _keys_and_versions.get(identity)
    if found is None:
        found = _make_key_and_versions(lookup_model, field, value, using, db_agnostic, prefixes, locale, suffix)
        if found is not None and (type(value) is not str or len(value) <= MAX_REMEMBERED_CHARS):
            _keys_and_versions.put(identity, found)
    return found


def _make_key_and_versions(
    lookup_model: LookupModel,
    field: Field[Any, Any],
    value: Any,
    using: str,
    db_agnostic: bool,
    prefixes: tuple[str, str],
    locale: str,
    suffix: str,
) -> KeyAndVersions | None:
    vendor, column = connections[using].vendor, str(field.column)
    dependencies = dependencies_of_row(lookup_model, field, value, vendor)
    if not dependencies:
        return None
    # Values that the database may find equal can share a token, but each has a key of its own.
    value_text = dependencies[0].conditions[0][1]
    if columns.compares_inexactly(field, vendor):
        value_text = text_token(field.get_prep_value(value))
    name = _key_digest(lookup_model, vendor, f"{'' if db_agnostic else using}{locale}", column).of(value_text)
    version_set = VersionSet(prefixes[1], dependencies)
    return value_key(prefixes[0], name + suffix, version_set.tables), version_set


def dependencies_of_row(lookup_model: LookupModel, field: Field[Any, Any], value: Any, vendor: str) -> list[Dependency]:
    """Return what the row with this value depends on, nothing if the value has no token."""
    column = str(field.column)
    try:
        token = columns.condition_token(field, vendor, field.get_prep_value(value))
    except Exception as error:
        # A field may raise for a value that it does not accept.  Django's get() then raises its own error.
        error_boundary.reraise_interrupt(error)
        return []
    if token is None:
        return []
    tokens = [token]
    if columns.compares_inexactly(field, vendor) and columns.may_be_indeterminate(field, vendor):
        tokens.append(INDETERMINATE)
    return [Dependency(lookup_model.table, ((column, token),), None) for token in tokens]


@lru_cache(maxsize=1024)
def _key_digest(lookup_model: LookupModel, vendor: str, alias: str, column: str) -> Digest:
    return Digest(lookup_model.fingerprint, vendor, alias, column)


def forget(*args: Any, **kwargs: Any) -> None:
    """Forget all models and keys: a setting, a model or a lookup has changed."""
    lookup_model_of.cache_clear()
    _key_digest.cache_clear()
    _keys_and_versions.clear()


on_change(forget)
class_prepared.connect(forget, dispatch_uid="cacheops_lite.reads.row_keys")
