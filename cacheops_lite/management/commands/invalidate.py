"""``manage.py invalidate``."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Model

from ...conf import settings
from ...store import call_for_write, invalidator
from ...writes import invalidate_all, invalidate_model, invalidate_obj
from ..redis_errors import as_command_errors


class Command(BaseCommand):
    help = "Invalidates cached results: all of them, or those of apps, of models or of single objects."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "label",
            nargs="+",
            help="'all', app, app.Model or app.Model.pk",
        )
        parser.add_argument(
            "--database",
            default=DEFAULT_DB_ALIAS,
            help="Database that models and objects are on (default: default).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.CACHEOPS_ENABLED:
            raise CommandError(
                "CACHEOPS_ENABLED is off, so nothing would be invalidated, while processes in which it is on may still "
                "read what is cached. Run the command with their settings."
            )
        # Check all labels before the first invalidation: a wrong label must not leave the work half done.
        steps = [self._parsed(label, options["database"]) for label in options["label"]]
        with as_command_errors("Not everything is invalidated. Repeat this command when Redis answers"):
            owed = invalidator.take_over_spooled()
            for function, targets in steps:
                for target in targets:
                    function(*target)
            call_for_write(invalidator.deliver_overdue)
        if owed:
            self.stdout.write(f"Delivered {owed} invalidations that processes of this host still owed when they ended.")

    def _parsed(self, label: str, using: str) -> tuple[Any, list[tuple[Any, ...]]]:
        """Return the function to call and the arguments of each call."""
        if label == "all":
            return invalidate_all, [()]
        app_label, _, rest = label.partition(".")
        model_name, _, pk = rest.partition(".")
        config = _app(app_label)
        if not rest:
            models = config.get_models(include_auto_created=True)
            return invalidate_model, [(model, using) for model in models]
        model = _model(config, model_name)
        if not pk:
            return invalidate_model, [(model, using)]
        return invalidate_obj, [(_object(model, pk, using), using)]


def _app(label: str) -> Any:
    try:
        return apps.get_app_config(label)
    except LookupError as error:
        raise CommandError(f"{error} Apps are: {', '.join(sorted(apps.app_configs))}.") from error


def _model(config: Any, name: str) -> type[Model]:
    try:
        return config.get_model(name)
    except LookupError as error:
        names = sorted(model.__name__ for model in config.get_models())
        raise CommandError(f"{error} Models of {config.label}: {', '.join(names)}.") from error


def _object(model: type[Model], pk: str, using: str) -> Model:
    try:
        return model._base_manager.using(using).nocache().get(pk=pk)
    except (ObjectDoesNotExist, ValueError, ValidationError) as error:
        raise CommandError(f"There is no {model._meta.label} with primary key {pk!r}.") from error
