"""Measure what a queryset that is not cached costs."""

from __future__ import annotations

from typing import Any, ClassVar

from .library.models import Book, Note
from .operations import Operation
from .peers import OURS


class Uncached(Operation):
    """A query of a model without a profile, compared with another process: accurate to a few microseconds."""

    name, title = "off", "model left out, get by pk: adds"
    adds = True
    calls = 30

    def call(self) -> Any:
        return Note.objects.get(pk=1)


class InPlace(Operation):
    """With and without the app in one process, because the difference is smaller than that between two processes."""

    bound_in_units = 3.0
    only = frozenset({OURS.name})
    calls: ClassVar[int] = 30

    def block(self) -> float:
        from cacheops_lite.apps import install, uninstall

        # The first block after other processes used the processor is slower by 2 to 5 us, whatever it measures.
        super().block()
        taken = super().block()
        uninstall()
        try:
            return taken - super().block()
        finally:
            install()


class LeftOut(InPlace):
    name, title = "off-model", "the same, in one process: adds"

    def call(self) -> Any:
        return Note.objects.get(pk=1)


class NoCache(InPlace):
    name, title = "off-nocache", "nocache(), in one process: adds"

    def prepare(self) -> None:
        self.books = Book.objects.nocache()  # type: ignore[attr-defined]

    def call(self) -> Any:
        return self.books.get(pk=1)


OFF = (Uncached, LeftOut, NoCache)
