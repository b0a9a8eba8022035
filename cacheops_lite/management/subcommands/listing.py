"""``ls app.Model`` and ``show KEY``: what is cached."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ...inspection import StoredValue, load, load_with_dependencies, value_keys
from .arguments import positive
from .output import print_json, print_table

MAX_CHARACTERS = 100


def add_list_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("label", nargs="?", help="a model such as blog.Article, or the name of a decorated function")
    parser.add_argument("--limit", type=positive, default=50, help="how many values to list, 50 by default")


def handle_list(command: BaseCommand, options: dict[str, Any]) -> None:
    found = _values(options["label"], options["limit"])
    if options["json"]:
        print_json(command.stdout, [value.as_dict() for value in found])
        return
    rows = [
        (
            value.key,
            value.label or "unknown",
            value.operation,
            value.size,
            value.seconds_left,
            value.text[:MAX_CHARACTERS],
        )
        for value in found
    ]
    columns = ("key", "model or function", "operation", "bytes", "expires in s", "what")
    print_table(command.stdout, f"Cached results of {options['label'] or 'all models and functions'}", columns, rows)
    if len(found) == options["limit"]:
        command.stdout.write(
            f"There may be more: see --limit. Look at one with: manage.py cacheops show {found[0].key}"
        )


def _values(label: str | None, limit: int) -> list[StoredValue]:
    found = []
    for key in value_keys():
        value = load(key)
        if value is not None and (label is None or label.lower() in (value.label.lower(), _last_name(value.label))):
            found.append(value)
        if len(found) == limit:
            break
    return found


def _last_name(label: str) -> str:
    return label.rpartition(".")[2].lower()


def add_show_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("key", help="the key of a value, as ls prints it")


def handle_show(command: BaseCommand, options: dict[str, Any]) -> None:
    value = load_with_dependencies(options["key"])
    if value is None:
        raise CommandError(f"Nothing is stored under {options['key']!r}. See: manage.py cacheops ls")
    if options["json"]:
        print_json(command.stdout, value.as_dict())
        return
    validity = {True: "yes", False: "no, a write invalidated it", None: "not known"}[value.is_valid]
    lines = [
        f"key:         {value.key}",
        f"result of:   {value.operation or 'unknown'} of {value.label or 'unknown'}",
        f"valid:       {validity}",
        f"expires in:  {value.seconds_left} s",
        f"size:        {value.size:,} bytes",
    ]
    if value.using:
        lines.append(f"database:    {value.using}")
    if value.text:
        lines.append(f"{'arguments' if value.operation == 'call' else 'SQL'}:".ljust(13) + value.text)
    if value.dependencies:
        lines += ["invalidated by changes of:", *(f"  {each}" for each in sorted(set(value.dependencies)))]
    command.stdout.write("\n".join(lines))
