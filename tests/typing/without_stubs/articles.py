"""What mypy knows without django-stubs: what Django's classes have is Any; the rest is known."""

from typing import Any, ClassVar

from django.db import models
from typing_extensions import assert_type

from cacheops_lite import CacheReport, cached, cached_as
from cacheops_lite.simple import CacheKey
from cacheops_lite.typing import CachedManager, CachedQuerySet


class Article(models.Model):
    title = models.CharField(max_length=50)

    objects = models.Manager()
    cached_objects: ClassVar[CachedManager["Article"]] = CachedManager()


assert_type(Article.objects.filter(title="").cache("anything").get(), Any)
assert_type(Article.cached_objects.filter(title="").cache("get"), CachedQuerySet[Article])
assert_type(Article.cached_objects.all().explain_cache(), CacheReport)
Article.cached_objects.cache("everything")  # error


@cached(timeout=5)
def rows(number: int) -> list[int]:
    return [number]


@cached_as(Article, Article.objects.filter(title=""))
async def total(number: int) -> int:
    return number


async def main() -> None:
    assert_type(await total(1), int)
    await total("1")  # error


assert_type(rows(1), list[int])
assert_type(rows.key(1), CacheKey)
assert_type(total.explain_cache(1), CacheReport)
rows("1")  # error
rows.invalidate()  # error
