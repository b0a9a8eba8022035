"""``manage.py cacheops``: look into the cache."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from ..redis_errors import as_command_errors
from ..subcommands import advise, doctor, explain, listing, stats, top, verify

SUBCOMMANDS = {
    "explain": (explain.add_arguments, explain.handle, "would this queryset come from the cache, and why or why not?"),
    "stats": (stats.add_arguments, stats.handle, "hits, misses, bypasses and invalidations by model"),
    "top": (top.add_arguments, top.handle, "memory by model, largest results, hottest dependencies"),
    "ls": (listing.add_list_arguments, listing.handle_list, "what is cached of a model or function"),
    "show": (listing.add_show_arguments, listing.handle_show, "one cached result: what it is and depends on"),
    "verify": (verify.add_arguments, verify.handle, "compare a sample of cached results with the database"),
    "doctor": (doctor.add_arguments, doctor.handle, "is the Redis server fit for the cache, and what should change?"),
    "advise": (advise.add_arguments, advise.handle, "which models and operations to cache, by the counters"),
}


class Command(BaseCommand):
    help = "Tells what is cached, and why or why not."

    def add_arguments(self, parser: ArgumentParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True, metavar="command")
        for name, (add_arguments, _, text) in SUBCOMMANDS.items():
            subparser = commands.add_parser(name, help=text)
            subparser.add_argument("--json", action="store_true", help="print JSON")
            add_arguments(subparser)

    def handle(self, *args: Any, **options: Any) -> None:
        with as_command_errors("Redis can't be asked"):
            SUBCOMMANDS[options["command"]][1](self, options)
