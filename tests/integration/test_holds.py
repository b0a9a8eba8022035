"""Holds: from before a commit until its flush nobody finds in the cache, or puts there, what was before it."""

import pytest
import redis as redis_py
from django.db import DatabaseError, connection, connections, transaction

from cacheops_lite.store import client as cacheops_redis
from cacheops_lite.store import invalidator, keys
from cacheops_lite.store.client import execute, get_client
from cacheops_lite.writes import write_barrier
from tests.conftest import in_thread
from tests.shop.models import Category, Label, Product

pytestmark = pytest.mark.django_db(transaction=True)


def read():
    return sorted(Label.objects.values_list("text", flat=True))


def holds():
    # Whoever lifted some did not wait for it.
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


def raw(label):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_label SET text = 'new' WHERE id = %s", [label.pk])


def raw_returning(label):
    if connection.vendor != "postgresql":
        pytest.skip("it is not held: its rows are fetched later")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_label SET text = 'new' WHERE id = %s RETURNING text", [label.pk])
        assert cursor.fetchall() == [("new",)]


def add_one(label):
    Label.objects.create(text="new")


def add_many(label):
    Label.objects.bulk_create([Label(text="new")])


def delete(label):
    label.delete()


def delete_all(label):
    Label.objects.all().delete()


def manually(label):
    transaction.set_autocommit(False)
    try:
        raw(label)
        transaction.commit()
    finally:
        transaction.set_autocommit(True)


def manually_until_autocommit(label):
    if connection.vendor == "postgresql":
        pytest.skip("it refuses that within a transaction")
    transaction.set_autocommit(False)
    raw(label)
    transaction.set_autocommit(True)


WRITES = [
    save,
    save_in_a_block,
    update,
    coarse_update,
    raw,
    raw_returning,
    add_one,
    add_many,
    delete,
    delete_all,
    manually,
    manually_until_autocommit,
]


class Killed(BaseException):
    """Takes the place of a process' end."""


@pytest.fixture
def around_commit(monkeypatch):
    """Calls a function with whether what was held is committed by now: after the hold, and before the flush."""

    def arrange(function):
        hold, flush, held = write_barrier.invalidate_and_fence, write_barrier.deliver_logging_errors, []

        def holding(work, hold_of_work):
            hold(work, hold_of_work)
            held.append(hold_of_work)
            function(False)

        def flushing(*args):
            if held:
                function(True)
            flush(*args)

        monkeypatch.setattr("cacheops_lite.writes.unit_of_work.invalidate_and_fence", holding)
        monkeypatch.setattr("cacheops_lite.writes.unit_of_work.deliver_logging_errors", flushing)

    return arrange


@pytest.mark.parametrize("write", WRITES)
def test_what_a_writer_changed_that_dies_after_its_commit_is_not_found_in_the_cache(label, around_commit, write):
    """Nor put there, until the hold is over: by then it is long committed."""

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
def test_nobody_reads_what_was_before_a_commit_into_the_cache(label, around_commit, write):
    """Between hold and commit the database still says so, to whoever asks."""
    if connection.vendor == "sqlite":
        pytest.skip("who writes keeps others from reading")
    in_thread(read)
    found = {True: [], False: []}
    around_commit(lambda is_committed: found[is_committed].append(in_thread(read)))
    write(label)
    true = sorted(Label.objects.nocache().values_list("text", flat=True))
    assert found[False] == [["old"]]
    assert found[True]
    assert all(each == true for each in found[True])


def test_results_that_a_writer_does_not_change_stay_while_it_holds_their_table(
    store, around_commit, monkeypatch, is_hit
):
    """Only what is absent is not made."""
    pens, inks = (Category.objects.create(name=name) for name in ("pens", "inks"))
    product = Product.objects.create(sku="a", name="a", category=pens)
    Product.objects.create(sku="b", name="b", category=inks)

    def of(category):
        return [each.name for each in Product.objects.filter(category=category)]

    of(pens), of(inks), of(pens)
    kept = []
    around_commit(lambda is_committed: kept.append((is_hit(lambda: of(inks)), holds())))
    product.name = "new"
    monkeypatch.setattr("cacheops_lite.writes.unit_of_work.UnitOfWork.is_dirty", False)
    product.save()
    assert kept == [(True, [b"cacheops:f:shop_product"])] * 2
    assert holds() == []


def test_a_flush_lifts_its_own_hold_and_no_other(label, is_hit):
    """While another writer is about to commit, nothing is made."""
    other = invalidator.Fence()
    invalidator.invalidate_and_fence({"": _work()}, other)
    save(label)
    assert read() == ["new"]
    assert not is_hit(read)
    invalidator.invalidate({"": _work()}, other)
    read()
    assert is_hit(read)
    assert holds() == []


def _work():
    from cacheops_lite.store.write_set import WriteSet

    return WriteSet(tables={"shop_label"})


def test_the_hold_of_a_writer_that_died_comes_to_an_end(label, monkeypatch, is_hit):
    """Even if others hold the table again and again meanwhile."""
    monkeypatch.setattr(invalidator, "FENCE_SECONDS", -1)
    invalidator.invalidate_and_fence({"": _work()}, invalidator.Fence())
    get_client().zadd(keys.fence_key("", "shop_label"), {"dead": 1})
    read()
    assert is_hit(read)


def expire(key):
    """Its writers have been about to commit for too long."""
    for token in get_client().zrange(key, 0, -1):
        get_client().zadd(key, {token: 1})


@pytest.mark.parametrize("lose", ["flushdb", "evicted", "expired"])
def test_what_was_made_after_a_hold_was_lost_falls_at_the_flush(label, around_commit, lose):
    """As Redis was emptied, or evicted it, or the commit took longer than it stands."""
    if connection.vendor == "sqlite":
        pytest.skip("who writes keeps others from reading")
    read()
    found = []

    def lose_it(is_committed):
        if not is_committed:
            held = [] if lose == "flushdb" else holds()
            {"flushdb": get_client().flushdb, "evicted": get_client().delete, "expired": expire}[lose](*held)
            found.extend([in_thread(read), in_thread(read)])

    around_commit(lose_it)
    save(label)
    assert found == [["old"]] * 2
    assert read() == ["new"]


@pytest.mark.parametrize("lost_with", ["its script", "its connection"])
def test_a_flush_that_is_lost_is_done_before_this_process_reads_again(label, around_commit, monkeypatch, lost_with):
    """Nobody waits for it; here the hold is lost as well, and what was before is read into the cache again."""
    if connection.vendor == "sqlite":
        pytest.skip("who writes keeps others from reading")
    # Sent once already, so that it is not waited for.
    save(label)
    label.text = "old"
    label.save()
    read()

    def lose(is_committed):
        if not is_committed:
            get_client().delete(*holds())
            in_thread(read)
            if lost_with == "its script":
                # As if the server had forgotten it.
                monkeypatch.setattr(cacheops_redis._scripts["release_fences"], "sha", "0" * 40)
            else:
                monkeypatch.setattr(redis_py.Connection, "send_packed_command", lambda *args, **options: None)

    around_commit(lose)
    save(label)
    monkeypatch.undo()
    if lost_with == "its connection":
        get_client().connection_pool.disconnect()
    assert read() == ["new"]


def test_a_hold_that_fails_keeps_nobody_from_committing(label, monkeypatch):
    """The flush tells it, then or later."""
    read()

    def refuse(*args):
        raise redis_py.ConnectionError

    monkeypatch.setattr(invalidator, "invalidate_and_fence", refuse)
    save(label)
    assert read() == ["new"]


def test_a_commit_that_the_database_refuses_lifts_its_hold(label, monkeypatch, is_hit):
    """As it still answers, what became of it is known."""
    read()

    def refuse():
        database._rollback()
        raise DatabaseError

    database = connections["default"]
    with monkeypatch.context() as patch:
        patch.setattr(database, "_commit", refuse)
        with pytest.raises(DatabaseError):
            save(label)
    assert holds() == []
    assert read() == ["old"]
    assert is_hit(read)


@pytest.mark.parametrize("write", [save, manually])
def test_of_a_commit_whose_answer_is_lost_the_hold_stands(label, monkeypatch, write):
    """It may still come about: what it changes falls, and is not made anew before that is over."""
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
    assert holds() == [b"cacheops:f:shop_label"]
    assert read() == read() == ["new"]


def test_what_is_taken_back_is_not_held(label, monkeypatch):
    """Nothing is told of it."""
    monkeypatch.setattr(invalidator, "invalidate_and_fence", lambda work: pytest.fail("it was held"))
    with transaction.atomic():
        save(label)
        transaction.set_rollback(True)
    assert read() == ["old"]
