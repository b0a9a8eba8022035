"""The project's tests for ``manage.py test`` and pytest alike: what they read and write must stay among them."""

from django.test import TestCase, TransactionTestCase

from articles.models import Article
from articles.views import number_of_articles
from cacheops_lite import invalidate_all
from cacheops_lite.testing import CacheopsTestMixin


def titles():
    return list(Article.objects.order_by("pk").values_list("title", flat=True))


class PlainTests(TestCase):
    def test_the_database_of_the_tests_is_empty(self):
        self.assertEqual(titles(), [])
        self.assertEqual(self.client.get("/").json()["titles"], [])
        self.assertEqual(number_of_articles(), 0)

    def test_a_rename_is_seen(self):
        Article.objects.create(title="draft")
        self.assertEqual(titles(), ["draft"])
        self.client.get("/rename/news")
        self.assertEqual(titles(), ["news"])


class CommittedTests(TransactionTestCase):
    def test_committed_rows_are_cached_and_invalidated(self):
        for _ in range(20):
            invalidate_all()
            article = Article.objects.create(title="draft")
            self.assertEqual([titles(), titles()], [["draft"]] * 2)
            article.title = "news"
            article.save()
            self.assertEqual([titles(), titles()], [["news"]] * 2)
            article.delete()
            self.assertEqual([titles(), titles()], [[]] * 2)


class CachedTests(CacheopsTestMixin, TestCase):
    def test_the_page_is_cached_and_a_rename_invalidates_it(self):
        Article.objects.create(title="draft")
        page = Article.objects.order_by("pk").values_list("title", flat=True)
        with self.assertCached(page):
            self.client.get("/")
        with self.assertCached():
            self.assertTrue(self.client.get("/").json()["hit"])
        with self.assertInvalidates(page, keeps=[Article.objects.filter(title="other")]):
            self.client.get("/rename/news")
        with self.assertNotCached(page, reason="not-stored"):
            pass


class CachedOnServerTests(CachedTests):
    cacheops_redis = "settings"
