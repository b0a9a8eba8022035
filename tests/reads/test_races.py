"""Race conditions, step by step: threads meet at agreed points; only the wait for a database lock polls."""

import threading
import time

import pytest
from django.db import DatabaseError, connection, connections, transaction

from cacheops_lite import cached_as
from cacheops_lite.orm import save_delete
from cacheops_lite.query.row_recorder import Capture
from cacheops_lite.reads import cached_read
from cacheops_lite.store import invalidation_script, invalidator, protocol
from cacheops_lite.writes import queryset_writes
from tests.shop.models import Label, Product, Ticket
from tests.support.stored_values import with_payload

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE = 20


class Steps:
    """A thread that stops at one point until it is told to continue."""

    def __init__(self, function):
        self.at_point, self.go_on = threading.Event(), threading.Event()
        self.result, self.error = None, None
        self._thread = threading.Thread(target=self._run, args=[function])

    def _run(self, function):
        try:
            self.result = function()
        except Exception as error:
            self.error = error
        finally:
            self.at_point.set()
            connections.close_all()

    def stop_here(self):
        if threading.current_thread() is self._thread and not self.at_point.is_set():
            self.at_point.set()
            assert self.go_on.wait(PATIENCE)

    def run_to_point(self):
        self._thread.start()
        assert self.at_point.wait(PATIENCE)
        assert self.error is None, self.error

    def run_to_end(self):
        self.go_on.set()
        self._thread.join(PATIENCE)
        assert self.error is None, self.error
        return self.result


@pytest.fixture
def stop(monkeypatch):
    """Return ``stop(owner, name, steps)``, which makes a thread stop right before, or after, a function."""

    def arrange(owner, name, steps, after=False):
        function = getattr(owner, name)

        def wrapped(*args, **kwargs):
            if after:
                result = function(*args, **kwargs)
                steps.stop_here()
                return result
            steps.stop_here()
            return function(*args, **kwargs)

        monkeypatch.setattr(owner, name, wrapped)

    return arrange


def read():
    return sorted(Label.objects.values_list("text", flat=True))


@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_fill_after_a_commit_of_rows_read_before_it_is_invalid(store, stop, in_transaction):
    """The commit deleted the versions that the value carries."""
    label = Label.objects.create(text="old")
    reader = Steps(read)
    stop(Capture, "results", reader, after=True)
    reader.run_to_point()
    label.text = "new"
    if in_transaction:
        with transaction.atomic():
            label.save()
    else:
        label.save()
    assert reader.run_to_end() == ["old"]
    assert read() == ["new"]
    assert read() == ["new"]


def test_a_fill_with_versions_from_before_a_write_is_not_kept(store, stop):
    """The result is current, but only the next read caches it."""
    label = Label.objects.create(text="old")
    reader = Steps(read)
    stop(Capture, "results", reader)
    reader.run_to_point()
    label.text = "new"
    label.save()
    assert reader.run_to_end() == ["new"]
    assert read() == ["new"]


def test_a_fill_between_a_commit_and_its_delivery_is_invalidated_by_the_delivery(store, stop, is_hit):
    """The value may be stale or current."""
    if connection.vendor == "sqlite":
        pytest.skip("its one writer would wait for the reader")
    label = Label.objects.create(text="old")
    reader = Steps(read)
    stop(Capture, "results", reader, after=True)
    reader.run_to_point()
    filled = []

    def deliver_late(function=invalidation_script.run_script):
        def run(name, *args):
            if name == "invalidate" and not filled:
                filled.append(reader.run_to_end())
            return function(name, *args)

        return run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(invalidation_script, "run_script", deliver_late())
        label.text = "new"
        label.save()
    assert filled == [["old"]]
    assert not is_hit(read)
    assert read() == ["new"]


def save_3(product, fields=None):
    mine = Product.objects.nocache().get(pk=product.pk)
    mine.views = 3
    mine.save(update_fields=fields)


def save_3_in_transaction(product):
    with transaction.atomic():
        save_3(product)


@pytest.mark.parametrize("save", [save_3, save_3_in_transaction])
def test_a_before_image_read_locks_the_row(store, stop, save):
    """No other writer can change the row between that read and the update, also in autocommit."""
    if connection.vendor != "mysql":
        pytest.skip("SQLite locks the whole database, and PostgreSQL returns the before image from the UPDATE")
    product = Product.objects.create(sku="x", name="x", views=1)
    # A cached read depends on the column that is written.
    assert [each.views for each in Product.objects.all()] == [1]
    writer = Steps(lambda: save(product))
    stop(save_delete, "read_before_image", writer, after=True)
    writer.run_to_point()
    with pytest.raises(DatabaseError), transaction.atomic():
        Product.objects.select_for_update(nowait=True).get(pk=product.pk)
    writer.run_to_end()


def wait_until_a_connection_waits_for_a_lock():
    sql = {
        "postgresql": "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
        "mysql": "SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
    }[connection.vendor]
    until = time.monotonic() + PATIENCE
    with connection.cursor() as cursor:
        cursor.execute(sql)
        while not cursor.fetchone():
            assert time.monotonic() < until
            time.sleep(0.2)
            cursor.execute(sql)


def test_a_before_image_read_finds_the_row_of_a_concurrent_writer(store, stop):
    """It waits for the commit of that writer: results that matched its row are invalidated as well."""
    if connection.vendor == "sqlite":
        pytest.skip("its one writer would wait")
    product = Product.objects.create(sku="x", name="x", views=1)
    by_views = [lambda views=views: Product.objects.filter(views=views).count() for views in (1, 2, 3)]
    for each in by_views:
        each()
    writer = Steps(lambda: save_3(product, ["views"]))
    stop(save_delete.SaveOperation, "_read_before", writer)
    with transaction.atomic():
        Product.objects.filter(pk=product.pk).update(views=2)
        writer.run_to_point()
        writer.go_on.set()
        wait_until_a_connection_waits_for_a_lock()
    assert writer.run_to_end() is None
    assert [each() for each in by_views] == [0, 0, 1]


def delete_in_transaction(rows):
    with transaction.atomic():
        rows.delete()


@pytest.mark.parametrize("write", [lambda rows: rows.update(subject="gone"), delete_in_transaction])
def test_a_row_that_starts_to_match_a_bulk_write_after_its_before_image_read_is_invalidated(store, stop, write):
    """The write changes the row, but the before-image read did not return it."""
    if connection.vendor == "sqlite":
        pytest.skip("its one writer would wait")
    Ticket.objects.create(subject="go")
    late = Ticket.objects.create(subject="stay")
    subjects = lambda: list(Ticket.objects.filter(pk=late.pk).values_list("subject", flat=True))
    assert subjects() == ["stay"]
    writer = Steps(lambda: write(Ticket.objects.filter(subject="go")))
    stop(queryset_writes, "_locked_rows", writer, after=True)
    writer.run_to_point()
    # The lock on other rows does not prevent this change.
    late.subject = "go"
    late.save()
    assert subjects() == subjects() == ["go"]
    writer.run_to_end()
    left = list(Ticket.objects.nocache().values_list("subject", flat=True))
    assert left in ([], ["gone", "gone"])
    assert subjects() == left[:1]


def test_deliveries_of_two_writers_in_reverse_order_leave_nothing_stale(store, stop):
    """Results that match the row that both writers made are invalidated by the later one."""
    if connection.vendor == "sqlite":
        pytest.skip("its one writer would wait")
    product = Product.objects.create(sku="x", name="x", views=0, visible=False)
    both = lambda: Product.objects.filter(views=3, visible=True).count()
    assert both() == 0

    def show():
        mine = Product.objects.nocache().get(pk=product.pk)
        mine.visible = True
        with transaction.atomic():
            mine.save(update_fields=["visible"])

    first = Steps(show)
    stop(invalidator, "invalidate", first)
    first.run_to_point()
    save_3(product, ["views"])
    first.run_to_end()
    assert both() == 1


def test_two_concurrent_misses_without_a_lock_both_compute_the_right_value(store, stop):
    """The second fill replaces the first."""
    Label.objects.create(text="one")
    reader = Steps(read)
    stop(protocol, "fill", reader)
    reader.run_to_point()
    assert read() == ["one"]
    assert reader.run_to_end() == ["one"]
    assert read() == ["one"]


def test_of_two_concurrent_misses_with_a_lock_one_computes(store, stop, queries):
    """The other one waits for its result."""
    Label.objects.create(text="one")
    locked = lambda: sorted(Label.objects.cache(lock=True).values_list("text", flat=True))
    reader = Steps(locked)
    stop(Capture, "results", reader, after=True)
    reader.run_to_point()
    waiter = Steps(locked)
    counted = []

    from cacheops_lite.store import fill_lock

    poll = fill_lock._poll

    def release_reader_first(*args):
        counted.append(1)
        reader.go_on.set()
        return poll(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fill_lock, "_poll", release_reader_first)
        waiter._thread.start()
        waiter._thread.join(PATIENCE)
    assert counted
    assert reader.run_to_end() == waiter.result == ["one"]


def test_a_failed_computation_releases_its_lock(store):
    """The next miss computes without a wait."""
    queryset = Label.objects.cache(lock=True).filter(text="x")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Capture, "results", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            list(queryset.all())
    assert not list(store.scan_iter(match="*cacheops:l:*"))
    assert list(queryset.all()) == []


def test_a_reader_that_acquires_the_lock_after_a_fill_reads_the_value(store, stop):
    """The fill finished between the miss and the lock of the reader, so that it does not compute again."""
    from cacheops_lite.reads import cached_read

    calls = []

    @cached_as(Label, lock=True)
    def func():
        calls.append(1)
        return len(calls)

    late = Steps(func)
    stop(cached_read.fill_lock, "acquire_lock", late)
    late.run_to_point()
    assert func() == 1
    assert late.run_to_end() == 1
    assert len(calls) == 1


@pytest.fixture
def locks_of_another_process(store, monkeypatch):
    """Another process owns all locks; returns the waits that take place, each of at most a second."""
    from cacheops_lite.store import fill_lock

    waits = []
    wait = fill_lock.wait_for_value
    monkeypatch.setattr(fill_lock, "LOCK_SECONDS", 1)
    monkeypatch.setattr(
        fill_lock,
        "acquire_lock",
        lambda key, token: store.set(fill_lock.keys.lock_key(key), fill_lock.new_token(key)) is None,
    )
    monkeypatch.setattr(fill_lock, "wait_for_value", lambda *args: waits.append(1) or wait(*args))
    return waits


def test_a_fill_is_sent_before_its_lock_is_released(store, monkeypatch, is_hit):
    """Without a lock the fill is sent without a wait for its reply."""
    sent = []
    monkeypatch.setattr(protocol, "send_script", lambda *args, **options: sent.append(args))
    assert not is_hit(read)
    assert len(sent) == 1
    assert not is_hit(lambda: list(Label.objects.cache(lock=True)))
    assert is_hit(lambda: list(Label.objects.cache(lock=True)))
    assert len(sent) == 1


def test_results_that_are_not_cached_are_not_waited_for(locks_of_another_process):
    """Otherwise all processes would compute such a result one after the other, because none is shared."""
    assert list(Label.objects.cache(lock=True, timeout=0)) == []
    if connection.vendor == "sqlite":
        with transaction.atomic():
            assert list(Label.objects.cache(lock=True)) == []
    assert not locks_of_another_process
    assert list(Label.objects.cache(lock=True)) == []
    assert locks_of_another_process


def test_a_wait_for_the_replacement_of_an_undecodable_value_polls_with_pauses(store, monkeypatch):
    from cacheops_lite.store import fill_lock

    list(Label.objects.all())
    (key,) = store.scan_iter(match="*cacheops:v:*")
    value = store.get(key)
    store.set(key, with_payload(key.decode(), value, b"no pickle"))
    polls = []
    poll = fill_lock._poll
    monkeypatch.setattr(fill_lock, "LOCK_SECONDS", 1)
    monkeypatch.setattr(fill_lock, "_poll", lambda *args: polls.append(1) or poll(*args))
    store.set(fill_lock.keys.lock_key(key.decode()), fill_lock.new_token(key.decode()))
    assert list(Label.objects.cache(lock=True)) == []
    assert 1 < len(polls) < 50


def test_a_lock_with_a_new_owner_does_not_prolong_the_wait(store, monkeypatch):
    """The wait is bounded as a whole."""
    from cacheops_lite.store import fill_lock

    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

        perf_counter = monotonic

        def sleep(self, seconds):
            self.now += seconds

    clock, taken_anew = Clock(), []

    def poll(missed):
        if clock.now > 50 and not taken_anew:
            taken_anew.append(1)
            return missed
        return None

    for module in (fill_lock, cached_read):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(fill_lock, "acquire_lock", lambda key, token: False)
    monkeypatch.setattr(fill_lock, "_poll", poll)
    assert cached_as(Label, lock=True)(lambda: 1)() == 1
    assert taken_anew
    assert 50 < clock.now <= 60.1
