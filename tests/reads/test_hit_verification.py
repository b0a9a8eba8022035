"""With CACHEOPS_VERIFY a share of hits is compared with the database."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection, transaction
from django.test import override_settings

from cacheops_lite import conf
from cacheops_lite.observe import Counted, counters
from cacheops_lite.reads import hit_verification
from tests.shop.models import Label

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def label(store):
    counters.take()
    with override_settings(CACHEOPS_VERIFY=1):
        yield Label.objects.create(text="a")


def change_by_another_program():
    with connection.cursor() as cursor:
        cursor.cursor.execute("UPDATE shop_label SET text = 'planted'")


def counted(operation):
    taken = counters.take()
    return [taken[Counted("shop.Label", operation, kind)] for kind in ("verified", "differing")]


READS = {
    "get": lambda: Label.objects.get(text__startswith="a") and Label.objects.get(pk=Label.objects.first().pk),
    "fetch": lambda: list(Label.objects.all()),
    "count": lambda: Label.objects.filter(text="a").count(),
    "exists": lambda: Label.objects.filter(text="a").exists(),
}


@pytest.mark.parametrize("operation", READS)
def test_hits_that_agree_are_counted(operation):
    read = READS[operation]
    read()
    counters.take()
    read()
    verified, differing = counted(operation)
    assert verified >= 1
    assert differing == 0


@pytest.mark.parametrize("operation", ["fetch", "count", "exists"])
def test_a_difference_is_counted_and_logged_and_the_hit_is_returned(operation, caplog):
    """The comparison changes nothing for the application."""
    before = READS[operation]()
    change_by_another_program()
    counters.take()
    assert READS[operation]() == before
    assert counted(operation) == [1, 1]
    assert f"The cached {operation}() of shop.Label differs from the database" in caplog.text


def test_a_write_that_comes_between_is_no_difference(monkeypatch, label):
    """It invalidates the value before it commits."""
    list(Label.objects.all())
    is_same = hit_verification._verify_some

    def write_first(entry, lookup, value, compute):
        Label.objects.filter(pk=label.pk).update(text="b")
        is_same(entry, lookup, value, compute)

    monkeypatch.setattr(hit_verification, "_verify_some", write_first)
    counters.take()
    list(Label.objects.all())
    assert counted("fetch") == [1, 0]


def test_a_database_that_fails_does_not_break_the_hit(monkeypatch):
    list(Label.objects.all())

    def fail(*args):
        raise DatabaseError("away")

    monkeypatch.setattr(hit_verification, "_verify_some", fail)
    assert len(list(Label.objects.all())) == 1


def test_nothing_is_compared_in_a_transaction():
    """It may see older data."""
    list(Label.objects.all())
    counters.take()
    with transaction.atomic():
        list(Label.objects.all())
    assert counted("fetch") == [0, 0]


@pytest.mark.parametrize("value", [2, -0.1, "0.1", True, None])
def test_a_share_that_is_none_is_a_clear_error(value):
    message = f"CACHEOPS_VERIFY is {value!r}; it should be the share of hits"
    with override_settings(CACHEOPS_VERIFY=value), pytest.raises(ImproperlyConfigured, match=message):
        conf.check_profiles()
