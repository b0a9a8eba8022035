"""Fences: from before a commit until its invalidation, no reader finds or stores results that predate the commit."""

import pytest
import redis as redis_py
from django.db import DatabaseError, connection, connections, transaction

from cacheops_lite.store import client as cacheops_redis
from cacheops_lite.store import invalidator, keys
from cacheops_lite.store.client import execute, get_client
from tests.conftest import in_thread
from tests.shop.models import Category, Label, Product
from tests.support import services

pytestmark = pytest.mark.django_db(transaction=True)


def read():
    return sorted(Label.objects.values_list("text", flat=True))


def fence_keys():
    # Releases are sent without waiting; this waits for them.
    execute("PING")
    return sorted(get_client().keys("*cacheops:f:*"))


@pytest.fixture
def label(store):
    return Label.objects.create(text="old")


def save(label):
    label.text = "new"
    label.save()


def save_in_a_block(label):
    with transaction.atomic():
        save(label)


def update(label):
    Label.objects.filter(pk=label.pk).update(text="new")


def coarse_update(label):
    Label.objects.filter(pk=label.pk).distinct().update(text="new")


def raw_update(label):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_label SET text = 'new' WHERE id = %s", [label.pk])


def raw_update_returning(label):
    if connection.vendor != "postgresql":
        pytest.skip("no fence is set: the rows are fetched later")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_label SET text = 'new' WHERE id = %s RETURNING text", [label.pk])
        assert cursor.fetchall() == [("new",)]


def create(label):
    Label.objects.create(text="new")


def bulk_create(label):
    Label.objects.bulk_create([Label(text="new")])


def delete(label):
    label.delete()


def delete_all(label):
    Label.objects.all().delete()


def update_without_autocommit(label):
    transaction.set_autocommit(False)
    try:
        raw_update(label)
        transaction.commit()
    finally:
        transaction.set_autocommit(True)


def update_until_autocommit_is_on(label):
    if connection.vendor == "postgresql":
        pytest.skip("PostgreSQL refuses to change autocommit within a transaction")
    transaction.set_autocommit(False)
    raw_update(label)
    transaction.set_autocommit(True)


WRITES = [
    save,
    save_in_a_block,
    update,
    coarse_update,
    raw_update,
    raw_update_returning,
    create,
    bulk_create,
    delete,
    delete_all,
    update_without_autocommit,
    update_until_autocommit_is_on,
]


class Killed(BaseException):
    """Replaces the end of a process."""


@pytest.mark.parametrize("write", WRITES)
def test_a_writer_that_dies_after_its_commit_leaves_no_stale_result(label, around_commit, write):
    """The old rows are neither found in the cache nor stored there while the fence is set."""

    def die(is_committed):
        if is_committed:
            raise Killed

    around_commit(die)
    in_thread(read)
    with pytest.raises(Killed):
        write(label)
    connection.close()
    true = sorted(Label.objects.nocache().values_list("text", flat=True))
    assert true != ["old"]
    assert in_thread(read) == in_thread(read) == true


@pytest.mark.parametrize("write", WRITES)
def test_rows_from_before_a_commit_are_not_cached_between_fence_and_delivery(label, around_commit, write):
    """Between the fence and the commit, the database still returns the old rows to other connections."""
    if connection.vendor == "sqlite":
        pytest.skip("a writer blocks readers on SQLite")
    in_thread(read)
    found = {True: [], False: []}
    around_commit(lambda is_committed: found[is_committed].append(in_thread(read)))
    write(label)
    true = sorted(Label.objects.nocache().values_list("text", flat=True))
    assert found[False] == [["old"]]
    assert found[True]
    assert all(each == true for each in found[True])


@services.on_one_server
def test_unaffected_results_stay_cached_while_their_table_is_fenced(store, around_commit, monkeypatch, is_hit):
    """A fence only prevents new versions; it deletes none."""
    pens, inks = (Category.objects.create(name=name) for name in ("pens", "inks"))
    product = Product.objects.create(sku="a", name="a", category=pens)
    Product.objects.create(sku="b", name="b", category=inks)

    def of(category):
        return [each.name for each in Product.objects.filter(category=category)]

    of(pens), of(inks), of(pens)
    kept = []
    around_commit(lambda is_committed: kept.append((is_hit(lambda: of(inks)), fence_keys())))
    product.name = "new"
    monkeypatch.setattr("cacheops_lite.writes.unit_of_work.UnitOfWork.is_dirty", False)
    product.save()
    assert kept == [(True, [b"cacheops:f:{shop_product}"])] * 2
    assert fence_keys() == []


@services.on_one_server
def test_a_delivery_releases_only_its_own_fence(label, is_hit):
    """While another writer is about to commit, no result is stored."""
    other = invalidator.Fence()
    invalidator.invalidate_and_fence({"": _work()}, other)
    save(label)
    assert read() == ["new"]
    assert not is_hit(read)
    invalidator.invalidate({"": _work()}, other)
    read()
    assert is_hit(read)
    assert fence_keys() == []


def _work():
    from cacheops_lite.store.write_set import WriteSet

    return WriteSet(tables={"shop_label"})


def test_the_fence_of_a_dead_writer_expires(label, monkeypatch, is_hit):
    """It expires even if other writers fence the table again and again meanwhile."""
    monkeypatch.setattr(invalidator, "FENCE_SECONDS", -1)
    invalidator.invalidate_and_fence({"": _work()}, invalidator.Fence())
    get_client().zadd(keys.fence_key("", "shop_label"), {"dead": 1})
    read()
    assert is_hit(read)


def expire(key):
    """Let the fences be older than their maximal age."""
    for token in get_client().zrange(key, 0, -1):
        get_client().zadd(key, {token: 1})


@pytest.mark.parametrize("lose", ["flushdb", "evicted", "expired"])
def test_results_stored_after_a_fence_was_lost_are_invalidated_at_delivery(label, around_commit, lose):
    """A fence is lost if Redis is emptied or evicts it, or if the commit takes longer than the fence lasts."""
    if connection.vendor == "sqlite":
        pytest.skip("a writer blocks readers on SQLite")
    read()
    found = []

    def lose_fence(is_committed):
        if not is_committed:
            fences_set = [] if lose == "flushdb" else fence_keys()
            {"flushdb": get_client().flushdb, "evicted": get_client().delete, "expired": expire}[lose](*fences_set)
            found.extend([in_thread(read), in_thread(read)])

    around_commit(lose_fence)
    save(label)
    assert found == [["old"]] * 2
    assert read() == ["new"]


@pytest.mark.parametrize("lost_with", ["its script", "its connection"])
def test_a_lost_delivery_is_repeated_before_the_next_read_of_this_process(label, around_commit, monkeypatch, lost_with):
    """The writer does not wait for the reply; here the fence is lost as well, and the old rows are cached again."""
    if connection.vendor == "sqlite":
        pytest.skip("a writer blocks readers on SQLite")
    # The script has been sent once, so the process does not wait for the next reply.
    save(label)
    label.text = "old"
    label.save()
    read()

    def lose(is_committed):
        if not is_committed:
            get_client().delete(*fence_keys())
            in_thread(read)
            if lost_with == "its script":
                # The server no longer has the script.
                monkeypatch.setattr(cacheops_redis, "script_digest", lambda name: "0" * 40)
            else:
                monkeypatch.setattr(redis_py.Connection, "send_packed_command", lambda *args, **options: None)

    around_commit(lose)
    save(label)
    monkeypatch.undo()
    if lost_with == "its connection":
        get_client().connection_pool.disconnect()
    assert read() == ["new"]


def test_a_failing_fence_does_not_prevent_the_commit(label, monkeypatch):
    """The invalidation is delivered after the commit or later."""
    read()

    def refuse(*args):
        raise redis_py.ConnectionError

    monkeypatch.setattr(invalidator, "invalidate_and_fence", refuse)
    save(label)
    assert read() == ["new"]


@services.on_one_server
def test_a_commit_that_the_database_refuses_releases_its_fence(label, monkeypatch, is_hit):
    """The database still answers, so it is known that the commit failed."""
    read()

    def refuse():
        database._rollback()
        raise DatabaseError

    database = connections["default"]
    with monkeypatch.context() as patch:
        patch.setattr(database, "_commit", refuse)
        with pytest.raises(DatabaseError):
            save(label)
    assert fence_keys() == []
    assert read() == ["old"]
    assert is_hit(read)


@services.on_one_server
@pytest.mark.parametrize("write", [save, update_without_autocommit])
def test_a_fence_stays_if_the_reply_to_the_commit_is_lost(label, monkeypatch, write):
    """The commit may still take effect: results are invalidated, and none is stored until the fence expires."""
    read()

    def lose():
        commit()
        raise DatabaseError

    database = connections["default"]
    commit = database._commit
    with monkeypatch.context() as patch:
        patch.setattr(database, "_commit", lose)
        patch.setattr(database, "is_usable", lambda: False)
        with pytest.raises(DatabaseError):
            write(label)
    assert fence_keys() == [b"cacheops:f:{shop_label}"]
    assert read() == read() == ["new"]


def test_a_rolled_back_write_sets_no_fence(label, monkeypatch):
    """A rolled back write invalidates nothing."""
    monkeypatch.setattr(invalidator, "invalidate_and_fence", lambda work: pytest.fail("a fence was set"))
    with transaction.atomic():
        save(label)
        transaction.set_rollback(True)
    assert read() == ["old"]
