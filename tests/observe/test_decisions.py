"""Every read tells what became of it and why: in the signal, in `explain_cache()` and in the log."""

import logging

import pytest
from django.contrib.admin import ModelAdmin, site
from django.db import connection, transaction
from django.db.models import F, Func, IntegerField
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now
from django.test import override_settings

from cacheops_lite import cached_as, explain
from cacheops_lite.observe import Outcome, Reason, decisions
from cacheops_lite.reads import CacheEntry, cached_read, unstorable
from cacheops_lite.reads.cache_policy import policy_of
from cacheops_lite.reads.queryset_read import rows_read
from cacheops_lite.signals import cache_decision, cache_read
from cacheops_lite.store import VersionSet, invalidator
from tests.shop.models import Category, Label, Product
from tests.support import services

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def published(store):
    """The decisions since the test began."""
    found = []

    def note(sender, decision, **kwargs):
        found.append(decision)

    cache_decision.connect(note)
    yield found
    cache_decision.disconnect(note)


class Unpicklable:
    def __reduce_ex__(self, protocol):
        raise TypeError("it can't be pickled")


def unknown_table():
    return Label.objects.annotate(n=RawSQL("SELECT 1 FROM somewhere", [])).order_by("n")


def not_analysable():
    class Failing(Func):
        function = "ABS"

        def as_sql(self, compiler, connection, **context):
            if FAILURES:
                FAILURES.pop()
                raise KeyError("a bug of the application")
            return super().as_sql(compiler, connection, **context)

    return Label.objects.annotate(n=Failing(F("id"), output_field=IntegerField()))


# Each failure is raised once, so that the read itself, after the analysis, succeeds.
FAILURES = []

# Querysets whose rows are not cached, by the reason, with the settings that make it so.
ONLY_GETS = {"shop.*": {"ops": "get", "timeout": 60}}
ONLY_LABELS = {"shop.label": {"ops": "all", "timeout": 60}, "shop.product": {"ops": "all", "timeout": 60}}
BYPASSES = {
    Reason.NO_PROFILE: (lambda: Label.objects.all(), {"CACHEOPS": {}}),
    Reason.TABLE_WITHOUT_PROFILE: (lambda: Product.objects.select_related("category"), {"CACHEOPS": ONLY_LABELS}),
    Reason.OPERATION_NOT_IN_OPS: (lambda: Label.objects.all(), {"CACHEOPS": ONLY_GETS}),
    Reason.NOCACHE: (lambda: Label.objects.nocache(), {}),
    Reason.DISABLED: (lambda: Label.objects.all(), {"CACHEOPS_ENABLED": False}),
    Reason.NON_DETERMINISTIC: (lambda: Label.objects.annotate(now=Now()), {}),
    Reason.UNKNOWN_TABLE: (unknown_table, {}),
    Reason.NO_ROWS: (lambda: Label.objects.none(), {}),
    Reason.ADMIN: (lambda: ModelAdmin(Label, site).get_queryset(None), {}),
}


@pytest.mark.parametrize("reason", BYPASSES, ids=lambda reason: reason.value)
def test_a_bypass_has_its_reason(published, reason):
    """The signal and the report give the same one, and the read itself is Django's."""
    make, settings = BYPASSES[reason]
    with override_settings(**settings):
        report = make().explain_cache()
        assert (report.outcome, report.reason) == (Outcome.BYPASS, reason)
        assert reason.text in str(report)
        assert reason.hint in str(report)
        assert not published
        if reason is not Reason.UNKNOWN_TABLE:
            list(make())
            assert [each.reason for each in published] == [reason]
            assert published[0].operation == "fetch"
            assert published[0].model is Label or reason is Reason.TABLE_WITHOUT_PROFILE
            assert __file__ in published[0].caller


def test_a_queryset_that_is_known_to_be_empty_sends_cache_read(store):
    """As in django-cacheops; no query is sent."""
    found = []

    def note(sender, func, hit, **kwargs):
        found.append((sender, func, hit))

    cache_read.connect(note)
    try:
        list(Label.objects.none())
        list(Label.objects.filter(pk__in=[]))
        assert Label.objects.filter(pk__in=[]).count() == 0
    finally:
        cache_read.disconnect(note)
    assert found == [(Label, None, True)] * 3


def test_the_reason_names_the_joined_model_without_a_profile(store):
    with override_settings(CACHEOPS=ONLY_LABELS):
        assert "shop.Category" in str(Product.objects.select_related("category").explain_cache())


@pytest.mark.parametrize("operation", ["count", "exists", "aggregate", "get"])
def test_each_operation_explains_itself(published, operation):
    label = Label.objects.create(text="a")
    arguments = {"aggregate": {"n": F("id") * 0 + 1}, "get": {"pk": label.pk}}.get(operation, {})
    if operation == "aggregate":
        from django.db.models import Count

        arguments = {"n": Count("id")}
    with override_settings(CACHEOPS={"shop.*": {"ops": "fetch" if operation != "get" else "count", "timeout": 60}}):
        assert Label.objects.explain_cache(operation, **arguments).reason is Reason.OPERATION_NOT_IN_OPS
    assert Label.objects.explain_cache(operation, **arguments).reason is Reason.NOT_STORED
    getattr(Label.objects.all(), operation)(**arguments)
    assert [(each.operation, each.reason) for each in published] == [(operation, Reason.NOT_STORED)]
    getattr(Label.objects.all(), operation)(**arguments)
    assert (published[-1].operation, published[-1].reason) == (operation, Reason.HIT)
    assert published[-1].size > 0
    assert Label.objects.explain_cache(operation, **arguments).reason is Reason.HIT


def test_select_for_update_and_writes_of_the_transaction_bypass(published):
    Label.objects.create(text="a")
    published.clear()
    with transaction.atomic():
        if connection.features.has_select_for_update:
            assert Label.objects.select_for_update().explain_cache().reason is Reason.SELECT_FOR_UPDATE
            list(Label.objects.select_for_update())
            assert published.pop().reason is Reason.SELECT_FOR_UPDATE
        Label.objects.create(text="b")
        published.clear()
        assert Label.objects.all().explain_cache().reason is Reason.TRANSACTION_HAS_WRITTEN
        list(Label.objects.all())
        assert [each.reason for each in published] == [Reason.TRANSACTION_HAS_WRITTEN]


def test_reads_for_a_write_bypass(published):
    Label.objects.create(text="a")
    published.clear()
    Label.objects.get_or_create(text="a")
    assert [each.reason for each in published] == [Reason.FOR_WRITE]
    published.clear()
    Label.objects.update_or_create(text="a", defaults={"text": "b"})
    assert published[0].reason is Reason.SELECT_FOR_UPDATE
    queryset = Label.objects.all()
    queryset._for_write = True
    assert queryset.explain_cache().reason is Reason.FOR_WRITE


def test_iterator_and_raw_bypass_unless_they_are_asked_to(published):
    list(Label.objects.iterator())
    list(Label.objects.raw("SELECT * FROM shop_label"))
    assert [(each.operation, each.reason) for each in published] == [("fetch", Reason.ITERATOR), ("raw", Reason.RAW)]
    published.clear()
    list(Label.objects.raw("SELECT * FROM shop_label").cache())
    list(Label.objects.raw("SELECT * FROM shop_label").cache())
    assert [each.reason for each in published] == [Reason.NOT_STORED, Reason.HIT]


def test_a_snapshot_keeps_results_from_being_stored(published):
    """On SQLite any transaction reads from one."""
    if services.DATABASE != "sqlite":
        pytest.skip("READ COMMITTED pins no snapshot")
    with transaction.atomic():
        assert Label.objects.all().explain_cache().reason is Reason.SNAPSHOT_PINNED
        list(Label.objects.all())
    assert published[-1].reason is Reason.SNAPSHOT_PINNED
    assert "ATOMIC_REQUESTS" in Reason.SNAPSHOT_PINNED.hint


def test_a_value_that_is_there_and_outdated_was_invalidated(published, store):
    """With conjunction sets a write also frees the value, which is then not stored."""
    read = lambda: list(Label.objects.all())
    read()
    for key in store.scan_iter(match="*cacheops:t:*"):
        store.delete(key)
    assert Label.objects.all().explain_cache().reason is Reason.INVALIDATED
    read()
    assert published[-1].reason is Reason.INVALIDATED


def test_a_fence_keeps_results_from_being_stored(published, store):
    invalidator.invalidate_and_fence({"": _write_set()}, invalidator.Fence())
    list(Label.objects.all())
    assert published[-1].reason is Reason.FENCED


def _write_set():
    from cacheops_lite.store import WriteSet

    return WriteSet(tables={"shop_label"})


def test_a_value_that_cannot_be_decoded_is_a_miss(published, monkeypatch):
    report = cached_as(Label)(lambda: 1)
    report()
    monkeypatch.setattr(cached_read.CachedRead, "_decoded", cached_read.CachedRead._decoded)
    with override_settings(CACHEOPS_SERIALIZER="tests.observe.test_decisions.Broken"):
        report()
    assert published[-1].reason is Reason.UNDECODABLE


class Broken:
    @staticmethod
    def dumps(value):
        return b""

    @staticmethod
    def loads(data):
        raise ValueError("not ours")


def test_a_result_that_cannot_be_serialized_is_remembered(published):
    product = Product.objects.create(sku="a")
    queryset = Product.objects.filter(pk=product.pk)
    entry = CacheEntry("k", VersionSet("", []), ("default",), 60, sender=Product)
    entry.fingerprint = rows_read(queryset.all(), policy_of(queryset)).fingerprint
    unstorable.note_unstorable(entry.fingerprint, entry.label, TypeError("no"))
    try:
        assert queryset.all().explain_cache().reason is Reason.UNSTORABLE
        list(queryset.all())
        assert published[-1].reason is Reason.UNSTORABLE
    finally:
        unstorable._unstorable.clear()


def test_a_result_that_is_too_large_is_remembered(published, caplog):
    Label.objects.bulk_create(Label(text=str(number)) for number in range(100))
    queryset = Label.objects.filter(text__gt="")
    try:
        with override_settings(CACHEOPS_MAX_RESULT_BYTES=500):
            list(queryset.all())
            assert published[-1].reason is Reason.TOO_LARGE
            report = queryset.all().explain_cache()
            assert report.reason is Reason.TOO_LARGE
            assert "CACHEOPS_MAX_RESULT_BYTES is 500" in report.detail
            list(queryset.all())
            assert (published[-1].reason, published[-1].key) == (Reason.TOO_LARGE, "")
            assert caplog.text.count("its result is too large") == 1
            list(Label.objects.filter(text="1"))
            assert published[-1].reason is Reason.NOT_STORED
    finally:
        unstorable._unstorable.clear()
    with override_settings(CACHEOPS_MAX_RESULT_BYTES=0):
        list(queryset.all())
        list(queryset.all())
        assert published[-1].reason is Reason.HIT


def test_a_query_that_cannot_be_analysed_says_what_was_raised(published):
    FAILURES.append(True)
    list(not_analysable())
    assert published[-1].reason is Reason.NOT_ANALYSABLE
    FAILURES.append(True)
    report = not_analysable().explain_cache()
    assert report.reason is Reason.NOT_ANALYSABLE
    assert "KeyError" in report.detail


def test_redis_away_is_a_reason(published, monkeypatch):
    monkeypatch.setattr(invalidator, "is_refused", lambda: True)
    assert Label.objects.all().explain_cache().reason is Reason.REDIS_AWAY
    list(Label.objects.all())
    assert published[-1].reason is Reason.REDIS_AWAY


def test_decorated_functions_explain_themselves(published):
    calls = []

    @cached_as(Label.objects.filter(text="a"))
    def report(number):
        return calls.append(number)

    assert explain(report, 1).reason is Reason.NOT_STORED
    report(1)
    assert explain(report, 1).reason is Reason.HIT
    assert explain(report, 2).reason is Reason.NOT_STORED
    # Case-insensitive collations have conditions of two kinds.
    assert all(each.startswith("shop_label: rows where text") for each in explain(report, 1).dependencies)
    assert calls == [1]
    with override_settings(CACHEOPS_ENABLED=False):
        assert explain(report, 1).reason is Reason.DISABLED
        report(1)
    assert [(each.operation, each.reason) for each in published] == [
        ("call", Reason.NOT_STORED),
        ("call", Reason.DISABLED),
    ]
    with pytest.raises(TypeError, match="explain\\(\\) takes a queryset"):
        explain(print)


def test_a_report_tells_key_lifetime_and_dependencies(store):
    category = Category.objects.create(name="pens")
    queryset = Product.objects.filter(category=category).select_related("category")
    list(queryset.all())
    report = explain(queryset)
    assert report.reason is Reason.HIT
    assert 0 < report.seconds_left <= 600
    assert store.exists(report.key)
    assert f"shop_product: rows where category_id = {category.pk}" in str(report)
    assert f"shop_category: rows where id = {category.pk}" in str(report)
    joined = explain(Product.objects.filter(sku="a").select_related("category"))
    assert "shop_category: the joined rows of the result" in str(joined)


def test_explaining_reads_and_stores_nothing(store, queries):
    queryset = Product.objects.filter(name="a")
    list(Label.objects.all())
    before = sorted(store.scan_iter())
    with queries() as found:
        queryset.explain_cache()
        queryset.explain_cache("count")
        Product.objects.explain_cache("get", pk=1)
    assert not found.captured_queries
    assert sorted(store.scan_iter()) == before


def test_an_unknown_operation_is_an_error(store):
    with pytest.raises(ValueError, match="operation is 'insert'"):
        Label.objects.explain_cache("insert")


def test_with_debug_a_defeated_profile_is_logged_once_per_call_site(store, caplog, settings):
    settings.DEBUG = True
    settings.CACHEOPS = ONLY_LABELS
    with caplog.at_level(logging.WARNING, "cacheops_lite"):
        for _ in range(3):
            list(Product.objects.select_related("category"))
        list(Label.objects.nocache())
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert "shop.Category" in said[0]
    assert __file__ in said[0]


def too_large():
    Label.objects.create(text="a")
    queryset = Label.objects.filter(text__gt="")
    with override_settings(CACHEOPS_MAX_RESULT_BYTES=1):
        list(queryset.all())
    return queryset


def unserializable():
    Label.objects.create(text="a")
    queryset = Label.objects.filter(text__gt="!")
    fingerprint = rows_read(queryset.all(), policy_of(queryset)).fingerprint
    unstorable.note_unstorable(fingerprint, "labels", TypeError("no"))
    return queryset


def failing_once():
    FAILURES.append(True)
    return not_analysable()


# Reads that a profile says to cache and that can't be cached, by the reason.
DEFEATED = {
    Reason.TABLE_WITHOUT_PROFILE: lambda: Product.objects.select_related("category"),
    Reason.NON_DETERMINISTIC: lambda: Label.objects.annotate(now=Now()),
    Reason.UNKNOWN_TABLE: lambda: Label.objects.annotate(n=RawSQL("SELECT count(*) FROM django_content_type", [])),
    Reason.NOT_ANALYSABLE: failing_once,
    Reason.UNSTORABLE: unserializable,
    Reason.TOO_LARGE: too_large,
}


def test_each_reason_that_defeats_a_profile_is_provoked_here():
    assert DEFEATED.keys() == decisions.DEFEATING


@pytest.mark.parametrize("reason", DEFEATED, ids=lambda reason: reason.value)
def test_with_debug_each_reason_that_defeats_a_profile_is_logged(published, caplog, settings, reason):
    """With the file and line of the caller, and what to do; the signal has the same reason."""
    settings.DEBUG = True
    settings.CACHEOPS = ONLY_LABELS
    try:
        queryset = DEFEATED[reason]()
        caplog.clear()
        with caplog.at_level(logging.WARNING, "cacheops_lite"):
            list(queryset)
    finally:
        unstorable._unstorable.clear()
    assert published[-1].reason is reason
    (said,) = [each.getMessage() for each in caplog.records if "is not cached:" in each.getMessage()]
    assert reason.text in said
    assert reason.hint in said
    assert __file__ in said


def test_without_debug_nothing_is_logged(store, caplog, settings):
    settings.CACHEOPS = ONLY_LABELS
    with caplog.at_level(logging.WARNING, "cacheops_lite"):
        list(Product.objects.select_related("category"))
    assert not caplog.records


def test_cache_that_has_no_effect_is_logged_without_debug(store, caplog, settings):
    settings.CACHEOPS = ONLY_LABELS
    with caplog.at_level(logging.WARNING, "cacheops_lite"):
        for _ in range(2):
            list(Product.objects.select_related("category").cache())
    assert len([each for each in caplog.records if "is not cached" in each.getMessage()]) == 1


def test_nothing_is_recorded_without_consumers(store, monkeypatch):
    monkeypatch.setattr(decisions, "publish", lambda decision: pytest.fail("nothing consumes it"))
    for _ in range(2):
        list(Label.objects.all())
        Label.objects.count()
        Label.objects.nocache().count()


def test_an_observer_that_fails_breaks_no_read(store, caplog):
    def fail(decision):
        raise KeyError("a bug of the observer")

    decisions.observe(fail)
    try:
        with caplog.at_level(logging.WARNING, "cacheops_lite"):
            assert list(Label.objects.all()) == []
    finally:
        decisions.unobserve(fail)
    assert "An observer of the cache failed" in caplog.text


def test_every_reason_is_documented():
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs" / "reasons.rst").read_text("utf-8")
    for reason in Reason:
        assert f".. _reason-{reason.value}:" in page, reason
