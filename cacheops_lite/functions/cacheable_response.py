"""Responses that may be cached: which ones, and what they depend on, as under Django's cache middleware."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_max_age, has_vary_header, patch_vary_headers

STATUSES = (200, 304)
UNKEPT = ("private", "no-cache", "no-store")
# What a 304 answers to, said or not: who asks without conditions must never get one.
CONDITIONS = ("If-None-Match", "If-Modified-Since")


def is_cacheable(request: HttpRequest, response: Any) -> bool:
    """Whether Django's cache middleware would let others have `response`, which is rendered.

    What other middleware is still to add counts: cookies of session, messages and CSRF, the nonce of a content security
    policy.  Anything but a response, for a decorator further out to make one of, is cacheable unless it is None.
    """
    if not isinstance(response, HttpResponseBase):
        return response is not None
    cache_control = response.get("Cache-Control", "").lower()
    return (
        response.status_code in STATUSES
        and not getattr(response, "streaming", True)
        and not any(directive in cache_control for directive in UNKEPT)
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


def varies_by(request: HttpRequest, response: HttpResponseBase) -> set[str]:
    """Names of the headers that `response` depends on, in lower case.  Has it say so if it depends on the session."""
    if _reads_session(request):
        patch_vary_headers(response, ["Cookie"])
    headers = {header.strip().lower() for header in response.get("Vary", "").split(",")} - {""}
    return headers | {header.lower() for header in CONDITIONS} if response.status_code == 304 else headers


def rendered(response: Any) -> Any:
    """`response`, whose content is there from now on."""
    return response.render() if callable(getattr(response, "render", None)) else response


def storable(response: Any) -> Any:
    """What to keep of a response."""
    if not callable(getattr(response, "render", None)):
        return response
    # Whoever gets it from the cache has no template nor context, so that it should not promise them.
    plain = HttpResponse(response.content, status=response.status_code, reason=response.reason_phrase)
    plain.headers = response.headers
    plain.cookies = response.cookies
    return plain
