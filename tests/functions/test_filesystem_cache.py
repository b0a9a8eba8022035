"""The file cache: behaviour that only files have. The behaviour common to all caches is in test_simple_caches."""

import io
import logging
import os
import pickle
import signal
import stat
import sys

import pytest
from django.core.management import CommandError, call_command

from cacheops_lite.functions import filesystem_cache
from cacheops_lite.functions.filesystem_cache import FileCache, file_cache
from cacheops_lite.store.serializers import PickleSerializer
from tests.support.processes import context, ended, start

DAY = 60 * 60 * 24


@pytest.fixture
def cache(tmp_path):
    return FileCache(tmp_path / "cache")


@pytest.fixture
def clock(monkeypatch):
    """Replace the time of the file cache; ``clock.now += 1`` lets a second pass."""

    class Clock:
        now = 1_900_000_000.0

        def time(self):
            return self.now

    found = Clock()
    monkeypatch.setattr(filesystem_cache, "time", found)
    return found


def file_of(cache, key):
    return cache._path_of(f"cacheops:s:k:{key}")


def files_in(directory):
    return sorted(os.path.join(root, name) for root, _, names in os.walk(directory) for name in names)


def test_a_value_expires(cache, clock):
    """It is a miss for all methods from the second of its timeout on."""
    cache.set("key", 1, timeout=10)
    clock.now += 9
    assert cache.get("key") == 1
    clock.now += 1
    assert cache.get("key", None) is None
    assert cache.get_many(["key"]) == {}
    assert "key" not in cache
    assert cache.delete("key") is False


def test_an_expired_value_is_replaced(cache, clock):
    """An expired file never prevents a write."""
    for use in (cache.set, cache.add, cache.get_or_set):
        cache.set("key", "old", timeout=1)
        clock.now += 1
        use("key", "new", timeout=10)
        assert cache.get("key") == "new"


def test_an_expired_result_is_computed_once(cache, clock):
    """Later calls are hits."""
    calls = []

    @cache.cached(timeout=10)
    def call():
        calls.append(1)
        return len(calls)

    assert [call(), call()] == [1, 1]
    clock.now += 10
    assert [call(), call()] == [2, 2]


def test_set_and_touch_set_the_remaining_time_and_incr_keeps_it(cache, clock):
    cache.set("key", 1, timeout=10)
    clock.now += 5
    cache.incr("key")
    clock.now += 4
    assert cache.touch("key", 10) is True
    clock.now += 9
    assert cache.get("key") == 2
    clock.now += 1
    assert cache.touch("key", 10) is False
    with pytest.raises(ValueError, match="no value"):
        cache.incr("key")


def test_a_timeout_of_none_means_that_of_the_cache_or_of_the_settings(tmp_path, clock, settings):
    """A file cache always has one, so that its files can be cleaned."""
    caches = {DAY: FileCache(tmp_path / "own", timeout=DAY), 30 * DAY: FileCache(tmp_path / "default")}
    for timeout, cache in caches.items():
        cache.set("key", 1)
        assert os.stat(file_of(cache, "key")).st_mtime == clock.now + timeout
    settings.CACHEOPS_SIMPLE_TIMEOUT = 9
    for timeout, cache in {DAY: caches[DAY], 9: caches[30 * DAY]}.items():
        cache.set("key", 1)
        assert os.stat(file_of(cache, "key")).st_mtime == clock.now + timeout
    settings.FILE_CACHE_TIMEOUT = 7
    caches[30 * DAY].set("key", 1)
    assert os.stat(file_of(caches[30 * DAY], "key")).st_mtime == clock.now + 7


@pytest.mark.parametrize(("timeout", "error"), [(-1, ValueError), ("1", TypeError)])
def test_an_invalid_default_timeout_is_refused(cache, settings, timeout, error):
    """The message names its origin."""
    with pytest.raises(error, match=r"FileCache\(\) has timeout"):
        FileCache(timeout=timeout)
    settings.FILE_CACHE_TIMEOUT = timeout
    with pytest.raises(error, match="FILE_CACHE_TIMEOUT has timeout"):
        cache.set("key", 1)
    settings.FILE_CACHE_TIMEOUT = None
    cache.set("key", 1)
    assert cache.get("key") == 1


def test_the_directory_setting_is_read_at_each_use(tmp_path, settings):
    for name in ("one", "two"):
        settings.FILE_CACHE_DIR = tmp_path / name
        assert file_cache.get("key", None) is None
        file_cache.set("key", name)
        assert file_cache.get("key") == name
        assert file_of(file_cache, "key").startswith(str(tmp_path / name))
    del settings.FILE_CACHE_DIR
    assert file_cache.directory == "/tmp/cacheops_file_cache"


def test_only_the_owner_may_read_or_write_the_files(cache):
    """The cache must not unpickle data of other users."""
    cache.set("key", 1)
    path = file_of(cache, "key")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(cache.directory).st_mode) == 0o700


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)
    os.utime(path, (2**32, 2**32))


class Bomb:
    exploded = False

    def __reduce__(self):
        return (setattr, (Bomb, "exploded", True))


@pytest.mark.parametrize("data", [b"", b"x", b"col1", pickle.dumps(1), pickle.dumps(Bomb()), b"col1" + b"x" * 50])
def test_a_foreign_file_is_a_miss_and_never_unpickled(cache, caplog, data):
    """It is logged, and replaced by the next value."""
    cache.set("key", 1)
    write(file_of(cache, "key"), data)
    assert cache.get("key", None) is None
    assert "its signature is not valid" in caplog.text
    assert cache.get_or_set("key", 2) == cache.get("key") == 2
    assert not Bomb.exploded


def test_a_file_signed_by_another_project_is_never_unpickled(cache, settings, monkeypatch):
    """Other users may be able to write to the directory."""
    settings.SECRET_KEY = "another"
    cache.set("key", Bomb())
    loaded = []
    monkeypatch.setattr(PickleSerializer, "loads", staticmethod(loaded.append))
    settings.SECRET_KEY = "ours"
    assert cache.get("key", None) is None
    assert not loaded
    settings.SECRET_KEY = "another"
    cache.get("key")
    assert loaded


def test_a_truncated_file_is_a_miss(cache):
    """A full disk or a crash of the machine can truncate a file."""
    cache.set("key", "value")
    path = file_of(cache, "key")
    with open(path, "rb") as file:
        whole = file.read()
    for length in range(len(whole)):
        write(path, whole[:length])
        assert cache.get("key", None) is None
    write(path, whole)
    assert cache.get("key") == "value"


def test_a_file_with_a_flipped_bit_is_a_miss(cache):
    cache.set("key", "value")
    path = file_of(cache, "key")
    with open(path, "rb") as file:
        whole = file.read()
    for at in range(len(whole)):
        for bit in range(8):
            write(path, whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
            assert cache.get("key", None) is None
    write(path, whole)
    assert cache.get("key") == "value"


def test_a_file_renamed_to_that_of_another_key_is_a_miss(cache):
    cache.set_many({"key": 1, "other": 2})
    os.replace(file_of(cache, "key"), file_of(cache, "other"))
    assert cache.get("other", None) is None


def test_a_file_that_is_too_large_is_not_read(tmp_path, caplog):
    """Reading takes no more memory than a value may have."""
    cache = FileCache(tmp_path, max_bytes=1000)
    cache.set("key", 1)
    path = file_of(cache, "key")
    os.truncate(path, 10**12)
    os.utime(path, (2**32, 2**32))
    assert cache.get("key", None) is None
    assert "too large" in caplog.text


def test_a_value_that_is_too_large_is_not_stored(tmp_path, caplog):
    """The value that it should replace is deleted."""
    cache = FileCache(tmp_path, max_bytes=1000)
    cache.set("key", 1)
    cache.set("key", "x" * 1000)
    assert cache.get("key", None) is None
    assert "more than the 1000 allowed" in caplog.text
    assert cache.add("key", "x" * 1000) is False
    assert [path for path in files_in(tmp_path) if not path.endswith(".lock")] == []


def test_a_path_that_is_not_a_regular_file_is_a_miss(cache, tmp_path, caplog):
    """It may be a directory, a link or a pipe, which would block a reader."""
    cache.set("key", 1)
    path = file_of(cache, "key")
    os.replace(path, tmp_path / "moved")
    for make in (os.mkdir, os.mkfifo, lambda path: os.symlink(tmp_path / "moved", path)):
        make(path)
        if not os.path.islink(path):
            os.utime(path, (2**32, 2**32))
        caplog.clear()
        assert cache.get("key", None) is None
        assert caplog.records
        (os.rmdir if make is os.mkdir else os.unlink)(path)


def test_a_value_that_cannot_be_written_is_logged_and_not_stored(cache, caplog, monkeypatch):
    """A full disk raises no error and leaves neither temporary files nor a stale value."""
    cache.set("key", "old")

    def fail(*args, **kwargs):
        raise OSError("No space left on device")

    for function in ("utime", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, function, fail)
            cache.set("key", "new")
            assert cache.add("other", "new") is False
        assert cache.get("key", None) is None
        assert "No space left" in caplog.text
        caplog.clear()
    cache.set("key", 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "utime", fail)
        assert cache.incr("key") == 2
    assert "key" not in cache
    assert [path for path in files_in(cache.directory) if not path.endswith(".lock")] == []


def test_nothing_is_cached_if_the_directory_cannot_be_made(tmp_path, caplog):
    """A warning is logged; calls return their results."""
    (tmp_path / "file").write_text("")
    cache = FileCache(tmp_path / "file")
    cache.set("key", 1)
    assert cache.get("key", None) is None
    assert cache.cached(lambda: 1)() == 1
    assert cache.delete("key") is False
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_a_removed_directory_is_made_again(cache):
    """The directory may be deleted while processes use it."""
    import shutil

    cache.set("key", 1)
    shutil.rmtree(cache.directory)
    assert cache.get("key", None) is None
    cache.clear()
    cache.set("key", 2)
    assert cache.get("key") == 2


def test_the_cache_works_without_file_locks(cache, monkeypatch):
    """On a system without them, only counting is not atomic."""
    monkeypatch.setattr(filesystem_cache, "fcntl", None)
    cache.set("key", 1)
    assert cache.incr("key") == 2


# Cleaning


@pytest.fixture
def foreign_files(tmp_path):
    """Make old files in and around the cache that do not belong to it."""
    cache = FileCache(tmp_path)
    cache.set("key", 1)
    directory = os.path.dirname(file_of(cache, "key"))
    os.unlink(file_of(cache, "key"))
    os.mkdir(tmp_path / "sub")
    own = "0" * 30 + ".cacheops"
    paths = [tmp_path / "notes", tmp_path / own, tmp_path / "sub" / own, tmp_path / ".hidden"]
    paths += [os.path.join(directory, name) for name in ("notes", own, own + ".bak", "0" * 30)]
    for path in paths:
        write(path, b"mine")
        os.utime(path, (1, 1))
    return cache, {os.fspath(path) for path in paths}


def cleanfilecache(*args, **options):
    call_command("cleanfilecache", *args, **options)


def test_cleaning_removes_expired_files_of_the_cache_only(foreign_files, clock):
    """Valid files and files that do not belong to the cache stay."""
    cache, others = foreign_files
    cache.set("old", 1, timeout=10)
    cache.set("new", 2, timeout=20)
    clock.now += 10
    cleanfilecache(cache.directory)
    assert cache.get("new") == 2
    found = {path for path in files_in(cache.directory) if not path.endswith(".lock")}
    assert found == others | {file_of(cache, "new")}


def test_cleaning_removes_truncated_files_of_the_cache(cache, clock):
    """A truncated or empty file still belongs to the cache."""
    for length in (0, 2, 5):
        cache.set("key", 1, timeout=1)
        os.truncate(file_of(cache, "key"), length)
        os.utime(file_of(cache, "key"), (clock.now, clock.now))
        assert cache.clean() == 1


def test_clear_removes_only_files_of_the_cache(foreign_files):
    cache, others = foreign_files
    cache.set_many({str(i): i for i in range(50)})
    cache.clear()
    assert {path for path in files_in(cache.directory) if not path.endswith(".lock")} == others


def test_cleaning_removes_temporary_files_of_dead_writers(cache, clock):
    """Those of running writers are younger than an hour."""
    cache.set("key", 1)
    temporary = file_of(cache, "key") + ".abc.tmp"
    write(temporary, b"col1")
    os.utime(temporary, (clock.now, clock.now))
    clock.now += 3599
    assert cache.clean() == 0
    clock.now += 1
    assert cache.clean() == 1
    assert not os.path.exists(temporary)
    assert cache.get("key") == 1


def test_cleaning_follows_no_links(cache, clock, tmp_path):
    """Links may point out of the cache or back into it."""
    other = FileCache(tmp_path / "other")
    other.set("key", 1, timeout=1)
    cache.set("key", 1, timeout=1)
    os.unlink(file_of(cache, "key"))
    os.symlink(file_of(other, "key"), file_of(cache, "key"))
    os.symlink(os.path.dirname(file_of(other, "key")), os.path.join(cache.directory, "zz"))
    os.symlink(os.path.dirname(file_of(other, "key")), os.path.join(cache.directory, "00"))
    clock.now += 1
    assert cache.clean() == 0
    assert os.path.exists(file_of(other, "key"))


def test_cleaning_leaves_files_that_it_cannot_read(cache, clock, monkeypatch):
    """It cannot find out whether they belong to the cache."""
    cache.set("key", 1, timeout=1)
    clock.now += 1

    def refuse(*args, **kwargs):
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        assert cache.clean() == 0
    assert cache.clean() == 1


def test_the_command_cleans_the_default_directory(tmp_path, settings, clock):
    """The argument may be missing or `default`, and the directory need not exist."""
    settings.FILE_CACHE_DIR = tmp_path / "cache"
    cleanfilecache()
    for args in ((), ("default",)):
        file_cache.set("key", 1, timeout=1)
        clock.now += 1
        cleanfilecache(*args)
        assert not os.path.exists(file_of(file_cache, "key"))


def test_the_command_reports_removed_files_with_verbosity_2(cache, clock):
    """It prints nothing by default, as suits a cron job."""
    for verbosity, expected in ((1, ""), (2, "Removed 1 expired file.\n")):
        cache.set("key", 1, timeout=1)
        clock.now += 1
        out = io.StringIO()
        cleanfilecache(cache.directory, stdout=out, verbosity=verbosity)
        assert out.getvalue() == expected


def test_the_command_passes_no_path_to_a_shell(tmp_path, monkeypatch):
    """A path may contain any characters."""
    monkeypatch.chdir(tmp_path)
    path = "; touch x; $(touch y) `touch z`"
    with pytest.raises(CommandError, match=r"There is no directory '; touch x"):
        cleanfilecache(path)
    os.mkdir(path)
    cleanfilecache(path)
    assert os.listdir(tmp_path) == [path]


# Processes


def write_values(directory, number, done):
    cache = FileCache(directory)
    for i in range(300):
        cache.set("key", [(number, i)] * 2000)
    for semaphore in done:
        semaphore.release()


def read_values(directory, writers, done):
    cache, found, running = FileCache(directory), set(), writers
    while running:
        if done.acquire(block=False):
            running -= 1
        value = cache.get("key", None)
        if value is not None:
            assert len(value) == 2000
            assert len(set(value)) == 1
            found.add(value[0])
    sys.exit(0 if found else 1)


def test_readers_see_whole_values_while_processes_write(tmp_path):
    """The last value written stays; no temporary file does."""
    done = [context.Semaphore(0) for _ in range(2)]
    cache = FileCache(tmp_path)
    cache.set("key", [(0, 0)] * 2000)
    readers = [start(read_values, tmp_path, 3, semaphore) for semaphore in done]
    writers = [start(write_values, tmp_path, number, done) for number in range(3)]
    assert ended(*writers, *readers) == [0] * 5
    assert cache.get("key")[0][1] == 299
    assert len([path for path in files_in(tmp_path) if not path.endswith(".lock")]) == 1


def count_up(directory):
    cache = FileCache(directory)
    for _ in range(200):
        cache.incr("key")


def test_counting_in_several_processes_is_atomic(tmp_path):
    cache = FileCache(tmp_path)
    cache.set("key", 2**64)
    assert ended(*(start(count_up, tmp_path) for _ in range(4))) == [0] * 4
    assert cache.get("key") == 2**64 + 800


def add_one(directory, number, results):
    results.put((FileCache(directory).add("key", number), number))


def test_one_of_several_processes_that_add_a_key_succeeds(tmp_path):
    """The first one succeeds."""
    results = context.Queue()
    processes = [start(add_one, tmp_path, number, results) for number in range(4)]
    found = [results.get(timeout=60) for _ in processes]
    assert ended(*processes) == [0] * 4
    winners = [number for added, number in found if added]
    assert winners == [FileCache(tmp_path).get("key")]


def clean_often(directory, done):
    cache = FileCache(directory)
    while not done.is_set():
        cache.clean()


def test_cleaning_never_removes_a_value_that_was_just_replaced(tmp_path):
    """Another process writes values while it removes expired ones."""
    done = context.Event()
    cleaner = start(clean_often, tmp_path, done)
    cache = FileCache(tmp_path)
    for i in range(500):
        cache.set("key", "old", timeout=1e-9)
        cache.set("key", i, timeout=60)
        assert cache.get("key") == i
    done.set()
    assert ended(cleaner) == [0]


def lock_and_wait(directory, ready):
    cache = FileCache(directory)
    with filesystem_cache._directory_lock(cache._path_of("cacheops:s:k:key")):
        filesystem_cache._write_temporary(cache._path_of("cacheops:s:k:key"), b"half", 2**32)
        ready.set()
        signal.pause()


def test_a_killed_writer_blocks_no_other_process(tmp_path):
    """The operating system releases its lock; its unfinished file is not a value."""
    cache = FileCache(tmp_path)
    cache.set("key", 1)
    ready = context.Event()
    writer = start(lock_and_wait, tmp_path, ready)
    assert ready.wait(60)
    assert cache.get("key") == 1
    writer.kill()
    assert ended(writer) == [-signal.SIGKILL]
    assert cache.incr("key") == cache.get("key") == 2
