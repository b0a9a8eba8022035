"""Interrupts at any moment: time limits, KeyboardInterrupt, killed greenlets.

Each test interrupts every call to Redis and to the database in turn: before the n-th is sent, before its reply is
read and after it was read, for all n.  After each interrupt nothing is lost or stale, the connection is
usable, and no lock or fence is left.
"""

import asyncio
import threading
import time
from contextlib import closing, contextmanager, suppress

import pytest
import redis
from django.db import connection, connections, transaction
from django.test import override_settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from cacheops_lite import cached_as, invalidate_all, invalidate_model
from cacheops_lite.store import client as cacheops_redis
from cacheops_lite.store import fill_lock, invalidator, keys, pending_releases
from cacheops_lite.store.client import get_client
from cacheops_lite.store.server_epoch import EPOCH_LENGTH
from tests.conftest import in_thread, run_async
from tests.shop.models import Category, Label, Product
from tests.support import fast_paths, services
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]


class SoftTimeLimit(Exception):
    """An ordinary exception, like Celery's."""


class Killed(BaseException):
    """A `BaseException`, like the one that gevent raises in killed greenlets."""


INTERRUPTS = [SoftTimeLimit, Killed]
PATIENCE = 20


class Interrupter:
    """Count the moments at which an interrupt is possible, and raise at one of them."""

    def __init__(self, kind, at, spares_begin):
        self.kind, self.at, self.spares_begin = kind, at, spares_begin
        self.moments, self.interrupted_at = 0, None

    def moment(self, where):
        self.moments += 1
        if self.moments == self.at:
            self.interrupted_at = where
            raise self.kind


@contextmanager
def interrupting(interrupter, monkeypatch):
    """Call `interrupter.moment` around each call to Redis and to the database."""

    def around(owner, name, label):
        original = getattr(owner, name)

        def call(self, *args, **kwargs):
            interrupter.moment(f"before {label}")
            result = original(self, *args, **kwargs)
            interrupter.moment(f"after {label}")
            return result

        monkeypatch.setattr(owner, name, call)

    def statement(execute, sql, params, many, context):
        interrupter.moment(f"before {sql[:20]}")
        result = execute(sql, params, many, context)
        if not (sql.startswith("BEGIN") and interrupter.spares_begin):
            interrupter.moment(f"after {sql[:20]}")
        return result

    with monkeypatch.context() as monkeypatch:
        around(redis.connection.AbstractConnection, "send_packed_command", "a send")
        around(redis.connection.AbstractConnection, "read_response", "a reply")
        around(type(connections[connection.alias]), "_commit", "COMMIT")
        with connection.execute_wrapper(statement):
            yield


@pytest.fixture(params=["kept connections", "the pool alone"])
def store(request, monkeypatch):
    """A real Redis with the pure Python parser, whose calls the test can patch."""
    if not services.redis_answers():
        (pytest.fail if services.IN_CI else pytest.skip)(f"no Redis at {services.REDIS_URL}")
    monkeypatch.setattr(*fast_paths.switched("kept connections", request.param == "kept connections"))
    pool = {"url": services.REDIS_URL, "parser_class": redis._parsers._RESP2Parser, "retry": Retry(NoBackoff(), 1)}
    with override_settings(CACHEOPS_REDIS=services.REDIS_URL, CACHEOPS_CLIENT_CLASS=None):
        monkeypatch.setattr(
            cacheops_redis, "_client", redis.Redis(connection_pool=redis.ConnectionPool.from_url(**pool, protocol=2))
        )
        monkeypatch.setattr(cacheops_redis, "_direct_client", None)
        client = get_client()
        client.flushdb()
        yield client
        client.flushdb()
        client.connection_pool.disconnect()


def save():
    label = Label.objects.nocache().get(pk=1)
    label.text = "new"
    label.save()


def save_in_a_block():
    with transaction.atomic():
        save()


def update():
    Label.objects.filter(pk=1).update(text="new")


def update_coarsely():
    Label.objects.filter(pk=1).distinct().update(text="new")


def raw_update():
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_label SET text = 'new' WHERE id = 1")


def delete():
    Label.objects.filter(pk=1).delete()


def bulk_create():
    Label.objects.bulk_create([Label(pk=3, text="third")])


def link():
    Product.objects.nocache().get(pk=1).labels.add(2)


def invalidated_update():
    Label.objects.filter(pk=1).invalidated_update(text="new")


def manual_invalidation():
    # Bypass Django, so that only the call below invalidates.
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute("UPDATE shop_label SET text = 'new' WHERE id = 1")
    invalidate_model(Label)


def read():
    sorted(Label.objects.filter(pk__gt=0).values_list("text", flat=True))


def read_locked():
    list(Label.objects.cache(lock=True).filter(pk__gt=0))


def call_locked():
    report()


@cached_as(Label, lock=True)
def report():
    return sorted(Label.objects.nocache().values_list("text", flat=True))


WORK = [
    save,
    save_in_a_block,
    update,
    update_coarsely,
    raw_update,
    delete,
    bulk_create,
    link,
    invalidated_update,
    manual_invalidation,
]
WORK += [read, read_locked, call_locked]
# The paths through the package: one row, many rows, unknown rows, a read, a lock, manual invalidation.
VARIED = [save, update, raw_update, read_locked, manual_invalidation]
# Where Django itself begins a transaction by a statement, as on SQLite, an interrupt leaves it open.
BEGUN_BY_DJANGO = [save_in_a_block, delete, link]


def texts():
    return sorted(Label.objects.values_list("text", flat=True))


def of_product():
    return sorted(Label.objects.filter(products=1).values_list("text", flat=True))


def uncached():
    return (
        sorted(Label.objects.nocache().values_list("text", flat=True)),
        sorted(Label.objects.nocache().filter(products=1).values_list("text", flat=True)),
    )


def reset():
    """Make the same rows and the same cached results each time."""
    Product.objects.all().delete()
    Label.objects.all().delete()
    Label.objects.bulk_create([Label(pk=1, text="old"), Label(pk=2, text="other")])
    Product.objects.bulk_create([Product(pk=1, sku="a", name="a")])
    Product(pk=1).labels.set([1])
    invalidate_all()
    for each in (texts, of_product, report, read):
        each(), each()


def remaining_locks_and_fences():
    """Return the keys of locks and fences in Redis."""
    return get_client().keys("*cacheops:[fl]:*")


@pytest.mark.parametrize("kind", INTERRUPTS)
@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
def test_an_interrupt_at_any_moment_leaves_nothing_stale_lost_or_locked(store, monkeypatch, work, kind):
    is_varied = kind is Killed or not fast_paths.is_on("kept connections")
    if is_varied and (
        work not in VARIED
        or services.DATABASE != "sqlite"
        or (kind is Killed and not fast_paths.is_on("kept connections"))
    ):
        pytest.skip("kinds of exceptions and ways to Redis are varied with a few kinds of work, on one database")
    at, seen = 0, set()
    while True:
        at += 1
        reset()
        if work in (read, read_locked, call_locked):
            invalidate_all()
        interrupter, raised = Interrupter(kind, at, work in BEGUN_BY_DJANGO), None
        with interrupting(interrupter, monkeypatch):
            try:
                work()
            except kind as error:
                raised = error
        if interrupter.interrupted_at is None:
            break
        where = f"{work.__name__} interrupted {interrupter.interrupted_at} ({at})"
        seen.add(interrupter.interrupted_at)
        # No code swallows an unexpected exception.
        assert raised is not None, where
        check(where)
    assert len(seen) > 3
    assert at > 4


def check(where):
    connection.ensure_connection()
    assert not connection.in_atomic_block, where
    assert connection.get_autocommit(), where
    true = uncached()
    # Another connection sees the same rows: no change is stuck in a transaction that was left open.
    assert in_thread(uncached) == true, where
    for _ in range(2):
        assert in_thread(lambda: (texts(), of_product(), report())) == (*true, true[0]), where
        assert (texts(), of_product(), report()) == (*true, true[0]), where
    # Later writes are committed and seen.
    Label.objects.create(pk=9, text="after")
    assert in_thread(lambda: "after" in texts()), where
    assert "after" in uncached()[0], where
    assert "after" in texts(), where
    assert wait_until(lambda: not (invalidator.is_overdue() or pending_releases._pending)), where
    assert wait_until(lambda: not remaining_locks_and_fences()), f"{where}: {remaining_locks_and_fences()}"
    Category.objects.create(name="of another table")


def test_a_lock_whose_reply_was_lost_is_recognised_by_its_owner(store, monkeypatch):
    """redis-py sends the command again, which finds the lock that its first attempt took."""
    Label.objects.create(text="a")
    read_response = redis.connection.AbstractConnection.read_response
    lost = []
    token_lengths = (keys.TOKEN_LENGTH, keys.TOKEN_LENGTH + EPOCH_LENGTH)

    def losing(self, *args, **kwargs):
        reply = read_response(self, *args, **kwargs)
        # The token of the lock.
        if not lost and isinstance(reply, bytes) and len(reply) in token_lengths:
            lost.append(reply)
            raise redis.ConnectionError("lost")
        return reply

    calls = []

    @cached_as(Label, lock=True)
    def locked():
        calls.append(time.monotonic())
        return len(calls)

    with monkeypatch.context() as patch:
        patch.setattr(redis.connection.AbstractConnection, "read_response", losing)
        began = time.monotonic()
        assert locked() == 1
        assert time.monotonic() - began < PATIENCE
    assert lost
    assert wait_until(lambda: not remaining_locks_and_fences())


@pytest.mark.parametrize("lose", ["script flush", "connection"])
def test_a_release_that_fails_is_sent_again(store, monkeypatch, lose):
    """After SCRIPT FLUSH, a restart or a failover the table is cached again at once, not after half a minute."""
    Label.objects.create(pk=1, text="old")
    texts()
    deliver = invalidator.invalidate

    def losing(work, fence=None, dropped=None):
        if lose == "script flush":
            store.script_flush()
        else:
            store.connection_pool.disconnect()
            for kept in getattr(cacheops_redis._direct_client, "_idle", ()):
                kept.connection._sock and kept.connection._sock.close()
        deliver(work, fence, dropped)

    with monkeypatch.context() as patch:
        patch.setattr(invalidator, "invalidate", losing)
        update()
    assert wait_until(lambda: not remaining_locks_and_fences())
    assert texts() == texts() == ["new"]


@pytest.mark.parametrize("moment", ["computing", "taking the lock"])
def test_a_cancelled_coroutine_leaves_no_lock(store, monkeypatch, moment):
    """This applies while it computes and while a thread takes the lock for it."""
    Label.objects.create(text="a")
    took, go_on = threading.Event(), threading.Event()
    acquire_lock = fill_lock.acquire_lock

    def acquire_slowly(*args):
        acquired = acquire_lock(*args)
        if moment == "taking the lock":
            took.set()
            go_on.wait(PATIENCE)
        return acquired

    @cached_as(Label, lock=True)
    async def areport():
        took.set()
        await asyncio.sleep(PATIENCE)

    async def cancel():
        task = asyncio.ensure_future(areport())
        while not took.is_set():
            await asyncio.sleep(0.01)
        assert remaining_locks_and_fences()
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with suppress(asyncio.CancelledError):
            await task

    with monkeypatch.context() as patch:
        patch.setattr(fill_lock, "acquire_lock", acquire_slowly)
        run_async(cancel())
    assert wait_until(lambda: not remaining_locks_and_fences())
