"""What is found out about the keys of a query is kept by its text, as queries without a plan ask at each hit."""

import pytest
from django.test import override_settings

from cacheops_lite.query import key_sources
from cacheops_lite.query.compiler import compile_rows
from tests.journal.models import Author, Post, Tag

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def analysed(monkeypatch):
    """The texts of the queries that are analysed from now on."""
    found, original = [], key_sources._find

    def find(walk, sql, *args):
        found.append(sql)
        return original(walk, sql, *args)

    key_sources._forget()
    monkeypatch.setattr(key_sources, "_find", find)
    return found


def by_city(city):
    return compile_rows(Post.objects.filter(author__in=Author.objects.filter(city=city)))


def test_a_query_is_analysed_once(analysed):
    """With other values too: the subqueries get them at each read."""
    first, again, other = by_city("Rome"), by_city("Rome"), by_city("Oslo")
    assert len(analysed) == 1
    assert first.key_columns is not None
    assert again.key_columns is other.key_columns is first.key_columns
    assert first.dependencies == again.dependencies != other.dependencies


def test_a_query_that_has_no_keys_to_select_is_analysed_once(analysed):
    """That there are none is kept as well."""
    for _ in range(2):
        query = Post.objects.filter(author__in=Author.objects.filter(city="Rome").order_by("pk")[:2])
        assert compile_rows(query).key_columns is None
    assert len(analysed) <= 1


def test_queries_of_other_texts_have_keys_of_their_own(analysed):
    posts = by_city("Rome")
    tagged = compile_rows(Post.objects.filter(tags__in=Tag.objects.filter(word="w0")))
    ordered = compile_rows(Post.objects.filter(author__in=Author.objects.filter(city="Rome")).order_by("author__name"))
    assert len(analysed) == len(set(analysed)) == 3
    assert len({id(each.key_columns) for each in (posts, tagged, ordered)}) == 3
    assert posts.key_columns.targets != tagged.key_columns.targets


def test_a_changed_setting_forgets_what_was_found(analysed):
    """Which columns have tokens depends on it."""
    by_city("Rome")
    with override_settings(CACHEOPS_SKIP_FIELDS=["CharField"]):
        by_city("Rome")
    assert len(analysed) == 2


def test_a_bounded_number_of_queries_is_kept(analysed, monkeypatch):
    monkeypatch.setattr(key_sources, "_known", key_sources.LruMap(2))
    for count in range(1, 30):
        compile_rows(Post.objects.filter(author__in=Author.objects.filter(city="Rome", pk__in=range(count))))
    by_city("Rome")
    analysed.clear()
    compile_rows(Post.objects.filter(author__in=Author.objects.filter(city="Rome", pk__in=[1])))
    assert len(analysed) == 1
