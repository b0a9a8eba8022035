"""Mass writes: ``update()``, and deletes in one statement, of which nobody sends a signal.

They are precise while that is cheap: of a bounded number of rows, the columns that some shape asks for are read before
the statement, and after it where only the database knows what it made.  Beyond that the guard drops the table.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db import connections
from django.db.models import Exists, Field, ForeignKey, Func, GeneratedField, Model, QuerySet, Subquery
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now, Random
from django.db.models.sql.query import Query
from django.db.models.sql.where import ExtraWhere

from ..schema import add_prepared, is_table, keys_as_stored
from ..signals import cache_invalidated
from ..sql import is_composed_by_django
from ..store import MAX_CHANGES_PER_TABLE, AnyChange, Change, RequiredColumns, WriteSet
from ..utils import error_boundary
from .before_image import asked_for, block, lock, lock_to_delete, readable, rows, wanted_of, written_tables
from .manual import record
from .row_changes import own_row_went, row_changed
from .row_images import Snapshot, owners_of, table_names, tables_of
from .unit_of_work import unit_of_work_for

Perform = Callable[[], int]

# Rows that are looked at without asking first how many there are.
FEW = 30


def update(queryset: QuerySet[Any], values: Mapping[str, Any], perform: Perform) -> int:
    """What `perform` returns, which is Django's ``queryset.update(**values)``, and record what it changes."""
    written = _written_fields(queryset.model, values)
    using = queryset.db
    wanted = None if written is None or unit_of_work_for(using).unmanaged.is_open else wanted_of(queryset.model)
    if written is None or wanted is None:
        return perform()
    tables = sorted({field.model._meta.db_table for field in written})
    if not any(wanted.is_read(table.name, column) for table, column in _columns(queryset.model, written)):
        with block(using, savepoint=True):
            with unit_of_work_for(using).describing("update", *tables):
                updated = perform()
            # Should a shape come meanwhile that reads one of these columns, it finds no image, and drops the table.
            _record_blindly(queryset.model, written, using)
        return updated
    what = f"An update of {queryset.model._meta.label} can't be analysed, so its tables are invalidated"
    if not error_boundary.call_or_default(what, lambda: _is_plain(queryset), False):
        return perform()
    with block(using):
        names = _names(queryset.model, wanted, written)
        old = error_boundary.call_or_default(
            what, lambda: _locked_rows(queryset, names, lock(queryset.model, using)), None
        )
        if old is None:
            return perform()
        with unit_of_work_for(using).describing("update", *tables):
            updated = perform()

        def describe() -> bool:
            new = _updated_rows(queryset.model, old, names, written, values, using)
            _record_updates(queryset.model, old, new, written, using)
            return True

        if not error_boundary.call_or_default(what, describe, False):
            _record_tables(queryset.model, using)
        # Rows that came to match after the look.
        if updated != len(old):
            _record_tables(queryset.model, using)
    return updated


def delete(queryset: QuerySet[Any], using: str, perform: Perform) -> int:
    """What `perform` returns, which is Django's delete of the rows in one statement, and record what it removes."""
    model = queryset.model
    unit = unit_of_work_for(using)
    wanted = wanted_of(model) if unit.in_transaction and not unit.unmanaged.is_open else None
    what = f"A delete of {model._meta.label} can't be analysed, so its tables are invalidated"
    if wanted is None or not error_boundary.call_or_default(what, lambda: _is_plain(queryset), False):
        return perform()
    old = error_boundary.call_or_default(
        what,
        lambda: _locked_rows(queryset.using(using), _own_names(model, wanted), lock_to_delete(model, using)),
        None,
    )
    if old is None:
        return perform()
    with unit_of_work_for(using).describing("delete", model._meta.db_table):
        deleted = perform()
    vendor = connections[using].vendor
    record(model, using, WriteSet(changes=[own_row_went(model, held, vendor) for held in old.values()]))
    if deleted != len(old):
        _record_tables(model, using)
    return deleted


def lock_and_read(model: type[Model], keys: Collection[Any], using: str) -> list[AnyChange] | None:
    """What deleting the rows of those keys from the table of `model` will change; None of too many, or if unknown.

    To be called within a transaction; the rows are locked.
    """
    if len(keys) > MAX_CHANGES_PER_TABLE or not hasattr(model._meta.pk, "column"):
        return None
    wanted = wanted_of(model)
    if wanted is None:
        return None
    locked = lock_to_delete(model, using)
    vendor = connections[using].vendor
    names = _own_names(model, wanted)
    return [own_row_went(model, held, vendor) for held in rows(locked.filter(pk__in=list(keys)), names)]


def update_invalidated(queryset: QuerySet[Any], values: dict[str, Any], perform: Callable[[QuerySet[Any]], int]) -> int:
    """``queryset.update(**values)`` by `perform`, of the rows that match now, invalidating by their images.

    Unlike `update` it is precise for querysets of any kind.
    """
    model: type[Model] = queryset.model
    using = queryset.db
    if not is_table(model, using) or unit_of_work_for(using).unmanaged.is_open:
        # Its rows can't be locked, as they are others': the guard drops the tables.
        return perform(queryset)
    written = _written_fields(model, values)
    # Receivers are told all that there is of a row.
    tell = cache_invalidated.has_listeners(model._meta.concrete_model)
    wanted = None if tell else wanted_of(model)
    with block(using, savepoint=True):
        locked = lock(model, using)
        keys = list(queryset.order_by().values_list("pk", flat=True)[: MAX_CHANGES_PER_TABLE + 1])
        if len(keys) > MAX_CHANGES_PER_TABLE or written is None:
            # Many or moving rows: the guard drops the tables.
            return perform(queryset)
        names = _names(model, wanted, written)
        old = _by_key(model, list(rows(locked.filter(pk__in=keys), names)))
        if old is None:
            return perform(queryset)
        # Only rows that are locked now: what came to match meanwhile is as if it came after.
        with unit_of_work_for(using).describing("update", *{field.model._meta.db_table for field in written}):
            updated = perform(queryset.filter(pk__in=keys))
        if updated > len(old):
            # One of them was deleted before the look, and is there again.
            _record_tables(model, using)
        new = _updated_rows(model, old, names, written, values, using)
        _record_updates(model, old, new, written, using, tell)
    return updated


def _written_fields(model: type[Model], values: Mapping[str, Any]) -> list[Field[Any, Any]] | None:
    """The concrete fields that an update of `values` writes, generated ones too; None if rows get other keys by it."""
    # Of a composite key the parts.
    keys = {field for owner in owners_of(model) for field in owner._meta.pk_fields}
    written: list[Field[Any, Any]] = []
    for name in values:
        try:
            field = model._meta.pk if name == "pk" else model._meta.get_field(name)
        except FieldDoesNotExist:
            return None
        if not isinstance(field, Field) or field.primary_key or field in keys or not field.concrete:
            return None
        written.append(field)
    touched = {field.model for field in written}
    generated = [each for each in model._meta.concrete_fields if isinstance(each, GeneratedField)]
    return written + [field for field in generated if field.model in touched]


def _columns(model: type[Model], fields: Collection[Field[Any, Any]]) -> list[tuple[Any, str]]:
    return [(table, column) for table in tables_of(model) for column, field in table.fields.items() if field in fields]


def _names(model: type[Model], wanted: RequiredColumns | None, written: Collection[Field[Any, Any]]) -> list[str]:
    """The attnames of what an image needs, all if that is not known, and of the primary key, which comes first."""
    if wanted is None:
        return list(dict.fromkeys([model._meta.pk.attname, *readable(model)]))
    return list(dict.fromkeys([model._meta.pk.attname, *asked_for(written_tables(model, written), wanted, written)]))


def _own_names(model: type[Model], wanted: RequiredColumns) -> list[str]:
    own = tables_of(model)[0]
    return list(dict.fromkeys([own.pk.attname, *asked_for([own], wanted, written=())]))


def _is_plain(queryset: QuerySet[Any]) -> bool:
    """Its rows can be locked as they are found: they are of one table, each by itself, and found again."""
    query = queryset.query
    return _says_it_again(query.where, connections[queryset.db].vendor) and not (
        query.combinator
        or query.distinct
        or query.annotations
        or query.is_sliced
        or query.group_by
        or query.extra
        or query.extra_tables
        or sum(1 for alias in query.alias_map if query.alias_refcount[alias]) > 1
    )


def _says_it_again(condition: Any, vendor: str) -> bool:
    """It depends on nothing but the row, so that two statements find the same rows: not on others, nor on chance."""
    if isinstance(condition, (list, tuple, set, frozenset)):
        return all(_says_it_again(each, vendor) for each in condition)
    if not hasattr(condition, "as_sql"):
        return True
    kind = type(condition)
    is_told = kind.__module__.startswith("django.") and is_composed_by_django(condition, vendor)
    # Of functions that are named by hand nobody knows.
    if not is_told or kind is Func or isinstance(condition, INCONSTANT):
        return False
    parts: list[Any] = getattr(condition, "get_source_expressions", list)()
    return all(_says_it_again(each, vendor) for each in (*parts, getattr(condition, "rhs", None)))


INCONSTANT = (Query, Subquery, Exists, RawSQL, ExtraWhere, Random, Now)


def _locked_rows(queryset: QuerySet[Any], names: list[str], locking: QuerySet[Any]) -> dict[Any, Snapshot] | None:
    """The rows of `queryset` by key, locked as `locking` would lock them; None of too many."""
    found = locking.all()
    found.query = queryset.query.chain()
    found.query.clear_ordering(force=True)
    locked = found
    if locking.query.select_for_update:
        locked = found.select_for_update(no_key=locking.query.select_for_no_key_update)
    looked_at = list(rows(locked[: FEW + 1], names))
    if len(looked_at) > FEW:
        # Many may be too many, and are not locked for nothing.
        if found.values_list("pk")[MAX_CHANGES_PER_TABLE : MAX_CHANGES_PER_TABLE + 1]:
            return None
        looked_at = list(rows(locked[: MAX_CHANGES_PER_TABLE + 1], names))
    return _by_key(queryset.model, looked_at) if len(looked_at) <= MAX_CHANGES_PER_TABLE else None


def _by_key(model: type[Model], looked_at: Collection[Snapshot]) -> dict[Any, Snapshot] | None:
    """The rows by key; None if the key of one is stored as its field would not write it."""
    key = model._meta.pk.attname
    return {held[key]: held for held in looked_at} if all(key in held for held in looked_at) else None


def _updated_rows(
    model: type[Model],
    old: Mapping[Any, Snapshot],
    names: list[str],
    written: Collection[Field[Any, Any]],
    values: Mapping[str, Any],
    using: str,
) -> dict[Any, Snapshot]:
    """What an update made of the `old` rows: as told by its `values`, else as read from the database."""
    told: dict[str, Any] = {}
    for field in written:
        value = values.get(field.name, values.get(field.attname))
        if isinstance(value, Model) and isinstance(field, ForeignKey):
            value = getattr(value, field.target_field.attname)
        if not isinstance(field, GeneratedField) and not hasattr(value, "resolve_expression"):
            add_prepared(told, field, value)
    if all(field.attname in told or field.attname not in names for field in written):
        known = {name: value for name, value in told.items() if name in names}
        return {key: {**held, **known} for key, held in old.items()}
    found = rows(lock(model, using).filter(pk__in=keys_as_stored(model, old, connections[using])), names)
    return _by_key(model, list(found)) or {}


def _record_updates(
    model: type[Model],
    old: Mapping[Any, Snapshot],
    new: Mapping[Any, Snapshot],
    written: Collection[Field[Any, Any]],
    using: str,
    tell: bool = False,
) -> None:
    vendor = connections[using].vendor
    attnames = {field.attname for field in written}
    work, obj_dicts = WriteSet(), []
    for key, before in old.items():
        after = new.get(key, {})
        if changes := row_changed(model, before, after, attnames, vendor):
            work.changes += changes
            obj_dicts += [dict(before), dict(after)] if tell else []
    record(model, using, work, *obj_dicts)


def _record_blindly(model: type[Model], written: Collection[Field[Any, Any]], using: str) -> None:
    """Record that columns changed in rows of which nothing is known."""
    columns: dict[str, list[str]] = {}
    for table, column in _columns(model, written):
        columns.setdefault(table.name, []).append(column)
    changes: list[AnyChange] = [Change(table, old={}, new={}, changed=changed) for table, changed in columns.items()]
    record(model, using, WriteSet(changes=changes))


def _record_tables(model: type[Model], using: str) -> None:
    record(model, using, WriteSet(tables=table_names(model)))
