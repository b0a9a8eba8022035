"""``explain "blog.Article.objects.filter(status='p')"``: would this come from the cache, and why or why not?"""

from __future__ import annotations

from argparse import ArgumentParser
from types import SimpleNamespace
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import models

from ...conf import ALL_OPS
from ...explaining import CacheReport, explain
from .output import print_json


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "queryset",
        help="an expression such as \"blog.Article.objects.filter(status='p')\"; it may name models by app label "
        "and what django.db.models has, such as Q, F and Count",
    )
    operations = sorted(ALL_OPS - {"get", "aggregate"})
    parser.add_argument("--operation", default="fetch", choices=operations, help="by default fetch")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    report = _report(options["queryset"], options["operation"])
    if options["json"]:
        print_json(command.stdout, report.as_dict())
    else:
        command.stdout.write(str(report))


def _report(expression: str, operation: str) -> CacheReport:
    try:
        # The operator of a server may run any code on it: this is no more than `manage.py shell` offers.
        queryset = eval(expression, _names())  # noqa: S307
    except Exception as error:
        raise CommandError(
            f"{expression!r} can't be evaluated: {type(error).__name__}: {error}. Write an expression such as "
            "\"blog.Article.objects.filter(status='p')\"."
        ) from error
    try:
        return explain(queryset, operation)
    except TypeError as error:
        raise CommandError(f"{expression!r} is no queryset: {error}") from error


def _names() -> dict[str, Any]:
    """Return what an expression may name: the models by app label, and the names of django.db.models."""
    by_label = {
        config.label: SimpleNamespace(**{model.__name__: model for model in config.get_models()})
        for config in apps.get_app_configs()
    }
    return {**{name: getattr(models, name) for name in models.__all__}, **by_label}
