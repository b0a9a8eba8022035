"""Races, step by step: threads that meet at agreed points, and never a sleep but to ask who waits for a lock."""

import threading
import time

import pytest
from django.db import DatabaseError, connection, connections, transaction

from cacheops_lite import cached_as
from cacheops_lite.orm import save_delete
from cacheops_lite.query.row_recorder import Capture
from cacheops_lite.reads import cached_read
from cacheops_lite.store import invalidator, protocol
from cacheops_lite.writes import bulk_persistence
from tests.shop.models import Label, Product, Ticket

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE = 20


class Steps:
    """A thread that stops at a point of its way until it is let go."""

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

    def until_point(self):
        self._thread.start()
        assert self.at_point.wait(PATIENCE)
        assert self.error is None, self.error

    def to_its_end(self):
        self.go_on.set()
        self._thread.join(PATIENCE)
        assert self.error is None, self.error
        return self.result


@pytest.fixture
def stop(monkeypatch):
    """``stop(owner, name, steps)``: have a thread stop right before, or after, a function."""

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
def test_a_reader_that_reads_before_a_commit_and_fills_after_it_leaves_nothing_stale(store, stop, in_transaction):
    """Its value stands under versions that the commit dropped."""
    label = Label.objects.create(text="old")
    reader = Steps(read)
    stop(Capture, "results", reader, after=True)
    reader.until_point()
    label.text = "new"
    if in_transaction:
        with transaction.atomic():
            label.save()
    else:
        label.save()
    assert reader.to_its_end() == ["old"]
    assert read() == ["new"]
    assert read() == ["new"]


def test_a_reader_that_took_stamps_before_a_write_and_reads_after_it_is_only_careful(store, stop):
    """Its value is true and yet not kept; the next one is."""
    label = Label.objects.create(text="old")
    reader = Steps(read)
    stop(Capture, "results", reader)
    reader.until_point()
    label.text = "new"
    label.save()
    assert reader.to_its_end() == ["new"]
    assert read() == ["new"]


def test_a_reader_that_fills_between_a_commit_and_its_flush_is_overruled_by_the_flush(store, stop, is_hit):
    """What it read may be old or new: the flush drops it."""
    if connection.vendor == "sqlite":
        pytest.skip("its one writer would wait for the reader")
    label = Label.objects.create(text="old")
    reader = Steps(read)
    stop(Capture, "results", reader, after=True)
    reader.until_point()
    filled = []

    def flush_late(function=invalidator.run_script):
        def run(name, *args):
            if name == "invalidate" and not filled:
                filled.append(reader.to_its_end())
            return function(name, *args)

        return run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(invalidator, "run_script", flush_late())
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
def test_a_look_locks_the_row(store, stop, save):
    """So that nobody moves it between the look and the update, in autocommit neither."""
    if connection.vendor != "mysql":
        pytest.skip("SQLite locks the whole database, and PostgreSQL looks in the statement that updates")
    product = Product.objects.create(sku="x", name="x", views=1)
    # Somebody asks for what is written.
    assert [each.views for each in Product.objects.all()] == [1]
    writer = Steps(lambda: save(product))
    stop(save_delete, "read_before_image", writer, after=True)
    writer.until_point()
    with pytest.raises(DatabaseError), transaction.atomic():
        Product.objects.select_for_update(nowait=True).get(pk=product.pk)
    writer.to_its_end()


def wait_until_somebody_waits_for_a_lock():
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


def test_what_another_writer_left_is_what_a_look_finds(store, stop):
    """It waits for the other's commit: what that state matched falls, too."""
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
        writer.until_point()
        writer.go_on.set()
        wait_until_somebody_waits_for_a_lock()
    assert writer.to_its_end() is None
    assert [each() for each in by_views] == [0, 0, 1]


def delete_in_transaction(rows):
    with transaction.atomic():
        rows.delete()


@pytest.mark.parametrize("write", [lambda rows: rows.update(subject="gone"), delete_in_transaction])
def test_a_row_that_comes_to_match_after_the_look_of_a_mass_write_falls_too(store, stop, write):
    """It is written as well, and nobody looked at it."""
    if connection.vendor == "sqlite":
        pytest.skip("its one writer would wait")
    Ticket.objects.create(subject="go")
    late = Ticket.objects.create(subject="stay")
    subjects = lambda: list(Ticket.objects.filter(pk=late.pk).values_list("subject", flat=True))
    assert subjects() == ["stay"]
    writer = Steps(lambda: write(Ticket.objects.filter(subject="go")))
    stop(bulk_persistence, "_locked_rows", writer, after=True)
    writer.until_point()
    # The lock on other rows does not keep it from coming to match.
    late.subject = "go"
    late.save()
    assert subjects() == subjects() == ["go"]
    writer.to_its_end()
    left = list(Ticket.objects.nocache().values_list("subject", flat=True))
    assert left in ([], ["gone", "gone"])
    assert subjects() == left[:1]


def test_a_flush_after_that_of_a_later_writer_leaves_nothing(store, stop):
    """The state that both made together falls with the later one, whoever flushes first."""
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
    first.until_point()
    save_3(product, ["views"])
    first.to_its_end()
    assert both() == 1


def test_two_that_miss_at_once_both_compute_and_both_are_right(store, stop):
    """Without a lock; the second fill replaces the first."""
    Label.objects.create(text="one")
    reader = Steps(read)
    stop(protocol, "fill", reader)
    reader.until_point()
    assert read() == ["one"]
    assert reader.to_its_end() == ["one"]
    assert read() == ["one"]


def test_of_two_that_miss_at_once_with_a_lock_one_computes(store, stop, queries):
    """The other waits for it."""
    Label.objects.create(text="one")
    locked = lambda: sorted(Label.objects.cache(lock=True).values_list("text", flat=True))
    reader = Steps(locked)
    stop(Capture, "results", reader, after=True)
    reader.until_point()
    waiter = Steps(locked)
    counted = []

    from cacheops_lite.store import fill_lock

    peek = fill_lock._poll

    def let_go_first(*args):
        counted.append(1)
        reader.go_on.set()
        return peek(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fill_lock, "_poll", let_go_first)
        waiter._thread.start()
        waiter._thread.join(PATIENCE)
    assert counted
    assert reader.to_its_end() == waiter.result == ["one"]


def test_a_failed_computation_lets_the_next_one_compute_at_once(store):
    """The lock is released whatever happens."""
    queryset = Label.objects.cache(lock=True).filter(text="x")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Capture, "results", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            list(queryset.all())
    assert not list(store.scan_iter(match="cacheops:l:*"))
    assert list(queryset.all()) == []


def test_who_gets_the_lock_right_after_a_fill_finds_the_value(store, stop):
    """Between its miss and its lock the one before finished: it does not compute again."""
    from cacheops_lite.reads import cached_read

    calls = []

    @cached_as(Label, lock=True)
    def func():
        calls.append(1)
        return len(calls)

    late = Steps(func)
    stop(cached_read.fill_lock, "acquire_lock", late)
    late.until_point()
    assert func() == 1
    assert late.to_its_end() == 1
    assert len(calls) == 1


@pytest.fixture
def held(store, monkeypatch):
    """Somebody else holds all locks, and who waits says so; waiting takes no longer than a second."""
    from cacheops_lite.store import fill_lock

    waits = []
    wait = fill_lock.wait_for_value
    monkeypatch.setattr(fill_lock, "LOCK_SECONDS", 1)
    monkeypatch.setattr(
        fill_lock, "acquire_lock", lambda key, token: store.set(fill_lock.keys.lock_key(key), "other") is None
    )
    monkeypatch.setattr(fill_lock, "wait_for_value", lambda *args: waits.append(1) or wait(*args))
    return waits


def test_a_result_is_there_before_its_lock_is_let_go(store, monkeypatch, is_hit):
    """Without a lock nobody waits for it, and so neither does who keeps it."""
    sent = []
    monkeypatch.setattr(cached_read, "send_script", lambda *args: sent.append(args))
    assert not is_hit(read)
    assert len(sent) == 1
    assert not is_hit(lambda: list(Label.objects.cache(lock=True)))
    assert is_hit(lambda: list(Label.objects.cache(lock=True)))
    assert len(sent) == 1


def test_what_is_not_kept_is_not_waited_for(held):
    """Else all would compute it, one after the other, as nobody gets another one's value."""
    assert list(Label.objects.cache(lock=True, timeout=0)) == []
    if connection.vendor == "sqlite":
        with transaction.atomic():
            assert list(Label.objects.cache(lock=True)) == []
    assert not held
    assert list(Label.objects.cache(lock=True)) == []
    assert held


def test_who_waits_for_what_replaces_an_undecodable_value_is_patient(store, monkeypatch):
    """A value of a class that is gone must not make its readers ask Redis without a pause."""
    from cacheops_lite.store import fill_lock

    list(Label.objects.all())
    (key,) = store.scan_iter(match="cacheops:v:*")
    value = store.get(key)
    store.set(key, value[: protocol.DIGEST_LENGTH] + b"no pickle")
    looks = []
    peek = fill_lock._poll
    monkeypatch.setattr(fill_lock, "LOCK_SECONDS", 1)
    monkeypatch.setattr(fill_lock, "_poll", lambda *args: looks.append(1) or peek(*args))
    store.set(fill_lock.keys.lock_key(key.decode()), "other")
    assert list(Label.objects.cache(lock=True)) == []
    assert 1 < len(looks) < 50


def test_a_lock_that_changes_hands_does_not_prolong_the_wait(store, monkeypatch):
    """It is bounded as a whole."""
    from cacheops_lite.store import fill_lock

    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

        def sleep(self, seconds):
            self.now += seconds

    clock, taken_anew = Clock(), []

    def peek(missed):
        if clock.now > 50 and not taken_anew:
            taken_anew.append(1)
            return missed
        return None

    for module in (fill_lock, cached_read):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(fill_lock, "acquire_lock", lambda key, token: False)
    monkeypatch.setattr(fill_lock, "_poll", peek)
    assert cached_as(Label, lock=True)(lambda: 1)() == 1
    assert taken_anew
    assert 50 < clock.now <= 60.1
