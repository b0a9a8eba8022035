"""The reaper removes what is gone, and only from sets of ours."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from cacheops_lite import reap_conjs
from cacheops_lite.store import client as store_client
from cacheops_lite.store import keys
from tests.shop.models import Label

pytestmark = pytest.mark.django_db(transaction=True)
DEPENDENTS = "cacheops:c:shop_label:|*"


def fill(client, key=DEPENDENTS, live=3, dead=7):
    """A set of dependents as it is after `dead` of its values expired."""
    for i in range(live):
        client.set(f"cacheops:v:live{i}", "value")
    client.sadd(key, *(f"cacheops:v:live{i}" for i in range(live)), *(f"cacheops:v:dead{i}" for i in range(dead)))


def reapconjs(**options):
    out = io.StringIO()
    call_command("reapconjs", stdout=out, **{"min_conj_set_size": 10, **options})
    return out.getvalue()


@pytest.mark.parametrize("chunk_size", [1, 4, 1000])
def test_members_whose_value_is_gone_are_removed(store, chunk_size):
    """However many steps it takes; those of living values stay."""
    fill(store, live=30, dead=600)
    assert reapconjs(chunk_size=chunk_size) == ""
    assert store.smembers(DEPENDENTS) == {b"cacheops:v:live%d" % i for i in range(30)}


def test_real_sets_are_found(store, settings):
    """They are the ones that reads make."""
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


def test_what_remains_is_freed_by_an_invalidation(store, settings):
    """Reaping leaves caching as it was."""
    settings.CACHEOPS_INSIDEOUT = False
    assert Label.objects.count() == 0
    (dependents,) = store.scan_iter(match="cacheops:c:*")
    store.sadd(dependents, "cacheops:v:gone")
    assert reap_conjs(min_conj_set_size=2) == 1
    Label.objects.create(text="x")
    assert not list(store.scan_iter(match="cacheops:v:*"))
    assert Label.objects.count() == 1


def test_small_sets_are_left_alone(store):
    """It is not worth the while."""
    fill(store, live=3, dead=6)
    reapconjs()
    assert store.scard(DEPENDENTS) == 9
    reapconjs(min_conj_set_size=9)
    assert store.scard(DEPENDENTS) == 3


def test_the_default_is_sets_of_a_thousand(store):
    """As in django-cacheops."""
    fill(store, live=1, dead=998)
    assert reap_conjs() == 0
    store.sadd(DEPENDENTS, "cacheops:v:one more")
    assert reap_conjs() == 999


def test_keys_of_others_are_left_alone(store):
    """Redis may be shared with others, whatever they call their keys."""
    for key in ("mine", "cacheops:dd", "xcacheops:c:shop_label:", "cacheops:s:k:set"):
        fill(store, key)
    store.rpush("cacheops:c:list", *"abcdefghijkl")
    store.set("cacheops:c:text", "x" * 20)
    assert reap_conjs(min_conj_set_size=1) == 0


def test_what_is_no_set_any_more_is_left_alone(store, monkeypatch, caplog):
    """It changed after it was found: neither its size nor its members are asked for in vain."""
    fill(store)
    fill(store, "cacheops:c:other")
    client = store_client.get_client()
    monkeypatch.setattr(client, "scan_iter", lambda **options: iter([b"cacheops:c:text", b"cacheops:c:other"]))
    store.set("cacheops:c:text", "x")
    assert reap_conjs(min_conj_set_size=1) == 7
    scan = client.sscan_iter

    def replaced(key, **options):
        client.set(key, "x")
        return scan(key, **options)

    monkeypatch.setattr(client, "sscan_iter", replaced)
    assert reap_conjs(min_conj_set_size=1) == 0
    assert "Can't reap b'cacheops:c:other'" in caplog.text


def test_a_prefix_is_taken_as_it_is(store):
    """Its asterisks and brackets stand for themselves."""
    ours, foreign = keys.conjunction_set_key("p[a]*", "t:|*"), keys.conjunction_set_key("paz", "t:|*")
    for key in (ours, foreign):
        fill(store, key)
    with override_settings(CACHEOPS_PREFIX=lambda query: "p[a]*"):
        assert reap_conjs(min_conj_set_size=1) == 7
        assert (store.scard(ours), store.scard(foreign)) == (3, 10)


def test_a_value_that_comes_back_meanwhile_is_still_invalidated(store, settings, monkeypatch):
    """It is gone from the set, and yet never stale: sets are bookkeeping."""
    settings.CACHEOPS_INSIDEOUT = False
    assert Label.objects.count() == 0
    (dependents,) = store.scan_iter(match="cacheops:c:*")
    (value,) = store.smembers(dependents)
    kept = store.get(value)
    store.delete(value)
    client = store_client.get_client()
    srem = client.srem

    def come_back(key, *members):
        client.set(value, kept, ex=60)
        return srem(key, *members)

    monkeypatch.setattr(client, "srem", come_back)
    assert reap_conjs(min_conj_set_size=1) == 1
    assert store.exists(value)
    Label.objects.create(text="x")
    assert Label.objects.count() == 1


def test_a_dry_run_only_tells(store):
    """Also when nobody asked for more output."""
    fill(store)
    assert reapconjs(dry_run=True) == "Would remove 7 members.\n"
    assert store.scard(DEPENDENTS) == 10


def test_the_command_says_what_it_removed_when_asked_to(store):
    """In the singular where there is one."""
    fill(store, live=9, dead=1)
    assert reapconjs(verbosity=2) == "Removed 1 member.\n"
    assert reapconjs(verbosity=2, min_conj_set_size=1) == "Removed 0 members.\n"


@pytest.mark.parametrize("chunk_size", [0, -1])
def test_a_chunk_size_that_is_not_positive_is_refused(chunk_size):
    """Before anything is done."""
    with pytest.raises(ValueError, match=f"chunk_size should be 1 or more, not {chunk_size}"):
        reap_conjs(chunk_size=chunk_size)
    with pytest.raises(CommandError, match="chunk_size should be 1 or more"):
        call_command("reapconjs", f"--chunk-size={chunk_size}")
