"""as_autocommit(): caching within Django's TestCase; and the services that a test run uses."""

from functools import partial

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connection, transaction
from django.test import TestCase, override_settings

from cacheops_lite import cached_as
from cacheops_lite.observe import Outcome
from cacheops_lite.store import database_names
from cacheops_lite.testing import (
    CacheopsTestMixin,
    as_autocommit,
    assert_cached,
    assert_invalidates,
    assert_not_cached,
    cache_disabled,
    fresh_cache,
)
from tests.conftest import counted_reads
from tests.shop.models import Label, Product
from tests.support import services


class Undo(Exception):
    pass


def texts():
    return sorted(Label.objects.values_list("text", flat=True))


def rename(label, text):
    label.text = text
    label.save()


class InsideATestCase(TestCase):
    """Django's TestCase opens transactions around each test, which as_autocommit() hides."""

    def test_without_as_autocommit_reads_bypass_the_cache(self):
        """The rows that the test wrote are not committed."""
        label = Label.objects.create(text="a")
        with counted_reads() as reads:
            Label.objects.get(pk=label.pk)
        assert reads.hits + reads.misses == 0

    def test_caching_and_invalidation_work_as_in_autocommit(self):
        """Reads are cached and writes invalidate them."""
        label = Label.objects.create(text="a")
        with as_autocommit(), counted_reads() as reads:
            assert [Label.objects.get(pk=label.pk).text for _ in range(2)] == ["a", "a"]
            assert (reads.hits, reads.misses) == (1, 1)
            rename(label, "b")
            assert Label.objects.get(pk=label.pk).text == "b"
            assert reads.misses == 2

    def test_a_failing_statement_does_not_break_the_transaction_of_the_test(self):
        """Only the statement is rolled back, like in autocommit."""
        label = Label.objects.create(text="a")
        with as_autocommit():
            with pytest.raises(IntegrityError), connection.cursor() as cursor:
                cursor.execute("INSERT INTO shop_label (id, text) VALUES (%s, 'b')", [label.pk])
            assert texts() == ["a"]

    def test_inner_transactions_work_as_outermost_ones(self):
        """Reads within them bypass the cache once they have written; a commit or a rollback ends that."""
        label = Label.objects.create(text="a")
        with as_autocommit():
            assert texts() == ["a"]
            with transaction.atomic():
                rename(label, "b")
                with counted_reads() as reads:
                    assert texts() == ["b"]
                assert reads.hits + reads.misses == 0
            assert texts() == ["b"]
            with counted_reads() as reads:
                with self.assertRaises(Undo), transaction.atomic():
                    rename(label, "c")
                    raise Undo
                assert texts() == ["b"]
            assert reads.hits == 1
            with transaction.atomic(savepoint=False):
                rename(label, "d")
            assert texts() == ["d"]

    def test_values_cached_within_as_autocommit_are_invalidated_at_its_end(self):
        """The rows that they show will be rolled back."""
        with as_autocommit():
            Label.objects.create(text="a")
            assert texts() == ["a"]
        with as_autocommit(), counted_reads() as reads:
            texts()
        assert reads.hits == 0

    def test_the_outer_transaction_bypasses_the_cache_afterwards(self):
        """Its earlier writes count again."""
        Label.objects.create(text="a")
        with as_autocommit():
            texts()
        with counted_reads() as reads:
            texts()
        assert reads.hits + reads.misses == 0

    def test_captured_callbacks_are_those_of_the_test(self):
        """The callback of the package does not precede one that was registered earlier."""
        calls = []
        transaction.on_commit(lambda: calls.append("earlier"))
        with self.captureOnCommitCallbacks(execute=True):
            Product.objects.create(sku="x", name="x")
            transaction.on_commit(lambda: calls.append("own"))
        assert calls == ["own"]


def test_the_configured_database_is_in_use():
    assert services.DATABASE in {"sqlite": "sqlite", "postgresql": "postgresql", "mariadb": "mysql"}
    assert connection.vendor == {"mariadb": "mysql"}.get(services.DATABASE, services.DATABASE)


@pytest.fixture
def fresh():
    with fresh_cache("embedded"):
        yield


@pytest.mark.django_db
class TestAssertions:
    """They pass where they should, and say why where they fail."""

    @pytest.fixture(autouse=True)
    def cache(self, fresh):
        Label.objects.create(text="a")

    def test_a_block_that_reads_leaves_its_result_in_the_cache(self):
        with assert_cached(Label.objects.all(), Label.objects):
            list(Label.objects.all())

    def test_a_block_that_does_not_read_leaves_nothing(self):
        """The message has the report on the queryset."""
        failure = pytest.raises(AssertionError, match=r"(?s)queryset of shop.Label is not cached.*no result is stored")
        with failure, assert_cached(Label.objects.all()):
            list(Label.objects.filter(text="a"))

    def test_without_targets_all_reads_of_the_block_must_be_hits(self):
        list(Label.objects.all())
        with assert_cached():
            list(Label.objects.all())
        with pytest.raises(AssertionError, match=r"count of shop.Label: no result is stored.*test_testing.py"):
            with assert_cached():
                Label.objects.count()
        with pytest.raises(AssertionError, match="made no read"), assert_cached():
            pass

    def test_what_is_not_cached_has_a_reason(self):
        with assert_not_cached(Label.objects.nocache(), reason="nocache"):
            list(Label.objects.nocache())
        with pytest.raises(AssertionError, match="for the reason 'nocache', not 'no-profile'"):
            with assert_not_cached(Label.objects.nocache(), reason="no-profile"):
                pass
        with pytest.raises(AssertionError, match=r"queryset of shop.Label is cached"):
            with assert_not_cached(Label.objects.all()):
                list(Label.objects.all())
        with pytest.raises(ValueError, match="not a reason"):
            with assert_not_cached(Label.objects.all(), reason="no-such-reason"):
                pass

    def test_a_write_invalidates_what_it_changes_and_keeps_the_rest(self):
        label = Label.objects.get()
        with assert_invalidates(Label.objects.filter(text="a"), keeps=[Label.objects.filter(text="c")]):
            rename(label, "b")

    def test_a_write_that_does_not_invalidate_is_named(self):
        """So is what it did invalidate."""
        label = Label.objects.get()
        list(Label.objects.filter(text="a"))
        failure = pytest.raises(
            AssertionError, match=r"(?s)is still cached.*save shop.Label at .*invalidated .*text = a"
        )
        with failure, assert_invalidates(Label.objects.filter(text="c")):
            rename(label, "b")
        failure = pytest.raises(AssertionError, match=r"(?s)was invalidated.*save shop.Label")
        with failure, assert_invalidates(Label.objects.filter(text="b"), keeps=[Label.objects.all()]):
            rename(label, "c")
        with pytest.raises(AssertionError, match="made no write"), assert_invalidates(Label.objects.all()):
            pass

    def test_what_can_not_be_cached_can_not_be_invalidated(self):
        with pytest.raises(AssertionError, match=r"(?s)can't be cached.*nocache"):
            with assert_invalidates(Label.objects.nocache()):
                rename(Label.objects.get(), "b")

    def test_functions_are_targets_with_their_arguments(self):
        @cached_as(Label)
        def texts_of(start):
            return [text for text in texts() if text.startswith(start)]

        with assert_invalidates(partial(texts_of, "a"), keeps=[]):
            rename(Label.objects.get(), "b")
        with assert_cached(partial(texts_of, "b")), assert_not_cached(partial(texts_of, "a")):
            texts_of("b")

    @pytest.mark.parametrize("target", [None, 1, texts, [], Label])
    def test_other_targets_are_refused(self, target):
        for assertion in (assert_cached, assert_not_cached, assert_invalidates):
            with pytest.raises(TypeError, match="neither a queryset"), assertion(target):
                pass

    def test_a_target_is_required(self):
        for assertion in (assert_not_cached, assert_invalidates):
            with pytest.raises(TypeError, match="at least one"), assertion():
                pass


@pytest.mark.django_db
def test_a_disabled_cache_is_neither_read_nor_filled(fresh):
    list(Label.objects.all())
    with cache_disabled(), counted_reads() as reads:
        list(Label.objects.all())
    assert reads.hits + reads.misses == 0


@pytest.mark.redis
@pytest.mark.django_db
def test_a_fresh_cache_on_a_server_shares_nothing_and_leaves_nothing(store):
    """The cache that the settings name keeps what it has, for example because a site is using it."""
    before = set(store.scan_iter())
    store.set("cacheops:v:of-the-site", "kept")
    with fresh_cache("settings"):
        list(Label.objects.all())
        with assert_cached():
            list(Label.objects.all())
        assert any(key.startswith(b"test_") for key in store.scan_iter())
    assert set(store.scan_iter()) == {*before, b"cacheops:v:of-the-site"}


def test_an_embedded_cache_needs_its_packages(monkeypatch):
    """Without them the settings decide, unless it was asked for."""
    monkeypatch.setattr("cacheops_lite.testing.isolation.find_spec", lambda name: None)
    with pytest.raises(ImproperlyConfigured, match=r"fakeredis and lupa is not installed.*cacheops_lite\[embedded\]"):
        with fresh_cache("embedded"):
            pass


@pytest.mark.django_db
def test_the_name_of_the_live_database_is_never_that_of_a_test_database(monkeypatch):
    """Not even after a fresh cache, although the project gives that name."""
    monkeypatch.setitem(database_names._configured, "default", "live")
    with override_settings(CACHEOPS_DATABASE_NAMES={"default": "site"}):
        before = database_names.database_name("default")
        with fresh_cache("embedded"):
            assert database_names.database_name("default").startswith("test_")
        assert database_names.database_name("default") == before
        assert before.startswith("site.")
    database_names.remember_configured()


@pytest.mark.django_db(databases=["default", "replica"])
def test_replicas_share_results_in_a_fresh_cache(fresh):
    list(Label.objects.all())
    assert Label.objects.using("replica").explain_cache().outcome is Outcome.HIT


class MixinTests(CacheopsTestMixin, TestCase):
    """The mixin gives each test a cache of its own."""

    cacheops_redis = "embedded"

    @classmethod
    def setUpTestData(cls):
        Label.objects.create(text="a")

    def test_one(self):
        self.check()

    def test_two(self):
        self.check()

    def check(self):
        with self.assertNotCached(Label.objects.all(), reason="not-stored"):
            pass
        with self.assertCached(Label.objects.all()):
            list(Label.objects.all())
        with self.assertInvalidates(Label.objects.all()):
            rename(Label.objects.get(), "b")
