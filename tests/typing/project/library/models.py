from __future__ import annotations

from typing import ClassVar

from django.db import models

from cacheops_lite.typing import CachedManager, CachedQuerySet


class Author(models.Model):
    name = models.CharField(max_length=50)


class ArticleQuerySet(models.QuerySet["Article"]):
    def published(self) -> ArticleQuerySet:
        return self.filter(is_published=True)


ArticleManager = models.Manager.from_queryset(ArticleQuerySet)


class Article(models.Model):
    title = models.CharField(max_length=50)
    is_published = models.BooleanField(default=False)
    author = models.ForeignKey(Author, on_delete=models.CASCADE, related_name="articles")
    readers = models.ManyToManyField(Author)

    objects = ArticleManager()
    everything = models.Manager["Article"]()
    cached_objects: ClassVar[CachedManager[Article]] = CachedManager()


class PageQuerySet(CachedQuerySet["Page"]):
    def long(self) -> PageQuerySet:
        return self.filter(words__gt=1000).cache(timeout=60)


class PageManager(CachedManager["Page"]):
    def get_queryset(self) -> PageQuerySet:
        return PageQuerySet(self.model, using=self.db)

    def long(self) -> PageQuerySet:
        return self.get_queryset().long()


class Page(models.Model):
    words = models.IntegerField()

    pages: ClassVar[PageManager] = PageManager()
    others = PageQuerySet.as_manager()
    annotated: ClassVar[CachedManager[Page]] = CachedManager.from_queryset(PageQuerySet)()
