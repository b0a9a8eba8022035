"""Processes that owe invalidations and end: what tests of the spool share."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager

from django.test import override_settings

from cacheops_lite.store import invalidator, pending_releases, spool
from cacheops_lite.writes import unit_of_work
from tests.shop.models import Label
from tests.support import processes

PATIENCE = 30


@contextmanager
def using(port, folder):
    redis = {"port": port, "socket_connect_timeout": 1, "socket_timeout": 1, "retry": None}
    with override_settings(
        CACHEOPS_REDIS=redis,
        CACHEOPS_CLIENT_CLASS=None,
        CACHEOPS_SPOOL_DIR=folder,
        CACHEOPS_DEGRADE_ON_FAILURE=True,
    ):
        yield


def forget_debts():
    with invalidator._delivery_lock, invalidator._state_lock:
        invalidator._overdue.clear()
        spool._noted = 0
        spool.forget()
    # Otherwise a thread tries to release fences for half a minute, on the servers of later tests.
    pending_releases._pending.clear()


def texts():
    return sorted(Label.objects.values_list("text", flat=True))


def files(folder):
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


# What other processes do.


def write_and_wait(port, folder, may_write, has_written):
    """Write while Redis is cut off, and live until killed."""
    with using(port, folder):
        texts()
        may_write.wait(PATIENCE)
        Label.objects.update(text="new")
        has_written.set()
        time.sleep(PATIENCE)


def die_after_the_commit(port, folder, may_write, has_written):
    with using(port, folder):
        texts()
        may_write.wait(PATIENCE)
        unit_of_work.deliver_logging_errors = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
        Label.objects.update(text="new")


def write_and_leave_a_child(port, folder, may_write, has_written):
    """The child lives longer than its parent, and does not touch the cache."""
    with using(port, folder):
        may_write.wait(PATIENCE)
        Label.objects.update(text="new")
        if not os.fork():
            has_written.set()
            time.sleep(5)
            os._exit(0)
        time.sleep(PATIENCE)


@contextmanager
def writer(proxy, folder, function=write_and_wait):
    """Yield a process that has written while Redis was cut off; it is killed at the end at the latest."""
    may_write, has_written = processes.context.Event(), processes.context.Event()
    process = processes.start(function, proxy.port, folder, may_write, has_written)
    try:
        proxy.cut()
        may_write.set()
        if function is die_after_the_commit:
            process.join(PATIENCE)
            assert process.exitcode == -signal.SIGKILL
        else:
            assert has_written.wait(PATIENCE)
        yield process
    finally:
        kill(process)


def kill(process):
    process.kill()
    process.join(PATIENCE)
