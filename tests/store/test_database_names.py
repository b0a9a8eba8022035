"""Results of different databases never meet, whatever their names are and whichever processes share the Redis."""

import os
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.test import override_settings

from cacheops_lite.observe import Reason
from cacheops_lite.store import database_comparison, database_names, database_notes
from tests.conftest import in_thread
from tests.support import servers, services
from tests.support.site import Site

pytestmark = pytest.mark.redis
MEMORY = "file:somewhere?mode=memory&cache=shared"


@pytest.fixture
def site(server):
    """Start sites on one Redis."""
    started = []

    def start(databases, **settings):
        started.append(Site(databases, CACHEOPS_REDIS=server.url, **settings))
        return started[-1]

    yield start
    for each in started:
        each.end()


def sqlite(path, **more):
    return {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path), **more}}


@pytest.fixture
def live(site, tmp_path):
    """A site with a group, whose names are in the cache."""
    live = site(sqlite(tmp_path / "live.sqlite3"))
    live.migrate()
    live.create("editors")
    live.simple()
    assert live.names() == [["editors"], False]
    assert live.names() == [["editors"], True]
    return live


def test_a_copy_of_the_database_at_another_path_has_results_of_its_own(live, site, tmp_path):
    """Neither site reads what the other one cached, and neither takes anything away from the other."""
    shutil.copy(tmp_path / "live.sqlite3", tmp_path / "copy.sqlite3")
    copy = site(sqlite(tmp_path / "copy.sqlite3"))
    copy.rename("editors", "copied")
    assert copy.names() == [["copied"], False]
    assert copy.names() == [["copied"], True]
    assert copy.simple() == ["copied"]
    copy.clear()
    assert live.names() == [["editors"], True]
    live.rename("editors", "authors")
    assert live.names() == [["authors"], False]
    assert live.simple() == ["editors"]


def test_databases_in_memory_never_share_results(site):
    """Each process has its own, and all have the same name."""
    first, second = (site(sqlite(MEMORY)) for _ in range(2))
    for each, name in ((first, "one"), (second, "two")):
        each.migrate()
        each.create(name)
        assert each.names() == [[name], False]
        assert each.names() == [[name], True]


def test_a_database_created_anew_under_the_same_name_begins_without_results(live, site, tmp_path):
    """The file is emptied in place, so it has the same inode: a new file may have that of the one before, too."""
    live.end()
    (tmp_path / "live.sqlite3").write_bytes(b"")
    again = site(sqlite(tmp_path / "live.sqlite3"))
    again.migrate()
    assert again.names() == [[], False]
    assert again.simple() == []
    again.create("new")
    assert again.names() == [["new"], False]
    assert again.names() == [["new"], True]


def test_a_replaced_file_begins_without_results(live, site, tmp_path):
    """A backup is moved to the place of the database while the site is down."""
    shutil.copy(tmp_path / "live.sqlite3", tmp_path / "backup.sqlite3")
    live.end()
    with sqlite3.connect(tmp_path / "backup.sqlite3") as backup:
        backup.execute("UPDATE auth_group SET name = 'from the backup'")
    backup.close()
    os.replace(tmp_path / "backup.sqlite3", tmp_path / "live.sqlite3")
    again = site(sqlite(tmp_path / "live.sqlite3"))
    assert again.names() == [["from the backup"], False]
    assert again.names() == [["from the backup"], True]
    assert again.simple() == ["from the backup"]


def test_one_database_under_two_names_is_never_read_stale(live, site, tmp_path):
    """The second process reads past the cache and says why; its writes invalidate what the first one has cached."""
    os.link(tmp_path / "live.sqlite3", tmp_path / "link.sqlite3")
    second = site(sqlite(tmp_path / "link.sqlite3"))
    second.rename("editors", "authors")
    assert second.names() == [["authors"], False]
    assert second.names() == [["authors"], False]
    reason, text = second.reason()
    assert reason == "other-name"
    assert "live.sqlite3-" in text
    assert "CACHEOPS_DATABASE_NAMES" in text
    assert live.names() == [["authors"], False]
    live.rename("authors", "writers")
    assert second.names() == [["writers"], False]


def test_a_process_that_only_wrote_learns_of_a_name_that_took_over(live, site, tmp_path, server):
    """It neither reads nor connects again for an hour, so that its name counts as unused."""
    os.link(tmp_path / "live.sqlite3", tmp_path / "link.sqlite3")
    for note in server.client().scan_iter("*cacheops:b:*"):
        *words, used_at = server.client().get(note).decode().split("\n")
        unused = float(used_at) - database_notes.UNUSED_SECONDS
        server.client().set(note, "\n".join([*words, str(unused)]))
    second = site(sqlite(tmp_path / "link.sqlite3"))
    assert [second.names() for _ in range(2)] == [[["editors"], False], [["editors"], True]]
    live.let_comparisons_expire()
    live.rename("editors", "authors")
    assert second.names() == [["authors"], False]


def test_a_name_that_the_project_gives_is_used_as_it_is(live, site, tmp_path, server):
    """Sites that name one database alike share its results, whatever its names are."""
    os.link(tmp_path / "live.sqlite3", tmp_path / "link.sqlite3")
    names = {"CACHEOPS_DATABASE_NAMES": {"default": "shop"}}
    first, second = site(sqlite(tmp_path / "live.sqlite3"), **names), site(sqlite(tmp_path / "link.sqlite3"), **names)
    assert first.names() == [["editors"], False]
    assert second.names() == [["editors"], True]
    second.rename("editors", "authors")
    assert first.names() == [["authors"], False]
    assert any(key.startswith(b"shop:cacheops:v:") for key in server.client().scan_iter())


def test_a_name_that_has_not_been_used_for_an_hour_belongs_to_the_next_database(live, site, tmp_path, server):
    """Before that, a process that finds it taken does not use the simple cache, which knows no database."""
    live.end()
    note = one_note(server, b"live.sqlite3-")
    text, _, where, used_at = server.client().get(note).decode().split("\n")
    server.client().set(note, "\n".join(["other", "elsewhere", where, used_at]))
    again = site(sqlite(tmp_path / "live.sqlite3"))
    again.rename("editors", "authors")
    assert [again.names() for _ in range(2)] == [[["authors"], False], [["authors"], True]]
    assert again.simple() == ["authors"]
    again.rename("authors", "writers")
    assert again.simple() == ["writers"]
    again.end()
    used_at = float(used_at) - database_notes.UNUSED_SECONDS
    server.client().set(note, "\n".join(["other", "elsewhere", where, str(used_at)]))
    third = site(sqlite(tmp_path / "live.sqlite3"))
    assert third.names() == [["writers"], False]
    assert third.names() == [["writers"], True]
    assert [third.simple() for _ in range(2)] == [["writers"]] * 2
    third.rename("writers", "poets")
    assert third.simple() == ["writers"]
    assert server.client().get(note).decode().startswith(text)


def one_note(server, start):
    found = server.client().scan_iter("*cacheops:b:*")
    # A slow site has checked its server meanwhile.
    (note,) = [key for key in found if key.startswith(start) and not key.endswith(b":clock")]
    return note


@pytest.mark.parametrize("planted", [b"", b"\xff", b"one line", b"a\nb\nc\nnever"])
def test_a_note_that_cannot_be_read_counts_as_none(live, site, tmp_path, server, planted):
    live.end()
    server.client().set(one_note(server, b"live.sqlite3-"), planted)
    again = site(sqlite(tmp_path / "live.sqlite3"))
    assert again.names() == [["editors"], True]
    again.rename("editors", "authors")
    assert again.names() == [["authors"], False]


def test_comparing_sends_no_query_that_the_application_sees(site, tmp_path, live):
    """The first read of a process connects to the database, and is a hit without a query."""
    again = site(sqlite(tmp_path / "live.sqlite3"))
    assert again.queries_of_first_read() == 0


def test_a_replica_shares_the_results_of_its_primary(site, tmp_path):
    """``TEST["MIRROR"]`` says that it is one, whatever its own name is."""
    primary = sqlite(tmp_path / "live.sqlite3")
    replica = {**primary["default"], "NAME": str(tmp_path / "link.sqlite3"), "TEST": {"MIRROR": "default"}}
    both = site({**primary, "replica": replica})
    both.migrate()
    both.create("editors")
    os.link(tmp_path / "live.sqlite3", tmp_path / "link.sqlite3")
    assert both.names() == [["editors"], False]
    assert both.names("replica") == [["editors"], True]
    both.rename("editors", "authors")
    assert both.names("replica") == [["authors"], False]
    assert both.names() == [["authors"], True]


def test_databases_of_one_project_with_different_names_are_told_apart(site, tmp_path):
    both = site({**sqlite(tmp_path / "one.sqlite3"), "two": sqlite(tmp_path / "two.sqlite3")["default"]})
    both.migrate()
    with sqlite3.connect(tmp_path / "one.sqlite3") as source, sqlite3.connect(tmp_path / "two.sqlite3") as target:
        source.backup(target)
        target.execute("INSERT INTO auth_group (name) VALUES ('second')")
    source.close()
    target.close()
    both.create("first")
    for _ in range(2):
        assert both.names()[0] == ["first"]
        assert both.names("two")[0] == ["second"]
    assert both.names()[1]
    assert both.names("two")[1]


@pytest.mark.postgresql
class TestPostgreSQL:
    """The database of a staging site has the name of the live one, on another server."""

    @pytest.fixture
    def live(self, site):
        settings = services.database_settings("postgresql")
        self.name = f"{settings['TEST']['NAME']}_names"
        drop_and_create(settings, self.name)
        live = site({"default": {**settings, "NAME": self.name}})
        live.migrate()
        live.create("live")
        live.simple()
        for hit in (False, True):
            assert live.names() == [["live"], hit]
        yield live
        live.disconnect()
        drop(settings, self.name)

    def test_a_staging_site_has_results_of_its_own(self, live, site):
        """Its writes invalidate those of the live site as well, unless the databases have names of their own."""
        with servers.postgresql() as settings:
            drop_and_create(settings, self.name)
            staging = site({"default": {**settings, "NAME": self.name}})
            staging.migrate()
            staging.create("staging")
            assert live.names() == [["live"], False]
            assert [staging.names() for _ in range(2)] == [[["staging"], False], [["staging"], True]]
            assert live.names() == [["live"], True]
            assert staging.simple() == ["staging"]
            assert live.simple() == ["live"]
            live.rename("live", "lively")
            assert live.names() == [["lively"], False]
            assert staging.names() == [["staging"], False]
            named = site({"default": {**settings, "NAME": self.name}}, CACHEOPS_DATABASE_NAMES={"default": "staging"})
            assert [named.names() for _ in range(2)] == [[["staging"], False], [["staging"], True]]
            named.rename("staging", "staged")
            assert named.names() == [["staged"], False]
            assert live.names() == [["lively"], True]
            for each in (staging, named):
                each.disconnect()

    def test_a_database_created_anew_begins_without_results(self, live, site):
        live.disconnect()
        settings = services.database_settings("postgresql")
        drop_and_create(settings, self.name)
        again = site({"default": {**settings, "NAME": self.name}})
        again.migrate()
        again.create("new")
        assert again.names() == [["new"], False]
        assert again.names() == [["new"], True]
        assert again.simple() == ["new"]
        again.disconnect()


def drop_and_create(settings, name):
    drop(settings, name)
    execute(settings, f'CREATE DATABASE "{name}"')


def drop(settings, name):
    execute(settings, f'DROP DATABASE IF EXISTS "{name}"')


def execute(settings, sql):
    import psycopg

    options = {"host": settings["HOST"], "port": settings["PORT"], "user": settings["USER"]}
    with psycopg.connect(dbname="postgres", password=settings["PASSWORD"], autocommit=True, **options) as connection:
        connection.execute(sql)


@pytest.fixture
def named(monkeypatch):
    """Return the name in keys of a database with given settings."""

    def name_of(engine="postgresql", declared=None, **settings):
        others = {"TEST": {}, "OPTIONS": {}, "HOST": "", "PORT": ""}
        entry = {"ENGINE": f"django.db.backends.{engine}", **others, **settings}
        forget()
        configured = connections.configure_settings({"default": entry})["default"]
        monkeypatch.setitem(connections.settings, "named", configured)
        with override_settings(CACHEOPS_DATABASE_NAMES=declared or {}):
            database_names.remember_configured()
            return database_names.database_name("named")

    def forget():
        with suppress(AttributeError):
            del connections["named"]

    yield name_of
    forget()
    monkeypatch.undo()
    database_names.remember_configured()


def test_a_plain_name_is_used_in_keys(named):
    assert named(NAME="shop") == "shop:"
    assert named("mysql", NAME="shop_2.0") == "shop_2.0:"


def test_other_names_are_shortened_and_stay_distinct(named):
    found = [named(NAME=name) for name in ("x" * 60, "x" * 61, "a b", "ab", "a:b", "é", "\N{SNOWMAN}", "{a}")]
    assert len(set(found)) == len(found)
    assert all(len(name) <= 33 for name in found)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.-:") for name in found)


def test_a_search_path_tells_databases_apart(named):
    found = {named(NAME="shop", OPTIONS={"options": f"-c search_path={path}"}) for path in ("a", "b", "a,b")}
    assert len(found | {named(NAME="shop")}) == 4


def test_a_path_and_its_other_spellings_have_one_name(named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    path = tmp_path / "db.sqlite3"
    path.touch()
    (tmp_path / "link.sqlite3").symlink_to(path)
    spellings = [path, str(path), "db.sqlite3", "folder/../db.sqlite3", f"file:{path}?mode=ro", "link.sqlite3"]
    assert len({named("sqlite3", NAME=name) for name in spellings}) == 1
    assert named("sqlite3", NAME=Path("other.sqlite3")) != named("sqlite3", NAME=path)


def test_a_database_without_a_name_has_none_in_keys(named):
    """PostgreSQL's driver may find it in a service file."""
    assert named(NAME="") == ""


def test_a_declared_name_is_not_that_of_the_test_database(named):
    """Tests run under the same settings."""
    assert named(NAME="shop", declared={"named": "live"}) == "live:"
    with override_settings(CACHEOPS_DATABASE_NAMES={"named": "live"}):
        database_names.remember_configured()
        connections.settings["named"]["NAME"] = "test_shop"
        assert database_names.database_name("named") == "live.test_shop:"


@pytest.mark.parametrize("value", [["x"], "shop", {"default": 1}, {"default": "a:b"}, {"default": "a b"}, {1: "a"}])
def test_invalid_names_are_refused(value):
    """The error names the setting."""
    refused = pytest.raises(ImproperlyConfigured, match="CACHEOPS_DATABASE_NAMES")
    with override_settings(CACHEOPS_DATABASE_NAMES=value), refused:
        database_names.database_name("default")
    database_names.remember_configured()


@pytest.mark.django_db(transaction=True)
class TestRedisAway:
    """Comparing needs Redis, and fails like the read that it is for."""

    @pytest.fixture(autouse=True)
    def names(self):
        with override_settings(CACHEOPS_DATABASE_NAMES={}):
            database_comparison.forget()
            yield
        database_comparison.forget()
        database_names.remember_configured()

    def test_the_error_surfaces(self):
        from tests.shop.models import Label

        with servers.running() as server, override_settings(CACHEOPS_REDIS=server.url, CACHEOPS_CLIENT_CLASS=None):
            server.stop()
            with pytest.raises(redis.ConnectionError):
                list(Label.objects.all())

    def test_reads_that_degrade_come_from_the_database(self):
        from tests.shop.models import Label

        settings = {"CACHEOPS_CLIENT_CLASS": None, "CACHEOPS_DEGRADE_ON_FAILURE": True}
        with servers.running() as server, override_settings(CACHEOPS_REDIS=server.url, **settings):
            server.stop()
            assert list(Label.objects.all()) == []
            assert Label.objects.explain_cache().reason is Reason.REDIS_AWAY


def test_a_database_in_the_memory_of_a_connection_is_that_connection_s_alone(named):
    """Threads have connections of their own.  After a fork there are two databases."""
    assert named("sqlite3", NAME=":memory:") == database_names.database_name("named")
    assert in_thread(lambda: database_names.database_name("named")) != database_names.database_name("named")
    shared = named("sqlite3", NAME=MEMORY)
    assert in_thread(lambda: database_names.database_name("named")) == shared
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.write(writing, database_names.database_name("named").encode())
        os._exit(0)
    assert os.read(reading, 100).decode() != shared


def test_the_name_of_the_default_database_comes_first(monkeypatch):
    """Whichever alias ``DATABASES`` has first; each name is there once."""
    aliases = dict(sorted(connections.settings.items(), key=lambda item: item[0] == "default"))
    assert next(iter(aliases)) != "default"
    monkeypatch.setitem(connections.__dict__, "settings", aliases)
    with database_names.replaced_names({"default": "a", "other": "b", "replica": "b"}):
        assert database_names.database_names() == ["a:", "b:"]
