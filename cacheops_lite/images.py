"""Row images: what a row was before a write and what it is after, as tokens.

An image belongs to a table, not to a model: a multi-table child's row gives one for each of its tables.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from django.db.models import F, Field, GeneratedField, Model, TextField, Value
from django.db.models.expressions import BaseExpression, Combinable, ExpressionWrapper
from django.db.models.functions import Cast

from . import columns
from .changes import AnyChange, Change
from .conf import on_change
from .values import Tokenizer, name, plain

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
            name(owner._meta.db_table),
            {name(str(field.column)): field for field in owner._meta.local_concrete_fields},
            owner._meta.pk,
        )
        for owner in owners_of(model)
    )


def table_names(model: type[Model]) -> set[str]:
    """The names in keys of the tables that `model`'s rows lie in."""
    return {table.name for table in tables_of(model)}


def snapshot(instance: Model) -> dict[str, Any]:
    """What `instance` holds, of everything that is loaded.

    Left out is what only the database knows: deferred fields, expressions, generated columns.
    """
    held: dict[str, Any] = {}
    values = instance.__dict__
    for each in _told_by_instances(type(instance)):
        value = values.get(each.attname, _ABSENT)
        if value is not _ABSENT and not isinstance(value, _EXPRESSIONS):
            each.put(held, value)
    return held


_ABSENT = object()
_EXPRESSIONS = (BaseExpression, Combinable)


class Entry:
    """What holds the values of a field, by its attname, as the database gets them."""

    __slots__ = ("_field", "_kind", "attname")

    def __init__(self, field: Field[Any, Any]):
        self.attname = field.attname
        self._field = field
        self._kind = columns.kind_as_is(field)

    def put(self, held: dict[str, Any], value: Any) -> None:
        """Add a value, if Django can tell it."""
        if value is not None and type(value) is self._kind:
            held[self.attname] = value
        else:
            put(held, self._field, value)


class StoredEntry(Entry):
    """The same of what a database holds, of a vendor."""

    __slots__ = ("_is_put_as_is", "_is_shown_as_stored", "_is_shown_rounded")

    def __init__(self, field: Field[Any, Any], vendor: str):
        super().__init__(field)
        self._is_shown_as_stored = columns.is_shown_as_stored(field)
        self._is_shown_rounded = self._is_shown_as_stored and columns.is_shown_rounded(field, vendor)
        self._is_put_as_is = not (self._is_shown_as_stored and columns.prepares_plainly(field))

    @property
    def selected(self) -> Any:
        """What ``values_list()`` is to be asked for, to get what `put_stored` takes."""
        if self._is_shown_rounded:
            return Cast(F(self.attname), TextField())
        if self._is_shown_as_stored:
            return self.attname
        return ExpressionWrapper(F(self.attname), output_field=_Stored(self._field))

    def put_stored(self, held: dict[str, Any], value: Any) -> None:
        """Add a value that the database holds."""
        if self._is_put_as_is:
            held[self.attname] = plain(value)
        else:
            self.put(held, value)


class _Stored(Field):
    """Shows what the column of another field holds."""

    def __init__(self, field: Field[Any, Any]):
        super().__init__(null=True)
        self._kind = field.get_internal_type()

    def get_internal_type(self) -> str:
        return self._kind


def stored_keys(model: type[Model], keys: Iterable[Any]) -> list[Any]:
    """What ``pk__in`` takes to find the rows that hold these keys."""
    field: Any = model._meta.pk
    if columns.is_shown_as_stored(field):
        return list(keys)
    return [Value(key, output_field=_Stored(field)) for key in keys]


@lru_cache(maxsize=1024)
def _told_by_instances(model: type[Model]) -> tuple[Entry, ...]:
    return tuple(Entry(field) for field in model._meta.concrete_fields if columns.is_ours_to_read(field))


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
    """The attnames that only the database knows after a save: expressions, generated columns, what fields make up."""
    values = instance.__dict__
    told = _told_by_instances(type(instance))
    computed = [each.attname for each in told if isinstance(values.get(each.attname), _EXPRESSIONS)]
    return [*computed, *_untold_by_instances(type(instance))]


@lru_cache(maxsize=1024)
def _untold_by_instances(model: type[Model]) -> tuple[str, ...]:
    told = {each.attname for each in _told_by_instances(model)}
    return tuple(field.attname for field in model._meta.concrete_fields if field.attname not in told)


def put(held: dict[str, Any], field: Field[Any, Any], value: Any) -> None:
    """Add `value` of `field` as the database gets it, if Django can tell."""
    try:
        held[field.attname] = plain(field.get_prep_value(value))
    except Exception:
        # ValidationError, or whatever a field of somebody else's raises: the write itself may be fine without it.
        held.pop(field.attname, None)


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
        return columns.token_by(tokenize, self._held[attname])

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


def differing(table: Table, old: Snapshot, new: Snapshot, written: Collection[str], vendor: str) -> list[str]:
    """The columns of `table` that may differ: of the `written` attnames those not known to be equal."""
    return [
        column
        for column, field in table.fields.items()
        if field.attname in written and not _equal(field, old, new, vendor)
    ]


# Types whose equal values are stored as one and the same.
_PLAIN = (str, int, bytes, datetime.date, datetime.time, datetime.timedelta, uuid.UUID)


def _equal(field: Field[Any, Any], old: Snapshot, new: Snapshot, vendor: str) -> bool:
    attname = field.attname
    if attname not in old or attname not in new:
        return False
    before, after = old[attname], new[attname]
    kind = type(before)
    if kind is type(after) and kind in _PLAIN:
        return bool(before == after)
    if before is None or after is None:
        return before is after
    if isinstance(before, decimal.Decimal) and isinstance(after, decimal.Decimal):
        return bool(before == after) if columns.has_scale(field) else before.as_tuple() == after.as_tuple()
    if isinstance(before, datetime.datetime):
        return bool(before == after) and columns.shows_instants(field, vendor)
    # An enum's member is stored as the text or number that it is, whatever it equals itself.
    stored_as: Any
    for stored_as in _PLAIN:
        if isinstance(before, stored_as) and isinstance(after, stored_as):
            return stored_as.__eq__(before, after) is True
    # Others may be equal and yet be stored differently: JSON's true and 1, zeros of both signs.
    return type(before) is type(after) and repr(before) == repr(after)


def row_came(model: type[Model], held: Snapshot, vendor: str) -> list[AnyChange]:
    """The changes that inserting the row makes, one for each of its tables."""
    return [Change(table.name, old=None, new=Image(table, held, vendor)) for table in tables_of(model)]


def own_row_went(model: type[Model], held: Snapshot, vendor: str) -> Change:
    """The change that deleting the row from the model's own table makes."""
    table = tables_of(model)[0]
    return Change(table.name, old=Image(table, held, vendor), new=None)


def row_changed(
    model: type[Model], old: Snapshot, new: Snapshot, written: Collection[str], vendor: str
) -> list[AnyChange]:
    """The changes that updating the `written` attnames of the row makes; none where nothing differs."""
    changes: list[AnyChange] = []
    for table in tables_of(model):
        if changed := differing(table, old, new, written, vendor):
            changes.append(Change(table.name, Image(table, old, vendor), Image(table, new, vendor), changed))
    return changes
