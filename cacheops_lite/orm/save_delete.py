"""Django's own operations that signals describe, with a frame around each.

Signals alone don't tell when an operation failed half-way, nor what other receivers of theirs write meanwhile: so saves
and deletes are wrapped, to have a frame open just while they write.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import lru_cache, partial
from typing import Any

from django.db import connections
from django.db.models import Model, QuerySet
from django.db.models.deletion import Collector
from django.db.models.signals import post_delete, pre_delete

from ..schema import is_tracked, is_tracked_table, name_in_keys
from ..store import WriteSet
from ..utils import Patches, error_boundary
from ..writes import (
    BeforeImageRead,
    DeleteScope,
    ReturningUpdate,
    SaveScope,
    UnitOfWork,
    block,
    columns_to_read,
    has_key,
    is_active,
    is_surely_new,
    lock_and_read,
    owners_of,
    persistence,
    read_after_save,
    read_before_image,
    record,
    replaced,
    returned,
    snapshot,
    tables_of,
    unit_of_work_for,
    written_by,
)

_patches = Patches()


def install() -> None:
    """Wrap saves and deletes."""
    # Two are private.  Without `_save_table` saves would drop their tables instead of only what their rows meet; and
    # without `_has_signal_listeners` deletes in one statement would become deletes of one row each.
    for owner, method in (
        (Model, save_base),
        (Model, _save_table),
        (Collector, delete),
        (Collector, _has_signal_listeners),
    ):
        _patches.replace(owner, method.__name__, method)


def uninstall() -> None:
    """Leave them to Django."""
    _patches.undo()


class Saving:
    """A save, from its pre_save signal to its post_save signal."""

    def __init__(self) -> None:
        self._unit: UnitOfWork | None = None
        self._frames: list[SaveScope] = []
        self._looked = self._is_new = False
        # What the instance held before it was written.
        self._before: dict[str, Any] = {}
        # What the row was right before it was written, None if there was none or nobody looked.
        self._look: BeforeImageRead | None = None
        self._returning_update: ReturningUpdate | None = None
        # What became of the row is recorded.
        self.is_described = False

    def begin(self, using: str) -> None:
        """To be called by the receiver of pre_save."""
        self._unit = unit_of_work_for(using)

    def write(
        self,
        instance: Model,
        owner: type[Model],
        names: Collection[str] | None,
        is_insert: bool,
        perform: Callable[[], bool],
    ) -> bool:
        """What `perform` returns, which writes the row into the table of `owner`; within, no receiver is called.

        `names` are the fields that are written, None for all; with `is_insert` there is no such row yet, or an error.
        """
        unit = self._unit
        if unit is None or connections[unit.using].needs_rollback:
            # What Django refuses to write in a broken transaction it refuses in its own words.
            return perform()
        if not self._looked and is_insert and _is_one_line(owner):
            # Nor is there one in the tables of its children.
            self._is_new = True
        if unit.in_transaction:
            return self._write(unit, instance, owner, names, perform)
        # Nobody may move the row between the look and the write, nor read what was before into the cache.
        with block(unit.using, savepoint=True):
            return self._write(unit, instance, owner, names, perform)

    def _write(
        self,
        unit: UnitOfWork,
        instance: Model,
        owner: type[Model],
        names: Collection[str] | None,
        perform: Callable[[], bool],
    ) -> bool:
        using = unit.using
        if not self._looked:
            self._looked = True
            self._before = dict(instance.__dict__)
            error_boundary.call_or_default(
                "A row can't be looked at before it is saved, so its table is invalidated",
                lambda: self._look_at(instance, names, using),
                None,
            )
        scope = SaveScope(owner._meta.db_table, _own_key(instance, owner, using))
        self._frames.append(scope)
        scope.returning_update = self._returning_update
        with unit.within(scope):
            updated = perform()
        if self._returning_update is not None:
            self._look = self._returning_update.found
        if owner is type(instance)._meta.concrete_model:
            # Of multi-table models the last one.  Since Django 6.1 an instance forgets what it wrote by expressions
            # that the UPDATE does not return.
            lost = (self._before.keys() - instance.__dict__.keys()) & written_by(type(instance), None)
            is_compared = updated and self._look is not None and not self._look.is_idle
            by_expressions = returned(instance, self._before) if is_compared else ()
            read_again = [*lost, *replaced(instance, self._before), *by_expressions]
            told = read_after_save(instance, using, read_again)
            persistence.saved(instance, self._look, told, not updated, names, using, lost, read_again)
            self.is_described = True
            self.end(not updated)
        return updated

    def _look_at(self, instance: Model, names: Collection[str] | None, using: str) -> None:
        """Look at the row before it is written, or have the statement tell; unless there is none that is known of."""
        is_new = self._is_new or is_surely_new(instance)
        if not has_key(instance) or is_new or unit_of_work_for(using).unmanaged.is_open:
            return
        model, pk = type(instance), instance.pk
        attnames = columns_to_read(model, names)
        if not attnames:
            self._look = BeforeImageRead(pk, {}, is_idle=True)
        elif connections[using].vendor == "postgresql" and len(tables_of(model)) == 1:
            self._returning_update = ReturningUpdate(model, pk, using, attnames)
        else:
            self._look = read_before_image(model, pk, using, attnames)

    def end(self, created: bool | None) -> None:
        """Drop the tables of what was written and is not described; all of it when `created` is not known."""
        scopes, self._frames = self._frames, []
        tables = {name_in_keys(scope.table) for scope in scopes if not scope.fits(created)}
        if tables and self._unit is not None:
            self._unit.record(WriteSet(tables=tables))


@lru_cache(maxsize=1024)
def _is_one_line(model: type[Model]) -> bool:
    """No model has two parents: who inserts a parent's row goes on to insert its children's."""
    return all(len(owner._meta.parents) <= 1 for owner in owners_of(model))


def _own_key(instance: Model, owner: type[Model], using: str) -> tuple[str, Any] | None:
    """How an UPDATE of the row in the table of `owner` ends, and its last parameter."""
    connection, field = connections[using], owner._meta.pk
    value = instance.__dict__.get(field.attname)
    if value is None:
        return None
    try:
        adapted = field.get_db_prep_value(value, connection)
    except Exception as error:
        # Django raises it again, if the save comes to use the value.
        error_boundary.reraise_interrupt(error)
        return None
    quote = connection.ops.quote_name
    return f"WHERE {quote(owner._meta.db_table)}.{quote(str(field.column))} = %s", adapted


def saving(instance: Model) -> Saving | None:
    """The save that `instance` is in, None if signals were sent by hand."""
    return instance._state.__dict__.get("_cacheops_saving")


def save_base(self: Model, *args: Any, **kwargs: Any) -> Any:
    """`Model.save_base`, at whose end all that was written is described."""
    original = _patches.original(Model, "save_base")
    if not is_tracked(type(self)) or not is_active():
        return original(self, *args, **kwargs)
    current = Saving()
    self._state._cacheops_saving = current  # type: ignore[attr-defined]
    try:
        return original(self, *args, **kwargs)
    finally:
        self._state.__dict__.pop("_cacheops_saving", None)
        current.end(created=None)


def _save_table(
    self: Model,
    raw: bool = False,
    cls: type[Model] | None = None,
    force_insert: bool = False,
    force_update: bool = False,
    using: str | None = None,
    update_fields: Collection[str] | None = None,
) -> Any:
    """`Model._save_table` within a frame."""
    original = _patches.original(Model, "_save_table")
    arguments = raw, cls, force_insert, force_update, using, update_fields
    current = saving(self)
    if current is None:
        return original(self, *arguments)
    return current.write(self, cls or type(self), update_fields, force_insert, lambda: original(self, *arguments))


def delete(self: Collector) -> Any:
    """`Collector.delete`, whose rows are looked at in bulk before they go."""
    original = _patches.original(Collector, "delete")
    watched = [model for model in self.data if is_tracked_table(model, self.using)]
    if not watched or not is_active():
        return original(self)
    using = self.using
    # What deleting rows changes, and whom to tell of.
    found: list[tuple[type[Model], WriteSet, list[dict[str, Any]]]] = []
    looks = {model: partial(_read_before_delete, found, model, self.data[model], using) for model in watched}
    scope = DeleteScope(looks)
    with block(using), unit_of_work_for(using).within(scope):
        error_boundary.call_or_default("A delete can't be analysed", lambda: _expect_lost_references(self, scope), None)
        result = original(self)
        for model, work, obj_dicts in found:
            record(model, using, work, *obj_dicts)
    return result


def _read_before_delete(
    found: list[Any], model: type[Model], instances: Collection[Model], using: str, scope: DeleteScope
) -> None:
    """Note what deleting the instances' own rows will change; nothing of what the guard is to drop."""
    changes = lock_and_read(model, [instance.pk for instance in instances], using)
    if changes is None:
        return
    table = model._meta.db_table
    scope.expect("delete", table, len(instances))
    # Rows that were not there, or not yet.
    unseen = {name_in_keys(table)} if len(changes) != len(instances) else set()
    found.append((model, WriteSet(changes, unseen), list(map(snapshot, instances))))


def _expect_lost_references(collector: Collector, scope: DeleteScope) -> None:
    """Claim the updates of rows that are deleted right after, of which the look tells all that others can see."""
    field_updates: Any = collector.field_updates
    for (_field, value), updates in field_updates.items():
        for rows in updates:
            if value is None and not (isinstance(rows, QuerySet) and rows._result_cache is None):
                doomed = [row for row in rows if row in collector.data.get(type(row), ())]
                if doomed and len(doomed) == len(rows):
                    scope.expect("update", doomed[0]._meta.db_table, len(doomed))


def _has_signal_listeners(self: Collector, model: type[Model]) -> bool:
    """`Collector._has_signal_listeners`, other than ours: for our sake rows need not be deleted one by one."""
    receivers = [receiver for each in post_delete._live_receivers(model) for receiver in each]
    return pre_delete.has_listeners(model) or any(not getattr(each, "is_ours", False) for each in receivers)


def is_being_deleted(instance: Model, using: str) -> bool:
    """A delete that looked at its rows is going on; if not, signals were sent by hand."""
    model = type(instance)
    return any(isinstance(scope, DeleteScope) and model in scope.models for scope in unit_of_work_for(using).scopes)
