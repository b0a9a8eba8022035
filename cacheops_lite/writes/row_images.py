"""Row images: the column values of a row before or after a write, as tokens.

An image belongs to a table, not to a model: a row of a multi-table child has one image for each of its tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from django.db.models import Field, GeneratedField, Model
from django.db.models.expressions import BaseExpression, Combinable

from ..conf import on_change
from ..schema import NULL, FieldPreparer, Tokenizer, columns, field_traits, json_keys, name_in_keys, overrides

# {attname: value as it is passed to the database}; unknown values are left out.
RowValues = Mapping[str, Any]

_ABSENT = object()
_EXPRESSIONS = (BaseExpression, Combinable)


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table that stores a part of a model's rows; `fields` are by (quoted) column name.

    There is one object for each table of a model, so it is compared by identity.
    """

    name: str
    fields: Mapping[str, Field[Any, Any]]
    pk: Field[Any, Any]


def table_models(model: type[Model]) -> list[type[Model]]:
    """Return the models whose tables store `model`'s rows: its concrete model and that one's multi-table parents."""
    concrete = model._meta.concrete_model
    if concrete is None:
        raise TypeError(f"{model.__name__} is abstract: it has no rows")
    return [each for each in (concrete, *concrete._meta.all_parents) if not each._meta.proxy]


@cache
def tables_of(model: type[Model]) -> tuple[Table, ...]:
    """Return the tables that store `model`'s rows, the model's own first."""
    return tuple(
        Table(
            name_in_keys(each._meta.db_table),
            {name_in_keys(str(field.column)): field for field in each._meta.local_concrete_fields},
            each._meta.pk,
        )
        for each in table_models(model)
    )


def table_names(model: type[Model]) -> set[str]:
    """Return the names, as used in keys, of the tables that store `model`'s rows."""
    return {table.name for table in tables_of(model)}


def unwrap_lazy(instance: Model) -> Model:
    """Return the instance itself in place of a lazy object such as ``request.user``."""
    # Methods of a lazy object are bound to the object that it wraps.
    return instance if type(instance) is instance.__class__ else instance.serializable_value.__self__  # type: ignore


def instance_values(instance: Model) -> dict[str, Any]:
    """Return the values of `instance` by attname, as far as it has loaded them.

    Values that only the database knows are left out: deferred fields, expressions, generated columns.
    """
    found: dict[str, Any] = {}
    values = instance.__dict__
    for each in _instance_entries(type(instance)):
        value = values.get(each.attname, _ABSENT)
        if value is not _ABSENT and not isinstance(value, _EXPRESSIONS):
            each.add_prepared(found, value)
    return found


@lru_cache(maxsize=1024)
def _instance_entries(model: type[Model]) -> tuple[FieldPreparer, ...]:
    """Return entries for the fields of which an instance has, after save(), the value that the database stores."""
    return tuple(
        FieldPreparer(field) for field in model._meta.concrete_fields if field_traits.is_known_after_save(field)
    )


@lru_cache(maxsize=1024)
def saved_attnames(model: type[Model], update_fields: frozenset[str] | None) -> frozenset[str]:
    """Return the attnames that a save may write; None for `update_fields` means all fields."""
    return frozenset(
        field.attname
        for field in model._meta.concrete_fields
        if update_fields is None
        or field.name in update_fields
        or field.attname in update_fields
        or isinstance(field, GeneratedField)
    )


@lru_cache(maxsize=1024)
def generated_attnames(model: type[Model]) -> frozenset[str]:
    """Return the attnames of generated columns, which each write may change."""
    return frozenset(field.attname for field in model._meta.concrete_fields if isinstance(field, GeneratedField))


def attnames_replaced(instance: Model, before: Mapping[str, Any]) -> list[str]:
    """Return the attnames whose values were replaced on the instance while it was saved.

    `before` is the instance's ``__dict__`` before the save.  Only fields that store the instance's value unchanged
    count: a ``pre_save()`` of another field may have replaced the value after it was written.
    """
    values = instance.__dict__
    return [
        name
        for name in _attnames_stored_unchanged(type(instance))
        if name in before and before[name] is not values.get(name) and not isinstance(before[name], _EXPRESSIONS)
    ]


def attnames_returned(instance: Model, before: Mapping[str, Any]) -> list[str]:
    """Return the attnames whose expressions were replaced by values that the statement returned (Django 6.0 and later).

    Such a value is what the field shows, which may differ from what the database stores.
    """
    values = instance.__dict__
    return [
        field.attname
        for field in type(instance)._meta.concrete_fields
        if isinstance(before.get(field.attname), _EXPRESSIONS)
        and not isinstance(values.get(field.attname), _EXPRESSIONS)
    ]


@lru_cache(maxsize=1024)
def _attnames_stored_unchanged(model: type[Model]) -> tuple[str, ...]:
    options: Any = model._meta
    returned = {*options.pk_fields, *getattr(options, "db_returning_fields", ())}
    return tuple(
        field.attname
        for field in options.concrete_fields
        if type(field).pre_save is Field.pre_save and not field.primary_key and field not in returned
    )


def has_custom_pre_save(model: type[Model]) -> bool:
    """Return whether a field computes what it stores, and so may change the instance's values of other fields."""
    return len(_instance_entries(model)) < len([each for each in model._meta.concrete_fields if not each.generated])


def attnames_unknown_after_save(instance: Model) -> list[str]:
    """Return the attnames whose values only the database knows after a save.

    These are expressions, generated columns and values that fields compute.  It is all attnames where the model
    overrides how Django writes rows, for example to increment a version column.
    """
    kind: Any = type(instance)
    if not (overrides.is_django_method(kind, "_do_update") and overrides.is_django_method(kind, "_do_insert")):
        return [field.attname for field in kind._meta.concrete_fields]
    values = instance.__dict__
    entries = _instance_entries(type(instance))
    expressions = [each.attname for each in entries if isinstance(values.get(each.attname), _EXPRESSIONS)]
    return [*expressions, *_attnames_not_on_instances(type(instance))]


@lru_cache(maxsize=1024)
def _attnames_not_on_instances(model: type[Model]) -> tuple[str, ...]:
    known = {each.attname for each in _instance_entries(model)}
    return tuple(field.attname for field in model._meta.concrete_fields if field.attname not in known)


class Image(Mapping[str, str]):
    """The tokens of a row by column of one table, made when they are first asked for.

    Columns whose value is unknown or has no token are missing.  JSON is kept as text, since the application may change
    the value before a token is asked for.
    """

    __slots__ = ("_texts", "_tokenizers", "_tokens", "_values")

    def __init__(self, table: Table, values: RowValues, vendor: str):
        self._values = values
        self._tokenizers = _tokenizers(table, vendor)
        self._tokens: dict[str, str | None] = {}
        # By column; None for NULL.
        self._texts: dict[str, str | None] = {}
        for column, field in _json_fields(table, vendor):
            value = values.get(field.attname, _ABSENT)
            text = None if value is _ABSENT else json_keys.snapshot(field, value)
            if text is not None:
                self._texts[column] = None if value is None else text

    def get(self, column: str, default: Any = None) -> Any:
        tokens = self._tokens
        if column not in tokens:
            tokens[column] = self._token(column)
        token = tokens[column]
        return default if token is None else token

    def _token(self, column: str) -> str | None:
        stored, path = json_keys.split_quoted(column)
        if path:
            text = self._texts.get(stored, "")
            return NULL if text is None else json_keys.token_at(text, path)
        attname, tokenize = self._tokenizers.get(column, ("", None))
        if tokenize is None or attname not in self._values:
            return None
        return columns.apply_tokenizer(tokenize, self._values[attname])

    def __getitem__(self, column: str) -> str:
        token: str | None = self.get(column)
        if token is None:
            raise KeyError(column)
        return token

    def __iter__(self) -> Iterator[str]:
        return (column for column in self._tokenizers if self.get(column) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@cache
def _tokenizers(table: Table, vendor: str) -> dict[str, tuple[str, Tokenizer]]:
    """Return, for each column that has tokens, its attname and the function that makes them."""
    found = ((column, field.attname, columns.tokenizer(field, vendor)) for column, field in table.fields.items())
    return {column: (attname, tokenize) for column, attname, tokenize in found if tokenize is not None}


@cache
def _json_fields(table: Table, vendor: str) -> tuple[tuple[str, Field[Any, Any]], ...]:
    """Return the columns whose values have keys that conditions may compare, with their fields."""
    return tuple((column, field) for column, field in table.fields.items() if json_keys.has_keys(field, vendor))


def tokenizer_at(field: Field[Any, Any], path: Sequence[str], vendor: str) -> Tokenizer | None:
    """Return what makes tokens of values of `field`, or of the keys at `path` in them; None if these have no tokens."""
    if not path:
        return columns.tokenizer(field, vendor)
    return json_keys.tokenizer_of(field, path) if json_keys.has_keys(field, vendor) else None


@on_change
def _forget(setting: str) -> None:
    _tokenizers.cache_clear()
