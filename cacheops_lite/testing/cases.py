"""A mixin for Django's test cases."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any

from .assertions import assert_cached, assert_invalidates, assert_not_cached
from .isolation import fresh_cache

if TYPE_CHECKING:
    from django.test import SimpleTestCase as _Base
else:
    _Base = object


class CacheopsTestMixin(_Base):
    """Gives each test of a ``TestCase`` or ``TransactionTestCase`` an empty cache, with caching as in autocommit.

    Write it before the class of Django: ``class ArticleTests(CacheopsTestMixin, TestCase)``.  What the cache is in is
    `cacheops_redis`, an argument of `fresh_cache`.
    """

    cacheops_redis: str | None = None

    def setUp(self) -> None:
        # Django has begun the transaction of the test by now.
        stack = ExitStack()
        stack.enter_context(fresh_cache(self.cacheops_redis))
        self.addCleanup(stack.close)
        super().setUp()

    def assertCached(self, *targets: Any) -> AbstractContextManager[None]:
        """Do what `assert_cached` does."""
        return assert_cached(*targets)

    def assertNotCached(self, *targets: Any, reason: Any = None) -> AbstractContextManager[None]:
        """Do what `assert_not_cached` does."""
        return assert_not_cached(*targets, reason=reason)

    def assertInvalidates(self, *targets: Any, keeps: Any = ()) -> AbstractContextManager[None]:
        """Do what `assert_invalidates` does."""
        return assert_invalidates(*targets, keeps=keeps)
