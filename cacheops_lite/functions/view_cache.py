"""Caching of views: where their pages are, and what tells one from another.

Of each URL of a view a *record* is kept: a token, and the headers that its responses vary by.  A page is found by the
token, the call and what the request says in those headers, so that dropping the record drops all pages of the URL.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import Any, Protocol, TypeAlias
from urllib.parse import urlsplit

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.encoding import iri_to_uri
from django.utils.timezone import get_current_timezone_name
from django.utils.translation import get_language

from ..conf import settings
from ..store import MISS, digest, fresh_token, prefix_of, simple_key
from .cacheable_response import is_cacheable, rendered, storable, varies_by
from .call_key import Callee, Function

METHODS = ("GET", "HEAD")
# Seconds that a record waits for the first page; one that takes longer is not kept.
PROVISIONAL = 300

# Says of a result under which name to keep what of it, None for not at all.
Place: TypeAlias = Callable[[Any], "tuple[str, Any] | None"]


class Memory(Protocol):
    """Where records are kept, by name; MISS stands for what is not there."""

    def load(self, name: str) -> Any: ...
    def keep(self, name: str, value: Any, timeout: float | None, new: bool = False) -> bool: ...
    def change(self, name: str, func: Function, timeout: Any) -> Any: ...
    def drop(self, name: str) -> bool: ...


class Pages(Protocol):
    """Caches calls of views: the kept value of a name, else the computed one, which goes where `place` says."""

    @property
    def timeout(self) -> float | None: ...
    @property
    def memory(self) -> Memory: ...
    def read(self, func: Function, name: str, compute: Callable[[], Any], place: Place) -> Any: ...
    async def aread(self, func: Function, name: str, compute: Callable[[], Awaitable[Any]], place: Place) -> Any: ...


def view_name(func: Function | Callee, request: HttpRequest | str, args: Any, kwargs: Any, extra: Any) -> str:
    """A text that tells a page from all others, save for the headers that it varies by.

    `request` is one, or an absolute URI for a GET of it in the active language and time zone.  `extra` is a value or a
    callable that gets the view's arguments.  Raises TypeError or ValueError for something else as `request`.
    """
    callee = func if isinstance(func, Callee) else Callee(func)
    uri = absolute_uri(request)
    # Middleware may say the language, and whatever comes after it may activate another.
    language = get_language()
    place = (language, getattr(request, "LANGUAGE_CODE", language), get_current_timezone_name())
    method, login = "GET", None
    if isinstance(request, HttpRequest):
        method, login = str(request.method), request.headers.get("Authorization")
    said = extra(request, *args, **kwargs) if callable(extra) else extra
    return callee.name((None, *args), kwargs, (uri, method, login, place, said))


class Visit:
    """One request for a page: where the page and its URL's record are."""

    def __init__(self, pages: Pages, callee: Callee, request: Any, args: Any, kwargs: Any, extra: Any):
        self.pages, self.memory, self.request = pages, pages.memory, request
        self.prefix = prefix_of(callee.func)
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
        return (self.name, storable(response)) if self._learn(varies) else None

    def _learn(self, varies: set[str]) -> bool:
        def grown(record: Any) -> Any:
            # Never fewer: a page that varies by nothing must not take the place of one that varies.
            return (record[0], sorted(varies.union(record[1]))) if record[0] == self.record[0] else MISS

        learned = self.memory.change(self.url, grown, self.pages.timeout)
        self.record = self.record if learned is MISS else learned
        return learned is not MISS

    # What the key of a page asks for.

    def load(self, name: str) -> Any:
        return MISS if self.record is MISS else self.memory.load(simple_key(self.prefix, self.name))

    def keep(self, name: str, value: Any, timeout: float | None) -> bool:
        return self.begin()._learn(set()) and self.memory.keep(
            simple_key(self.prefix, self.name), storable(rendered(value)), timeout
        )

    def drop(self, name: str) -> bool:
        return self.memory.drop(self.url)


def absolute_uri(request: HttpRequest | str) -> str:
    """The scheme, host, path and query of a request or of an absolute URI.  Raises TypeError or ValueError."""
    if isinstance(request, HttpRequest):
        return request.build_absolute_uri()
    if not isinstance(request, str):
        raise TypeError(f"A cached view takes an HttpRequest or an absolute URI first, not {request!r}")
    if not urlsplit(request).scheme or not urlsplit(request).netloc:
        raise ValueError(f"{request!r} is no absolute URI; pass the request or something like 'http://host/path'")
    return iri_to_uri(request)


def url_name(callee: Callee, request: HttpRequest | str) -> str:
    """The name of what is known of a view's URL."""
    return simple_key(prefix_of(callee.func), "u:" + digest(callee.name((), {}, absolute_uri(request))))


def view_decorator(pages: Pages, extra: Any, make_key: Function | None = None) -> Callable[[Function], Function]:
    """A decorator that has `pages` cache GETs and HEADs of a view, sync or async.

    `extra` is what a page depends on besides the request's URL and the view's arguments: a value, or a callable that
    gets the arguments.  The view gets ``invalidate(request or absolute URI)`` and ``ainvalidate(...)``, which drop all
    pages of a URL.  With `make_key` it gets ``key(...)`` too, which makes one of a name, a memory and a timeout.
    """

    def decorate(func: Function) -> Function:
        callee = Callee(func)

        def visit(request: Any, *args: Any, **kwargs: Any) -> Visit:
            return Visit(pages, callee, request, args, kwargs, extra)

        def invalidate(request: HttpRequest | str, *args: Any, **kwargs: Any) -> None:
            pages.memory.drop(url_name(callee, request))

        def key(make_key: Function, request: HttpRequest | str, /, *args: Any, **kwargs: Any) -> Any:
            page = visit(request, *args, **kwargs)
            return make_key(page.url, page, pages.timeout)

        wrapper: Any = _async_wrapper(func, pages, visit) if iscoroutinefunction(func) else _wrapper(func, pages, visit)
        wrapper.invalidate = invalidate
        wrapper.ainvalidate = sync_to_async(invalidate)
        if make_key is not None:
            wrapper.key = partial(key, make_key)
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
