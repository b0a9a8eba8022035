"""Cache views: find pages by URL, and distinguish the variants of a page.

For each URL of a view there is a *URL record*: a random token, and the headers that its responses vary by.  The key of
a page is made of the token, the call, and the values that the request has for those headers.  Dropping the record
therefore invalidates all pages of the URL.
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
from .cacheable_response import is_cacheable, rendered, storable, vary_headers
from .call_key import CallIdentifier, Function

CACHED_METHODS = ("GET", "HEAD")
# How long a new URL record lives until its first page is stored.  A page that takes longer to compute is not stored.
NEW_RECORD_SECONDS = 300

# Maps a computed result to the name and the value to store, or to None for a result that must not be stored.
EntryOf: TypeAlias = Callable[[Any], "tuple[str, Any] | None"]


class Backend(Protocol):
    """Keeps URL records by key; `load` and `change` return MISS for a key without a record."""

    def load(self, name: str) -> Any: ...
    def keep(self, name: str, value: Any, timeout: float | None, new: bool = False) -> bool: ...
    def change(self, name: str, func: Function, timeout: Any) -> Any: ...
    def drop(self, name: str) -> bool: ...


class ResultCache(Protocol):
    """Caches results of functions.

    `read` and `aread` return the stored value of `name`.  If there is none they call `compute`, and store the entry
    that `entry_of` makes of the result.  `timeout` is in seconds, None for the backend's default.
    """

    @property
    def timeout(self) -> float | None: ...
    @property
    def backend(self) -> Backend: ...
    def read(self, func: Function, name: str, compute: Callable[[], Any], entry_of: EntryOf) -> Any: ...
    async def aread(
        self, func: Function, name: str, compute: Callable[[], Awaitable[Any]], entry_of: EntryOf
    ) -> Any: ...


def view_identity(
    func: Function | CallIdentifier, request: HttpRequest | str, args: Any, kwargs: Any, extra: Any
) -> str:
    """Return a text that no other page has, apart from variants by headers.

    `request` is a request, or an absolute URI that stands for a GET in the active language and time zone.  `extra` is
    a value, or a callable that gets the view's arguments.  Raises TypeError or ValueError for another `request`.
    """
    identifier = func if isinstance(func, CallIdentifier) else CallIdentifier(func)
    uri = absolute_uri(request)
    # Middleware sets LANGUAGE_CODE of the request, and code that runs later may activate another language.
    language = get_language()
    locale = (language, getattr(request, "LANGUAGE_CODE", language), get_current_timezone_name())
    method, login = "GET", None
    if isinstance(request, HttpRequest):
        method, login = str(request.method), request.headers.get("Authorization")
    extra_value = extra(request, *args, **kwargs) if callable(extra) else extra
    return identifier.identify((None, *args), kwargs, (uri, method, login, locale, extra_value))


class PageLookup:
    """The keys of one requested page and of its URL record."""

    def __init__(
        self, cache: ResultCache, identifier: CallIdentifier, request: Any, args: Any, kwargs: Any, extra: Any
    ):
        self.cache, self.backend, self.request = cache, cache.backend, request
        self.prefix = prefix_of(identifier.func)
        self.record_key = record_key(identifier, request)
        self.identity = view_identity(identifier, request, args, kwargs, extra)
        self.record = self.backend.load(self.record_key)

    def ensure_record(self) -> PageLookup:
        """Create the URL record if there is none.  Returns self.

        Call this before the page is computed: an invalidation during the computation drops the record, so that the
        page is not stored.
        """
        if self.record is MISS:
            self.record = (fresh_token(), [])
            if not self.backend.keep(self.record_key, self.record, NEW_RECORD_SECONDS, new=True):
                found = self.backend.load(self.record_key)
                self.record = self.record if found is MISS else found
        return self

    @property
    def name(self) -> str:
        token, headers = self.record
        given = self.request.headers if isinstance(self.request, HttpRequest) else {}
        values = [(header, given.get(header)) for header in headers]
        return "p:" + digest(token, self.identity, repr(values))

    def entry_of(self, response: Any) -> tuple[str, Any] | None:
        """Return the name and the value to store for `response`.

        None if the response is not cacheable, or if its URL was invalidated while it was computed.
        """
        if self.cache.timeout == 0 or not is_cacheable(self.request, response):
            return None
        headers = vary_headers(self.request, response) if isinstance(response, HttpResponseBase) else set()
        return (self.name, storable(response)) if self._add_vary_headers(headers) else None

    def _add_vary_headers(self, headers: set[str]) -> bool:
        """Add `headers` to the URL record.  Returns False if the URL was invalidated meanwhile."""

        def extended(record: Any) -> Any:
            # Headers are never removed: a page that varies by none must not replace one that varies.
            return (record[0], sorted(headers.union(record[1]))) if record[0] == self.record[0] else MISS

        changed = self.backend.change(self.record_key, extended, self.cache.timeout)
        self.record = self.record if changed is MISS else changed
        return changed is not MISS

    # `CacheKey` calls the methods below.  They ignore `name`: that of a page depends on its URL record.

    def load(self, name: str) -> Any:
        return MISS if self.record is MISS else self.backend.load(simple_key(self.prefix, self.name))

    def keep(self, name: str, value: Any, timeout: float | None) -> bool:
        return self.ensure_record()._add_vary_headers(set()) and self.backend.keep(
            simple_key(self.prefix, self.name), storable(rendered(value)), timeout
        )

    def drop(self, name: str) -> bool:
        return self.backend.drop(self.record_key)


def absolute_uri(request: HttpRequest | str) -> str:
    """Return the absolute URI of a request or of a text.  Raises TypeError or ValueError for anything else."""
    if isinstance(request, HttpRequest):
        return request.build_absolute_uri()
    if not isinstance(request, str):
        raise TypeError(
            f"{request!r} does not identify a page of a cached view. "
            "Pass an HttpRequest or an absolute URI as first argument."
        )
    if not urlsplit(request).scheme or not urlsplit(request).netloc:
        raise ValueError(
            f"{request!r} is not an absolute URI, so it does not identify a page of a cached view. "
            "Pass the request, or a URI such as 'http://host/path'."
        )
    return iri_to_uri(request)


def record_key(identifier: CallIdentifier, request: HttpRequest | str) -> str:
    """Return the key of the URL record of a view's URL."""
    return simple_key(prefix_of(identifier.func), "u:" + digest(identifier.identify((), {}, absolute_uri(request))))


def view_decorator(cache: ResultCache, extra: Any, make_key: Function | None = None) -> Callable[[Function], Any]:
    """Return a decorator that caches GETs and HEADs of a view, sync or async, in `cache`.

    `extra` is what a page depends on besides the request's URL and the view's arguments: a value, or a callable that
    gets the arguments.  The decorated view has ``invalidate(request or absolute URI)`` and ``ainvalidate(...)``, which
    invalidate all pages of a URL.  With `make_key` it also has ``key(...)``, which calls ``make_key(key, cache,
    timeout)``.
    """

    def decorate(func: Function) -> Any:
        identifier = CallIdentifier(func)

        def look_up(request: Any, *args: Any, **kwargs: Any) -> PageLookup:
            return PageLookup(cache, identifier, request, args, kwargs, extra)

        def invalidate(request: HttpRequest | str, *args: Any, **kwargs: Any) -> None:
            cache.backend.drop(record_key(identifier, request))

        def key(make_key: Function, request: HttpRequest | str, /, *args: Any, **kwargs: Any) -> Any:
            page = look_up(request, *args, **kwargs)
            return make_key(page.record_key, page, cache.timeout)

        make_wrapper = _async_wrapper if iscoroutinefunction(func) else _sync_wrapper
        wrapper: Any = make_wrapper(func, cache, look_up)
        wrapper.invalidate = invalidate
        wrapper.ainvalidate = sync_to_async(invalidate)
        if make_key is not None:
            wrapper.key = partial(key, make_key)
        return wrapper

    return decorate


def _is_bypassed(request: Any) -> bool:
    if not isinstance(request, HttpRequest):
        raise TypeError(
            f"A cached view should get an HttpRequest as first argument, not {request!r}: the request identifies the "
            "page. Decorate methods of views with method_decorator()."
        )
    return request.method not in CACHED_METHODS or not settings.CACHEOPS_ENABLED


def _sync_wrapper(func: Function, cache: ResultCache, look_up: Callable[..., PageLookup]) -> Function:
    @wraps(func)
    def wrapper(request: Any, *args: Any, **kwargs: Any) -> Any:
        if _is_bypassed(request):
            return func(request, *args, **kwargs)
        page = look_up(request, *args, **kwargs).ensure_record()
        return cache.read(func, page.name, lambda: rendered(func(request, *args, **kwargs)), page.entry_of)

    return wrapper


def _async_wrapper(func: Function, cache: ResultCache, look_up: Callable[..., PageLookup]) -> Function:
    @wraps(func)
    async def wrapper(request: Any, *args: Any, **kwargs: Any) -> Any:
        if _is_bypassed(request):
            return await func(request, *args, **kwargs)

        async def compute() -> Any:
            # Rendering a template may run queries, which belong to the thread of the ORM.
            return await sync_to_async(rendered)(await func(request, *args, **kwargs))

        page = await sync_to_async(lambda: look_up(request, *args, **kwargs).ensure_record())()
        return await cache.aread(func, page.name, compute, page.entry_of)

    return wrapper
