"""reapconjs removes expired members, and only from conjunction sets of the cache."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from cacheops_lite import reap_conjs
from cacheops_lite.store import client as store_client
from cacheops_lite.store import keys
from tests.shop.models import Label

pytestmark = pytest.mark.django_db(transaction=True)
CONJUNCTION_SET = "cacheops:c:{shop_label}:|*"


def fill(client, key=CONJUNCTION_SET, live=3, dead=7):
    """Make a conjunction set as it is after `dead` of its values expired."""
    for i in range(live):
        client.set(f"cacheops:v:live{i}", "value")
    client.sadd(key, *(f"cacheops:v:live{i}" for i in range(live)), *(f"cacheops:v:dead{i}" for i in range(dead)))


def reapconjs(**options):
    out = io.StringIO()
    call_command("reapconjs", stdout=out, **{"min_conj_set_size": 10, **options})
    return out.getvalue()


@pytest.mark.parametrize("chunk_size", [1, 4, 1000])
def test_members_without_a_value_are_removed(store, chunk_size):
    """This applies to any number of steps; members with a value stay."""
    fill(store, live=30, dead=600)
    assert reapconjs(chunk_size=chunk_size) == ""
    assert store.smembers(CONJUNCTION_SET) == {b"cacheops:v:live%d" % i for i in range(30)}


def test_conjunction_sets_made_by_reads_are_found(store, settings):
    settings.CACHEOPS_INSIDEOUT = False
    for i in range(12):
        Label.objects.filter(text=f"{i}").count()
        list(Label.objects.all()[: i + 1])
    sets = list(store.scan_iter(match="cacheops:c:*"))
    before = sum(map(store.scard, sets))
    assert before > 12
    assert reap_conjs(min_conj_set_size=1) == 0
    gone = list(store.scan_iter(match="cacheops:v:*"))
    store.delete(*gone)
    assert reap_conjs(min_conj_set_size=1, dry_run=True) == before
    assert reap_conjs(min_conj_set_size=1) == before
    assert not list(store.scan_iter(match="cacheops:c:*"))


def test_remaining_members_are_freed_by_an_invalidation(store, settings):
    """Reaping does not change caching."""
    settings.CACHEOPS_INSIDEOUT = False
    assert Label.objects.count() == 0
    (conjunction_set,) = store.scan_iter(match="cacheops:c:*")
    store.sadd(conjunction_set, "cacheops:v:gone")
    assert reap_conjs(min_conj_set_size=2) == 1
    Label.objects.create(text="x")
    assert not list(store.scan_iter(match="cacheops:v:*"))
    assert Label.objects.count() == 1


def test_small_sets_are_skipped(store):
    """The work would not pay."""
    fill(store, live=3, dead=6)
    reapconjs()
    assert store.scard(CONJUNCTION_SET) == 9
    reapconjs(min_conj_set_size=9)
    assert store.scard(CONJUNCTION_SET) == 3


def test_the_default_minimum_is_a_thousand_members(store):
    """It is that of django-cacheops."""
    fill(store, live=1, dead=998)
    assert reap_conjs() == 0
    store.sadd(CONJUNCTION_SET, "cacheops:v:one more")
    assert reap_conjs() == 999


def test_keys_of_other_programs_are_not_changed(store):
    """Other programs may use the same Redis, with any names of keys."""
    for key in ("mine", "cacheops:dd", "xcacheops:c:shop_label:", "cacheops:s:k:set"):
        fill(store, key)
    store.rpush("cacheops:c:{list}", *"abcdefghijkl")
    store.set("cacheops:c:{text}", "x" * 20)
    assert reap_conjs(min_conj_set_size=1) == 0


def test_a_key_that_is_no_longer_a_set_is_skipped(store, monkeypatch, caplog):
    """It was changed after it was found; the error is logged."""
    fill(store)
    fill(store, "cacheops:c:{other}")
    client = store_client.get_client()
    monkeypatch.setattr("cacheops_lite.reaper.scan", lambda *args: [[b"cacheops:c:{text}", b"cacheops:c:{other}"]])
    store.set("cacheops:c:{text}", "x")
    assert reap_conjs(min_conj_set_size=1) == 7
    scan = client.sscan_iter

    def replaced(key, **options):
        client.set(key, "x")
        return scan(key, **options)

    monkeypatch.setattr(client, "sscan_iter", replaced)
    assert reap_conjs(min_conj_set_size=1) == 0
    assert "Can't reap b'cacheops:c:{other}'" in caplog.text


def test_pattern_characters_in_the_prefix_are_escaped(store):
    ours, foreign = keys.conjunction_set_key("p[a]*", "t:|*"), keys.conjunction_set_key("paz", "t:|*")
    for key in (ours, foreign):
        fill(store, key)
    with override_settings(CACHEOPS_PREFIX=lambda query: "p[a]*"):
        assert reap_conjs(min_conj_set_size=1) == 7
        assert (store.scard(ours), store.scard(foreign)) == (3, 10)


def test_a_value_stored_again_during_reaping_is_still_invalidated(store, settings, monkeypatch):
    """It is missing in the set, but validity does not depend on conjunction sets."""
    settings.CACHEOPS_INSIDEOUT = False
    assert Label.objects.count() == 0
    (conjunction_set,) = store.scan_iter(match="cacheops:c:*")
    (value,) = store.smembers(conjunction_set)
    payload = store.get(value)
    store.delete(value)
    client = store_client.get_client()
    srem = client.srem

    def restore_value(key, *members):
        client.set(value, payload, ex=60)
        return srem(key, *members)

    monkeypatch.setattr(client, "srem", restore_value)
    assert reap_conjs(min_conj_set_size=1) == 1
    assert store.exists(value)
    Label.objects.create(text="x")
    assert Label.objects.count() == 1


def test_a_dry_run_reports_and_removes_nothing(store):
    """It reports at any verbosity."""
    fill(store)
    assert reapconjs(dry_run=True) == "Would remove 7 members.\n"
    assert store.scard(CONJUNCTION_SET) == 10


def test_the_command_reports_removed_members_with_verbosity_2(store):
    """It uses the singular for one member."""
    fill(store, live=9, dead=1)
    assert reapconjs(verbosity=2) == "Removed 1 member.\n"
    assert reapconjs(verbosity=2, min_conj_set_size=1) == "Removed 0 members.\n"


@pytest.mark.parametrize("chunk_size", [0, -1])
def test_a_chunk_size_that_is_not_positive_is_refused(chunk_size):
    """It is refused before any change."""
    with pytest.raises(ValueError, match=f"chunk_size should be 1 or more, not {chunk_size}"):
        reap_conjs(chunk_size=chunk_size)
    with pytest.raises(CommandError, match="chunk_size should be 1 or more"):
        call_command("reapconjs", f"--chunk-size={chunk_size}")
