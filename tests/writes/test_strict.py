"""CACHEOPS_STRICT: a write that cannot be invalidated is rolled back before its commit."""

import threading
from contextlib import ExitStack, contextmanager, suppress

import pytest
import redis
from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection, connections, transaction
from django.test import override_settings

from cacheops_lite import InvalidationError
from cacheops_lite.store import circuit_breaker, invalidation_script, pending_releases
from cacheops_lite.store.client import get_client
from cacheops_lite.writes import unit_of_work_for
from tests.conftest import run_async
from tests.shop.models import Customer, Label, Product, Unwatched
from tests.store.test_fences import save, save_in_a_block
from tests.support import servers
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])
# A shorter limit fails on a machine that stalls.
LIMITS = {"socket_connect_timeout": 1, "socket_timeout": 1, "retry": None}
PATIENCE = 20


@pytest.fixture(params=[False, True], ids=["raise", "degrade"])
def server(request, monkeypatch):
    """Start a Redis server, which the cache uses; with and without CACHEOPS_DEGRADE_ON_FAILURE."""
    monkeypatch.setattr(circuit_breaker, "FIRST_PAUSE_SECONDS", 1e-9)
    monkeypatch.setattr(circuit_breaker, "MAX_PAUSE_SECONDS", 1e-9)
    overrides = {"CACHEOPS_CLIENT_CLASS": None, "CACHEOPS_STRICT": True, "CACHEOPS_DEGRADE_ON_FAILURE": request.param}
    with servers.running() as server, override_settings(CACHEOPS_REDIS={"port": server.port, **LIMITS}, **overrides):
        yield server


@pytest.fixture
def label(server):
    with override_settings(CACHEOPS_STRICT=False):
        label = Label.objects.create(text="old")
        label.product = Product.objects.create(sku="pen", name="pen")
    texts(), texts()
    return label


def texts():
    return sorted(Label.objects.values_list("text", flat=True))


def committed():
    """What the database has, read past the cache."""
    found = sorted(Label.objects.nocache().values_list("text", flat=True))
    links = Product.labels.through.objects.nocache().count()
    return found, links, Customer.objects.nocache().count()


UNCHANGED = (["old"], 0, 0)


def save_in_nested_blocks(label):
    with transaction.atomic(), transaction.atomic(), suppress(InvalidationError), transaction.atomic():
        save(label)


def save_in_a_durable_block(label):
    with transaction.atomic(durable=True):
        save(label)


def save_two_tables(label):
    """Django itself opens a transaction for a model with a parent."""
    Customer.objects.create()


def raw_update(label):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_label SET text = 'new' WHERE id = %s", [label.pk])


def raw_update_with_a_query(label):
    if connection.vendor == "mysql" and connection.mysql_is_mariadb:
        pytest.skip("MariaDB has no WITH before UPDATE in all versions")
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH found AS (SELECT id FROM shop_label) "
            "UPDATE shop_label SET text = 'new' WHERE id IN (SELECT id FROM found)"
        )


def executemany(label):
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO shop_label (text) VALUES (%s)", [["one"], ["two"]])


def save_without_autocommit(label):
    transaction.set_autocommit(False)
    try:
        save(label)
        transaction.commit()
    finally:
        transaction.set_autocommit(True)


def turn_autocommit_on(label):
    if connection.vendor == "postgresql":
        pytest.skip("PostgreSQL refuses to change autocommit within a transaction")
    transaction.set_autocommit(False)
    try:
        save(label)
    finally:
        try:
            transaction.set_autocommit(True)
        except InvalidationError:
            transaction.set_autocommit(True)
            raise


def commit_by_statement(label):
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE shop_label SET text = 'new'")
        cursor.execute("COMMIT")


async def _save_in_a_coroutine(label):
    label.text = "new"
    await label.asave()


def save_in_a_coroutine(label):
    run_async(_save_in_a_coroutine(label))


def block_in_a_coroutine(label):
    run_async(sync_to_async(save_in_a_block)(label))


WRITES = {
    "save": save,
    "save in a block": save_in_a_block,
    "save in nested blocks": save_in_nested_blocks,
    "save in a durable block": save_in_a_durable_block,
    "save of two tables": save_two_tables,
    "create": lambda label: Label.objects.create(text="new"),
    "get_or_create": lambda label: Label.objects.get_or_create(text="new"),
    "update_or_create": lambda label: Label.objects.update_or_create(pk=label.pk, defaults={"text": "new"}),
    "bulk_create": lambda label: Label.objects.bulk_create([Label(text="new")]),
    "bulk_update": lambda label: (setattr(label, "text", "new"), Label.objects.bulk_update([label], ["text"])),
    "update": lambda label: Label.objects.update(text="new"),
    "invalidated_update": lambda label: Label.objects.invalidated_update(text="new"),
    "delete": lambda label: label.delete(),
    "delete all": lambda label: Label.objects.all().delete(),
    "links": lambda label: label.product.labels.add(label),
    "raw update": raw_update,
    "raw update with a query": raw_update_with_a_query,
    "executemany": executemany,
    "without autocommit": save_without_autocommit,
    "autocommit on": turn_autocommit_on,
    "COMMIT": commit_by_statement,
    "coroutine": save_in_a_coroutine,
    "block in a coroutine": block_in_a_coroutine,
}


@contextmanager
def away(server):
    with override_settings(CACHEOPS_REDIS={"port": servers.free_port(), **LIMITS}):
        yield


@contextmanager
def hanging(server):
    """Commands are accepted, and answered when the process goes on."""
    hanging = threading.Event(), threading.Event()

    def hang():
        server.process.send_signal(servers.signal.SIGSTOP)
        hanging[0].set()
        hanging[1].wait(PATIENCE)
        server.process.send_signal(servers.signal.SIGCONT)

    thread = threading.Thread(target=hang)
    thread.start()
    hanging[0].wait(PATIENCE)
    try:
        yield
    finally:
        hanging[1].set()
        thread.join()


@contextmanager
def refusing_writes(server):
    server.client().config_set("min-replicas-to-write", 1)
    try:
        yield
    finally:
        server.client().config_set("min-replicas-to-write", 0)


@contextmanager
def forbidding_fences(server):
    server.client().acl_setuser("default", enabled=True, nopass=True, commands=["+@all", "-zadd"], keys=["*"])
    try:
        yield
    finally:
        server.client().acl_setuser("default", enabled=True, nopass=True, commands=["+@all"], keys=["*"])


@contextmanager
def losing_replies(server):
    """The fence is placed, but the writer does not learn of it."""
    run = invalidation_script.run_script

    def run_and_lose(*args):
        run(*args)
        raise redis.ConnectionError("the reply is lost")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(invalidation_script, "run_script", run_and_lose)
        yield


FAULTS = [away, hanging, refusing_writes, forbidding_fences, losing_replies]


def fences():
    return get_client().keys("*cacheops:f:*")


@pytest.mark.parametrize("write", WRITES)
def test_no_write_is_committed_whose_results_cannot_be_invalidated(server, label, write):
    """It is rolled back with an InvalidationError, and the connection is usable."""
    with away(server):
        with pytest.raises(InvalidationError):
            WRITES[write](label)
        assert committed() == UNCHANGED
        assert connection.get_autocommit()
        assert not connection.in_atomic_block
    # The values that a failed save leaves in the instance are the application's.
    label = Label.objects.nocache().get()
    label.product = Product.objects.nocache().get()
    WRITES[write](label)
    assert committed() != UNCHANGED
    assert texts() == committed()[0]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_each_failure_of_redis_rolls_the_write_back_and_leaves_no_fence(server, label, fault, is_hit):
    """If the reply was lost, the fence may be there; it is released in the background."""
    with fault(server):
        with pytest.raises(InvalidationError) as raised:
            save(label)
        assert isinstance(raised.value.__cause__, redis.RedisError)
        assert committed() == UNCHANGED
    assert wait_until(lambda: not fences() and not pending_releases._pending)
    assert texts() == ["old"]
    assert wait_until(lambda: is_hit(texts))
    save(label)
    assert texts() == ["new"]


def test_the_message_names_server_setting_and_remedy(server, label):
    with away(server), pytest.raises(InvalidationError) as raised:
        save(label)
    message = str(raised.value)
    for part in ("localhost:", "CACHEOPS_REDIS", "CACHEOPS_STRICT", "shop_label", "rolled back", "doctor"):
        assert part in message
    assert isinstance(raised.value, DatabaseError)


def test_callbacks_of_a_refused_commit_are_not_called(server, label):
    called = []
    with away(server), pytest.raises(InvalidationError), transaction.atomic():
        save(label)
        transaction.on_commit(lambda: called.append("on_commit"))
    assert called == []
    with transaction.atomic():
        transaction.on_commit(lambda: called.append("next"))
    assert called == ["next"]
    assert not unit_of_work_for("default").is_dirty


def test_a_rolled_back_transaction_raises_nothing(server, label):
    """It changes nothing, so there is nothing to invalidate."""
    with away(server):
        with transaction.atomic():
            save(label)
            transaction.set_rollback(True)
        transaction.set_autocommit(False)
        try:
            save(label)
            transaction.rollback()
        finally:
            transaction.set_autocommit(True)
        with connection.cursor() as cursor:
            for sql in ("BEGIN", "UPDATE shop_label SET text = 'new'", "ROLLBACK"):
                cursor.execute(sql)
        transaction.set_autocommit(False)
        save(label)
        connection.close()
    assert committed() == UNCHANGED


def test_a_rollback_to_a_savepoint_leaves_nothing_to_invalidate(server, label):
    with away(server), transaction.atomic():
        with suppress(ZeroDivisionError), transaction.atomic():
            save(label)
            raise ZeroDivisionError
        Unwatched.objects.create(name="kept")
    assert Unwatched.objects.count() == 1


def test_writes_that_no_profile_concerns_do_not_depend_on_redis(server, label, monkeypatch):
    """Neither do reads that lock rows."""
    monkeypatch.setattr(get_client(), "execute_command", lambda *args, **options: pytest.fail("a command was sent"))
    Unwatched.objects.create(name="a")
    with transaction.atomic():
        Unwatched.objects.update(name="b")
        list(Label.objects.nocache().select_for_update())
    Unwatched.objects.bulk_create([Unwatched(name="c")])
    Unwatched.objects.all().delete()


def test_a_refused_commit_concerns_its_own_database_only(server, label):
    """What another database has committed before stays, and is invalidated."""
    Label.objects.using("other").create(text="old")
    with ExitStack() as outage:
        with pytest.raises(InvalidationError), transaction.atomic("default"):
            save(label)
            with transaction.atomic("other"):
                Label.objects.using("other").update(text="new")
            outage.enter_context(away(server))
        with pytest.raises(InvalidationError), transaction.atomic("other"):
            Label.objects.using("other").update(text="newer")
        assert [label.text for label in Label.objects.using("other").nocache()] == ["new"]
    assert [label.text for label in Label.objects.using("other")] == ["new"]
    assert committed() == UNCHANGED
    connections["other"].close()


def test_an_implicit_commit_before_a_refused_one_is_still_invalidated(server, label):
    """What a script has committed within a block cannot be rolled back: it is delivered when Redis is back."""
    if connection.vendor != "sqlite":
        pytest.skip("executescript() is SQLite's")
    with away(server), suppress(DatabaseError), transaction.atomic():
        save(label)
        connection.cursor().executescript("UPDATE shop_product SET name = 'quill'")
    assert texts() == committed()[0]


def test_without_the_setting_the_write_is_committed(server, label):
    with override_settings(CACHEOPS_STRICT=False), away(server):
        save(label)
        assert committed()[0] == ["new"]
