"""The panel class that projects name in ``DEBUG_TOOLBAR_PANELS``."""

from __future__ import annotations

from inspect import isawaitable
from typing import Any

from debug_toolbar.forms import SignedDataForm
from debug_toolbar.panels import Panel
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path

from . import views
from .recording import Recording
from .summary import summarize


class CacheopsPanel(Panel):
    """Shows what became of each read of a request, and what its writes invalidated."""

    is_async = True
    title = "Cached reads, and what writes invalidated"
    nav_title = "Cacheops"
    nav_icon: Any = "debug_toolbar/img/cache.svg"
    template = "cacheops_lite/debug_toolbar/panel.html"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._recording = Recording()

    @classmethod
    def get_urls(cls) -> list[URLPattern]:
        """Return the routes of the panel's buttons."""
        return [
            path("cacheops_invalidate/", views.invalidate, name="cacheops_invalidate"),
            path("cacheops_compare/", views.compare, name="cacheops_compare"),
        ]

    def process_request(self, request: HttpRequest) -> Any:
        """Record what the request reads and writes."""
        with self._recording:
            response = super().process_request(request)
        return self._await_response(response) if isawaitable(response) else response

    async def _await_response(self, response: Any) -> Any:
        with self._recording:
            return await response

    def generate_stats(self, request: HttpRequest, response: HttpResponse) -> None:
        """Store the recording as plain values."""
        self.record_stats(summarize(self._recording))

    @property
    def nav_subtitle(self) -> str:
        """The totals in the side bar."""
        totals = self.get_stats().get("totals")
        if not totals:
            return ""
        parts = [_number(totals["hits"], "hit"), _number(totals["misses"], "miss", "misses")]
        if totals["bypasses"]:
            parts.append(_number(totals["bypasses"], "bypass", "bypasses"))
        if totals["writes"]:
            parts.append(_number(totals["writes"], "write"))
        if totals["repeated"]:
            parts.append(f"{totals['repeated']} repeated")
        return f"{', '.join(parts)} in {totals['milliseconds']:.2f}ms"

    @property
    def content(self) -> str:
        """The page of the panel."""
        stats = self.get_stats()
        # The stored values stay as they are: a page may be rendered more than once.
        groups = [{**each, "reads": list(map(_with_form, each["reads"]))} for each in stats.get("groups", ())]
        return render_to_string(self.template, {**stats, "groups": groups})


def _with_form(read: dict[str, Any]) -> dict[str, Any]:
    """Add the signed key, if the value of the read may be stored."""
    if not read["key"] or not read["size"]:
        return read
    return {**read, "form": SignedDataForm(auto_id=None, initial={"key": read["key"]})}


def _number(count: int, one: str, more: str = "") -> str:
    return f"{count} {one if count == 1 else more or f'{one}s'}"
