"""Add a ``Server-Timing`` header to responses: browsers show in their developer tools what the cache did."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from ..conf import settings
from ..observe import Outcome, activity

HEADER = "Server-Timing"
# The valid values of ``CACHEOPS_SERVER_TIMING``.
DEBUG, STAFF, EVERYBODY = "debug", "staff", "everybody"

_PLURALS = {Outcome.HIT: "hits", Outcome.MISS: "misses", Outcome.BYPASS: "bypasses"}


class ServerTimingMiddleware:
    """Add ``Server-Timing: cache;desc="5 hits, 1 miss";dur=3.1`` to each response that read through the cache.

    The duration is that of the reads, in milliseconds.  ``CACHEOPS_SERVER_TIMING`` says which responses get the header.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]):
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self._acall(request)
        if not _is_wanted():
            return self.get_response(request)
        with activity.collect() as work:
            response: HttpResponseBase = self.get_response(request)
        if work.decisions and _may_see(getattr(request, "user", None)):
            add_header(response, work)
        return response

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        if not _is_wanted():
            return await self.get_response(request)
        with activity.collect() as work:
            response: HttpResponseBase = await self.get_response(request)
        if work.decisions and _may_see(await _auser(request)):
            add_header(response, work)
        return response


def add_header(response: HttpResponseBase, work: activity.Activity) -> None:
    """Append what was read to the header of a response."""
    counts = [(work.count(outcome), outcome) for outcome in Outcome]
    description = ", ".join(
        f"{number} {outcome.value if number == 1 else _PLURALS[outcome]}" for number, outcome in counts if number
    )
    milliseconds = sum(decision.seconds for decision in work.decisions) * 1e3
    entry = f'cache;desc="{description}";dur={milliseconds:.1f}'
    existing = response.headers.get(HEADER)
    response.headers[HEADER] = f"{existing}, {entry}" if existing else entry


def _is_wanted() -> bool:
    """Return whether any request may get the header.  Raises ImproperlyConfigured for an unknown setting."""
    wanted = settings.CACHEOPS_SERVER_TIMING
    if wanted not in (DEBUG, STAFF, EVERYBODY, False, None):
        raise ImproperlyConfigured(
            f"CACHEOPS_SERVER_TIMING is {wanted!r}, so it is unknown which responses get the header. Write '{DEBUG}', "
            f"'{STAFF}', '{EVERYBODY}' or False."
        )
    return bool(wanted) and (wanted != DEBUG or django_settings.DEBUG)


def _may_see(user: Any) -> bool:
    return settings.CACHEOPS_SERVER_TIMING != STAFF or bool(getattr(user, "is_active", False) and user.is_staff)


async def _auser(request: HttpRequest) -> Any:
    """Return the user of a request if the header depends on it."""
    auser = getattr(request, "auser", None)
    return None if auser is None or settings.CACHEOPS_SERVER_TIMING != STAFF else await auser()
