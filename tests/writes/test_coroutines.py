"""Coroutines of one thread do not share no_invalidation() or the effects of their writes."""

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.db import connections, transaction

from cacheops_lite import no_invalidation
from tests.conftest import counted_reads, run_async
from tests.shop.models import Label

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def label(store):
    return Label.objects.create(text="old")


def texts():
    return sorted(Label.objects.values_list("text", flat=True))


async def atexts():
    return sorted([text async for text in Label.objects.values_list("text", flat=True)])


async def rename(old, new):
    await Label.objects.filter(text=old).aupdate(text=new)


def in_own_thread(function):
    """Run the function in its own thread and close the connections of that thread."""

    def run():
        try:
            return function()
        finally:
            connections.close_all()

    return sync_to_async(run, thread_sensitive=False)()


def test_no_invalidation_in_one_coroutine_does_not_affect_another():
    """While one coroutine is inside ``no_invalidation``, a write of another coroutine invalidates."""

    async def silent(within, done):
        with no_invalidation:
            within.set()
            await done.wait()
            await Label.objects.acreate(text="silent")

    async def loud(within, done):
        await within.wait()
        await rename("old", "new")
        seen.append(await atexts())
        done.set()

    async def both():
        await atexts()
        events = asyncio.Event(), asyncio.Event()
        await asyncio.gather(silent(*events), loud(*events))
        seen.append(await atexts())
        await Label.objects.acreate(text="loud")
        seen.append(await atexts())

    seen = []
    run_async(both())
    assert seen == [["new"], ["new"], ["loud", "new", "silent"]]


def test_tasks_created_inside_no_invalidation_inherit_it():
    """A task copies the context in which it is created; tasks created later are not affected."""

    async def both():
        await atexts()
        with no_invalidation:
            await asyncio.create_task(rename("old", "new"))
        silent = await atexts()
        await asyncio.create_task(rename("new", "newer"))
        return silent, await atexts()

    assert run_async(both()) == (["old"], ["newer"])


def test_a_coroutine_does_not_cache_reads_on_a_connection_with_uncommitted_writes():
    """Django has one connection per thread, so a coroutine sees the uncommitted writes of another coroutine."""

    async def writer(written, read):
        block = transaction.atomic()
        await sync_to_async(block.__enter__)()
        await rename("old", "new")
        written.set()
        await read.wait()
        await sync_to_async(transaction.set_rollback)(True)
        await sync_to_async(block.__exit__)(None, None, None)

    async def reader(written, read):
        await written.wait()
        with counted_reads() as counted:
            seen.append(await atexts())
            seen.append(await Label.objects.filter(text="new").acount())
        assert counted.hits + counted.misses == 0
        read.set()

    async def both():
        events = asyncio.Event(), asyncio.Event()
        await asyncio.gather(writer(*events), reader(*events))
        return await atexts(), await Label.objects.filter(text="new").acount()

    seen = []
    assert run_async(both()) == (["old"], 0)
    assert seen == [["new"], 1]


def test_a_transaction_in_another_thread_does_not_cause_bypasses():
    """Reads are hits until the transaction commits, and return the new rows right after."""

    def write(loop, written, go_on):
        with transaction.atomic():
            Label.objects.update(text="new")
            loop.call_soon_threadsafe(written.set)
            assert asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(20)

    async def both():
        await atexts()
        written, go_on = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        writer = asyncio.ensure_future(in_own_thread(lambda: write(loop, written, go_on)))
        await written.wait()
        with counted_reads() as counted:
            before = await atexts()
        go_on.set()
        await writer
        return before, counted.misses, await atexts()

    assert run_async(both()) == (["old"], 0, ["new"])
    assert texts() == ["new"]
