"""Caching of views: which responses may be kept, and what tells one page from another.

Of each URL of a view a *record* is kept: a token, and the headers that its responses vary by.  A page is found by the
token, the call and what the request says in those headers, so that dropping the record drops all pages of the URL.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from functools import cached_property, partial, wraps
from typing import Any, Protocol, TypeAlias
from urllib.parse import urlsplit

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_max_age, has_vary_header, patch_vary_headers
from django.utils.encoding import iri_to_uri
from django.utils.timezone import get_current_timezone_name
from django.utils.translation import get_language
from django.views import View

from .calls import call_name, told
from .conf import settings
from .keys import digest, fresh_token
from .store import MISS

METHODS = ("GET", "HEAD")
STATUSES = (200, 304)
UNKEPT = ("private", "no-cache", "no-store")
# What a 304 answers to, said or not: who asks without conditions must never get one.
CONDITIONS = ("If-None-Match", "If-Modified-Since")
# Seconds that a record waits for the first page; one that takes longer is not kept.
PROVISIONAL = 300

Function: TypeAlias = Callable[..., Any]
# Says of a result under which name to keep what of it, None for not at all.
Place: TypeAlias = Callable[[Any], "tuple[str, Any] | None"]


class Memory(Protocol):
    """Where records are kept, by name; MISS stands for what is not there."""

    def load(self, name: str) -> Any: ...
    def keep(self, name: str, value: Any, timeout: float | None, new: bool = False) -> bool: ...
    def change(self, name: str, func: Function, timeout: float | None) -> Any: ...
    def drop(self, name: str) -> bool: ...


class Pages(Protocol):
    """Caches calls of views: the kept value of a name, else the computed one, which goes where `place` says."""

    timeout: float | None
    memory: Memory

    def read(self, func: Function, name: str, compute: Callable[[], Any], place: Place) -> Any: ...
    async def aread(self, func: Function, name: str, compute: Callable[[], Awaitable[Any]], place: Place) -> Any: ...


class _Untold(Enum):
    DEFAULT = "a default that can't be told from others"


class Callee:
    """A function, as its calls are named: f(1), f(a=1) and f(1, b=<its default>) are one call."""

    def __init__(self, func: Function):
        self.args: tuple[Any, ...] = ()
        self.kwargs: dict[str, Any] = {}
        while isinstance(func, partial):
            self.args = func.args + self.args
            self.kwargs = {**func.keywords, **self.kwargs}
            func = func.func
        self.func = func

    def name(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], extra: Any) -> str:
        """A text that tells this call from all others.  Raises TypeError like `call_name`."""
        args, kwargs = self.args + args, {**self.kwargs, **kwargs}
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError:
            pass  # The function itself says best what is wrong.
        else:
            bound.apply_defaults()
            args, kwargs = bound.args, bound.kwargs
        is_instance = not inspect.isroutine(self.func) and not isinstance(self.func, type)
        owner = self.func if is_instance else getattr(self.func, "__self__", None)
        func = type(self.func).__call__ if is_instance else self.func
        return call_name(func, args, kwargs, (_owner_mark(owner), self.marks, extra))

    @cached_property
    def signature(self) -> inspect.Signature:
        try:
            # What a wrapper wraps may take other arguments than it does.
            signature = inspect.signature(self.func, follow_wrapped=False)
        except (TypeError, ValueError):
            return inspect.signature(lambda *args, **kwargs: None)
        parameters = [
            parameter.replace(default=parameter.default if _is_told(parameter.default) else _Untold.DEFAULT)
            for parameter in signature.parameters.values()
        ]
        return signature.replace(parameters=parameters)

    @cached_property
    def marks(self) -> list[Any]:
        """What tells it from others of the same name: wrappers around one function, views made of classes."""
        marks: list[Any] = []
        func: Any = self.func
        while hasattr(func, "__wrapped__"):
            code = getattr(func, "__code__", None)
            where = getattr(func, "__globals__", {}).get("__name__")
            marks.append((where, code.co_name, code.co_firstlineno) if code else f"{type(func).__qualname__}")
            func = func.__wrapped__
        if view_class := getattr(func, "view_class", None):
            options = {name: value if _is_told(value) else type(value) for name, value in func.view_initkwargs.items()}
            marks += [view_class, options]
        return marks


def _owner_mark(owner: Any) -> Any:
    # An instance of a class-based view lives for one request.
    return None if inspect.ismodule(owner) else type(owner) if isinstance(owner, View) else owner


def _is_told(value: Any) -> bool:
    try:
        told(value)
    except TypeError:
        return False
    return True


def view_name(func: Function | Callee, request: HttpRequest | str, args: Any, kwargs: Any, extra: Any) -> str:
    """A text that tells a page from all others, save for the headers that it varies by.

    `request` is one, or an absolute URI for a GET of it in the active language and time zone.  `extra` is a value or a
    callable that gets the view's arguments.  Raises TypeError or ValueError for something else as `request`.
    """
    callee = func if isinstance(func, Callee) else Callee(func)
    uri = absolute_uri(request)
    place = [get_language(), get_current_timezone_name()]
    method, login = "GET", None
    if isinstance(request, HttpRequest):
        method, login = str(request.method), request.headers.get("Authorization")
        place.append(getattr(request, "LANGUAGE_CODE", None))
    said = extra(request, *args, **kwargs) if callable(extra) else extra
    return callee.name((None, *args), kwargs, (uri, method, login, place, said))


def absolute_uri(request: HttpRequest | str) -> str:
    """The scheme, host, path and query of a request or of an absolute URI.  Raises TypeError or ValueError."""
    if isinstance(request, HttpRequest):
        return request.build_absolute_uri()
    if not isinstance(request, str):
        raise TypeError(
            f"A view is called with an HttpRequest first, or its key asked with an absolute URI: {request!r}"
        )
    if not urlsplit(request).scheme or not urlsplit(request).netloc:
        raise ValueError(f"{request!r} is no absolute URI; pass the request or something like 'http://host/path'")
    return iri_to_uri(request)


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
        and not response.streaming
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
    """Names of the headers that `response` depends on, in lower case; says in it so of cookies."""
    if _reads_session(request):
        patch_vary_headers(response, ["Cookie"])
    headers = {header.strip().lower() for header in response.get("Vary", "").split(",")} - {""}
    return headers | {header.lower() for header in CONDITIONS} if response.status_code == 304 else headers


def rendered(response: Any) -> Any:
    """`response`, whose content is there from now on."""
    return response.render() if callable(getattr(response, "render", None)) else response


def _storable(response: Any) -> Any:
    if not callable(getattr(response, "render", None)):
        return response
    # Whoever gets it from the cache has no template nor context, so that it should not promise them.
    plain = HttpResponse(response.content, status=response.status_code, reason=response.reason_phrase)
    plain.headers = response.headers
    plain.cookies = response.cookies
    return plain


class Visit:
    """One request for a page: where the page and its URL's record are."""

    def __init__(self, pages: Pages, callee: Callee, request: Any, args: Any, kwargs: Any, extra: Any):
        self.pages, self.memory, self.request = pages, pages.memory, request
        self.url = url_name(callee, request)
        self.call = view_name(callee, request, args, kwargs, extra)
        self.record = self.memory.load(self.url)

    def begin(self) -> Visit:
        """Make sure that there is a record, before the page is computed: dropped meanwhile, it takes the page along."""
        if self.record is MISS:
            self.record = (fresh_token(), [])
            if not self.memory.keep(self.url, self.record, PROVISIONAL, new=True):
                found = self.memory.load(self.url)
                self.record = self.record if found is MISS else found
        return self

    @property
    def name(self) -> str:
        token, headers = self.record
        given = self.request.headers if isinstance(self.request, HttpRequest) else {}
        said = [(header, given.get(header)) for header in headers]
        return "p:" + digest(token, self.call, repr(said))

    def place(self, response: Any) -> tuple[str, Any] | None:
        """Where to keep what of `response`; None when it may not be kept or its URL was invalidated meanwhile."""
        if self.pages.timeout == 0 or not is_cacheable(self.request, response):
            return None
        varies = varies_by(self.request, response) if isinstance(response, HttpResponseBase) else set()
        return (self.name, _storable(response)) if self._learn(varies) else None

    def _learn(self, varies: set[str]) -> bool:
        def grown(record: Any) -> Any:
            # Never fewer: a page that varies by nothing must not take the place of one that varies.
            return (record[0], sorted(varies.union(record[1]))) if record[0] == self.record[0] else MISS

        learned = self.memory.change(self.url, grown, self.pages.timeout)
        self.record = self.record if learned is MISS else learned
        return learned is not MISS

    # What the key of a page asks for.

    def load(self, name: str) -> Any:
        return MISS if self.record is MISS else self.memory.load(self.name)

    def keep(self, name: str, value: Any, timeout: float | None) -> bool:
        return self.begin()._learn(set()) and self.memory.keep(self.name, _storable(rendered(value)), timeout)

    def drop(self, name: str) -> bool:
        return self.memory.drop(self.url)


def url_name(callee: Callee, request: HttpRequest | str) -> str:
    """The name of what is known of a view's URL."""
    return "u:" + digest(callee.name((), {}, absolute_uri(request)))


def view_decorator(pages: Pages, extra: Any, make_key: Function | None = None) -> Callable[[Function], Function]:
    """A decorator that has `pages` cache GETs and HEADs of a view, sync or async.

    `extra` is what a page depends on besides the request's URL and the view's arguments: a value, or a callable that
    gets the latter.  The view gets ``invalidate(request or absolute URI)`` and ``ainvalidate()``, which drop all pages of
    a URL; and with `make_key`, called with a name, something to load from and to keep in and a timeout, ``key(...)``.
    """

    def decorate(func: Function) -> Function:
        callee = Callee(func)

        def visit(request: Any, *args: Any, **kwargs: Any) -> Visit:
            return Visit(pages, callee, request, args, kwargs, extra)

        def invalidate(request: HttpRequest | str, *args: Any, **kwargs: Any) -> None:
            pages.memory.drop(url_name(callee, request))

        def key(request: HttpRequest | str, *args: Any, **kwargs: Any) -> Any:
            page = visit(request, *args, **kwargs)
            return make_key(page.url, page, pages.timeout)

        wrapper: Any = _async_wrapper(func, pages, visit) if iscoroutinefunction(func) else _wrapper(func, pages, visit)
        wrapper.invalidate = invalidate
        wrapper.ainvalidate = sync_to_async(invalidate)
        if make_key is not None:
            wrapper.key = key
        return wrapper

    return decorate


def _bypasses(request: Any) -> bool:
    if not isinstance(request, HttpRequest):
        raise TypeError(f"A cached view should get an HttpRequest as first argument, not {request!r}")
    return request.method not in METHODS or not settings.CACHEOPS_ENABLED


def _wrapper(func: Function, pages: Pages, visit: Callable[..., Visit]) -> Function:
    @wraps(func)
    def wrapper(request: Any, *args: Any, **kwargs: Any) -> Any:
        if _bypasses(request):
            return func(request, *args, **kwargs)
        page = visit(request, *args, **kwargs).begin()
        return pages.read(func, page.name, lambda: rendered(func(request, *args, **kwargs)), page.place)

    return wrapper


def _async_wrapper(func: Function, pages: Pages, visit: Callable[..., Visit]) -> Function:
    @wraps(func)
    async def wrapper(request: Any, *args: Any, **kwargs: Any) -> Any:
        if _bypasses(request):
            return await func(request, *args, **kwargs)

        async def compute() -> Any:
            # Templates may query, which belongs to the thread of the ORM.
            return await sync_to_async(rendered)(await func(request, *args, **kwargs))

        page = await sync_to_async(lambda: visit(request, *args, **kwargs).begin())()
        return await pages.aread(func, page.name, compute, page.place)

    return wrapper
