"""Replace Django's saves and deletes by ones that open an operation scope while they write.

Signals are not enough: they do not say whether an operation failed half-way, nor what their other receivers write
meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import lru_cache, partial
from typing import Any

from django.db import connections
from django.db.models import Model, QuerySet
from django.db.models.deletion import Collector
from django.db.models.signals import post_delete, pre_delete

from ..observe import Invalidation
from ..schema import is_tracked, is_tracked_table, name_in_keys
from ..store import WriteSet
from ..utils import Patches, error_boundary
from ..writes import (
    BeforeImage,
    DeleteScope,
    ReturningUpdate,
    SaveScope,
    UnitOfWork,
    attnames_replaced,
    attnames_returned,
    attnames_to_read,
    has_key,
    instance_values,
    instance_writes,
    is_active,
    is_surely_new,
    lock_for_collected_delete,
    note_cause,
    read_after_save,
    read_before_image,
    record_write,
    saved_attnames,
    table_models,
    tables_of,
    unit_of_work_for,
    unit_of_work_on,
    write_transaction,
)

_patches = Patches()


def install() -> None:
    """Replace Django's methods."""
    # Two are private.  Without `_save_table` saves would drop table versions instead of what their rows meet.  Without
    # `_has_signal_listeners` deletes in one statement would become deletes of single rows.
    for owner, method in (
        (Model, save_base),
        (Model, _save_table),
        (Collector, delete),
        (Collector, _has_signal_listeners),
    ):
        _patches.replace(owner, method.__name__, method)


def uninstall() -> None:
    """Restore Django's methods."""
    _patches.undo()


class SaveOperation:
    """A save of an instance, from its pre_save signal to its post_save signal."""

    def __init__(self) -> None:
        # Looked up once: a save needs them many times.
        self._unit: UnitOfWork | None = None
        self._connection: Any = None
        self._scopes: list[SaveScope] = []
        self._is_begun = self._is_new = False
        # The instance's ``__dict__`` before the row was written.
        self._instance_before: dict[str, Any] = {}
        # None if there was no row, or if it was not read.
        self._before_image: BeforeImage | None = None
        self._returning_update: ReturningUpdate | None = None
        # Whether the change of the row is recorded.
        self.is_recorded = False

    def begin(self, using: str) -> None:
        """Note that the receiver of pre_save was called."""
        self._connection = connections[using]
        self._unit = unit_of_work_on(self._connection)

    def write(
        self,
        instance: Model,
        owner: type[Model],
        names: Collection[str] | None,
        is_insert: bool,
        perform: Callable[[], bool],
    ) -> bool:
        """Return the result of `perform`, which writes the row into the table of `owner` and calls no receivers.

        `names` are the fields that are written, None for all.  With `is_insert` the row is new, or the INSERT fails.
        """
        unit = self._unit
        if unit is None or self._connection.needs_rollback:
            # In a broken transaction Django raises its own error.
            return perform()
        if not self._is_begun and is_insert and _has_single_parents(owner):
            # Then the tables of its children have no row of the instance either.
            self._is_new = True
        if unit.in_transaction:
            return self._write_described(unit, instance, owner, names, perform)
        # In one transaction, so that no other process changes the row between the before-image read and the write, nor
        # caches the old row after the invalidation.
        with write_transaction(self._connection.alias, savepoint=True):
            return self._write_described(unit, instance, owner, names, perform)

    def _write_described(
        self,
        unit: UnitOfWork,
        instance: Model,
        owner: type[Model],
        names: Collection[str] | None,
        perform: Callable[[], bool],
    ) -> bool:
        using = self._connection.alias
        if not self._is_begun:
            self._is_begun = True
            self._instance_before = dict(instance.__dict__)
            error_boundary.call_or_default(
                "A row can't be read before it is saved, so its table is invalidated",
                lambda: self._read_before(unit, instance, names),
                None,
            )
        scope = SaveScope(owner._meta.db_table, _own_key(instance, owner, self._connection))
        self._scopes.append(scope)
        scope.returning_update = self._returning_update
        with unit.open_scope(scope):
            updated = perform()
        if self._returning_update is not None:
            self._before_image = self._returning_update.before_image
        # The last table of a multi-table model.
        if owner is type(instance)._meta.concrete_model:
            self._record(instance, names, using, updated)
        return updated

    def _read_before(self, unit: UnitOfWork, instance: Model, names: Collection[str] | None) -> None:
        """Read the row before it is written, or have the UPDATE return it; unless the row is new or is not needed."""
        is_new = self._is_new or is_surely_new(instance)
        if not has_key(instance) or is_new or unit.unmanaged_transaction.is_open:
            return
        using = self._connection.alias
        model, pk = type(instance), instance.pk
        attnames = attnames_to_read(model, names)
        if not attnames:
            self._before_image = BeforeImage(pk, {}, is_skipped=True)
        elif self._connection.vendor == "postgresql" and len(tables_of(model)) == 1:
            self._returning_update = ReturningUpdate(model, pk, using, attnames)
        else:
            self._before_image = read_before_image(model, pk, using, attnames)

    def _record(self, instance: Model, names: Collection[str] | None, using: str, updated: bool) -> None:
        """Record the change of the row after the last of its tables was written."""
        before, before_image = self._instance_before, self._before_image
        # Since Django 6.1 an instance loses the expressions that it wrote and that the UPDATE does not return.
        forgotten = (before.keys() - instance.__dict__.keys()) & saved_attnames(type(instance), None)
        is_compared = updated and before_image is not None and not before_image.is_skipped
        returned = attnames_returned(instance, before) if is_compared else ()
        unreliable = [*forgotten, *attnames_replaced(instance, before), *returned]
        read_values = read_after_save(instance, using, unreliable)
        instance_writes.record_save(
            instance, before_image, read_values, not updated, names, using, forgotten, unreliable
        )
        self.is_recorded = True
        self.end(not updated)

    def end(self, created: bool | None) -> None:
        """Drop the table versions of tables whose claimed statements are not recorded.

        `created` is the outcome that is recorded, None if nothing is: then all tables that were written.
        """
        scopes, self._scopes = self._scopes, []
        tables = {name_in_keys(scope.table) for scope in scopes if not scope.is_consistent_with(created)}
        if tables and self._unit is not None:
            write_set = WriteSet(tables=tables)
            note_cause(write_set, Invalidation("save", using=self._unit.using))
            self._unit.record(write_set)


@lru_cache(maxsize=1024)
def _has_single_parents(model: type[Model]) -> bool:
    """Return whether no model of the chain has two parents: an INSERT of a parent's row then precedes its child's."""
    return all(len(each._meta.parents) <= 1 for each in table_models(model))


def _own_key(instance: Model, owner: type[Model], connection: Any) -> tuple[str, Any] | None:
    """Return the condition at the end of an UPDATE of the row in the table of `owner`, and its parameter."""
    field = owner._meta.pk
    value = instance.__dict__.get(field.attname)
    if value is None:
        return None
    try:
        adapted = field.get_db_prep_value(value, connection)
    except Exception as error:
        # Django raises it again if the save uses the value.
        error_boundary.reraise_interrupt(error)
        return None
    quote = connection.ops.quote_name
    return f"WHERE {quote(owner._meta.db_table)}.{quote(str(field.column))} = %s", adapted


def current_save(instance: Model) -> SaveOperation | None:
    """Return the save of `instance` in progress, None if the application sent the signals itself."""
    return instance._state.__dict__.get("_cacheops_save")


def save_base(self: Model, *args: Any, **kwargs: Any) -> Any:
    """Replace `Model.save_base`: record all that the save wrote, also where it fails."""
    original = _patches.original(Model, "save_base")
    if not is_tracked(type(self)) or not is_active():
        return original(self, *args, **kwargs)
    operation = SaveOperation()
    self._state._cacheops_save = operation  # type: ignore[attr-defined]
    try:
        return original(self, *args, **kwargs)
    finally:
        self._state.__dict__.pop("_cacheops_save", None)
        operation.end(created=None)


def _save_table(
    self: Model,
    raw: bool = False,
    cls: type[Model] | None = None,
    force_insert: bool = False,
    force_update: bool = False,
    using: str | None = None,
    update_fields: Collection[str] | None = None,
) -> Any:
    """Replace `Model._save_table`: open an operation scope around it."""
    original = _patches.original(Model, "_save_table")
    arguments = raw, cls, force_insert, force_update, using, update_fields
    operation = current_save(self)
    if operation is None:
        return original(self, *arguments)
    return operation.write(self, cls or type(self), update_fields, force_insert, lambda: original(self, *arguments))


def delete(self: Collector) -> Any:
    """Replace `Collector.delete`: read the rows in bulk before they are deleted, and record them."""
    original = _patches.original(Collector, "delete")
    tracked = [model for model in self.data if is_tracked_table(model, self.using)]
    if not tracked or not is_active():
        return original(self)
    using = self.using
    # By model what the delete changes, and the values of the instances for ``cache_invalidated``.
    found: list[tuple[type[Model], WriteSet, list[dict[str, Any]]]] = []
    reads = {model: partial(_read_before_delete, found, model, self.data[model], using) for model in tracked}
    scope = DeleteScope(reads)
    with write_transaction(using), unit_of_work_for(using).open_scope(scope):
        error_boundary.call_or_default(
            "A delete can't be analysed", lambda: _expect_nulled_references(self, scope), None
        )
        result = original(self)
        for model, write_set, obj_dicts in found:
            record_write("delete", model, using, write_set, *obj_dicts)
    return result


def _read_before_delete(
    found: list[Any], model: type[Model], instances: Collection[Model], using: str, scope: DeleteScope
) -> None:
    """Add to `found` what deleting the instances' own rows will change.

    If that is unknown the delete is not expected, and the statement guard drops the table version.
    """
    changes = lock_for_collected_delete(model, [instance.pk for instance in instances], using)
    if changes is None:
        return
    table = model._meta.db_table
    scope.expect("delete", table, len(instances))
    # Some rows did not exist when they were read, and may have been inserted since.
    incomplete = {name_in_keys(table)} if len(changes) != len(instances) else set()
    found.append((model, WriteSet(changes, incomplete), list(map(instance_values, instances))))


def _expect_nulled_references(collector: Collector, scope: DeleteScope) -> None:
    """Claim the updates that set references to NULL in rows that are deleted right after.

    The before images of the delete describe all of such a row that other transactions can see.
    """
    field_updates: Any = collector.field_updates
    for (_field, value), updates in field_updates.items():
        for rows in updates:
            if value is None and not (isinstance(rows, QuerySet) and rows._result_cache is None):
                deleted = [row for row in rows if row in collector.data.get(type(row), ())]
                if deleted and len(deleted) == len(rows):
                    scope.expect("update", deleted[0]._meta.db_table, len(deleted))


def _has_signal_listeners(self: Collector, model: type[Model]) -> bool:
    """Replace `Collector._has_signal_listeners`: our own receiver does not need rows to be deleted one by one."""
    receivers = [receiver for each in post_delete._live_receivers(model) for receiver in each]
    return pre_delete.has_listeners(model) or any(not getattr(each, "is_ours", False) for each in receivers)


def is_being_deleted(instance: Model, using: str) -> bool:
    """Return whether a `DeleteScope` of the instance's model is open; if not, the application sent the signals."""
    model = type(instance)
    return any(isinstance(scope, DeleteScope) and model in scope.models for scope in unit_of_work_for(using).scopes)
