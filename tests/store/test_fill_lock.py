"""Fill locks between processes: of several concurrent misses one computes, also if a process fails or is killed.

Through lists in Redis, processes tell the test what they do and the test tells them to go on.
"""

import os
import signal

import pytest
from django.test import override_settings

from cacheops_lite import cached_as
from cacheops_lite.store import fill_lock
from cacheops_lite.store.client import get_client
from tests.conftest import FLAVOURS
from tests.shop.models import Label
from tests.support import services
from tests.support.processes import PATIENCE, ended, start

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]
LOCKS = "cacheops:l:*"
EVENTS = "{test}:events"


@pytest.fixture
def store():
    """The Redis server that the processes share."""
    if not services.redis_answers():
        (pytest.fail if services.IN_CI else pytest.skip)(f"no Redis at {services.REDIS_URL}")
    with override_settings(**FLAVOURS["redis"]):
        client = get_client()
        client.flushdb()
        yield client
        client.flushdb()


@pytest.fixture(params=["queryset", "cached_as"])
def processes(request, store):
    """Start processes that read in one of the two ways, and kill them after the test."""
    started = Processes(store, request.param)
    yield started
    started.kill()


def pop(client, *lists):
    """Wait for an element of one of `lists`, in short steps because clients have timeouts."""
    for _ in range(PATIENCE):
        if found := client.blpop(lists, timeout=1):
            return found[1].decode()
    raise AssertionError("the processes report nothing")


# In the processes


def report(event, *more):
    get_client().rpush(EVENTS, " ".join(map(str, (event, os.getpid(), *more))))


def wait_to_go_on():
    """Wait until the test lets this process, or any computing process, go on."""
    return pop(get_client(), "{test}:go", f"{{test}}:go:{os.getpid()}")


def compute():
    report("computes")
    if wait_to_go_on() == "fail":
        raise ValueError("as told")


def read_queryset(lock):
    """Return the text in the database; the statement that reads it blocks until the test lets it go on."""
    from django.db import connection

    def slow(execute, sql, *args):
        if sql.startswith("SELECT") and "shop_label" in sql:
            compute()
        return execute(sql, *args)

    with connection.execute_wrapper(slow):
        (label,) = Label.objects.cache(lock=lock).filter(pk__gt=0)
    return label.text


def function():
    compute()
    return f"by {os.getpid()}"


def call_function(lock):
    """Return the process that computed the value."""
    return cached_as(Label, lock=lock)(function)()


READERS = {"queryset": read_queryset, "cached_as": call_function}


def read(way, lock, timeout):
    fill_lock.LOCK_SECONDS = timeout
    wait = fill_lock.wait_for_value

    def wait_and_report(*args):
        fill_lock.wait_for_value = wait
        report("waits")
        return wait(*args)

    fill_lock.wait_for_value = wait_and_report
    try:
        report("got", READERS[way](lock))
    except ValueError:
        report("failed")


# In the test


class Processes:
    def __init__(self, store, way):
        self.store, self.way, self.all = store, way, []
        Label.objects.create(text="label")

    def start(self, number=1, lock=True, timeout=PATIENCE * 10):
        new = [start(read, self.way, lock, timeout) for _ in range(number)]
        self.all += new
        return new

    def next(self):
        """Return the next event, the process that reports it and its further words."""
        event, pid, *more = pop(self.store, EVENTS).split(" ", 2)
        return event, int(pid), *more

    def expect(self, event):
        """Return the process that reports `event`, which must be the next event."""
        found = self.next()
        assert found[0] == event, found
        return found[1]

    def expect_waiting(self, processes):
        """Wait until these processes have found the lock and wait."""
        assert {self.expect("waits") for _ in processes} == {process.pid for process in processes}

    def go_on(self, word="on", only=None):
        self.store.rpush("{test}:go" if only is None else f"{{test}}:go:{only.pid}", word)

    def expected(self, process):
        return "label" if self.way == "queryset" else f"by {process.pid}"

    def kill(self):
        for process in self.all:
            process.kill()
            process.join(PATIENCE)


def test_one_of_several_concurrent_misses_computes(processes):
    """The other processes wait and get its value; later readers get it, too."""
    processes.start(4)
    events = [processes.next() for _ in range(4)]
    assert sorted(event for event, _ in events) == ["computes", "waits", "waits", "waits"]
    (holder,) = [process for process in processes.all if ("computes", process.pid) in events]
    processes.go_on()
    processes.start()
    found = [processes.next() for _ in range(5)]
    assert {event[0] for event in found} == {"got"}
    assert {event[2] for event in found} == {processes.expected(holder)}
    assert ended(*processes.all) == [0] * 5
    assert not list(processes.store.scan_iter(match=LOCKS))


def test_another_process_computes_after_the_lock_holder_is_killed(processes):
    """It computes when the lock expires, and not before."""
    (holder,) = processes.start()
    processes.expect("computes")
    (lock,) = processes.store.scan_iter(match=LOCKS)
    token = processes.store.get(lock)
    others = processes.start(2)
    processes.expect_waiting(others)
    holder.kill()
    assert ended(holder) == [-signal.SIGKILL]
    assert not processes.store.llen(EVENTS)
    assert processes.store.ttl(lock) > 0
    # How long processes take to start is unknown, so the lock expires when the test says so.
    processes.store.pexpire(lock, 1)
    successor = processes.expect("computes")
    assert processes.store.get(lock) not in (token, None)
    processes.go_on()
    (successor,) = [process for process in others if process.pid == successor]
    found = [processes.next(), processes.next()]
    assert {event[0] for event in found} == {"got"}
    assert {event[2] for event in found} == {processes.expected(successor)}
    assert ended(*others) == [0, 0]


def test_a_computation_that_raises_releases_the_lock_at_once(processes):
    """The next process need not wait until the lock expires."""
    (holder,) = processes.start()
    processes.expect("computes")
    (other,) = processes.start()
    processes.expect_waiting([other])
    processes.go_on("fail", only=holder)
    assert {processes.next(), processes.next()} == {("failed", holder.pid), ("computes", other.pid)}
    processes.go_on()
    assert processes.next() == ("got", other.pid, processes.expected(other))
    assert ended(holder, other) == [0, 0]
    assert not list(processes.store.scan_iter(match=LOCKS))


def test_a_lock_is_never_read_as_a_value(processes):
    """A process that reads without a lock computes while another process has the lock."""
    (holder,) = processes.start()
    processes.expect("computes")
    assert len(list(processes.store.scan_iter(match=LOCKS))) == 1
    assert not list(processes.store.scan_iter(match="cacheops:v:*"))
    (other,) = processes.start(lock=False)
    assert processes.expect("computes") == other.pid
    processes.go_on(only=other)
    assert processes.next() == ("got", other.pid, processes.expected(other))
    processes.go_on(only=holder)
    assert processes.next() == ("got", holder.pid, processes.expected(holder))
    assert ended(holder, other) == [0, 0]


def test_waiting_for_a_lock_is_bounded(processes):
    """A process that waited for the lifetime of a lock computes by itself, and leaves the lock to its holder."""
    (holder,) = processes.start()
    processes.expect("computes")
    (lock,) = processes.store.scan_iter(match=LOCKS)
    token = processes.store.get(lock)
    (other,) = processes.start(timeout=1)
    processes.expect_waiting([other])
    assert processes.expect("computes") == other.pid
    processes.go_on(only=other)
    assert processes.next() == ("got", other.pid, processes.expected(other))
    assert ended(other) == [0]
    assert processes.store.get(lock) == token
    processes.go_on(only=holder)
    assert processes.next() == ("got", holder.pid, processes.expected(holder))
    assert ended(holder) == [0]
    assert not processes.store.exists(lock)
