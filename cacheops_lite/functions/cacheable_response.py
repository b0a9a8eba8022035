"""Decide which responses may be cached and which headers they vary by, as Django's cache middleware does."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_max_age, has_vary_header, patch_vary_headers

CACHEABLE_STATUSES = (200, 304)
UNCACHEABLE_DIRECTIVES = ("private", "no-cache", "no-store")
# A 304 always varies by these, whether its Vary header names them or not: an unconditional request must never get one.
CONDITIONAL_HEADERS = ("If-None-Match", "If-Modified-Since")


def is_cacheable(request: HttpRequest, response: Any) -> bool:
    """Return whether Django's cache middleware would share `response`, which is rendered, with other users.

    Headers that other middleware adds later count as well: cookies of the session, of messages and of CSRF, and the
    nonce of a content security policy.  A view may return something else than a response, for an outer decorator to
    turn into one; that is cacheable unless it is None.
    """
    if not isinstance(response, HttpResponseBase):
        return response is not None
    cache_control = response.get("Cache-Control", "").lower()
    return (
        response.status_code in CACHEABLE_STATUSES
        and not getattr(response, "streaming", True)
        and not any(directive in cache_control for directive in UNCACHEABLE_DIRECTIVES)
        and get_max_age(response) != 0
        and not has_vary_header(response, "*")
        and not (_sets_cookie(response) and (has_vary_header(response, "Cookie") or _reads_session(request)))
        and not _is_personal(request)
    )


def _sets_cookie(response: HttpResponseBase) -> bool:
    return bool(response.cookies) or response.has_header("Set-Cookie")


def _reads_session(request: HttpRequest) -> bool:
    return bool(getattr(getattr(request, "session", None), "accessed", False))


def _is_personal(request: HttpRequest) -> bool:
    messages = getattr(request, "_messages", None)
    return bool(
        request.META.get("CSRF_COOKIE_NEEDS_UPDATE")
        or getattr(getattr(request, "session", None), "modified", False)
        or (messages is not None and (messages.added_new or (messages.used and len(messages))))
        or getattr(request, "_csp_nonce", None)
    )


def vary_headers(request: HttpRequest, response: HttpResponseBase) -> set[str]:
    """Return the names of the request headers that `response` depends on, in lower case.

    Adds ``Vary: Cookie`` to a response that depends on the session.
    """
    if _reads_session(request):
        patch_vary_headers(response, ["Cookie"])
    headers = {header.strip().lower() for header in response.get("Vary", "").split(",")} - {""}
    return headers | {header.lower() for header in CONDITIONAL_HEADERS} if response.status_code == 304 else headers


def rendered(response: Any) -> Any:
    """Return `response` after rendering it, if it is a template response."""
    return response.render() if callable(getattr(response, "render", None)) else response


def storable(response: Any) -> Any:
    """Return the form of `response` to store: a plain response in place of a template response."""
    if not callable(getattr(response, "render", None)):
        return response
    # A cached response has no template or context, so its class must not promise them.
    plain = HttpResponse(response.content, status=response.status_code, reason=response.reason_phrase)
    plain.headers = response.headers
    plain.cookies = response.cookies
    return plain
