"""``manage.py cacheops explain "blog.Article.objects.filter(status='p')"``: look into the cache."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from types import SimpleNamespace
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import models

from cacheops_lite import CacheReport, explain
from cacheops_lite.conf import ALL_OPS


class Command(BaseCommand):
    help = "Tells what is cached, and why or why not."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True, metavar="command")
        explaining = commands.add_parser("explain", help="would this queryset come from the cache, and why or why not?")
        explaining.add_argument(
            "queryset",
            help="an expression such as \"blog.Article.objects.filter(status='p')\"; it may name models by app label "
            "and what django.db.models has, such as Q, F and Count",
        )
        explaining.add_argument(
            "--operation", default="fetch", choices=sorted(ALL_OPS - {"get", "aggregate"}), help="by default fetch"
        )
        explaining.add_argument("--json", action="store_true", help="print a JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        report = self._report(options["queryset"], options["operation"])
        self.stdout.write(json.dumps(report.as_dict(), indent=2) if options["json"] else str(report))

    def _report(self, expression: str, operation: str) -> CacheReport:
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
