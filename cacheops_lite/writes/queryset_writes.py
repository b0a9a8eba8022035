"""Record what ``update()`` and deletes in one statement change, for which Django sends no signal.

The record is precise while that is cheap.  Of a bounded number of rows, the columns that some dependency shape needs
are read before the statement, and after it where only the database knows the new values.  Beyond that bound the
statement guard drops the table version.
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
from .before_image import all_attnames, image_attnames, required_columns_of, written_tables
from .manual import record_write
from .row_changes import delete_change, update_changes
from .row_images import RowValues, table_models, table_names, tables_of
from .row_locks import lock_for_delete, lock_for_update, read_rows, write_transaction
from .unit_of_work import unit_of_work_for

Perform = Callable[[], int]

# The number of rows that are read before it is counted how many more there are.
ROWS_OF_FIRST_READ = 30
# Expressions whose value does not depend on the row alone.
NON_DETERMINISTIC = (Query, Subquery, Exists, RawSQL, ExtraWhere, Random, Now)


def update(queryset: QuerySet[Any], values: Mapping[str, Any], perform: Perform) -> int:
    """Return the result of `perform`, which is Django's ``queryset.update(**values)``, and record what it changes."""
    model, using = queryset.model, queryset.db
    written = _written_fields(model, values)
    can_record = written is not None and not unit_of_work_for(using).unmanaged_transaction.is_open
    required = required_columns_of(model) if can_record else None
    if written is None or required is None:
        return perform()
    if not any(required.is_read(table.name, column) for table, column in _columns(model, written)):
        return _update_without_images(model, written, using, perform)
    what = f"An update of {model._meta.label} can't be analysed, so its tables are invalidated"
    if not error_boundary.call_or_default(what, lambda: _can_lock_rows(queryset), False):
        return perform()
    with write_transaction(using):
        names = _image_attnames(model, required, written)
        old = error_boundary.call_or_default(
            what, lambda: _locked_rows(queryset, names, lock_for_update(model, using)), None
        )
        if old is None:
            return perform()
        with unit_of_work_for(using).claiming("update", *_tables_written(written)):
            updated = perform()

        def record() -> bool:
            new = _updated_rows(model, old, names, written, values, using)
            _record_updates("update", model, old, new, written, using)
            return True

        is_recorded = error_boundary.call_or_default(what, record, False)
        # A different count means that rows came to match after they were read.
        if not is_recorded or updated != len(old):
            _record_tables("update", model, using)
    return updated


def _update_without_images(
    model: type[Model], written: Collection[Field[Any, Any]], using: str, perform: Perform
) -> int:
    """Update and record columns that no dependency shape needs, without reading the rows.

    A shape that needs one of them may be registered meanwhile.  The invalidation then finds no image for it and drops
    the table version.
    """
    with write_transaction(using, savepoint=True):
        with unit_of_work_for(using).claiming("update", *_tables_written(written)):
            updated = perform()
        columns: dict[str, list[str]] = {}
        for table, column in _columns(model, written):
            columns.setdefault(table.name, []).append(column)
        changes: list[AnyChange] = [
            Change(table, old={}, new={}, changed=changed) for table, changed in columns.items()
        ]
        record_write("update", model, using, WriteSet(changes=changes))
    return updated


def delete(queryset: QuerySet[Any], using: str, perform: Perform) -> int:
    """Return the result of `perform`, which is Django's delete in one statement, and record which rows it deletes."""
    model = queryset.model
    unit = unit_of_work_for(using)
    required = required_columns_of(model) if unit.in_transaction and not unit.unmanaged_transaction.is_open else None
    what = f"A delete of {model._meta.label} can't be analysed, so its tables are invalidated"
    if required is None or not error_boundary.call_or_default(what, lambda: _can_lock_rows(queryset), False):
        return perform()
    old = error_boundary.call_or_default(
        what,
        lambda: _locked_rows(
            queryset.using(using), _own_image_attnames(model, required), lock_for_delete(model, using)
        ),
        None,
    )
    if old is None:
        return perform()
    with unit.claiming("delete", model._meta.db_table):
        deleted = perform()
    vendor = connections[using].vendor
    changes: list[AnyChange] = [delete_change(model, values, vendor) for values in old.values()]
    record_write("delete", model, using, WriteSet(changes=changes))
    if deleted != len(old):
        _record_tables("delete", model, using)
    return deleted


def lock_for_collected_delete(model: type[Model], keys: Collection[Any], using: str) -> list[AnyChange] | None:
    """Lock the rows with `keys` in the table of `model`, and return the changes that deleting them will make.

    Returns None for too many rows, or if it is not known what to read.  Call it within a transaction.
    """
    if len(keys) > MAX_CHANGES_PER_TABLE or not hasattr(model._meta.pk, "column"):
        return None
    required = required_columns_of(model)
    if required is None:
        return None
    locked = lock_for_delete(model, using).filter(pk__in=list(keys))
    vendor = connections[using].vendor
    return [delete_change(model, values, vendor) for values in read_rows(locked, _own_image_attnames(model, required))]


def update_invalidated(queryset: QuerySet[Any], values: dict[str, Any], perform: Callable[[QuerySet[Any]], int]) -> int:
    """Update the rows that match now by `perform`, Django's ``update(**values)`` of the queryset that it is given.

    Invalidates by the rows' before and after images.  Unlike `update` it is precise for querysets of any kind.
    """
    model: type[Model] = queryset.model
    using = queryset.db
    unit = unit_of_work_for(using)
    if not is_table(model, using) or unit.unmanaged_transaction.is_open:
        # A view has no rows to lock, and another owner's transaction is not to lock any: the statement guard drops the
        # table versions.
        return perform(queryset)
    written = _written_fields(model, values)
    # Receivers get all values of a row.
    has_receivers = cache_invalidated.has_listeners(model._meta.concrete_model)
    required = None if has_receivers else required_columns_of(model)
    with write_transaction(using, savepoint=True):
        locked = lock_for_update(model, using)
        keys = list(queryset.order_by().values_list("pk", flat=True)[: MAX_CHANGES_PER_TABLE + 1])
        if len(keys) > MAX_CHANGES_PER_TABLE or written is None:
            # Too many rows, or rows that get other keys: the statement guard drops the table versions.
            return perform(queryset)
        names = _image_attnames(model, required, written)
        old = _by_key(model, list(read_rows(locked.filter(pk__in=keys), names)))
        if old is None:
            return perform(queryset)
        # Only the rows that are locked: the update counts as executed before other rows came to match.
        with unit.claiming("update", *_tables_written(written)):
            updated = perform(queryset.filter(pk__in=keys))
        if updated > len(old):
            # A row was deleted after its key was read, and inserted again after the rows were read.
            _record_tables("invalidated_update", model, using)
        new = _updated_rows(model, old, names, written, values, using)
        _record_updates("invalidated_update", model, old, new, written, using, has_receivers)
    return updated


def _written_fields(model: type[Model], values: Mapping[str, Any]) -> list[Field[Any, Any]] | None:
    """Return the concrete fields that an update of `values` writes, with generated ones; None if it may change keys."""
    # The fields of composite primary keys, too.
    keys = {field for owner in table_models(model) for field in owner._meta.pk_fields}
    written: list[Field[Any, Any]] = []
    for name in values:
        try:
            field = model._meta.pk if name == "pk" else model._meta.get_field(name)
        except FieldDoesNotExist:
            return None
        if not isinstance(field, Field) or field.primary_key or field in keys or not field.concrete:
            return None
        written.append(field)
    written_models = {field.model for field in written}
    generated = [each for each in model._meta.concrete_fields if isinstance(each, GeneratedField)]
    return written + [field for field in generated if field.model in written_models]


def _tables_written(written: Collection[Field[Any, Any]]) -> set[str]:
    """Return the names of the tables that the `written` fields are stored in, as Django names them."""
    return {field.model._meta.db_table for field in written}


def _columns(model: type[Model], fields: Collection[Field[Any, Any]]) -> list[tuple[Any, str]]:
    return [(table, column) for table in tables_of(model) for column, field in table.fields.items() if field in fields]


def _image_attnames(
    model: type[Model], required: RequiredColumns | None, written: Collection[Field[Any, Any]]
) -> list[str]:
    """Return the attnames that the images of an update need, all if `required` is None; that of the key comes first."""
    if required is None:
        return list(dict.fromkeys([model._meta.pk.attname, *all_attnames(model)]))
    needed = image_attnames(written_tables(model, written), required, written)
    return list(dict.fromkeys([model._meta.pk.attname, *needed]))


def _own_image_attnames(model: type[Model], required: RequiredColumns) -> list[str]:
    """Return the attnames that the images of a delete need, which concerns the model's own table only."""
    own = tables_of(model)[0]
    return list(dict.fromkeys([own.pk.attname, *image_attnames([own], required, written=())]))


def _can_lock_rows(queryset: QuerySet[Any]) -> bool:
    """Return whether a SELECT can lock the rows that the statement then finds again: single rows of one table."""
    query = queryset.query
    return _is_deterministic(query.where, connections[queryset.db].vendor) and not (
        query.combinator
        or query.distinct
        or query.annotations
        or query.is_sliced
        or query.group_by
        or query.extra
        or query.extra_tables
        or sum(1 for alias in query.alias_map if query.alias_refcount[alias]) > 1
    )


def _is_deterministic(condition: Any, vendor: str) -> bool:
    """Return whether `condition` depends on nothing but the row, so that two statements find the same rows."""
    if isinstance(condition, (list, tuple, set, frozenset)):
        return all(_is_deterministic(each, vendor) for each in condition)
    if not hasattr(condition, "as_sql"):
        return True
    kind = type(condition)
    is_known = kind.__module__.startswith("django.") and is_composed_by_django(condition, vendor)
    # A plain Func may call any database function.
    if not is_known or kind is Func or isinstance(condition, NON_DETERMINISTIC):
        return False
    parts: list[Any] = getattr(condition, "get_source_expressions", list)()
    return all(_is_deterministic(each, vendor) for each in (*parts, getattr(condition, "rhs", None)))


def _locked_rows(queryset: QuerySet[Any], names: list[str], locking: QuerySet[Any]) -> dict[Any, RowValues] | None:
    """Return the rows of `queryset` by key, with the locks that `locking` takes; None if there are too many."""
    found = locking.all()
    found.query = queryset.query.chain()
    found.query.clear_ordering(force=True)
    locked = found
    if locking.query.select_for_update:
        locked = found.select_for_update(no_key=locking.query.select_for_no_key_update)
    rows = list(read_rows(locked[: ROWS_OF_FIRST_READ + 1], names))
    if len(rows) > ROWS_OF_FIRST_READ:
        # First ask whether there are too many, so that no rows are locked for nothing.
        if found.values_list("pk")[MAX_CHANGES_PER_TABLE : MAX_CHANGES_PER_TABLE + 1]:
            return None
        rows = list(read_rows(locked[: MAX_CHANGES_PER_TABLE + 1], names))
    return _by_key(queryset.model, rows) if len(rows) <= MAX_CHANGES_PER_TABLE else None


def _by_key(model: type[Model], rows: Collection[RowValues]) -> dict[Any, RowValues] | None:
    """Return the rows by key; None if some key is stored in another form than its field writes."""
    key = model._meta.pk.attname
    return {values[key]: values for values in rows} if all(key in values for values in rows) else None


def _updated_rows(
    model: type[Model],
    old: Mapping[Any, RowValues],
    names: list[str],
    written: Collection[Field[Any, Any]],
    values: Mapping[str, Any],
    using: str,
) -> dict[Any, RowValues]:
    """Return the `old` rows after an update of `values`; those that `values` do not determine are read again."""
    assigned: dict[str, Any] = {}
    for field in written:
        value = values.get(field.name, values.get(field.attname))
        if isinstance(value, Model) and isinstance(field, ForeignKey):
            value = getattr(value, field.target_field.attname)
        if not isinstance(field, GeneratedField) and not hasattr(value, "resolve_expression"):
            add_prepared(assigned, field, value)
    if all(field.attname in assigned or field.attname not in names for field in written):
        known = {name: value for name, value in assigned.items() if name in names}
        return {key: {**row, **known} for key, row in old.items()}
    locked = lock_for_update(model, using).filter(pk__in=keys_as_stored(model, old, connections[using]))
    return _by_key(model, list(read_rows(locked, names))) or {}


def _record_updates(
    operation: str,
    model: type[Model],
    old: Mapping[Any, RowValues],
    new: Mapping[Any, RowValues],
    written: Collection[Field[Any, Any]],
    using: str,
    has_receivers: bool = False,
) -> None:
    vendor = connections[using].vendor
    attnames = {field.attname for field in written}
    write_set, obj_dicts = WriteSet(), []
    for key, before in old.items():
        after = new.get(key, {})
        if changes := update_changes(model, before, after, attnames, vendor):
            write_set.changes += changes
            obj_dicts += [dict(before), dict(after)] if has_receivers else []
    record_write(operation, model, using, write_set, *obj_dicts)


def _record_tables(operation: str, model: type[Model], using: str) -> None:
    record_write(operation, model, using, WriteSet(tables=table_names(model)))
