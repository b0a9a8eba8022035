"""Decorated functions, views and template tags."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views import View
from library.models import Article
from typing_extensions import assert_type

from cacheops_lite import (
    CacheopsLibrary,
    CacheReport,
    cache,
    cached,
    cached_as,
    cached_view,
    cached_view_as,
    explain,
    file_cache,
    invalidate_all,
    invalidate_fragment,
    invalidate_model,
    invalidate_obj,
    no_invalidation,
)
from cacheops_lite.signals import cache_read, post_update
from cacheops_lite.simple import CacheKey
from cacheops_lite.typing import CachedFunction

T = TypeVar("T")


@cached
def bare(number: int, *, text: str = "") -> list[int]:
    return [number]


@cached(timeout=5, extra="extra")
def timed(number: int) -> list[int]:
    return [number]


@file_cache.cached(60)
async def fetched(number: int) -> str:
    return str(number)


@cached(timeout="5")  # error
def wrongly_timed() -> None: ...


assert_type(bare(1, text="x"), list[int])
assert_type(timed(1), list[int])
assert_type(bare.key(1), CacheKey)
bare.invalidate(1, text="x")
bare()  # error
bare("1")  # error
bare.invalidate("1")  # error
bare.key()  # error
wrong: str = timed(1)  # error
timed.missing()  # error
taken: Callable[[int], list[int]] = timed
annotated: CachedFunction[[int], list[int]] = timed


async def main() -> None:
    assert_type(await fetched(1), str)
    await fetched.ainvalidate(1)
    await fetched("1")  # error
    await timed.ainvalidate(1)
    assert_type(await counted(1), int)
    await no_invalidated()


class Kinds:
    @staticmethod
    @cached
    def static(number: int) -> str:
        return ""

    @classmethod
    @cached_as(Article)
    def of_class(cls, number: int) -> str:
        return ""

    @property
    @cached
    def attribute(self) -> str:
        return ""


assert_type(Kinds.static(1), str)
assert_type(Kinds.of_class(1), str)
assert_type(Kinds().of_class(1), str)
assert_type(Kinds().attribute, str)
Kinds.static.invalidate(1)
Kinds.of_class.explain_cache(Kinds, 1)
Kinds.static("1")  # error
Kinds.of_class("1")  # error


@cached
def generic(items: list[T]) -> T:
    return items[0]


assert_type(generic([1]), int)
coroutine: Coroutine[Any, Any, str] = fetched(1)
awaited: Awaitable[int] = fetched(1)  # error


class Report:
    @cached
    def rows(self, number: int) -> list[int]:
        return [number]

    @cached_as(Article, timeout=5)
    def total(self, number: int) -> int:
        return number


report = Report()
assert_type(report.rows(1), list[int])
assert_type(Report.rows(report, 1), list[int])
report.rows.invalidate(report, 1)
Report.rows.invalidate(report, 1)
assert_type(report.total(1), int)
assert_type(report.total.explain_cache(report, 1), CacheReport)
report.rows("1")  # error
report.rows.invalidate(1)  # error
report.total()  # error


@cached_as(Article, Article.cached_objects.filter(title=""), Article(), timeout=5, extra=lambda number: number)
def total(number: int) -> int:
    return number


@cached_as(Article.cached_objects)
async def counted(number: int) -> int:
    return number


@cached_as("library.Article")  # error
def unsampled() -> None: ...


@cached_as(Article, timeout="5")  # error
def wrongly_timed_as() -> None: ...


assert_type(total(1), int)
assert_type(total.explain_cache(1), CacheReport)
assert_type(explain(total, 1), CacheReport)
total("1")  # error
total.explain_cache()  # error
total.invalidate(1)  # error
text: str = total(1)  # error


@cached_view
def page(request: HttpRequest, number: int) -> HttpResponse:
    return HttpResponse(str(number))


@cached_view_as(Article, timeout=5)
async def asynchronous(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


@cache.cached_view(60)  # error
def headline(number: int) -> HttpResponse:
    return HttpResponse()


@method_decorator(cached_view_as(Article), name="get")
class ArticleView(View):
    @method_decorator(cached_view(60))
    def head(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse()


request = HttpRequest()
assert_type(page(request, 1), HttpResponse)
page.invalidate("http://example.com/")
assert_type(page.key(request, 1), CacheKey)
asynchronous.invalidate(request)
page(request)  # error
page.invalidate(1)  # error
page.key(request)  # error
asynchronous.key(request)  # error

invalidate_all()
invalidate_model(Article)
invalidate_obj(Article())
invalidate_fragment("name", 1)
invalidate_model("library.Article")  # error
invalidate_obj(Article)  # error


@no_invalidation
async def no_invalidated() -> None:
    with no_invalidation:
        pass


register = CacheopsLibrary()


@register.decorator_tag
def tag(number: int) -> CachedFunction[[], str]:
    raise NotImplementedError


@register.decorator_tag(takes_context=True)
def tag_with_context(context: Any, number: int) -> Any: ...


tag("1")  # error
tag_with_context()  # error
cache_read.connect(lambda **kwargs: None)
post_update.connect(lambda **kwargs: None, sender=Article)
assert_type(cache.get_or_set("key", 1), Any)
cache.set("key", 1, timeout="5")  # error
