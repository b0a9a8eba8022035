"""The Server-Timing header says what the cache did in a request."""

import asyncio
import re

import pytest
from asgiref.sync import iscoroutinefunction
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import RequestFactory, override_settings

from cacheops_lite.contrib.server_timing import ServerTimingMiddleware
from cacheops_lite.observe import decisions
from tests.conftest import run_async
from tests.shop.models import Label

pytestmark = pytest.mark.django_db(transaction=True)


def response_of(view, user=None):
    request = RequestFactory().get("/")
    if user is not None:
        request.user = user
    return ServerTimingMiddleware(view)(request)


def reading(request):
    for _ in range(3):
        Label.objects.count()
    list(Label.objects.nocache())
    return HttpResponse()


def header_of(view, user=None):
    return response_of(view, user).headers.get("Server-Timing")


@pytest.fixture(autouse=True)
def empty(store):
    """The cache is empty."""


@override_settings(DEBUG=True)
def test_the_header_counts_reads_and_has_their_milliseconds():
    header = header_of(reading)
    found = re.fullmatch(r'cache;desc="2 hits, 1 miss, 1 bypass";dur=(\d+\.\d)', header)
    assert found, header
    assert float(found[1]) < 5000


@override_settings(DEBUG=True)
def test_a_header_of_the_view_is_kept():
    def view(request):
        response = reading(request)
        response.headers["Server-Timing"] = "db;dur=1"
        return response

    assert header_of(view).startswith('db;dur=1, cache;desc="')


@override_settings(DEBUG=True)
def test_a_request_that_reads_nothing_has_no_header():
    assert header_of(lambda request: HttpResponse()) is None


def test_without_debug_there_is_no_header_and_nothing_is_observed():
    def view(request):
        assert not decisions.is_observed()
        return reading(request)

    assert header_of(view) is None


USERS = {
    "none": None,
    "anonymous": AnonymousUser(),
    "customer": User(),
    "staff": User(is_staff=True),
    "former": User(is_staff=True, is_active=False),
}


@pytest.mark.parametrize("name", USERS)
def test_staff_only_means_active_staff_only(name):
    with override_settings(CACHEOPS_SERVER_TIMING="staff"):
        assert (header_of(reading, USERS[name]) is not None) == (name == "staff")


@pytest.mark.parametrize("name", USERS)
def test_everybody_gets_the_header_where_the_setting_says_so(name):
    with override_settings(CACHEOPS_SERVER_TIMING="everybody"):
        assert header_of(reading, USERS[name]) is not None


@pytest.mark.parametrize("off", [False, None])
def test_the_header_can_be_switched_off(off):
    with override_settings(CACHEOPS_SERVER_TIMING=off, DEBUG=True):
        assert header_of(reading) is None


def test_an_unknown_setting_is_an_error_that_says_what_to_write():
    with override_settings(CACHEOPS_SERVER_TIMING="all"), pytest.raises(ImproperlyConfigured, match="'everybody'"):
        header_of(reading)


async def areading(request):
    for _ in range(3):
        await Label.objects.acount()
    return HttpResponse()


@override_settings(DEBUG=True)
def test_async_views_have_the_header():
    """The middleware is then a coroutine function itself, so that Django needs no thread for it."""
    middleware = ServerTimingMiddleware(areading)
    assert iscoroutinefunction(middleware)
    response = run_async(middleware(RequestFactory().get("/")))
    assert response.headers["Server-Timing"].startswith('cache;desc="2 hits, 1 miss";dur=')


@pytest.mark.parametrize("is_staff", [True, False])
def test_async_views_ask_for_the_user_without_blocking(is_staff):
    async def auser():
        return User(is_staff=is_staff)

    request = RequestFactory().get("/")
    request.auser = auser
    with override_settings(CACHEOPS_SERVER_TIMING="staff"):
        response = run_async(ServerTimingMiddleware(areading)(request))
    assert ("Server-Timing" in response.headers) == is_staff


@override_settings(DEBUG=True)
def test_requests_at_the_same_time_are_counted_apart():
    middleware = ServerTimingMiddleware(areading)

    async def both():
        first = await middleware(RequestFactory().get("/"))
        return first, *await asyncio.gather(*(middleware(RequestFactory().get("/")) for _ in range(2)))

    first, *others = run_async(both())
    assert '"2 hits, 1 miss"' in first.headers["Server-Timing"]
    assert all('"3 hits"' in each.headers["Server-Timing"] for each in others)


@override_settings(DEBUG=True)
def test_a_view_that_raises_ends_the_observation():
    def view(request):
        raise KeyError

    with pytest.raises(KeyError):
        header_of(view)
    with override_settings(DEBUG=False):
        assert not decisions.is_observed()
