"""The project's tests with pytest's fixtures."""

import pytest

from articles.models import Article

page = Article.objects.order_by("pk").values_list("title", flat=True)


@pytest.mark.django_db
def test_within_the_transaction_of_a_test_reads_are_cached(cacheops, client, django_assert_num_queries):
    Article.objects.create(title="draft")
    with django_assert_num_queries(1):
        assert [client.get("/").json()["hit"] for _ in range(3)] == [False, True, True]
    with cacheops.assert_invalidates(page):
        client.get("/rename/news")
    assert client.get("/").json() == {"titles": ["news"], "hit": False}


@pytest.mark.django_db(transaction=True)
def test_committed_rows_are_cached(cacheops, client):
    Article.objects.create(title="draft")
    with cacheops.assert_cached(page):
        client.get("/")


@pytest.mark.django_db
def test_the_cache_is_empty_at_first(cacheops):
    with cacheops.assert_not_cached(page, reason="not-stored"):
        pass
    assert list(page.all()) == []


def test_the_fixture_comes_after_the_transaction_of_the_test(cacheops, db, client):
    assert [client.get("/").json()["hit"] for _ in range(2)] == [False, True]


@pytest.mark.django_db
def test_without_the_cache_each_read_is_a_query(cacheops_disabled, client, django_assert_num_queries):
    with django_assert_num_queries(3):
        assert not any(client.get("/").json()["hit"] for _ in range(3))


@pytest.mark.django_db
def test_a_plain_test_reads_its_own_database(client):
    assert client.get("/").json()["titles"] == []
    assert client.get("/function").content == b"0"
