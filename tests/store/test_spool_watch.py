"""What a dead process owes is delivered by processes that read nothing: they are idle, or they only write."""

import fcntl
import os
import sys
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from django.test import override_settings

from cacheops_lite.store import background_retry, invalidator, spool, spool_watch
from tests.shop.models import Product
from tests.support import processes
from tests.support.spools import PATIENCE, files, kill, texts, using, writer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_watch_is_left():
    """Their threads end by themselves once the settings name another directory."""
    yield
    assert wait_until(lambda: not watches())


def watches():
    return [each for each in threading.enumerate() if each.name == "cacheops_lite.store.spool_watch"]


@pytest.fixture
def in_others_only(monkeypatch):
    """This process does not look while it is idle; the processes that it starts do."""
    monkeypatch.setattr(spool_watch, "start", lambda look: None)


def is_locked(path):
    """Return whether a process owns the lock."""
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


# What other processes do.

# A file that tells a child to end.
ENDED = "{}-ended"


def use_once(port, folder, is_writing, has_used):
    """Use the cache, and be idle then."""
    with using(port, folder):
        if is_writing:
            Product.objects.update(name="written")
        else:
            texts()
        has_used.set()
        time.sleep(PATIENCE)


def use_once_and_leave_a_child(port, folder, is_writing, has_used):
    """The child lives longer than its parent, and does not touch the cache."""
    with using(port, folder):
        texts()
        wait_until(lambda: is_locked(spool_watch.lock_path()))
        if not os.fork():
            has_used.set()
            wait_until(lambda: os.path.exists(ENDED.format(folder)), 3 * PATIENCE)
            os._exit(0)
        time.sleep(PATIENCE)


@contextmanager
def idle_process(proxy, folder, function=use_once, is_writing=False):
    """Yield a process that has used the cache once; it is killed at the end at the latest."""
    has_used = processes.context.Event()
    process = processes.start(function, proxy.port, folder, is_writing, has_used)
    try:
        assert has_used.wait(PATIENCE)
        yield process
    finally:
        kill(process)


@pytest.mark.parametrize("is_writing", [False, True], ids=["read", "wrote"])
def test_an_idle_process_delivers_what_a_killed_writer_owes(
    in_others_only, redis_with_spool, folder, cached_label, is_writing
):
    """It has used the cache before the outage, and does nothing since."""
    with idle_process(redis_with_spool, folder, is_writing=is_writing), writer(redis_with_spool, folder) as process:
        kill(process)
        redis_with_spool.restore()
        assert wait_until(lambda: files(folder) == [], PATIENCE)
    assert texts() == ["new"]


@pytest.mark.parametrize("function", [use_once, use_once_and_leave_a_child])
def test_the_next_process_looks_if_the_one_that_did_is_killed(
    in_others_only, redis_with_spool, folder, cached_label, function
):
    """Also if the killed one has a child that lives on."""
    with idle_process(redis_with_spool, folder, function) as first:
        assert wait_until(lambda: is_locked(spool_watch.lock_path()))
        with idle_process(redis_with_spool, folder), writer(redis_with_spool, folder) as process:
            # Joining it would wait for its child.
            first.kill()
            kill(process)
            redis_with_spool.restore()
            is_delivered = wait_until(lambda: files(folder) == [], PATIENCE)
            with open(ENDED.format(folder), "w"):
                pass
            assert is_delivered


def test_a_process_that_only_writes_delivers_it(in_others_only, redis_with_spool, folder, cached_label):
    """Its writes look, as reads do."""
    with writer(redis_with_spool, folder) as process:
        kill(process)
        redis_with_spool.restore()
        Product.objects.update(name="written")
        assert wait_until(lambda: files(folder) == [], PATIENCE)


def test_a_write_that_can_not_look_is_invalidated_nevertheless(
    in_others_only, redis_with_spool, folder, cached_label, monkeypatch, is_hit
):
    """Looking fails if the application's prefix function does."""
    assert Product.objects.get().name == "pen"

    def fail():
        raise LookupError

    monkeypatch.setattr(spool, "take_over", fail)
    monkeypatch.setattr(spool, "next_look", 0.0)
    Product.objects.update(name="written")
    monkeypatch.undo()
    assert Product.objects.get().name == "written"


def test_delivery_takes_at_most_half_a_second():
    """A look, then the first attempt; or, in an outage, an attempt that fails late, and the longest pause."""
    assert spool_watch.WATCH_SECONDS + background_retry.FIRST_PAUSE_SECONDS <= 0.4
    assert spool.LOOK_SECONDS <= 0.4
    assert background_retry.ATTEMPT_SECONDS + background_retry.MAX_PAUSE_SECONDS < 0.5


def test_the_owner_of_the_lock_looks_and_others_wait_in_the_kernel(folder, monkeypatch):
    """They do not poll: the call that locks returns once the lock is theirs."""
    happened, is_released = [], threading.Event()

    def lock(handle, operation):
        happened.append(operation)
        is_released.wait(PATIENCE)

    monkeypatch.setattr(spool_watch, "fcntl", SimpleNamespace(flock=lock, LOCK_EX=fcntl.LOCK_EX))
    with override_settings(CACHEOPS_SPOOL_DIR=folder):
        spool_watch.start(lambda: happened.append("look"))
        assert wait_until(lambda: happened)
        assert happened == [fcntl.LOCK_EX]
        is_released.set()
        assert wait_until(lambda: len(happened) > 2)
    assert happened[1:] == ["look"] * (len(happened) - 1)


def test_the_lock_is_that_of_the_directory_and_removed_when_the_settings_change(folder):
    """A watch that waits for the lock of a directory that the settings no longer name does not hold up another."""
    paths = []
    with override_settings(CACHEOPS_SPOOL_DIR=folder), open(spool_watch.lock_path(), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        spool_watch.start(lambda: paths.append("old"))
        old = spool_watch.lock_path()
        with override_settings(CACHEOPS_SPOOL_DIR=folder + "-other"):
            new = spool_watch.lock_path()
            spool_watch.start(lambda: paths.append("new"))
            assert wait_until(lambda: "new" in paths)
            assert new != old
        assert wait_until(lambda: not new.exists())
        fcntl.flock(file, fcntl.LOCK_UN)
        assert wait_until(lambda: not old.exists())
    assert "old" not in paths


def test_a_lock_whose_file_was_removed_is_made_again(folder):
    """Otherwise further processes would lock another file, and look as well."""
    looks = []
    with override_settings(CACHEOPS_SPOOL_DIR=folder):
        path = spool_watch.lock_path()
        with open(path, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            spool_watch.start(lambda: looks.append(1))
            assert wait_until(lambda: spool_watch._current._descriptor >= 0)
            os.unlink(path)
        assert wait_until(lambda: looks)
        assert is_locked(path)


@pytest.mark.parametrize("has_directory", [True, False])
def test_a_lock_that_can_not_be_had_does_not_keep_a_process_from_looking(folder, monkeypatch, tmp_path, has_directory):
    """There is no directory of temporary files, or it has gone."""
    looks = []

    def directory():
        if not has_directory:
            raise FileNotFoundError
        return str(tmp_path / "missing")

    with override_settings(CACHEOPS_SPOOL_DIR=folder):
        monkeypatch.setattr(spool_watch.tempfile, "gettempdir", directory)
        spool_watch.start(lambda: looks.append(1))
        assert wait_until(lambda: len(looks) > 1)
        monkeypatch.undo()


def test_a_look_that_fails_is_repeated(folder):
    looks = []

    def fail():
        looks.append(1)
        raise OSError

    with override_settings(CACHEOPS_SPOOL_DIR=folder):
        spool_watch.start(fail)
        assert wait_until(lambda: len(looks) > 1)


GREEN = {
    "gevent.monkey": SimpleNamespace(is_module_patched=lambda name: name == "threading"),
    "eventlet.patcher": SimpleNamespace(is_monkey_patched=lambda name: name == "thread"),
    "uwsgi": SimpleNamespace(opt={"http": b":80"}),
}
THREADED = {
    "gevent.monkey": SimpleNamespace(is_module_patched=lambda name: name == "socket"),
    "eventlet.patcher": SimpleNamespace(is_monkey_patched=lambda name: False),
    "uwsgi": SimpleNamespace(opt={"enable-threads": True}),
}


@pytest.mark.parametrize("name", GREEN)
def test_no_thread_is_started_where_it_would_stop_the_application_or_not_run(folder, monkeypatch, name):
    """With greenlets, or without threads of uWSGI, only reads and writes look."""
    with override_settings(CACHEOPS_SPOOL_DIR=folder):
        monkeypatch.setitem(sys.modules, name, GREEN[name])
        spool_watch.start(lambda: None)
        assert not watches()
        monkeypatch.setitem(sys.modules, name, THREADED[name])
        spool_watch.start(lambda: None)
        assert watches()


def test_without_files_there_is_no_thread(redis_with_spool, folder, cached_label):
    """Neither with CACHEOPS_SPOOL_DIR None."""
    with override_settings(CACHEOPS_SPOOL_DIR=None):
        assert spool_watch.lock_path() is None
        assert wait_until(lambda: not watches())
        texts()
        assert not watches()


def test_a_thread_that_can_not_be_started_breaks_nothing(folder, monkeypatch):
    """Python starts none while it exits."""

    def refuse(thread):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with override_settings(CACHEOPS_SPOOL_DIR=folder):
        assert invalidator.take_over_spooled() == 0
    assert not watches()


def test_the_lock_of_another_user_is_no_lock(folder, monkeypatch):
    """Waiting for it would never end."""
    looks = []
    with override_settings(CACHEOPS_SPOOL_DIR=folder):
        path = spool_watch.lock_path()
        with open(path, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            real = os.fstat
            monkeypatch.setattr(
                spool_watch.os, "fstat", lambda handle: SimpleNamespace(st_uid=4711, st_mode=real(handle).st_mode)
            )
            spool_watch.start(lambda: looks.append(1))
            assert wait_until(lambda: looks)
            monkeypatch.undo()
        os.unlink(path)
