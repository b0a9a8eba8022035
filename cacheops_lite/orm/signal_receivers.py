"""Signal receivers for tracked models: saves, and deletes whose signals the application sends itself."""

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
from ..store import STORE_ERRORS, WriteSet, outages
from ..utils import Patches, error_boundary
from ..writes import instance_writes, is_active, record_write, table_names, unit_of_work_for, unwrap_lazy
from . import save_delete

logger = logging.getLogger("cacheops_lite")

_connected: list[tuple[ModelSignal, type[Model]]] = []
_installed = False
_patches = Patches()


def install() -> None:
    """Connect receivers for all tracked models, later ones included."""
    global _installed
    uninstall()
    _installed = True
    # Not a receiver: with one Django would query which links are missing before it adds some.
    _patches.replace(m2m_changed, "send", send_m2m_changed)
    class_prepared.connect(_on_class_prepared, dispatch_uid="cacheops_lite.orm.signal_receivers")
    for model in all_tracked_models():
        _connect(model)


def uninstall() -> None:
    """Disconnect all receivers."""
    global _installed
    _installed = False
    _patches.undo()
    class_prepared.disconnect(dispatch_uid="cacheops_lite.orm.signal_receivers")
    while _connected:
        signal, model = _connected.pop()
        signal.disconnect(sender=model, dispatch_uid="cacheops_lite")


@on_change
def _reinstall(setting: str) -> None:
    if _installed and setting in ("CACHEOPS", "CACHEOPS_DEFAULTS"):
        install()


def _on_class_prepared(sender: type[Model], **kwargs: Any) -> None:
    if apps.models_ready and is_tracked(sender):
        _connect(sender)


def _connect(model: type[Model]) -> None:
    receivers: list[tuple[ModelSignal, Callable[..., None]]] = [
        (pre_save, before_save),
        (post_save, after_save),
        (post_delete, after_delete),
    ]
    for signal, receiver in receivers:
        _connect_first(signal, receiver, model)
        _connected.append((signal, model))


def _connect_first(signal: ModelSignal, receiver: Callable[..., None], model: type[Model]) -> None:
    """Connect before the application's receivers, so that their reads through the cache see the write."""
    before = len(signal.receivers)
    signal.connect(receiver, sender=model, weak=False, dispatch_uid="cacheops_lite")
    with signal.lock:
        if len(signal.receivers) > before:
            signal.receivers.insert(0, signal.receivers.pop())
            signal.sender_receivers_cache.clear()


def before_save(sender: type[Model], instance: Model, using: str, **kwargs: Any) -> None:
    """Begin following a save, so that it reads the row that it replaces."""
    operation = save_delete.current_save(instance)
    if operation is not None and is_active() and is_table(sender, using):
        operation.begin(using)


def after_save(sender: type[Model], instance: Model, created: bool, using: str, **kwargs: Any) -> None:
    """Record a save that `save_delete` has not recorded, as the application sent the signal itself."""
    instance = unwrap_lazy(instance)
    operation = save_delete.current_save(instance)
    if (operation is None or not operation.is_recorded) and is_active():
        instance_writes.record_save(instance, None, {}, created, kwargs.get("update_fields"), using)
    _cache_on_save(instance, using)


def send_m2m_changed(sender: type[Model], **named: Any) -> Any:
    """Replace ``m2m_changed.send``, which the application may call after it wrote links by other means."""
    # Django's own managers write links by statements that the statement guard sees.
    is_by_application = sys._getframe(1).f_globals.get("__name__") != create_forward_many_to_many_manager.__module__
    if is_by_application and named.get("action", "").startswith("post_") and is_tracked(sender) and is_active():
        using = named.get("using") or DEFAULT_DB_ALIAS
        record_write("m2m_changed", sender, using, WriteSet(tables=table_names(sender)))
    return type(m2m_changed).send(m2m_changed, sender, **named)


def _cache_on_save(instance: Model, using: str) -> None:
    """Where the profile has ``cache_on_save``, read the instance through the cache once the save is committed."""
    profile = model_profile(type(instance))
    if profile is None or not profile.cache_on_save or not is_active():
        return
    name = "pk" if profile.cache_on_save is True else profile.cache_on_save
    condition = {name: getattr(instance, name)}

    def warm() -> None:
        objects: Any = type(instance)._default_manager.using(using)
        with suppress(ObjectDoesNotExist, MultipleObjectsReturned):
            try:
                objects.cache(ops="get").get(**condition)
            except STORE_ERRORS as error:
                outages.report_failure(logging.WARNING, f"Can't cache {instance._meta.label} on save", error)

    # Errors are logged, as the save is already committed.
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
    """Record a delete whose signal the application sent itself; `save_delete` records the others."""
    instance = unwrap_lazy(instance)
    if is_active() and not save_delete.is_being_deleted(instance, using):
        instance_writes.record_delete(instance, using)


# `save_delete` ignores this receiver when it decides whether rows must be deleted one by one.
after_delete.is_ours = True  # type: ignore[attr-defined]
