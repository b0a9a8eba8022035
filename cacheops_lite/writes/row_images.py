"""Row images: what a row was before a write and what it is after, as tokens.

An image belongs to a table, not to a model: a multi-table child's row gives one for each of its tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from django.db.models import Field, GeneratedField, Model
from django.db.models.expressions import BaseExpression, Combinable

from ..conf import on_change
from ..schema import FieldPreparer, Tokenizer, columns, field_traits, name_in_keys, overrides

# {attname: value as the database gets it}; what is not known is not there.
Snapshot = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table that holds a part of a model's rows; columns by their (quoted) name.  There is one of each."""

    name: str
    fields: Mapping[str, Field[Any, Any]]
    pk: Field[Any, Any]


def owners_of(model: type[Model]) -> list[type[Model]]:
    """The models whose tables `model`'s rows lie in: its own, and its multi-table parents'."""
    concrete = model._meta.concrete_model
    if concrete is None:
        raise TypeError(f"{model.__name__} is abstract: it has no rows")
    return [owner for owner in (concrete, *concrete._meta.all_parents) if not owner._meta.proxy]


@cache
def tables_of(model: type[Model]) -> tuple[Table, ...]:
    """The tables that `model`'s rows lie in."""
    return tuple(
        Table(
            name_in_keys(owner._meta.db_table),
            {name_in_keys(str(field.column)): field for field in owner._meta.local_concrete_fields},
            owner._meta.pk,
        )
        for owner in owners_of(model)
    )


def table_names(model: type[Model]) -> set[str]:
    """The names in keys of the tables that `model`'s rows lie in."""
    return {table.name for table in tables_of(model)}


def unwrapped(instance: Model) -> Model:
    """The instance itself, where a lazy object stands for it, as ``request.user`` is one."""
    # Of a lazy object methods are those of what it stands for.
    return instance if type(instance) is instance.__class__ else instance.serializable_value.__self__  # type: ignore


def snapshot(instance: Model) -> dict[str, Any]:
    """What `instance` holds, of everything that is loaded.

    Left out is what only the database knows: deferred fields, expressions, generated columns.
    """
    held: dict[str, Any] = {}
    values = instance.__dict__
    for each in _told_by_instances(type(instance)):
        value = values.get(each.attname, _ABSENT)
        if value is not _ABSENT and not isinstance(value, _EXPRESSIONS):
            each.add_prepared(held, value)
    return held


_ABSENT = object()
_EXPRESSIONS = (BaseExpression, Combinable)


@lru_cache(maxsize=1024)
def _told_by_instances(model: type[Model]) -> tuple[FieldPreparer, ...]:
    return tuple(
        FieldPreparer(field) for field in model._meta.concrete_fields if field_traits.is_known_after_save(field)
    )


@lru_cache(maxsize=1024)
def written_by(model: type[Model], names: frozenset[str] | None) -> frozenset[str]:
    """The attnames that a save may write which is limited to `names`, if they are given."""
    return frozenset(
        field.attname
        for field in model._meta.concrete_fields
        if names is None or field.name in names or field.attname in names or isinstance(field, GeneratedField)
    )


@lru_cache(maxsize=1024)
def generated(model: type[Model]) -> frozenset[str]:
    """The attnames of generated columns, which each write may change."""
    return frozenset(field.attname for field in model._meta.concrete_fields if isinstance(field, GeneratedField))


def replaced(instance: Model, before: Mapping[str, Any]) -> list[str]:
    """The attnames of which the instance holds something else than `before` it was written, of those whose fields store
    what it holds: another field may have put it there too late."""
    values = instance.__dict__
    return [
        name
        for name in _stored_as_held(type(instance))
        if name in before and before[name] is not values.get(name) and not isinstance(before[name], _EXPRESSIONS)
    ]


def returned(instance: Model, before: Mapping[str, Any]) -> list[str]:
    """The attnames of which the instance holds what the statement returned for an expression, since Django 6.0.

    That is what the field shows, which may be another value than the database holds.
    """
    values = instance.__dict__
    return [
        field.attname
        for field in type(instance)._meta.concrete_fields
        if isinstance(before.get(field.attname), _EXPRESSIONS)
        and not isinstance(values.get(field.attname), _EXPRESSIONS)
    ]


@lru_cache(maxsize=1024)
def _stored_as_held(model: type[Model]) -> tuple[str, ...]:
    options: Any = model._meta
    returned = {*options.pk_fields, *getattr(options, "db_returning_fields", ())}
    return tuple(
        field.attname
        for field in options.concrete_fields
        if type(field).pre_save is Field.pre_save and not field.primary_key and field not in returned
    )


def has_makers(model: type[Model]) -> bool:
    """A field of somebody else's makes up what it stores, and may do so with others'."""
    return len(_told_by_instances(model)) < len([each for each in model._meta.concrete_fields if not each.generated])


def untold(instance: Model) -> list[str]:
    """The attnames that only the database knows after a save: expressions, generated columns, what fields make up; all
    where the model has its own way to write, as those that count their versions have."""
    kind: Any = type(instance)
    if not (overrides.is_django_method(kind, "_do_update") and overrides.is_django_method(kind, "_do_insert")):
        return [field.attname for field in kind._meta.concrete_fields]
    values = instance.__dict__
    told = _told_by_instances(type(instance))
    computed = [each.attname for each in told if isinstance(values.get(each.attname), _EXPRESSIONS)]
    return [*computed, *_untold_by_instances(type(instance))]


@lru_cache(maxsize=1024)
def _untold_by_instances(model: type[Model]) -> tuple[str, ...]:
    told = {each.attname for each in _told_by_instances(model)}
    return tuple(field.attname for field in model._meta.concrete_fields if field.attname not in told)


class Image(Mapping[str, str]):
    """Tokens of those columns of a table that a row tells and that have some, made when they are asked for."""

    __slots__ = ("_held", "_tokenizers", "_tokens")

    def __init__(self, table: Table, held: Snapshot, vendor: str):
        self._held = held
        self._tokenizers = _tokenizers(table, vendor)
        self._tokens: dict[str, str | None] = {}

    def get(self, column: str, default: Any = None) -> Any:
        """The token of `column`, `default` if it has none."""
        tokens = self._tokens
        if column not in tokens:
            tokens[column] = self._token(column)
        token = tokens[column]
        return default if token is None else token

    def _token(self, column: str) -> str | None:
        attname, tokenize = self._tokenizers.get(column, ("", None))
        if tokenize is None or attname not in self._held:
            return None
        return columns.apply_tokenizer(tokenize, self._held[attname])

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
    """The columns that have tokens: their attnames, and what makes the tokens."""
    found = ((column, field.attname, columns.tokenizer(field, vendor)) for column, field in table.fields.items())
    return {column: (attname, tokenize) for column, attname, tokenize in found if tokenize is not None}


@on_change
def _forget(setting: str) -> None:
    _tokenizers.cache_clear()
