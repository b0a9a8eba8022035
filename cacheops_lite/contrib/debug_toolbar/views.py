"""What the buttons of the panel do: remove a stored value, or compare it with the database."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from debug_toolbar.decorators import require_show_toolbar
from debug_toolbar.forms import SignedDataForm
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, JsonResponse
from django.template.loader import render_to_string
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from ...inspection import Verdict, load, remove, verify
from ...store import STORE_ERRORS

VERDICTS = {
    Verdict.SAME: "The stored result equals what the database returns now.",
    Verdict.DIFFERENT: "The stored result differs from what the database returns now, and no write has invalidated it. "
    "Another program may have changed the rows without invalidating the results that depend on them.",
    Verdict.INVALID: "The stored result is no longer valid: a write has invalidated it. The next read stores it anew.",
    Verdict.NOT_COMPARABLE: "There is nothing to compare: the result is no longer stored, or it is that of a function "
    "or of a query that can't be repeated.",
}


def _button(answer: Callable[[str], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Make a view of a function that takes the key which the form of the button was signed with."""

    @csrf_exempt
    @login_not_required
    @require_show_toolbar
    @require_POST
    @non_atomic_requests
    @wraps(answer)
    def view(request: HttpRequest) -> HttpResponse:
        form = SignedDataForm(request.POST)
        key = form.verified_data().get("key") if form.is_valid() else None
        return HttpResponseBadRequest("Invalid signature") if key is None else answer(key)

    return view


@_button
def invalidate(key: str) -> HttpResponse:
    """Remove the value of the signed key from Redis."""
    try:
        text = "The stored result is removed." if remove(key) else "No result is stored under this key any more."
    except ValueError as error:
        return HttpResponseBadRequest(str(error))
    except STORE_ERRORS as error:
        text = f"Redis can't be asked: {error}"
    return _result("Invalidate", key, text)


@_button
def compare(key: str) -> HttpResponse:
    """Run the read of the signed key again uncached, and compare its result with the stored one."""
    value, verdict = None, ""
    try:
        value = load(key)
        found = verify(key)
        verdict, text = found.value, VERDICTS[found]
    except DatabaseError as error:
        text = f"The database can't be asked: {error}"
    except STORE_ERRORS as error:
        text = f"Redis can't be asked: {error}"
    return _result("Compare with the database", key, text, verdict=verdict, value=value)


def _result(title: str, key: str, text: str, **context: Any) -> JsonResponse:
    content = render_to_string(
        "cacheops_lite/debug_toolbar/result.html", {"title": title, "key": key, "text": text, **context}
    )
    return JsonResponse({"content": content})
