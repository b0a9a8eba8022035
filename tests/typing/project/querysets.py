"""Querysets and managers.  A line with the comment ``error`` is one that the checkers refuse; others they accept."""

from library.models import Article, ArticleQuerySet, Author, Page, PageQuerySet
from typing_extensions import assert_type

from cacheops_lite import CacheReport, explain
from cacheops_lite.typing import CachedQuerySet, Operation

# Managers of Django: the plugin adds the methods.  pyright has no plugins.
assert_type(Author.objects.cache().get(), Author)  # error: pyright
assert_type(Author.objects.all().cache(ops=["get"], timeout=5, lock=True).get(), Author)  # error: pyright
assert_type(Author.objects.all().nocache().count(), int)  # error: pyright
assert_type(Author.objects.all().cloning(5).inplace().get(), Author)  # error: pyright
assert_type(Author.objects.invalidated_update(name=""), int)  # error: pyright
assert_type(Author.objects.filter(name="").invalidated_update(name=""), int)  # error: pyright
assert_type(Author.objects.explain_cache(), CacheReport)  # error: pyright
assert_type(Author.objects.all().explain_cache("get", name="").key, str)  # error: pyright
for row in Author.objects.values_list("name", flat=True).cache():  # error: pyright
    assert_type(row, str)  # error: pyright
Author.objects.cache().missing()  # error
Author.objects.all().cache("everything")  # error
Author.objects.cache(ops=["get", "everything"])  # error
Author.objects.cache(timeout="5")  # error
Author.objects.cache(timeuot=5)  # error
Author.objects.nocache(5)  # error
Author.objects.cloning(5)  # error
Author.objects.explain_cache("everything")  # error
wrong: str = Author.objects.cache().count()  # error

# Managers made of a project's own queryset keep its type.
assert_type(Article.objects.cache(), ArticleQuerySet)  # error: pyright
assert_type(Article.objects.nocache().published().inplace(), ArticleQuerySet)  # error: pyright
assert_type(Article.objects.published().cache().published().get(), Article)  # error: pyright
assert_type(Article.everything.cache("count").count(), int)  # error: pyright
assert_type(Page.others.cache(), PageQuerySet)  # error: pyright
assert_type(Page.others.long().cache(), PageQuerySet)  # error: pyright

# Related managers.
author = Author()
article = Article()
assert_type(author.articles.cache(), ArticleQuerySet)  # error: pyright
assert_type(author.articles.published().cache().get(), Article)  # error: pyright
assert_type(article.readers.cache().get(), Author)  # error: pyright
assert_type(article.readers.nocache().get(), Author)  # error: pyright
author.articles.cache(timeout="5")  # error

# Managers and querysets whose types are named: known to both checkers.
assert_type(Article.cached_objects.cache().get(), Article)
assert_type(Article.cached_objects.filter(title="").cache(timeout=5).first(), Article | None)
assert_type(Article.cached_objects.order_by("title").nocache(), CachedQuerySet[Article])
assert_type(Article.cached_objects.invalidated_update(title=""), int)
assert_type(Article.cached_objects.values().cache().get()["title"], str)  # error: pyright
assert_type(Article.cached_objects.all().cloning().inplace().clone().get(), Article)
assert_type(Article.cached_objects.all().explain_cache("count"), CacheReport)
assert_type(Page.pages.long().cache(), PageQuerySet)
assert_type(Page.pages.get_queryset().nocache(), PageQuerySet)
assert_type(Page.pages.long().get(), Page)
assert_type(Page.annotated.filter(words=1).cache().get(), Page)
Article.cached_objects.cache("everything")  # error
Article.cached_objects.filter(title="").cache(timeout="5")  # error
Article.cached_objects.filter(title="").cache(timeuot=5)  # error
Article.cached_objects.filter(title="").explain_cache("everything")  # error
Article.cached_objects.cloning()  # error
Page.pages.long().missing()  # error


def titles(articles: CachedQuerySet[Article]) -> list[str]:
    return [each.title for each in articles.cache("fetch")]


titles(Article.cached_objects.all())
titles(Page.pages.all())  # error
operation: Operation = "get"
assert_type(explain(Article.cached_objects.all(), operation), CacheReport)
