"""as_autocommit(): caching within Django's TestCase; and the services that a test run uses."""

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import TestCase

from cacheops_lite.testing import as_autocommit
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
