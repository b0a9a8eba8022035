"""Cached views: one contract for each kind of cache, and the layer that they are built on."""

import asyncio
import threading

import pytest
from django.contrib import messages
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseNotModified,
    JsonResponse,
    StreamingHttpResponse,
)
from django.middleware.csrf import get_token
from django.template import engines
from django.template.response import TemplateResponse
from django.test import AsyncClient, AsyncRequestFactory, Client, RequestFactory, override_settings
from django.urls import clear_url_caches, path
from django.utils import timezone, translation
from django.utils.cache import patch_vary_headers
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import condition
from django.views.generic import TemplateView

from cacheops_lite import cached_view_as, invalidate_all
from cacheops_lite.functions import CacheKey, CacheMiss, redis_cache, view_cache
from cacheops_lite.schema.predicates import Dependency
from cacheops_lite.store import invalidator, keys, protocol
from cacheops_lite.store.client import get_client
from cacheops_lite.store.protocol import MISS, VersionSet
from cacheops_lite.store.write_set import WriteSet
from tests.conftest import cache_of_kind, run_async
from tests.shop.models import Category, Label, Unwatched

# The end of a request checks the state of connections; cached_view_as compiles querysets.
pytestmark = pytest.mark.django_db(transaction=True)

SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
CSRF = "django.middleware.csrf.CsrfViewMiddleware"
MESSAGES = "django.contrib.messages.middleware.MessageMiddleware"
LOCALE = "django.middleware.locale.LocaleMiddleware"

urlpatterns = []
get = RequestFactory().get


class CachedAsLabels:
    """``cached_view_as`` with the interface of a cache, except that pages have no keys."""

    def cached_view(self, timeout=None, extra=None):
        if callable(timeout):
            return self.cached_view()(timeout)

        def decorate(view):
            decorated = cached_view_as(Label, timeout=timeout, extra=extra)(view)
            decorated.key = lambda *args: pytest.skip("pages of cached_view_as have no keys")
            return decorated

        return decorate

    def clear(self):
        invalidate_all()


@pytest.fixture(params=["redis", "embedded", "file", "like"])
def cache(request, tmp_path):
    """An empty cache of each kind, and `cached_view_as`."""
    if request.param != "like":
        with cache_of_kind(request.param, tmp_path) as empty:
            yield empty
        return
    get_client().flushdb()
    yield CachedAsLabels()
    get_client().flushdb()


@pytest.fixture
def serve(settings):
    """Serve a view at /page/ and /page/<number>/ behind some middleware; return the class of clients."""

    def served(view, *middleware, client=Client):
        urlpatterns[:] = [path("page/", view), path("page/<int:number>/", view)]
        clear_url_caches()
        settings.MIDDLEWARE = list(middleware)
        return client

    signed = "django.contrib.sessions.backends.signed_cookies"
    with override_settings(ROOT_URLCONF=__name__, SESSION_ENGINE=signed):
        yield served
    urlpatterns.clear()


class CountingView:
    """A view that returns the number of its call; `change` gets request and response."""

    def __init__(self, change=lambda request, response: response, make=HttpResponse):
        self.calls = 0
        self.change = change
        self.make = make

    def view(self):
        def view(request, *args, **kwargs):
            self.calls += 1
            response = self.make(str(self.calls).encode())
            return self.change(request, response) or response

        return view


def page(cache, change=lambda request, response: response, make=HttpResponse, **options):
    """Return a cached view of that kind."""
    return cache.cached_view(timeout=60, **options)(CountingView(change, make).view())


def body(response):
    return int(response.content)


def is_cached(view, target):
    try:
        view.key(target).get()
    except CacheMiss:
        return False
    return True


def test_pages_are_cached_by_url(cache, serve):
    """The query string is a part of the URL; the decorator works with and without parentheses."""
    for decorate in (cache.cached_view, cache.cached_view(), cache.cached_view(60), cache.cached_view(timeout=60)):
        client = serve(decorate(CountingView().view()))()
        urls = ["/page/", "/page/", "/page/?a=1", "/page/?a=2", "/page/1/", "/page/?a=1", "/page/"]
        assert [body(client.get(url)) for url in urls] == [1, 1, 2, 3, 4, 2, 1]
        cache.clear()


def test_scheme_and_host_are_part_of_the_url(cache, settings):
    """Several sites may share a cache."""
    settings.ALLOWED_HOSTS = ["*"]
    view = page(cache)
    requests = [get("/"), get("/", secure=True), get("/", headers={"host": "other"})]
    assert [body(view(request)) for request in requests * 2] == [1, 2, 3] * 2


def test_pages_are_cached_by_arguments(cache):
    """Types count; passing an argument by position or by name does not."""

    @cache.cached_view
    def view(request, number=1):
        return HttpResponse(repr(number))

    assert view(get("/"), 1).content == view(get("/"), number=1).content == view(get("/")).content == b"1"
    assert view(get("/"), "1").content == b"'1'"
    assert view.key(get("/")).get().content == view.key(get("/"), number=1).get().content


def test_only_get_and_head_are_cached(cache, serve):
    """Their responses are separate; other methods always call the view."""
    client = serve(page(cache))()
    assert body(client.get("/page/")) == 1
    for number, send in enumerate((client.post, client.put, client.delete, client.options, client.patch), 2):
        assert body(send("/page/")) == number
    assert body(client.get("/page/")) == 1
    calls = []
    view = cache.cached_view(lambda request: calls.append(request.method) or HttpResponse(request.method))
    factory = RequestFactory()
    for _ in range(2):
        assert view(factory.get("/")).content == b"GET"
        assert view(factory.head("/")).content == b"HEAD"
    assert calls == ["GET", "HEAD"]


def test_each_hit_is_a_separate_copy(cache):
    """Changes that middleware makes to one response do not affect the next one."""
    view = page(cache)
    for number in range(3):
        response = view(get("/"))
        assert "X-Seen" not in response
        assert not response.cookies
        assert response.content == b"1", number
        response["X-Seen"] = "1"
        response.set_cookie("seen", "1")
        response.content = b"changed"
        response.close()


def test_a_hit_equals_the_first_response(cache):
    """This includes content, headers, cookies, charset and type."""

    def change(request, response):
        response["X-Header"] = "é"
        response.set_cookie("theme", "dark", max_age=60)
        return response

    view = page(cache, change, lambda content: JsonResponse({"a": "é"}, charset="latin-1"))
    miss, hit = view(get("/")), view(get("/"))
    assert hit is not miss
    assert type(hit) is type(miss) is JsonResponse
    assert hit.serialize() == miss.serialize()
    assert hit.cookies.output() == miss.cookies.output() != ""


def test_a_disabled_cache_calls_the_view(cache, settings):
    """CACHEOPS_ENABLED makes decorators no-ops."""
    view = page(cache)
    settings.CACHEOPS_ENABLED = False
    assert [body(view(get("/"))), body(view(get("/")))] == [1, 2]


def test_a_timeout_of_zero_caches_nothing(cache):
    view = cache.cached_view(timeout=0)(CountingView().view())
    assert [body(view(get("/"))), body(view(get("/")))] == [1, 2]
    view.key(get("/")).set(HttpResponse(b"42"))
    assert body(view(get("/"))) == 3


def test_a_first_argument_that_is_not_a_request_is_refused(cache):
    view = page(cache)
    with pytest.raises(TypeError, match="should get an HttpRequest as first argument, not 1"):
        view(1)


# Which responses are cached

UNCACHED_RESPONSES = {
    "not found": lambda request, response: HttpResponse(response.content, status=404),
    "error": lambda request, response: HttpResponse(response.content, status=500),
    "redirect": lambda request, response: HttpResponse(response.content, status=302),
    "part": lambda request, response: HttpResponse(response.content, status=206),
    "private": lambda request, response: response.__setitem__("Cache-Control", "max-age=60, Private"),
    "private field": lambda request, response: response.__setitem__("Cache-Control", 'private="Set-Cookie"'),
    "no-store": lambda request, response: response.__setitem__("Cache-Control", "no-store"),
    "no-cache": lambda request, response: response.__setitem__("Cache-Control", "no-cache"),
    "no age": lambda request, response: response.__setitem__("Cache-Control", "max-age=0"),
    "varies by anything": lambda request, response: patch_vary_headers(response, ["*"]),
    "cookie that varies": lambda request, response: (
        response.set_cookie("a", "b"),
        patch_vary_headers(response, ["Accept", "Cookie"]),
        response,
    )[2],
    "cookie header that varies": lambda request, response: (
        response.__setitem__("Set-Cookie", "a=b"),
        patch_vary_headers(response, ["cookie"]),
        response,
    )[2],
    "token": lambda request, response: get_token(request) and None,
}


@pytest.mark.parametrize("kind", UNCACHED_RESPONSES)
def test_private_and_unsuccessful_responses_are_not_cached(cache, kind):
    """The rules are those of Django's cache middleware."""
    view = page(cache, UNCACHED_RESPONSES[kind])
    assert [body(view(get("/"))), body(view(get("/")))] == [1, 2]


@pytest.mark.parametrize("cache_control", ["public", "max-age=60", "must-revalidate, s-maxage=5"])
def test_public_responses_are_cached(cache, cache_control):
    """Cache-Control allows it, or the page sets a cookie without varying by cookies."""

    def change(request, response):
        response["Cache-Control"] = cache_control
        response.set_cookie("theme", "dark")

    view = page(cache, change)
    assert [body(view(get("/"))), body(view(get("/")))] == [1, 1]


def test_streaming_responses_are_not_cached(cache, tmp_path):
    """They can be read only once, and may be endless."""
    (tmp_path / "file").write_bytes(b"content")
    streams = {
        "/stream": lambda: StreamingHttpResponse([b"content"]),
        "/file": lambda: FileResponse((tmp_path / "file").open("rb")),
    }
    view = cache.cached_view(lambda request: streams[request.path]())
    for url in [*streams] * 2:
        response = view(get(url))
        assert b"".join(response.streaming_content) == b"content"
        response.close()


def test_a_missing_response_is_not_cached(cache):
    """Django reports each time that the view returned None."""
    view = page(cache, lambda request, response: None, lambda content: None)
    assert view(get("/")) is None
    with pytest.raises(CacheMiss):
        view.key(get("/")).get()


def test_results_that_are_not_responses_are_cached(cache):
    """Outer decorators may make responses from them."""
    view = cache.cached_view(lambda request: {"path": request.path})
    assert view(get("/a")) == view(get("/a")) == view.key(get("/a")).get() == {"path": "/a"}


def test_a_304_response_is_cached_only_for_equal_conditional_requests(cache):
    """Requests without conditions get the page, in any order of requests."""

    @condition(etag_func=lambda request: '"tag"')
    def view(request):
        return HttpResponse(b"page")

    view = cache.cached_view(view)
    conditional = {"headers": {"if-none-match": '"tag"'}}
    for _ in range(2):
        assert view(get("/", **conditional)).status_code == 304
        assert view(get("/")).content == b"page"
        assert view(get("/", headers={"if-none-match": '"old"'})).content == b"page"
    calls = []
    view = cache.cached_view(lambda request: calls.append(1) or HttpResponseNotModified())
    assert view(get("/")).status_code == view(get("/")).status_code == 304
    assert len(calls) == 1


def test_exceptions_are_not_cached(cache):
    """The next request tries again."""
    outcomes = [HttpResponse(b"1"), ValueError()]

    @cache.cached_view
    def view(request):
        outcome = outcomes.pop()
        if isinstance(outcome, ValueError):
            raise outcome
        return outcome

    with pytest.raises(ValueError):  # noqa: PT011
        view(get("/"))
    assert body(view(get("/"))) == body(view(get("/"))) == 1


# What distinguishes pages of one URL


def test_pages_are_cached_by_the_headers_in_vary(cache):
    """A missing header differs from an empty one; the case of header names does not matter."""
    view = page(cache, lambda request, response: patch_vary_headers(response, ["accept-ENCODING", "X-Kind"]))
    kinds = [{}, {"x-kind": ""}, {"x-kind": "a"}, {"x-kind": "a", "accept-encoding": "br"}, {"accept-encoding": "abr"}]
    assert [body(view(get("/", headers=kind))) for kind in kinds * 2] == [1, 2, 3, 4, 5] * 2


def test_headers_once_in_vary_count_for_all_later_pages_of_the_url(cache):

    def change(request, response):
        if name := request.COOKIES.get("name"):
            patch_vary_headers(response, ["Cookie"])
            response.content = name

    def ask(name=None):
        return view(get("/", headers={"cookie": f"name={name}"} if name else {})).content

    view = page(cache, change)
    assert [ask("ann"), ask(), ask("bob"), ask("ann"), ask("bob"), ask()] == [
        b"ann",
        b"2",
        b"bob",
        b"ann",
        b"bob",
        b"2",
    ]


def greet(request, number=0):
    if name := request.GET.get("name"):
        request.session["name"] = name
    return HttpResponse(f"Hello {request.session.get('name')}")


def test_pages_that_read_the_session_are_not_shared_between_users(cache, serve):
    """They vary by cookie, although the session middleware adds the header too late for a decorator."""
    greeted = []
    client = serve(cache.cached_view(lambda request: greeted.append(1) or greet(request)), SESSIONS)
    ann, bob, anonymous = client(), client(), client()
    ann.get("/page/?name=ann")
    bob.get("/page/?name=bob")
    for _ in range(2):
        assert ann.get("/page/").content == b"Hello ann"
        assert bob.get("/page/").content == b"Hello bob"
        assert anonymous.get("/page/").content == b"Hello None"
    assert len(greeted) == 5
    assert "Cookie" in ann.get("/page/")["Vary"]


def test_a_page_that_changes_the_session_is_not_cached(cache, serve, settings):
    """A hit would lose the change."""
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"

    def view(request):
        request.session["seen"] = request.session.get("seen", 0) + 1
        return HttpResponse(str(request.session["seen"]))

    client = serve(cache.cached_view(view), SESSIONS)()
    assert [body(client.get("/page/")) for _ in range(3)] == [1, 2, 3]


def test_a_page_that_does_not_read_the_session_is_shared(cache, serve):
    """Requests with and without a session get the same page."""
    view = page(cache)
    client = serve(lambda request: greet(request) if request.GET else view(request), SESSIONS)
    ann = client()
    ann.get("/page/?name=ann")
    assert body(ann.get("/page/")) == body(client().get("/page/")) == 1


def form(request):
    template = engines["django"].from_string("<form>{% csrf_token %}</form>")
    return HttpResponse(template.render({}, request))


@pytest.mark.parametrize("protect", [lambda view: view, csrf_protect])
def test_a_page_with_a_csrf_token_is_never_shared(cache, serve, protect):
    """Each user gets a valid token and the cookie that belongs to it."""
    view = cache.cached_view(protect(form))
    client = serve(lambda request: HttpResponse("ok") if request.method == "POST" else view(request), CSRF)
    for _ in range(2):
        user = client(enforce_csrf_checks=True)
        response = user.get("/page/")
        token = response.content.decode().split('value="')[1].split('"')[0]
        assert "csrftoken" in response.cookies
        assert user.post("/page/", {"csrfmiddlewaretoken": token}).content == b"ok"


def test_a_template_response_with_a_csrf_token_is_never_shared(cache, serve):
    """The token is made by rendering, which precedes the check."""
    template = engines["django"].from_string("{% csrf_token %}")
    client = serve(cache.cached_view(lambda request: TemplateResponse(request, template)), CSRF)
    one, other = client().get("/page/"), client().get("/page/")
    assert one.content != other.content
    assert other.cookies["csrftoken"]


def test_messages_are_shown_to_their_own_user(cache, serve, settings):
    """A page that showed or added a message is not cached; a page without messages is."""
    settings.MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"
    calls = []

    def view(request):
        calls.append(request.path)
        return HttpResponse(" ".join(map(str, messages.get_messages(request))))

    def leave(request):
        messages.info(request, "hello")
        return HttpResponse(b"left")

    cached, left = cache.cached_view(view), cache.cached_view(leave)
    client = serve(lambda request: left(request) if request.GET else cached(request), MESSAGES)
    ann, bob = client(), client()
    for user in (ann, bob):
        assert user.get("/page/?leave").content == b"left"
        assert user.get("/page/").content == b"hello"
    assert client().get("/page/").content == client().get("/page/").content == b""
    assert len(calls) == 3


def test_a_page_with_a_nonce_is_never_shared(cache, serve, settings):
    """The Content-Security-Policy header belongs to one response only."""
    csp = pytest.importorskip("django.utils.csp")
    settings.SECURE_CSP = {"script-src": [csp.CSP.NONCE]}
    for nonce, cached in ((lambda request: str(request._csp_nonce), False), (lambda request: "", True)):

        def change(request, response):
            response.content = nonce(request)  # noqa: B023

        view = page(cache, change)
        client = serve(view, "django.middleware.csp.ContentSecurityPolicyMiddleware")()
        for _ in range(2):
            response = client.get("/page/")
            assert response.content.decode() in response["Content-Security-Policy"]
        assert is_cached(view, "http://testserver/page/") == cached
        cache.clear()


def test_pages_are_cached_by_the_authorization_header(cache):
    """It counts even if Vary does not name it."""
    view = page(cache)
    requests = [{}, {"authorization": "Basic a"}, {"authorization": "Basic b"}]
    assert [body(view(get("/", headers=headers))) for headers in requests * 2] == [1, 2, 3] * 2


def test_pages_are_cached_by_language(cache, serve):
    """This applies to any way of choosing the language."""
    client = serve(page(cache), LOCALE)()
    languages = ["de", "fr", "de-at;q=0.5,de", "fr"]
    assert [body(client.get("/page/", headers={"accept-language": language})) for language in languages] == [
        1,
        2,
        1,
        2,
    ]
    view = page(cache)
    request = get("/other")
    request.LANGUAGE_CODE = "en"
    for language, number in [("de", 1), ("fr", 2), ("de", 1)]:
        with translation.override(language):
            assert body(view(request)) == number
    request.LANGUAGE_CODE = "it"
    with translation.override("de"):
        assert body(view(request)) == 3


def test_pages_are_cached_by_time_zone(cache):
    """A page may show local times."""
    view = page(cache)
    for zone, number in [("UTC", 1), ("Europe/Berlin", 2), ("UTC", 1)]:
        with timezone.override(zone):
            assert body(view(get("/"))) == number


def test_pages_are_cached_by_extra(cache):
    """`extra` is a value, or a callable that gets the arguments of the view."""
    view = page(cache, extra=lambda request, number=0: (request.GET.get("staff"), number % 2))
    calls = [("/", 1), ("/", 2), ("/", 3), ("/?staff=1", 1)]
    assert [body(view(get(url), number)) for url, number in calls * 2] == [1, 2, 3, 4] * 2
    views_ = [cache.cached_view(extra=extra)(count_calls) for extra in (1, 2)]
    assert views_[0](get("/"))["X"] != views_[1](get("/"))["X"]


def count_calls(request, counter=[0]):  # noqa: B006
    counter[0] += 1
    return HttpResponse(headers={"X": str(counter[0])})


def test_requests_with_equal_extra_share_a_page(cache):

    def ask(**user):
        request = get("/")
        request.user = user
        return body(view(request))

    view = page(cache, extra=lambda request: request.user["staff"])
    assert [ask(staff=True, name="a"), ask(staff=False), ask(staff=True, name="b")] == [1, 2, 1]


# Kinds of views


def test_class_based_views_are_cached(cache, serve):
    """They are made by `as_view()` or decorated by method."""

    class Page(View):
        calls = 0
        step = 1

        def get(self, request, **kwargs):
            Page.calls += self.step
            return HttpResponse(str(Page.calls))

        def post(self, request):
            return HttpResponse(b"posted")

    class Decorated(Page):
        @method_decorator(cache.cached_view(60))
        def dispatch(self, *args, **kwargs):
            return super().dispatch(*args, **kwargs)

    client = serve(cache.cached_view(timeout=60)(Page.as_view()))()
    assert [body(client.get(url)) for url in ("/page/", "/page/1/", "/page/")] == [1, 2, 1]
    assert client.post("/page/").content == b"posted"
    assert cache.cached_view(Page.as_view()).view_class is Page
    client = serve(Decorated.as_view())()
    assert [body(client.get(url)) for url in ("/page/", "/page/1/", "/page/")] == [3, 4, 3]


def test_different_class_based_views_have_different_pages(cache):
    """They are identified by class and by the arguments of `as_view()`, which need not be picklable."""

    class One(TemplateView):
        thing = None

        def get(self, request):
            return HttpResponse(f"{type(self).__name__} {self.thing}")

    class Two(One):
        pass

    made = [One.as_view(), Two.as_view(), *(One.as_view(thing=thing) for thing in (1, "1", int, threading.Lock()))]
    for view in [cache.cached_view(view) for view in made] * 2:
        assert view(get("/")).content == view.__wrapped__(get("/")).content


def test_template_responses_are_rendered_and_cached(cache, serve):
    """A hit is a plain response, which middleware for templates ignores."""
    template = engines["django"].from_string("Hello {{ name }}")
    calls = []

    def view(request, number=0):
        calls.append(number)
        response = TemplateResponse(request, template, {"name": "you"}, status=200)
        response["X-Header"] = "1"
        response.set_cookie("theme", "dark")
        response.add_post_render_callback(lambda response: calls.append("rendered"))
        return response

    client = serve(cache.cached_view(view), f"{__name__}.shout")()
    for _ in range(2):
        response = client.get("/page/")
        assert response.content == b"Hello you"
        assert response["X-Header"] == "1"
        assert response.cookies["theme"].value == "dark"
    assert calls == [0, "rendered"]
    assert not hasattr(cache.cached_view(view).key(get("/page/")).get(), "render")


def shout(get_response):
    """Middleware that changes the context of template responses."""

    class Shout:
        def __call__(self, request):
            return get_response(request)

        def process_template_response(self, request, response):
            response.context_data["name"] = "YOU"
            return response

    return Shout()


def test_async_views_are_cached(cache, serve):
    """They remain coroutine functions; template responses are rendered, too."""
    calls = []
    template = engines["django"].from_string("Hello")

    @cache.cached_view(timeout=60, extra=lambda request, number=0: number)
    async def view(request, number=0):
        calls.append(number)
        return TemplateResponse(request, template) if number else HttpResponse(str(len(calls)))

    async def run():
        client = serve(view, client=AsyncClient)()
        for _ in range(2):
            assert body(await client.get("/page/")) == 1
            assert (await client.get("/page/5/")).content == b"Hello"
        assert (await client.post("/page/")).content == b"3"
        await view.ainvalidate("http://testserver/page/")
        assert body(await client.get("/page/")) == 4
        request = AsyncRequestFactory().get("/page/")
        await view.key(request).aset(HttpResponse(b"42"))
        assert body(await client.get("/page/")) == body(await view.key(request).aget()) == 42
        await view.key(request).adelete()
        assert body(await client.get("/page/")) == 5
        with pytest.raises(TypeError, match="should get an HttpRequest"):
            await view(1)

    asyncio.run(run())
    assert calls == [0, 5, 0, 0, 0]
    assert asyncio.iscoroutinefunction(view)


def test_async_class_based_views_are_cached(cache, serve):
    """`as_view()` of coroutine methods is recognised as a coroutine function."""

    class Page(View):
        calls = 0

        async def get(self, request):
            Page.calls += 1
            return HttpResponse(str(Page.calls))

    async def run():
        client = serve(cache.cached_view(Page.as_view()), client=AsyncClient)()
        assert [body(await client.get("/page/")), body(await client.get("/page/"))] == [1, 1]

    asyncio.run(run())


def test_async_pages_that_read_the_session_are_not_shared_between_users(cache, serve):

    async def view(request):
        return HttpResponse(str(await request.session.aget("name")))

    cached = cache.cached_view(view)

    async def site(request):
        return greet(request) if request.GET else await cached(request)

    async def run():
        client = serve(site, SESSIONS, client=AsyncClient)
        ann, bob = client(), client()
        await ann.get("/page/?name=ann")
        await bob.get("/page/?name=bob")
        assert [(await user.get("/page/")).content for user in (ann, bob, ann)] == [b"ann", b"bob", b"ann"]

    asyncio.run(run())


# Invalidation and keys


def test_a_url_is_invalidated_by_request_or_uri(cache, serve):
    """All its pages are invalidated, of all methods, languages and headers; those of other URLs are not."""

    def change(request, response):
        patch_vary_headers(response, ["X-Kind"])

    view = page(cache, change)
    factory = RequestFactory()
    requests = [factory.get("/"), factory.head("/"), factory.get("/", headers={"x-kind": "a"}), factory.get("/other")]
    pages = [body(view(request)) for request in requests]
    for number, target in enumerate(("http://testserver/", requests[2], factory.post("/"))):
        view.invalidate(target, "any", argument=1)
        found = [body(view(request)) for request in requests]
        assert found == [5 + 3 * number, 6 + 3 * number, 7 + 3 * number, pages[3]]


def test_a_uri_may_be_percent_encoded_or_readable(cache):
    view = page(cache)
    assert body(view(get("/é/", {"a": "ü"}))) == 1
    view.invalidate("http://testserver/é/?a=ü")
    assert body(view(get("/é/", {"a": "ü"}))) == 2


@pytest.mark.parametrize(
    ("target", "error"), [("/page/", ValueError), ("testserver/page/", ValueError), (1, TypeError), (None, TypeError)]
)
def test_a_target_that_is_neither_a_request_nor_a_uri_is_refused(cache, target, error):
    """Otherwise nothing would be invalidated."""
    view = page(cache)
    for use in (view.invalidate, view.key):
        with pytest.raises(error, match="absolute URI"):
            use(target)


def test_a_page_can_be_read_set_and_deleted(cache):
    """It is identified by request, or by the URI of a request without headers."""
    view = page(cache)
    for target in (get("/"), "http://testserver/"):
        assert isinstance(view.key(target), CacheKey)
        with pytest.raises(CacheMiss):
            view.key(target).get()
        view.key(target).set(HttpResponse(b"42"))
        assert body(view(get("/"))) == body(view.key(target).get()) == 42
        view.key(target).delete()
        with pytest.raises(CacheMiss):
            view.key(target).get()
    assert body(view(get("/"))) == 1
    assert body(view.key("http://testserver/").get()) == 1
    view.key(get("/")).set(TemplateResponse(get("/"), engines["django"].from_string("7")))
    assert body(view(get("/"))) == 7


@pytest.mark.parametrize("varies", [[], ["X-Kind"]])
def test_a_page_invalidated_while_it_is_made_is_not_cached(cache, varies):
    """It may show old data."""

    def change(request, response):
        patch_vary_headers(response, varies)
        if response.content in (b"1", b"3"):
            view.invalidate(request)

    view = page(cache, change)
    assert [body(view(get("/"))) for _ in range(2)] == [1, 2]
    view.invalidate(get("/"))
    assert [body(view(get("/"))) for _ in range(3)] == [3, 4, 4]


def test_a_page_invalidated_while_it_is_made_does_not_replace_a_newer_one(cache):
    """The URL has a new record by then."""

    def change(request, response):
        if response.content == b"1":
            view.invalidate(request)
            assert body(view(request)) == 2

    view = page(cache, change)
    assert [body(view(get("/"))) for _ in range(3)] == [1, 2, 2]


def test_the_last_of_two_concurrent_fills_stays(cache):
    """Neither prevents the other."""

    def change(request, response):
        if response.content == b"1":
            assert body(view(request)) == 2

    view = page(cache, change)
    assert [body(view(get("/"))) for _ in range(2)] == [1, 1]


def test_concurrent_first_fills_share_one_record_of_the_url(cache):
    """Both pages are cached under it."""
    view = page(cache)
    keys_ = [view.key(get("/")), view.key(RequestFactory().head("/"))]
    for number, key in enumerate(keys_):
        key.set(HttpResponse(str(number)))
    assert [body(key.get()) for key in keys_] == [0, 1]


def test_a_foreign_record_of_a_url_is_a_miss(store):
    """It is replaced, and the page is cached under the new one."""
    view = page(redis_cache.cache)
    url = view.key(get("/"))
    for value in (b"foreign", b""):
        store.set(url, value)
        assert body(view(get("/"))) == body(view(get("/")))
        assert store.get(url) != value


def test_the_record_of_a_url_expires(store):
    """It expires with its pages, or after minutes if no page was cached."""
    view = page(redis_cache.cache)
    view(get("/"))
    for key in store.scan_iter():
        assert 50 < store.ttl(key) <= 60, key
    store.flushdb()
    view = page(redis_cache.cache, UNCACHED_RESPONSES["private"])
    view(get("/"))
    assert [store.ttl(key) <= view_cache.NEW_RECORD_SECONDS for key in store.scan_iter()] == [True]


# The layer


def test_a_page_is_identified_by_request_or_uri():
    """A URI stands for a GET request without headers."""

    def view(request, number=1):
        pass

    name = view_cache.view_identity(view, get("/a?b=1"), (), {}, None)
    assert name == view_cache.view_identity(view, "http://testserver/a?b=1", (1,), {}, None)
    assert name != view_cache.view_identity(view, get("/a?b=2"), (), {}, None)
    assert name != view_cache.view_identity(view, RequestFactory().head("/a?b=1"), (), {}, None)
    assert name != view_cache.view_identity(view, get("/a?b=1"), (2,), {}, None)
    assert name != view_cache.view_identity(view, get("/a?b=1"), (), {}, 1)


class VersionedPages:
    """Caches pages under versions: a write to the table invalidates all of them."""

    timeout = 60
    backend = redis_cache.cache
    version_set = VersionSet("", [Dependency("t", (), None)])

    def read(self, func, name, compute, entry_of):
        found = protocol.read(keys.value_key("", keys.digest(name)), self.version_set)
        if found.payload is not MISS:
            return self.backend._decode(name, found.payload)
        protocol.create_versions(found, 60)
        response = compute()
        entry = entry_of(response)
        if entry is not None:
            found.key = keys.value_key("", keys.digest(entry[0]))
            protocol.fill(found, self.backend.encode(*entry), 60)
        return response


def test_other_caches_can_be_built_on_the_layer(store):
    """This one invalidates pages like querysets, and also by URL."""

    def change(request, response):
        patch_vary_headers(response, ["X-Kind"])
        if response.content == b"5":
            invalidator.invalidate({"": WriteSet(tables={"t"})})

    view = view_cache.view_decorator(VersionedPages(), extra=lambda request: 1)(CountingView(change).view())
    requests = [get("/"), get("/", headers={"x-kind": "a"})]
    assert [body(view(request)) for request in requests * 2] == [1, 2, 1, 2]
    invalidator.invalidate({"": WriteSet(tables={"t"})})
    assert [body(view(request)) for request in requests * 2] == [3, 4, 3, 4]
    view.invalidate("http://testserver/")
    assert [body(view(requests[0])) for _ in range(3)] == [5, 6, 6]
    assert not hasattr(view, "key")


def test_is_cacheable_accepts_a_request_without_middleware():
    assert view_cache.is_cacheable(HttpRequest(), HttpResponse())
    assert not view_cache.is_cacheable(HttpRequest(), HttpResponse(status=404))


# Pages that are invalidated like querysets


@pytest.fixture
def pens(store):
    """A category that the pages show."""
    return Category.objects.create(name="pens")


def page_as(*samples, change=lambda request, response: response, **options):
    return cached_view_as(*samples, **options)(CountingView(change).view())


def test_pages_are_invalidated_by_changes_of_their_samples(pens):
    """Any row of a model counts, and the matching rows of a queryset."""
    of_labels, of_pens = page_as(Label), page_as(Category.objects.filter(pk=pens.pk), Label)
    assert [body(view(get("/"))) for view in (of_labels, of_pens) * 2] == [1, 1, 1, 1]
    Category.objects.create(name="inks")
    assert [body(view(get("/"))) for view in (of_labels, of_pens)] == [1, 1]
    pens.delete()
    assert [body(view(get("/"))) for view in (of_labels, of_pens)] == [1, 2]
    Label.objects.create(text="new")
    assert [body(view(get("/"))) for view in (of_labels, of_pens)] == [2, 3]


def test_pages_that_vary_are_invalidated_by_changes_of_their_samples(pens):
    """The headers that a page varies by are known only after it was made."""

    def change(request, response):
        patch_vary_headers(response, ["X-Kind"])

    view = page_as(Label, change=change)
    requests = [get("/"), get("/", headers={"x-kind": "a"}), get("/", headers={"x-kind": "b"})]
    assert [body(view(request)) for request in requests * 2] == [1, 2, 3] * 2
    Label.objects.create(text="new")
    assert [body(view(request)) for request in requests * 2] == [4, 5, 6] * 2


def test_a_page_whose_samples_change_while_it_is_made_is_not_cached(pens):
    """It is returned once."""

    def change(request, response):
        if response.content == b"1":
            Label.objects.create(text="meanwhile")

    view = page_as(Label, change=change)
    assert [body(view(get("/"))) for _ in range(3)] == [1, 2, 2]


def test_no_page_is_cached_in_a_transaction_that_has_written(pens):
    """It may show data that are never committed."""
    view = page_as(Label)
    with transaction.atomic():
        Label.objects.create(text="new")
        assert [body(view(get("/"))) for _ in range(2)] == [1, 2]
    assert [body(view(get("/"))) for _ in range(2)] == [3, 3]


def test_pages_of_different_samples_are_distinct(pens):
    """The samples are a part of the key."""
    view = CountingView().view()
    one, two = cached_view_as(Label)(view), cached_view_as(Category)(view)
    assert [body(decorated(get("/"))) for decorated in (one, two, one, two)] == [1, 2, 1, 2]


def test_async_pages_are_invalidated_by_changes_of_their_samples(pens):
    calls = []

    @cached_view_as(Label)
    async def view(request):
        calls.append(request)
        return HttpResponse(len(calls))

    async def visits():
        pages = [await view(get("/")) for _ in range(2)]
        await Label.objects.acreate(text="new")
        pages.append(await view(get("/")))
        await view.ainvalidate("http://testserver/")
        return [body(page) for page in [*pages, await view(get("/"))]]

    assert run_async(visits()) == [1, 1, 2, 3]


def test_samples_of_a_view_are_checked_by_the_decorator():
    """The error is raised before the first request."""
    for samples, error in (((), TypeError), ((1,), TypeError), ((Unwatched,), ImproperlyConfigured)):
        with pytest.raises(error):
            cached_view_as(*samples)
    with pytest.raises(ImproperlyConfigured, match=r"cached_view_as\(\) has timeout"):
        cached_view_as(Label, timeout="long")


def test_with_a_lock_one_of_several_concurrent_requests_makes_the_page(pens):
    """The other requests wait for it."""
    started, go_on, waiting = threading.Event(), threading.Event(), threading.Barrier(3)
    calls = []

    @cached_view_as(Label, lock=True)
    def view(request):
        calls.append(request)
        started.set()
        assert go_on.wait(20)
        return HttpResponse(b"7")

    found = []

    def visit():
        if calls:
            waiting.wait(20)
        found.append(body(view(get("/"))))
        connections.close_all()

    threads = [threading.Thread(target=visit) for _ in range(4)]
    threads[0].start()
    assert started.wait(20)
    for thread in threads[1:]:
        thread.start()
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert found == [7] * 4
    assert len(calls) == 1
