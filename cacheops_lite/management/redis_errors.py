"""Let commands end with one line instead of a traceback when Redis fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError

from ..store import STORE_ERRORS, explain_error


@contextmanager
def as_command_errors(message: str) -> Iterator[None]:
    """Raise errors of Redis and of its settings as CommandError, whose text begins with `message`."""
    try:
        yield
    except STORE_ERRORS as error:
        explain_error(error)
        raise CommandError(f"{message}: {error}") from error
