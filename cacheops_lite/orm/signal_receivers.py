"""Signal handlers: saves of watched models, and deletes that are signalled by hand; of no other models."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.apps import apps
from django.core.exceptions import MultipleObjectsReturned, ObjectDoesNotExist
from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models import Model
from django.db.models.fields.related_descriptors import create_forward_many_to_many_manager
from django.db.models.signals import ModelSignal, class_prepared, m2m_changed, post_delete, post_save, pre_save

from ..conf import model_profile, on_change
from ..schema import all_tracked_models, is_table, is_tracked
from ..store import WriteSet
from ..utils import Patches, error_boundary
from ..writes import is_active, persistence, record, table_names, unit_of_work_for, unwrapped
from . import save_delete

logger = logging.getLogger("cacheops_lite")

_connected: list[tuple[ModelSignal, type[Model]]] = []
_installed = False
_patches = Patches()


def install() -> None:
    """Follow the writes of all watched models, those defined later included."""
    global _installed
    uninstall()
    _installed = True
    # A receiver would have Django look which links are missing before it adds some.
    _patches.replace(m2m_changed, "send", send_m2m_changed)
    class_prepared.connect(_on_class_prepared, dispatch_uid="cacheops_lite.orm.signal_receivers")
    for model in all_tracked_models():
        _follow(model)


def uninstall() -> None:
    """Stop following writes."""
    global _installed
    _installed = False
    _patches.undo()
    class_prepared.disconnect(dispatch_uid="cacheops_lite.orm.signal_receivers")
    while _connected:
        signal, model = _connected.pop()
        signal.disconnect(sender=model, dispatch_uid="cacheops_lite")


@on_change
def _follow_anew(setting: str) -> None:
    if _installed and setting in ("CACHEOPS", "CACHEOPS_DEFAULTS"):
        install()


def _on_class_prepared(sender: type[Model], **kwargs: Any) -> None:
    if apps.models_ready and is_tracked(sender):
        _follow(sender)


def _follow(model: type[Model]) -> None:
    handlers: list[tuple[ModelSignal, Callable[..., None]]] = [
        (pre_save, before_save),
        (post_save, after_save),
        (post_delete, after_delete),
    ]
    for signal, handler in handlers:
        _connect_first(signal, handler, model)
        _connected.append((signal, model))


def _connect_first(signal: ModelSignal, handler: Callable[..., None], model: type[Model]) -> None:
    """Connect before all others, so that receivers which read through the cache find it invalidated."""
    before = len(signal.receivers)
    signal.connect(handler, sender=model, weak=False, dispatch_uid="cacheops_lite")
    with signal.lock:
        if len(signal.receivers) > before:
            signal.receivers.insert(0, signal.receivers.pop())
            signal.sender_receivers_cache.clear()


def before_save(sender: type[Model], instance: Model, using: str, **kwargs: Any) -> None:
    """Let the save look at the row that it replaces."""
    current = save_delete.saving(instance)
    if current is not None and is_active() and is_table(sender, using):
        current.begin(using)


def after_save(sender: type[Model], instance: Model, created: bool, using: str, **kwargs: Any) -> None:
    """Record what save() did, if `operations` did not: the signal was sent by hand."""
    instance = unwrapped(instance)
    current = save_delete.saving(instance)
    if (current is None or not current.is_described) and is_active():
        persistence.saved(instance, None, {}, created, kwargs.get("update_fields"), using)
    _cache_on_save(instance, using)


def send_m2m_changed(sender: type[Model], **named: Any) -> Any:
    """``m2m_changed.send``, with which somebody may tell of links that he wrote behind our back."""
    # Django's own managers write them first, by statements that are seen.
    is_by_hand = sys._getframe(1).f_globals.get("__name__") != create_forward_many_to_many_manager.__module__
    if is_by_hand and named.get("action", "").startswith("post_") and is_tracked(sender) and is_active():
        record(sender, named.get("using") or DEFAULT_DB_ALIAS, WriteSet(tables=table_names(sender)))
    return type(m2m_changed).send(m2m_changed, sender, **named)


def _cache_on_save(instance: Model, using: str) -> None:
    """Where the profile says so, read the object by its key once it is committed, so that others find it cached."""
    profile = model_profile(type(instance))
    if profile is None or not profile.cache_on_save or not is_active():
        return
    name = "pk" if profile.cache_on_save is True else profile.cache_on_save
    condition = {name: getattr(instance, name)}

    def warm() -> None:
        objects: Any = type(instance)._default_manager.using(using)
        with suppress(ObjectDoesNotExist, MultipleObjectsReturned):
            objects.cache(ops="get").get(**condition)

    # What it raises is logged: the save is done.
    unit = unit_of_work_for(using)
    if unit.in_transaction and not unit.is_manual:
        transaction.on_commit(warm, using=using, robust=True)
    elif not unit.in_transaction:
        try:
            warm()
        except Exception as error:
            error_boundary.reraise_interrupt(error)
            logger.exception("Can't cache %s on save", instance._meta.label)


def after_delete(sender: type[Model], instance: Model, using: str, **kwargs: Any) -> None:
    """Of deletes `operations` knows more; this is for signals that are sent by hand."""
    instance = unwrapped(instance)
    if is_active() and not save_delete.is_being_deleted(instance, using):
        persistence.deleted(instance, using)


after_delete.is_ours = True  # type: ignore[attr-defined]
