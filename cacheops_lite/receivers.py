"""Signal handlers: saves, deletes and many-to-many changes of watched models, and of no others."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.apps import apps
from django.core.exceptions import MultipleObjectsReturned, ObjectDoesNotExist
from django.db import transaction
from django.db.models import ManyToManyField, Model
from django.db.models.signals import (
    ModelSignal,
    class_prepared,
    m2m_changed,
    post_delete,
    post_save,
    pre_delete,
    pre_save,
)

from . import operations, writes
from .cascades import links_of
from .conf import model_profile, on_change
from .invalidation import is_active
from .looks import Look, has_key, look
from .scope import is_watched, watched_models

_connected: list[tuple[ModelSignal, type[Model]]] = []
_installed = False


def install() -> None:
    """Follow the writes of all watched models, those defined later included."""
    global _installed
    uninstall()
    _installed = True
    class_prepared.connect(_on_class_prepared, dispatch_uid="cacheops_lite.receivers")
    for model in watched_models():
        _follow(model)


def uninstall() -> None:
    """Stop following writes."""
    global _installed
    _installed = False
    class_prepared.disconnect(dispatch_uid="cacheops_lite.receivers")
    while _connected:
        signal, model = _connected.pop()
        signal.disconnect(sender=model, dispatch_uid="cacheops_lite")


@on_change
def _follow_anew(setting: str) -> None:
    if _installed and setting in ("CACHEOPS", "CACHEOPS_DEFAULTS"):
        install()


def _on_class_prepared(sender: type[Model], **kwargs: Any) -> None:
    if apps.models_ready and is_watched(sender):
        _follow(sender)


def _follow(model: type[Model]) -> None:
    handlers: list[tuple[ModelSignal, Callable[..., None]]] = [
        (pre_save, before_save),
        (post_save, after_save),
        (pre_delete, before_delete),
        (post_delete, after_delete),
        (m2m_changed, around_m2m),
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
    current = operations.saving(instance)
    if current is not None and is_active():
        current.begin(using)


def after_save(sender: type[Model], instance: Model, created: bool, using: str, **kwargs: Any) -> None:
    """Record what save() did."""
    current = operations.saving(instance)
    found = None if current is None else current.look
    if is_active():
        writes.saved(instance, found, created, kwargs.get("update_fields"), using)
    if current is not None:
        current.end(created)
    _cache_on_save(instance, using)


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
    transaction.on_commit(warm, using=using, robust=True)


def before_delete(sender: type[Model], instance: Model, using: str, **kwargs: Any) -> None:
    """Look at the row that is about to go."""
    if not is_active() or not has_key(instance):
        return
    found = look(type(instance), instance.pk, using)
    frame = operations.deletion(using)
    if frame is not None and found.held:
        frame.expect(sender._meta.db_table)
        found.more = links_of(instance, using, frame)
    _keep(instance, found)


def after_delete(sender: type[Model], instance: Model, using: str, **kwargs: Any) -> None:
    """Record what delete() did."""
    found = _kept(instance)
    if is_active():
        writes.deleted(instance, found, using)


def around_m2m(
    sender: type[Model],
    instance: Model,
    action: str,
    reverse: bool,
    model: type[Model],
    pk_set: set[Any] | None,
    using: str,
    **kwargs: Any,
) -> None:
    """Record which rows of a many-to-many table came or went; of clear() nobody tells, so the guard drops the table."""
    moment, _, verb = action.partition("_")
    field = _m2m_field(sender, instance, model)
    if not is_active() or verb not in ("add", "remove") or field is None:
        return
    if moment == "pre":
        operations.begin_linking("insert" if verb == "add" else "delete", sender, pk_set or (), using)
    else:
        operations.end_linking(sender, using)
        pairs = _pairs(field, sender, instance, reverse, pk_set or set())
        writes.linked(sender, pairs, using, came=verb == "add")


def _m2m_field(through: type[Model], instance: Model, model: type[Model]) -> ManyToManyField[Any, Any] | None:
    fields = (*instance._meta.many_to_many, *model._meta.many_to_many)
    return next((field for field in fields if field.remote_field.through is through), None)


def _pairs(
    field: ManyToManyField[Any, Any],
    through: type[Model],
    instance: Model,
    reverse: bool,
    keys: set[Any],
) -> list[dict[str, Any]]:
    source: Any = through._meta.get_field(field.m2m_field_name())
    target: Any = through._meta.get_field(field.m2m_reverse_field_name())
    near, far = (target, source) if reverse else (source, target)
    own = getattr(instance, near.target_field.attname)
    pairs = [{near.attname: own, far.attname: key} for key in keys]
    if field.remote_field.symmetrical:
        # The mirrored rows come and go without a signal.
        pairs += [{near.attname: key, far.attname: own} for key in keys]
    return pairs


# The look rides on the instance from the one signal to the other.
def _keep(instance: Model, found: Look) -> None:
    instance._state._cacheops_look = found  # type: ignore[attr-defined]


def _kept(instance: Model) -> Look | None:
    return instance._state.__dict__.pop("_cacheops_look", None)
