"""What projects that come from django-cacheops write, as they write it."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from cacheops_lite import cache, invalidate_all
from cacheops_lite.testing import as_autocommit
from tests.shop.models import Label

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "replica", "other"])


def numbered(decorate):
    """A decorated function that returns how often it was called."""
    calls = []
    return decorate(lambda *args, **kwargs: calls.append(1) or len(calls))


@pytest.mark.parametrize("prefix", [lambda query: query.db, lambda query: query.table])
def test_everything_is_invalidated_where_the_simple_cache_has_no_prefix(store, is_hit, prefix):
    """A prefix by the single database or table is none for the simple cache, which then can't be used."""
    with override_settings(CACHEOPS_PREFIX=prefix):
        read = lambda: Label.objects.count()
        read()
        assert is_hit(read)
        invalidate_all()
        assert not is_hit(read)
        with as_autocommit():
            read()
        with pytest.raises(ImproperlyConfigured):
            cache.set("key", 1)
