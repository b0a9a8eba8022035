"""Locks among processes: of many that miss at once one computes, whatever happens to it.

Processes tell the test what they do, and are told to go on, through lists in Redis.
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


@pytest.fixture
def store():
    """The one store that processes share."""
    if not services.redis_answers():
        (pytest.fail if services.IN_CI else pytest.skip)(f"no Redis at {services.REDIS_URL}")
    with override_settings(**FLAVOURS["redis"]):
        client = get_client()
        client.flushdb()
        yield client
        client.flushdb()


@pytest.fixture(params=["queryset", "cached_as"])
def processes(request, store):
    """Starts processes that read through one or the other, and ends them after the test."""
    started = Processes(store, request.param)
    yield started
    started.kill()


def pop(client, *lists):
    """What comes to one of `lists`, however long that takes; asked for in small steps, as clients have timeouts."""
    for _ in range(PATIENCE):
        if found := client.blpop(lists, timeout=1):
            return found[1].decode()
    raise AssertionError("nothing happens any more")


# In the processes


def say(event, *more):
    get_client().rpush("test:events", " ".join(map(str, (event, os.getpid(), *more))))


def wait_to_go_on():
    """Wait until the test lets this process, or any that computes, go on."""
    return pop(get_client(), "test:go", f"test:go:{os.getpid()}")


def compute():
    say("computes")
    if wait_to_go_on() == "fail":
        raise ValueError("as told")


def by_queryset(lock):
    """The text that the database holds; the statement that asks for it takes as long as the test wants."""
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


def by_function(lock):
    """The process that computed it."""
    return cached_as(Label, lock=lock)(function)()


WAYS = {"queryset": by_queryset, "cached_as": by_function}


def read(way, lock, timeout):
    fill_lock.LOCK_SECONDS = timeout
    wait = fill_lock.wait_for_value

    def wait_and_say_so(*args):
        fill_lock.wait_for_value = wait
        say("waits")
        return wait(*args)

    fill_lock.wait_for_value = wait_and_say_so
    try:
        say("got", WAYS[way](lock))
    except ValueError:
        say("failed")


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
        """What happens next: the event, the process that tells it, and what more it says."""
        event, pid, *more = pop(self.store, "test:events").split(" ", 2)
        return event, int(pid), *more

    def until(self, event):
        """The process that tells `event` next; nothing else may happen before."""
        found = self.next()
        assert found[0] == event, found
        return found[1]

    def until_waiting(self, processes):
        """Let these processes find the lock and wait."""
        assert {self.until("waits") for _ in processes} == {process.pid for process in processes}

    def go_on(self, word="on", only=None):
        self.store.rpush("test:go" if only is None else f"test:go:{only.pid}", word)

    def expected(self, process):
        return "label" if self.way == "queryset" else f"by {process.pid}"

    def kill(self):
        for process in self.all:
            process.kill()
            process.join(PATIENCE)


def test_of_processes_that_miss_at_once_one_computes(processes):
    """The others wait and get its value, which is there for all who come later, too."""
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


def test_when_the_holder_is_killed_another_one_computes(processes):
    """As soon as its lock expires, and not before."""
    (holder,) = processes.start(timeout=3)
    processes.until("computes")
    (lock,) = processes.store.scan_iter(match=LOCKS)
    token = processes.store.get(lock)
    others = processes.start(2, timeout=30)
    processes.until_waiting(others)
    holder.kill()
    assert ended(holder) == [-signal.SIGKILL]
    heir = processes.until("computes")
    assert processes.store.get(lock) not in (token, None)
    processes.go_on()
    (heir,) = [process for process in others if process.pid == heir]
    found = [processes.next(), processes.next()]
    assert {event[0] for event in found} == {"got"}
    assert {event[2] for event in found} == {processes.expected(heir)}
    assert ended(*others) == [0, 0]


def test_a_computation_that_raises_releases_at_once(processes):
    """The next one need not wait until the lock expires."""
    (holder,) = processes.start()
    processes.until("computes")
    (other,) = processes.start()
    processes.until_waiting([other])
    processes.go_on("fail", only=holder)
    assert {processes.next(), processes.next()} == {("failed", holder.pid), ("computes", other.pid)}
    processes.go_on()
    assert processes.next() == ("got", other.pid, processes.expected(other))
    assert ended(holder, other) == [0, 0]
    assert not list(processes.store.scan_iter(match=LOCKS))


def test_a_lock_is_never_read_as_a_value(processes):
    """Who asks for the same without a lock computes it while somebody holds one."""
    (holder,) = processes.start()
    processes.until("computes")
    assert len(list(processes.store.scan_iter(match=LOCKS))) == 1
    assert not list(processes.store.scan_iter(match="cacheops:v:*"))
    (other,) = processes.start(lock=False)
    assert processes.until("computes") == other.pid
    processes.go_on(only=other)
    assert processes.next() == ("got", other.pid, processes.expected(other))
    processes.go_on(only=holder)
    assert processes.next() == ("got", holder.pid, processes.expected(holder))
    assert ended(holder, other) == [0, 0]


def test_waiting_is_bounded(processes):
    """Who has waited for as long as a lock lives computes on its own, and leaves the holder its lock."""
    (holder,) = processes.start()
    processes.until("computes")
    (lock,) = processes.store.scan_iter(match=LOCKS)
    token = processes.store.get(lock)
    (other,) = processes.start(timeout=1)
    processes.until_waiting([other])
    assert processes.until("computes") == other.pid
    processes.go_on(only=other)
    assert processes.next() == ("got", other.pid, processes.expected(other))
    assert ended(other) == [0]
    assert processes.store.get(lock) == token
    processes.go_on(only=holder)
    assert processes.next() == ("got", holder.pid, processes.expected(holder))
    assert ended(holder) == [0]
    assert not processes.store.exists(lock)
