"""Writes invalidate results by keys of JSON: a row with another value there, before and after, keeps them."""

import datetime
import json

import pytest
from django.db import connection, transaction
from django.db.models import Q
from django.db.models.signals import post_save

from cacheops_lite.schema.predicates import Dependency
from cacheops_lite.store import describe_dependency, keys
from tests.conftest import counted_reads
from tests.rich.models import Sample
from tests.shop.models import Every
from tests.support.checks import check_keeps_or_changes
from tests.support.uncached import uncached

pytestmark = pytest.mark.django_db(transaction=True)

samples = Sample.objects.all()


def restore():
    Sample.objects.nocache().all().delete()
    for pk, facts in enumerate([{"kind": "news", "size": 1}, {"kind": "blog", "size": 2}, {"at": {"x": 1}}, None], 1):
        Sample.objects.create(pk=pk, facts=facts)


def change(pk, facts):
    sample = Sample.objects.nocache().get(pk=pk)
    sample.facts = facts
    sample.save()


def create(facts):
    Sample.objects.bulk_create([Sample(pk=90, facts=facts)])


def update(pk, facts):
    Sample.objects.filter(pk=pk).update(facts=facts)


# A read; writes that keep its result; writes that change it.
CASES = {
    "text": (
        lambda: list(samples.filter(facts__kind="news").order_by("pk").values_list("pk", "facts")),
        [
            lambda: change(2, {"kind": "blog", "size": 9}),
            lambda: change(2, {"kind": "review"}),
            lambda: change(3, None),
            lambda: update(2, {"kind": 5}),
            lambda: create({"kind": "blog"}),
            lambda: create({"size": 1}),
            lambda: create(["news"]),
            lambda: Sample.objects.filter(pk=2).delete(),
        ],
        [
            lambda: change(1, {"kind": "news", "size": 9}),
            lambda: change(1, {"kind": "blog"}),
            lambda: change(2, {"kind": "news"}),
            lambda: change(4, {"kind": "news"}),
            lambda: change(1, None),
            lambda: update(2, {"kind": "news"}),
            lambda: update(1, {"kind": "blog"}),
            lambda: create({"kind": "news"}),
            lambda: Sample.objects.filter(pk=1).delete(),
        ],
    ),
    "number": (
        lambda: samples.filter(facts__size=1).count(),
        [lambda: change(2, {"size": 3}), lambda: create({"size": 10})],
        [lambda: change(2, {"size": 1}), lambda: create({"size": 1}), lambda: change(1, {"size": 2})],
    ),
    "nested": (
        lambda: list(samples.filter(facts__at__x=1).values_list("pk")),
        [lambda: change(1, {"at": 1}), lambda: change(2, {"x": 1}), lambda: create({"at": {"x": 2}})],
        [lambda: change(1, {"at": {"x": 1}}), lambda: change(3, {"at": {"y": 1}})],
    ),
    "among": (
        lambda: list(samples.filter(facts__kind__in=["news", "review"]).order_by("pk").values_list("pk")),
        [lambda: change(2, {"kind": "x"}), lambda: create({"kind": ["news"]})],
        [lambda: change(2, {"kind": "review"}), lambda: create({"kind": "news"})],
    ),
    "missing": (
        lambda: samples.filter(facts__kind__isnull=True).count(),
        [lambda: change(1, {"kind": "x"}), lambda: create({"kind": None})],
        [lambda: change(1, {}), lambda: change(4, {"kind": 1}), lambda: create({}), lambda: create(None)],
    ),
    "not missing": (
        lambda: list(samples.filter(facts__kind__isnull=False).order_by("pk").values_list("pk", "facts")),
        [lambda: change(3, {"at": 2}), lambda: create({}), lambda: change(4, [])],
        [lambda: change(1, {"kind": "x"}), lambda: change(4, {"kind": None}), lambda: create({"kind": 1})],
    ),
    "null": (
        lambda: samples.filter(facts__kind=None).count(),
        [lambda: change(1, {"kind": "x"}), lambda: create({}), lambda: create(None)],
        [lambda: change(1, {"kind": None}), lambda: create({"kind": None})],
    ),
    "and another column": (
        lambda: samples.filter(facts__kind="news", whole__gt=5).count(),
        [lambda: create({"kind": "news"}), lambda: change(2, {"kind": "x"})],
        [lambda: Sample.objects.filter(pk=1).update(whole=6)],
    ),
    "two keys": (
        lambda: samples.filter(Q(facts__kind="blog") & Q(facts__size=2)).count(),
        [lambda: change(1, {"kind": "blog", "size": 1}), lambda: create({"kind": "news", "size": 2})],
        [lambda: change(1, {"kind": "blog", "size": 2}), lambda: change(2, {"kind": "blog"})],
    ),
}
if connection.vendor != "postgresql":
    CASES["has a key"] = (
        lambda: samples.filter(facts__has_key="kind").count(),
        [lambda: change(3, {"at": 2}), lambda: create({}), lambda: create(["kind"])],
        [lambda: change(3, {"kind": 1}), lambda: change(1, {}), lambda: create({"kind": None})],
    )


def check(name, write, keeps):
    check_keeps_or_changes(CASES[name][0], restore, write, keeps)


@pytest.mark.parametrize("name", CASES)
def test_writes_of_rows_with_another_value_keep_results(name, store):
    for write in CASES[name][1]:
        check(name, write, keeps=True)


@pytest.mark.parametrize("name", CASES)
def test_writes_of_rows_with_the_value_change_results(name, store):
    """Before the write, or after it."""
    for write in CASES[name][2]:
        check(name, write, keeps=False)


def test_queries_by_different_keys_have_their_own_dependencies(store):
    """A plan that was made for one key does not serve another one."""
    restore()
    assert [samples.filter(facts__has_key=key).count() for key in ("kind", "size", "at", "else")] == [2, 2, 1, 0]
    change(3, {"else": 1})
    assert [samples.filter(facts__has_key=key).count() for key in ("kind", "size", "at", "else")] == [2, 2, 0, 1]


def test_a_value_that_the_application_changes_after_the_save_counts_as_it_was_saved(store):
    """The invalidation at the end of the transaction reads the row's image."""
    restore()
    assert samples.filter(facts__kind="review").count() == 0
    with transaction.atomic():
        sample = Sample.objects.nocache().get(pk=2)
        sample.facts = {"kind": "review"}
        sample.save()
        sample.facts["kind"] = "blog"
    assert samples.filter(facts__kind="review").count() == 1


def test_a_receiver_that_changes_the_value_after_the_save_changes_no_image(store):
    restore()
    assert samples.filter(facts__kind="review").count() == 0

    def receive(instance, **kwargs):
        instance.facts["kind"] = "blog"

    post_save.connect(receive, sender=Sample)
    try:
        change(2, {"kind": "review"})
    finally:
        post_save.disconnect(receive, sender=Sample)
    assert samples.filter(facts__kind="review").count() == 1


def test_a_custom_encoder_says_what_is_compared(store):
    """The image has the text that the encoder writes, not the object."""
    moment = datetime.time(12, 30)
    Every.objects.create(coded={"at": datetime.time(1)})
    text = json.loads(json.dumps({"at": moment}, cls=Every._meta.get_field("coded").encoder))["at"]
    read = Every.objects.filter(coded__at=text).count
    assert uncached(read) == read() == 0
    Every.objects.create(coded={"at": moment})
    assert read() == uncached(read) == 1


def test_keys_that_are_equal_as_text_invalidate_the_table(store):
    """JSON has both of them, and databases differ in which one they find."""
    restore()
    read = samples.filter(facts__kind="news").count
    read()
    create({"null": 1, None: 2, "kind": "x"})
    with counted_reads() as counted:
        assert read() == uncached(read)
    assert counted.misses


def test_explain_names_the_key_after_the_column(store):
    report = samples.filter(facts__at__x="a b", facts__kind__isnull=False).explain_cache()
    (words,) = [each for each in map(str, report.dependencies) if Sample._meta.db_table in each]
    assert "facts.at.x equals a b" in words
    assert "facts.kind is not NULL" in words


def test_words_of_keys_name_the_key_after_the_column():
    conditions = (("facts\0kind", "~news"), ("facts\0size", "!"))
    name = keys.name_dependency(Dependency("t", conditions, None)).dependency
    assert describe_dependency(name) == "t: rows where facts.kind equals news for the database and facts.size is NULL"
