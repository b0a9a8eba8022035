"""Django's own operations that signals describe, with a frame around each.

Signals alone don't tell when an operation failed half-way, so that a frame would stay open and claim statements of
others: `Model.save_base` and `Collector.delete` are wrapped, to close it whatever happens.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db import connections
from django.db.models import Model
from django.db.models.deletion import Collector

from .changes import Work
from .frames import DeleteFrame, LinkFrame, SaveFrame
from .images import owners_of
from .invalidation import PREFIX, is_active
from .scope import is_watched
from .transaction import Recorder, recorder_for
from .values import name

_originals: dict[str, Any] = {}


def install() -> None:
    """Wrap saves and deletes."""
    if not _originals:
        _originals.update(save_base=Model.save_base, delete=Collector.delete)
        Model.save_base = save_base  # type: ignore[assignment]
        Collector.delete = delete  # type: ignore[method-assign]


def uninstall() -> None:
    """Leave them to Django."""
    if _originals:
        Model.save_base, Collector.delete = _originals["save_base"], _originals["delete"]  # type: ignore[method-assign]
        _originals.clear()


class Saving:
    """A save between its signals."""

    def __init__(self) -> None:
        self._recorder: Recorder | None = None
        self._frame: SaveFrame | None = None

    def begin(self, instance: Model, using: str) -> None:
        """Before its statements: to be called by the receiver of pre_save."""
        owners = owners_of(type(instance))
        keys = {owner._meta.db_table: key for owner in owners if (key := _own_key(instance, owner, using))}
        self._recorder = recorder_for(using)
        self._frame = SaveFrame((owner._meta.db_table for owner in owners), keys)
        self._recorder.frames.append(self._frame)

    def end(self, created: bool | None) -> None:
        """After its statements: to be called by the receiver of post_save, which describes them.

        What was written and is not described drops its tables; all of it when `created` is not known.
        """
        frame, self._frame = self._frame, None
        recorder = self._recorder
        if frame is None or recorder is None:
            return
        if frame in recorder.frames:
            recorder.frames.remove(frame)
        if frame.claimed and (created is None or not frame.fits(created)):
            recorder.record(PREFIX, Work(tables=set(map(name, frame.tables))))


def _own_key(instance: Model, owner: type[Model], using: str) -> tuple[str, Any] | None:
    """How an UPDATE of the row in the table of `owner` ends, and its last parameter."""
    connection, field = connections[using], owner._meta.pk
    value = instance.__dict__.get(field.attname)
    if value is None:
        return None
    try:
        adapted = field.get_db_prep_value(value, connection)
    except (TypeError, ValueError, ArithmeticError):
        return None
    quote = connection.ops.quote_name
    return f"WHERE {quote(owner._meta.db_table)}.{quote(str(field.column))} = %s", adapted


def saving(instance: Model) -> Saving | None:
    """The save that `instance` is in, None if signals were sent by hand."""
    return instance._state.__dict__.get("_cacheops_saving")


def save_base(self: Model, *args: Any, **kwargs: Any) -> Any:
    """`Model.save_base` within a frame."""
    if not is_watched(type(self)) or not is_active():
        return _originals["save_base"](self, *args, **kwargs)
    current = Saving()
    self._state._cacheops_saving = current  # type: ignore[attr-defined]
    try:
        return _originals["save_base"](self, *args, **kwargs)
    finally:
        self._state.__dict__.pop("_cacheops_saving", None)
        current.end(created=None)


def delete(self: Collector) -> Any:
    """`Collector.delete` within a frame."""
    recorder = recorder_for(self.using)
    frame = DeleteFrame()
    recorder.frames.append(frame)
    try:
        return _originals["delete"](self)
    finally:
        recorder.frames.remove(frame)


def begin_linking(verb: str, through: type[Model], keys: Collection[Any], using: str) -> None:
    """Before rows of a many-to-many table, for some `keys`, come or go in an atomic block of Django's own."""
    recorder = recorder_for(using)
    blocks = connections[using].atomic_blocks
    if blocks and keys:
        recorder.frames.append(LinkFrame(verb, through._meta.db_table, blocks[-1]))


def end_linking(through: type[Model], using: str) -> None:
    """After that."""
    recorder = recorder_for(using)
    frame = recorder.frame
    if isinstance(frame, LinkFrame) and through._meta.db_table in frame.tables:
        recorder.frames.remove(frame)


def deletion(using: str) -> DeleteFrame | None:
    """The delete that is going on, None if signals were sent by hand."""
    frame = recorder_for(using).frame
    return frame if isinstance(frame, DeleteFrame) else None
