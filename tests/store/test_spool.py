"""What a process owes survives its end: another process of the host delivers it before it reads."""

import errno
import logging
import os
import signal
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from io import StringIO

import pytest
import redis
from django.core.management import call_command
from django.db import DatabaseError, connection, connections
from django.test import override_settings

from cacheops_lite import cache, invalidate_all, invalidate_obj
from cacheops_lite.inspection.doctor.spool import examine_spool
from cacheops_lite.store import invalidator, spool, spool_directory, spool_records, spool_watch
from cacheops_lite.store.write_set import Change, InsertedRows, WriteSet
from tests.shop.models import Label, Product
from tests.support import processes
from tests.support.spools import (
    PATIENCE,
    die_after_the_commit,
    files,
    kill,
    texts,
    using,
    write_and_leave_a_child,
    write_and_wait,
    writer,
)
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def proxy(redis_with_spool):
    return redis_with_spool


@pytest.fixture
def label(cached_label):
    return cached_label


@pytest.fixture(autouse=True)
def no_watch(monkeypatch):
    """In this process only the test looks for files."""
    monkeypatch.setattr(spool_watch, "start", lambda take_over: None)


def read_once(port, folder, found):
    with using(port, folder):
        found.put(texts())


@pytest.mark.parametrize("function", [write_and_wait, die_after_the_commit, write_and_leave_a_child])
def test_what_a_killed_writer_owes_is_delivered_before_an_idle_process_reads(proxy, folder, label, function):
    """The writer is killed while Redis is cut off, also right after its commit, and also with a child that goes on."""
    with writer(proxy, folder, function) as process:
        kill(process)
        assert len(files(folder)) == 1
        proxy.restore()
        assert texts() == ["new"]
    assert files(folder) == []


def test_a_new_process_delivers_it_at_its_first_read(proxy, folder, label):
    with writer(proxy, folder) as process:
        kill(process)
    proxy.restore()
    found = processes.context.Queue()
    reader = processes.start(read_once, proxy.port, folder, found)
    assert found.get(timeout=PATIENCE) == ["new"]
    assert processes.ended(reader) == [0]
    assert files(folder) == []


def test_a_process_that_finds_it_during_the_outage_delivers_it_without_a_further_read(proxy, folder, label):
    """Its background thread does; until then, the file is kept."""
    with writer(proxy, folder) as process:
        kill(process)
    assert texts() == ["new"]
    assert invalidator.is_overdue()
    assert len(files(folder)) == 1
    proxy.restore()
    assert wait_until(lambda: not invalidator.is_overdue() and files(folder) == [], seconds=PATIENCE)


def test_a_file_is_left_alone_while_its_process_lives(proxy, folder, label):
    with writer(proxy, folder):
        assert len(files(folder)) == 1
        assert invalidator.take_over_spooled() == 0
        assert spool.examine().files == 0
        proxy.restore()
        # The writer itself delivers.
        assert wait_until(lambda: files(folder) == [], seconds=PATIENCE)
    assert texts() == ["new"]


def test_what_is_delivered_leaves_no_file(proxy, folder, label):
    proxy.cut()
    Label.objects.update(text="new")
    assert len(files(folder)) == 1
    assert os.stat(folder).st_mode & 0o777 == 0o700
    assert os.stat(os.path.join(folder, *files(folder))).st_mode & 0o777 == 0o600
    proxy.restore()
    assert wait_until(lambda: texts() == ["new"] and files(folder) == [], seconds=PATIENCE)


def executemany(label):
    with connection.cursor() as cursor:
        cursor.executemany("UPDATE shop_label SET text = %s", [["newer"], ["new"]])


WRITES_WITHOUT_FENCE = {
    "executemany": executemany,
    "invalidate_obj": lambda label: invalidate_obj(label),
    "invalidate_all": lambda label: invalidate_all(),
    "simple cache": lambda label: cache.set("name", 2),
}


@pytest.mark.parametrize("write", WRITES_WITHOUT_FENCE)
def test_what_is_not_fenced_is_kept_as_well(proxy, folder, label, write):
    """It is kept once it is owed."""
    cache.set("name", 1)
    proxy.cut()
    # What is asked for by hand raises.
    with suppress(redis.RedisError):
        WRITES_WITHOUT_FENCE[write](label)
    assert invalidator.is_overdue()
    forget_in_memory()
    proxy.restore()
    assert invalidator.take_over_spooled() == 1
    assert texts() == committed_texts()
    assert cache.get("name", None) in (1, None)
    assert (cache.get("name", None) is None) == (write in ("simple cache", "invalidate_all"))


def committed_texts():
    return sorted(Label.objects.nocache().values_list("text", flat=True))


def test_a_write_that_redis_takes_makes_no_file(proxy, folder, label):
    Label.objects.update(text="new")
    assert files(folder) == []


def test_a_commit_that_fails_leaves_no_file(proxy, folder, label, monkeypatch):
    """What is about to be committed without a fence is noted before; the commit did not take place."""
    database, noted = connections["default"], []

    def refuse():
        noted.extend(files(folder))
        database._rollback()
        raise DatabaseError

    proxy.cut()
    with monkeypatch.context() as patch:
        patch.setattr(database, "_commit", refuse)
        with pytest.raises(DatabaseError):
            Label.objects.update(text="new")
    assert len(noted) == 1
    proxy.restore()
    assert wait_until(lambda: not invalidator.is_overdue() and files(folder) == [], seconds=PATIENCE)
    assert texts() == ["old"]


def test_a_note_keeps_the_file_until_its_transaction_has_ended(proxy, folder):
    """Another thread may deliver everything else meanwhile, also what a dead process owed."""
    spool.append({"": WriteSet(tables={"t"})})
    forget_in_memory()
    debts = spool.take_over()
    spool.keep(debts)
    spool.note({"": WriteSet(tables={"t"})})
    assert len(files(folder)) == 2
    spool.forget()
    assert len(files(folder)) == 1
    assert debts.files[0].name not in files(folder)
    spool.drop_note()
    spool.forget()
    assert files(folder) == []


DAMAGES = {
    "cut off": lambda data: data[:-9],
    "changed": lambda data: data.replace(b"shop_label", b"shop_habel"),
    "of another release": lambda data: _line(data.split(b"\n")[0][9:].replace(b'"versions":[', b'"versions":[9')),
    "not JSON": lambda data: b"\x00\xff" * 50,
    "another structure": lambda data: _line(b'{"versions":[%d,%d]}' % tuple(spool_records._VERSIONS)),
}


def _line(text):
    return b"%08x %s\n" % (spool_records.zlib.crc32(text), text)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_stands_for_everything(proxy, folder, label, damage, caplog, is_hit):
    """Unknown means invalidate; it is logged."""
    assert Product.objects.count() == 1
    # The fill has arrived.
    assert is_hit(lambda: Product.objects.count())
    proxy.cut()
    Label.objects.update(text="new")
    forget_in_memory()
    (name,) = files(folder)
    path = os.path.join(folder, name)
    with open(path, "rb") as file:
        data = file.read()
    assert DAMAGES[damage](data) != data
    with open(path, "wb") as file:
        file.write(DAMAGES[damage](data))
    proxy.restore()
    assert texts() == ["new"]
    assert not is_hit(lambda: Product.objects.count())
    assert "damaged" in caplog.text
    assert files(folder) == []


def forget_in_memory():
    """Let this process be another one: its file is closed, and nothing is owed in memory."""
    with invalidator._delivery_lock, invalidator._state_lock:
        invalidator._overdue.clear()
        spool._leave_to_the_parent()


def test_an_undamaged_record_invalidates_what_it_says_only(proxy, folder, label, is_hit):
    Product.objects.count()
    # The fill has arrived.
    assert is_hit(lambda: Product.objects.count())
    proxy.cut()
    Label.objects.update(text="new")
    forget_in_memory()
    proxy.restore()
    assert texts() == ["new"]
    assert is_hit(lambda: Product.objects.count())


def test_files_of_other_projects_are_left_alone(proxy, folder, label):
    """They owe to another Redis."""
    proxy.cut()
    Label.objects.update(text="new")
    forget_in_memory()
    with override_settings(CACHEOPS_REDIS={"port": proxy.server.port}):
        assert invalidator.take_over_spooled() == 0
        assert len(files(folder)) == 1


def test_records_say_what_write_sets_say():
    changes = [
        Change("shop_label", {"text": "a|b,c=\udce9\u2028\n"}, None),
        Change("shop_label", {"id": "1"}, {"id": "1", "text": "x"}, ["text"]),
        InsertedRows("shop_label", {"id,text": {"id=1&text=a", "id=2&text=b"}, "": {""}}),
    ]
    for write_set in (
        WriteSet(changes=changes, tables={"shop_product", "b"}, keys={"k\n", "l"}),
        WriteSet(everything=True),
    ):
        line = spool_records.encode("tenant\n1:", write_set)
        assert line.count(b"\n") == 1
        assert spool_records.decode(line[:-1]) == ("tenant\n1:", write_set)


def test_long_and_odd_write_sets_become_whole_tables():
    """A record has no more than 64 KB, and one that can't be written as JSON still names its tables."""
    many = [Change("t", {"a": "x" * 1000}, None) for _ in range(100)]
    odd = [Change("t", {"a": object()}, None)]
    for changes in (many, odd):
        _, write_set = spool_records.decode(spool_records.encode("", WriteSet(changes=changes))[:-1])
        assert write_set == WriteSet(tables={"t"})
    tables = {f"{number}{'t' * 100}" for number in range(1000)}
    _, write_set = spool_records.decode(spool_records.encode("", WriteSet(tables=tables))[:-1])
    assert write_set == WriteSet(everything=True)


def test_a_file_with_too_many_records_says_everything(proxy, folder):
    """Of each prefix that it names, also of those that come later."""
    for number in range(spool.MAX_RECORDS + 500):
        spool.append({f"p{number % 3}": WriteSet(tables={f"t{number}"})})
    spool.append({"late": WriteSet(tables={"t"})})
    (path,) = (os.path.join(folder, name) for name in files(folder))
    with open(path, "rb") as file:
        assert len(file.readlines()) == spool.MAX_RECORDS + 4
    forget_in_memory()
    debts = spool.take_over()
    spool.keep(debts)
    assert {prefix for prefix, write_set in debts.write_sets.items() if write_set.everything} == {
        "p0",
        "p1",
        "p2",
        "late",
    }


@contextmanager
def full_disk(monkeypatch, folder, room=0):
    """Only `room` bytes of each record can be written."""
    write = os.write

    def write_some(descriptor, data):
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:room])

    with monkeypatch.context() as patch:
        patch.setattr(spool_directory.os, "write", write_some)
        yield


nearly_full_disk = partial(full_disk, room=20)


@contextmanager
def file_in_its_place(monkeypatch, folder):
    with open(folder, "w"):
        yield


@contextmanager
def symbolic_link(monkeypatch, folder):
    os.mkdir(folder + "-elsewhere", 0o700)
    os.symlink(folder + "-elsewhere", folder)
    yield
    assert os.listdir(folder + "-elsewhere") == []


@contextmanager
def used_by_others(monkeypatch, folder):
    os.mkdir(folder)
    os.chmod(folder, 0o755)
    yield
    assert files(folder) == []


@contextmanager
def of_another_user(monkeypatch, folder):
    os.mkdir(folder, 0o700)
    with monkeypatch.context() as patch:
        patch.setattr(spool_directory.os, "geteuid", lambda: 4711)
        yield
    assert files(folder) == []


PROBLEMS = [full_disk, nearly_full_disk, file_in_its_place, symbolic_link, used_by_others, of_another_user]


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: getattr(problem, "__name__", "nearly_full_disk"))
def test_a_directory_that_cannot_be_used_is_logged_once_and_breaks_no_write(
    proxy, folder, label, problem, monkeypatch, caplog
):
    """This process delivers what it owes nevertheless."""
    caplog.set_level(logging.WARNING, "cacheops_lite")
    with problem(monkeypatch, folder):
        proxy.cut()
        for text in ("one", "two", "new"):
            Label.objects.update(text=text)
            assert texts() == [text]
        proxy.restore()
        assert wait_until(lambda: not invalidator.is_overdue(), seconds=PATIENCE)
        assert texts() == ["new"]
    assert len([record for record in caplog.records if "CACHEOPS_SPOOL_DIR" in record.getMessage()]) == 1


def test_a_record_after_one_that_was_cut_off_is_complete(proxy, folder, label, monkeypatch):
    proxy.cut()
    with nearly_full_disk(monkeypatch, folder):
        Label.objects.update(text="newer")
    spool.append({"late": WriteSet(tables={"t"})})
    (path,) = (os.path.join(folder, name) for name in files(folder))
    with open(path, "rb") as file:
        assert spool_records.decode(file.readlines()[-1].strip()) == ("late", WriteSet(tables={"t"}))


def test_planted_links_and_pipes_are_not_followed(proxy, folder, label, caplog):
    """Other files are taken over nevertheless."""
    os.mkdir(folder, 0o700)
    prefix = f"{spool_directory.project()}-"
    with open(folder + "-elsewhere", "w"):
        pass
    os.symlink(folder + "-elsewhere", os.path.join(folder, f"{prefix}link{spool_directory.SUFFIX}"))
    os.mkfifo(os.path.join(folder, f"{prefix}0{spool_directory.SUFFIX}"))
    planted = files(folder)
    assert texts() == ["old"]
    # The pipe is no file of a process, so it is no problem either.
    problems = [record for record in caplog.records if "CACHEOPS_SPOOL_DIR" in record.getMessage()]
    assert ["symbolic links" in record.getMessage() for record in problems] == [True]
    proxy.cut()
    Label.objects.update(text="new")
    forget_in_memory()
    assert len(files(folder)) == 3
    proxy.restore()
    assert texts() == ["new"]
    assert files(folder) == planted


def test_a_new_file_that_another_process_removes_before_it_is_locked_is_made_again(proxy, folder, monkeypatch):
    """It takes the file for that of a dead process."""
    flock, removed = spool_directory.fcntl.flock, []

    def remove_first(descriptor, operation):
        if not removed:
            removed.extend(files(folder))
            os.unlink(os.path.join(folder, removed[0]))
        flock(descriptor, operation)

    monkeypatch.setattr(spool_directory.fcntl, "flock", remove_first)
    spool.append({"": WriteSet(tables={"t"})})
    assert len(removed) == len(files(folder)) == 1
    assert removed != files(folder)


def test_a_file_that_cannot_be_read_is_kept_for_the_next_look(proxy, folder, label, monkeypatch):
    proxy.cut()
    Label.objects.update(text="new")
    forget_in_memory()
    proxy.restore()

    def fail(file):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(spool_directory.SpoolFile, "lines", fail)
        texts()
        assert len(files(folder)) == 1
    assert texts() == ["new"]
    assert files(folder) == []


def test_an_empty_directory_is_listed_again_only_after_a_change(folder, monkeypatch):
    """Looking for files is then one call, which processes make all the time."""
    # Threads that earlier tests started list it as well.
    assert wait_until(lambda: not [each for each in threading.enumerate() if "cacheops_lite.store" in each.name])
    listed, listdir = [], os.listdir
    monkeypatch.setattr(spool_directory.os, "listdir", lambda handle: listed.append(1) or listdir(handle))

    def number_found():
        listed.clear()
        found = [*spool_directory.abandoned_files(list)]
        for file in found:
            file.close()
        return len(found), len(listed)

    with override_settings(CACHEOPS_SPOOL_DIR=folder):
        assert number_found() == (0, 0)
        spool_directory.make_directory()
        # A file may come in the same tick of the clock.
        assert [number_found(), number_found()] == [(0, 1), (0, 1)]
        monkeypatch.setattr(spool_directory, "SETTLED_SECONDS", -1)
        assert [number_found(), number_found()] == [(0, 1), (0, 0)]
        with open(os.path.join(folder, "another"), "w"):
            pass
        assert [number_found(), number_found()] == [(0, 1), (0, 0)]
        spool_directory.create_file().close()
        assert [number_found(), number_found()] == [(1, 1), (1, 1)]


def test_none_turns_the_files_off(proxy, folder, label):
    with override_settings(CACHEOPS_SPOOL_DIR=None):
        proxy.cut()
        Label.objects.update(text="new")
        assert spool.take_over() == spool.Debts()
        assert spool.next_look == float("inf")
        assert not spool.examine().is_used
    assert files(folder) == []
    assert spool.next_look == 0


def test_the_default_is_a_directory_of_this_user_for_this_redis():
    with override_settings(CACHEOPS_SPOOL_DIR="", CACHEOPS_REDIS="redis://:secret@one/1"):
        first = spool_directory.directory()
    with override_settings(CACHEOPS_SPOOL_DIR="", CACHEOPS_REDIS="redis://two/1"):
        second = spool_directory.directory()
    with override_settings(CACHEOPS_SPOOL_DIR="", CACHEOPS_REDIS="redis://two/1", CACHEOPS_PREFIX="shop:"):
        third = spool_directory.directory()
    assert len({first, second, third}) == 3
    assert str(os.geteuid()) in first.name


def test_reads_look_for_dead_processes_at_most_once_a_second(proxy, folder, label, monkeypatch):
    monkeypatch.setattr(spool, "LOOK_SECONDS", 1)
    looks = []
    look = spool_directory.abandoned_files
    monkeypatch.setattr(spool_directory, "abandoned_files", lambda report: looks.append(1) or look(report))
    began = time.monotonic()
    for _ in range(20):
        texts()
    assert 1 <= len(looks) <= 1 + (time.monotonic() - began)


def test_the_command_invalidate_delivers_what_dead_processes_owe(proxy, folder, label):
    proxy.cut()
    Label.objects.update(text="new")
    forget_in_memory()
    proxy.restore()
    output = StringIO()
    call_command("invalidate", "shop.product", stdout=output)
    assert "still owed" in output.getvalue()
    assert files(folder) == []
    assert texts() == ["new"]


def test_the_doctor_says_what_is_owed_and_whether_it_can_be_kept(proxy, folder, label, monkeypatch):
    def examined():
        (finding,) = examine_spool(None)
        return finding.level, finding.found

    assert examined()[0] == "ok"
    proxy.cut()
    Label.objects.update(text="new")
    assert examined()[0] == "ok"
    forget_in_memory()
    level, found = examined()
    assert level == "warning"
    assert "1 processes" in found
    os.chmod(folder, 0o777)
    level, found = examined()
    assert level == "warning"
    assert "0700" in found
    with override_settings(CACHEOPS_SPOOL_DIR=None):
        assert examined()[0] == "info"


def test_a_forked_child_has_a_file_of_its_own(proxy, folder, label, monkeypatch):
    # The thread that retries the invalidation would take over what the child leaves.
    monkeypatch.setattr(invalidator, "take_over_spooled", lambda: 0)
    proxy.cut()
    Label.objects.update(text="new")
    child = os.fork()
    if not child:
        try:
            signal.alarm(10)
            assert spool._own.file is None
            spool.append({"": WriteSet(tables={"t"})})
            os._exit(0 if len(files(folder)) == 2 else 2)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    connection.close()
    # The parent's file is still locked; that of the child is not any more.
    assert spool.examine().files == 1
