"""Replaces Django's ``flush`` in tests, which ``TransactionTestCase`` calls after each test."""

from __future__ import annotations

from typing import Any

from django.core.management.commands.flush import Command as DjangoFlush
from django.db import connections

from tests.support import emptying


class Command(DjangoFlush):
    def handle(self, **options: Any) -> None:
        # Only the teardown of a test does not reset sequences; a flush that a test itself calls is Django's.
        is_teardown = not options.get("reset_sequences", True)
        if not (is_teardown and emptying.empty(connections[options["database"]])):
            super().handle(**options)
