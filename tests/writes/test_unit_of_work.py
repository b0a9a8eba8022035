"""Transactions: invalidation comes with the commit, and nobody sees what is not committed."""

import gc
import threading
import weakref
from contextlib import nullcontext, suppress

import pytest
from django.db import DatabaseError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from cacheops_lite.writes.commit_callbacks import live_callbacks
from cacheops_lite.writes.unit_of_work import unit_of_work_for
from tests.conftest import in_thread
from tests.shop.models import Label, Product

pytestmark = pytest.mark.django_db(transaction=True)


class Undo(Exception):
    pass


@pytest.fixture(autouse=True)
def label(store):
    return Label.objects.create(text="old")


def texts():
    return sorted(Label.objects.values_list("text", flat=True))


def rename(label, text):
    label.text = text
    label.save()


def test_others_see_the_old_state_until_the_commit(label):
    """And the new one right after."""
    assert texts() == ["old"]
    with transaction.atomic():
        rename(label, "new")
        assert texts() == ["new"]
        if connection.vendor != "sqlite":
            assert in_thread(texts) == ["old"]
    assert texts() == in_thread(texts) == ["new"]


def test_a_rollback_leaves_the_cache_as_it_was(label, is_hit):
    """Nothing was changed, so nothing falls."""
    texts()
    with pytest.raises(Undo), transaction.atomic():
        rename(label, "new")
        assert texts() == ["new"]
        raise Undo
    assert is_hit(texts)
    assert texts() == ["old"]


@pytest.fixture
def keep_alive():
    """Return a function that keeps alive what waits for the commit, as the traceback of an error does."""
    kept = []
    yield lambda: kept.extend(live_callbacks(unit_of_work_for("default")._callbacks)) or kept
    kept.clear()


@pytest.mark.parametrize("is_closed", [False, True], ids=["rolled back", "closed"])
def test_what_an_error_keeps_alive_after_a_rollback_does_not_keep_reads_from_the_cache(
    label, is_hit, keep_alive, is_closed
):
    texts()
    with pytest.raises(Undo), transaction.atomic():
        rename(label, "new")
        assert keep_alive()
        if is_closed:
            connection.close()
        raise Undo
    assert is_hit(texts)


def test_what_an_error_keeps_alive_after_a_rollback_to_a_savepoint_does_not_either(label, reads, keep_alive):
    texts()
    with transaction.atomic():
        with pytest.raises(Undo), transaction.atomic():
            rename(label, "new")
            assert keep_alive()
            raise Undo
        assert texts() == ["old"]
        assert reads.hits == 1


def test_a_write_is_not_left_to_what_an_error_keeps_alive_of_an_earlier_transaction(label, keep_alive):
    """The error may be forgotten before the commit, and its traceback with it."""
    texts()
    with pytest.raises(Undo), transaction.atomic():
        rename(label, "new")
        kept = keep_alive()
        raise Undo
    assert texts() == ["old"]
    with transaction.atomic():
        rename(label, "newer")
        kept.clear()
    assert texts() == ["newer"]


def test_a_rollback_to_a_savepoint_undoes_its_part_only(is_hit):
    """What was written before and after it counts."""
    one, other = (Product.objects.create(sku=sku, name="x") for sku in "ab")
    by_views = [lambda views=views: Product.objects.filter(views=views).count() for views in (1, 2, 3)]
    for read in by_views:
        read()
    with transaction.atomic():
        one.views = 1
        one.save()
        with pytest.raises(Undo), transaction.atomic():
            other.views = 2
            other.save()
            raise Undo
        with transaction.atomic():
            Product.objects.create(sku="c", name="x", views=3)
    assert [is_hit(read) for read in by_views] == [False, True, False]
    assert [read() for read in by_views] == [1, 0, 1]


def test_a_dirty_transaction_neither_reads_nor_fills(label, reads):
    """Its own state is nobody else's."""
    with transaction.atomic():
        rename(label, "new")
        texts()
        Label.objects.count()
        assert (reads.hits, reads.misses) == (0, 0)


def test_a_transaction_that_is_clean_again_may_read(label, reads):
    """After a rollback to a savepoint nothing is written."""
    texts()
    with transaction.atomic():
        with pytest.raises(Undo), transaction.atomic():
            rename(label, "new")
            raise Undo
        assert texts() == ["old"]
        assert reads.hits == 1


def test_raw_sql_makes_a_transaction_dirty(label, reads):
    """Whatever may write does."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("UPDATE shop_label SET text = 'raw'")
        assert texts() == ["raw"]
        assert (reads.hits, reads.misses) == (0, 0)
        transaction.set_rollback(True)


def test_a_clean_transaction_reads_and_fills_only_from_fresh_snapshots(reads):
    """On SQLite an atomic block pins what it sees: then nothing is kept."""
    with transaction.atomic():
        texts()
    assert reads.misses == 1
    texts()
    assert reads.hits == (0 if connection.vendor == "sqlite" else 1)


def test_a_statement_that_pins_a_snapshot_stops_filling(reads):
    """REPEATABLE READ may see what was before the versions."""
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL's way of asking for it")
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        texts()
    texts()
    assert reads.hits == 0
    connection.close()


def test_our_callback_comes_first_and_survives_others_that_raise(label):
    """A user's on_commit callback may read what was committed, or fail."""
    seen = []

    def read():
        seen.append(texts())
        raise Undo

    texts()
    with pytest.raises(Undo), transaction.atomic():
        transaction.on_commit(read)
        rename(label, "new")
    assert seen == [["new"]]
    assert texts() == ["new"]


def test_manual_transaction_management_reads_past_the_cache(label, reads):
    """Nobody tells us when it commits."""
    transaction.set_autocommit(False)
    try:
        rename(label, "new")
        assert texts() == ["new"]
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert (reads.hits, reads.misses) == (0, 0)
    assert texts() == ["new"]


def test_recorders_hold_nothing_after_their_transaction(label):
    """Whichever way it ended."""
    for end in (None, Undo):
        try:
            with transaction.atomic():
                rename(label, "x")
                if end:
                    raise end
        except Undo:
            pass
        assert not unit_of_work_for("default").is_dirty


@pytest.mark.parametrize("end", ["commit", "COMMIT", "set_autocommit", "close"])
def test_what_others_read_before_a_manual_commit_falls_with_it(label, end):
    """They cached what was true until then."""
    if connection.vendor == "sqlite" or (end.lower() != "commit" and connection.vendor != "mysql"):
        pytest.skip("this database refuses it, or has its readers wait")
    transaction.set_autocommit(False)
    try:
        rename(label, "new")
        assert in_thread(texts) == in_thread(texts) == ["old"]
        if end == "commit":
            transaction.commit()
        elif end == "COMMIT":
            commit_by("COMMIT")
        elif end == "set_autocommit":
            transaction.set_autocommit(True)
        else:
            connection.commit()
            connection.close()
        assert in_thread(texts) == ["new"]
    finally:
        transaction.set_autocommit(True)


COMMITS = {
    "COMMIT": None,
    "a comment and COMMIT": None,
    "BEGIN": "mysql",
    "TRUNCATE": "mysql",
    "TRUNCATE that fails": "mysql",
    "DDL": "mysql",
    "a procedure": "mysql",
    "callproc": "mysql",
    "executescript": "sqlite",
}


def commit_by(way):
    """Have the database commit, of which Django does not know."""
    statements = {
        "COMMIT": "COMMIT",
        "a comment and COMMIT": "/* now */ commit",
        "BEGIN": "BEGIN",
        "TRUNCATE": "TRUNCATE TABLE shop_membership",
        "TRUNCATE that fails": "TRUNCATE TABLE shop_category",
        "DDL": "CREATE OR REPLACE TABLE of_nobody (a int)",
        "a procedure": "CALL committing()",
    }
    with connection.cursor() as cursor:
        if way == "callproc":
            cursor.callproc("committing")
        elif way == "executescript":
            cursor.executescript("SELECT 1")
        else:
            cursor.execute(statements[way])


@pytest.fixture
def committing():
    """A procedure that commits."""
    if connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute("CREATE OR REPLACE PROCEDURE committing() COMMIT")
    yield
    if connection.vendor == "mysql":
        with connection.cursor() as cursor:
            cursor.execute("DROP PROCEDURE committing")
            cursor.execute("DROP TABLE IF EXISTS of_nobody")


@pytest.mark.parametrize("way", COMMITS)
def test_what_a_statement_committed_falls_though_its_block_is_undone(label, committing, way):
    """Django can't take it back any more; MariaDB commits before whatever changes a table's definition."""
    if COMMITS[way] not in (None, connection.vendor):
        pytest.skip(f"it does not commit on {connection.vendor}")
    assert texts() == ["old"]
    with suppress(Undo, DatabaseError), transaction.atomic():
        rename(label, "new")
        commit_by(way)
        raise Undo
    assert texts() == in_thread(texts) == ["new"]


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("way", COMMITS)
def test_what_is_written_after_a_commit_by_a_statement_is_seen(label, committing, way, inner):
    """It may be in another transaction, or on SQLite in none."""
    if COMMITS[way] not in (None, connection.vendor):
        pytest.skip(f"it does not commit on {connection.vendor}")
    assert texts() == ["old"]
    with suppress(Undo, DatabaseError), transaction.atomic():
        commit_by(way)
        assert texts() == ["old"]
        with transaction.atomic() if inner else nullcontext():
            rename(label, "new")
            assert texts() == ["new"]
        raise Undo
    true = list(Label.objects.nocache().values_list("text", flat=True))
    assert texts() == in_thread(texts) == true


def test_a_commit_by_a_statement_concerns_its_own_block_only(label, is_hit):
    """What a later block undoes drops nothing."""
    with suppress(DatabaseError), transaction.atomic():
        commit_by("COMMIT")
    texts()
    with suppress(Undo), transaction.atomic():
        rename(label, "new")
        raise Undo
    assert is_hit(texts)


def test_a_server_that_pins_snapshots_by_default_stops_filling(label, reads):
    """PostgreSQL's own default counts, not only what Django's OPTIONS say; asking it is no query of the project's."""
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL's")
    user = connection.settings_dict["USER"]
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER ROLE \"{user}\" SET default_transaction_isolation = 'repeatable read'")
    connection.close()
    try:
        with CaptureQueriesContext(connection) as queries, transaction.atomic():
            texts()
            texts()
        assert reads.hits == 0
        assert len([query for query in queries if "SELECT" in query["sql"]]) == 2
        assert not [query for query in queries if "SHOW" in query["sql"]]
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f'ALTER ROLE "{user}" RESET default_transaction_isolation')
        connection.close()
    with transaction.atomic():
        texts()
        texts()
    assert reads.hits == 1


def test_connections_of_threads_are_closed_with_them():
    """Neither what follows their commits keeps them alive, nor what was composed for their looks and gets."""
    references = []
    Label.objects.get_or_create(text="of a thread")

    def use():
        texts()
        label = Label.objects.get(text="of a thread")
        assert Label.objects.get(pk=label.pk) == label
        label.save()
        references.append(weakref.ref(connections["default"]))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    gc.collect()
    assert references[0]() is None
