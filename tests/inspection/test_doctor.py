"""`manage.py cacheops doctor` says what is wrong with a server, and changes nothing."""

import io
import json
import re
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis
from django.core.management import CommandError, call_command
from django.test import override_settings

from cacheops_lite import cache
from cacheops_lite.inspection import doctor
from cacheops_lite.inspection.doctor import clients, contents, identity, memory, permissions, session
from cacheops_lite.store import commands, get_client
from tests.support import cluster as clusters
from tests.support import servers, services

pytestmark = pytest.mark.redis

ROOT = Path(__file__).parents[2]


@contextmanager
def examined(*options, **overrides):
    """Start a server and yield it, with a function that returns the findings by id and the whole examination."""
    with servers.running(*options) as server, using(server, **overrides):
        yield server, findings


def using(server, **overrides):
    return override_settings(
        **{"CACHEOPS_REDIS": {"port": server.port, "db": 3}, "CACHEOPS_CLIENT_CLASS": None, **overrides}
    )


def findings(*arguments):
    """Return the findings by id: of several with one id, the most serious."""
    stream = io.StringIO()
    # The exit status has a test of its own.
    with suppress(CommandError):
        call_command("cacheops", "doctor", "--json", *arguments, stdout=stream)
    found = json.loads(stream.getvalue())["findings"]
    found.sort(key=lambda each: doctor.LEVELS.index(each["level"]))
    return {each["id"]: each for each in found}


def levels(found):
    return {id: each["level"] for id, each in found.items()}


def said(finding):
    return f"{finding['found']} {finding['meaning']} {finding['advice']}"


def test_a_server_that_suits_a_cache_has_no_warning():
    """This includes the text for people, and the address without a password."""
    with examined("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as (server, _):
        cache.set("key", 1, 10)
        before = all_keys(server)
        found = findings()
        assert set(levels(found).values()) <= {"ok", "info"}, found
        assert re.search(r"(Redis|Valkey) \d.* is supported", found["server"]["found"])
        assert "1 values of the simple cache" in found["contents"]["found"]
        assert "37 commands" in found["permissions"]["found"]
        stream = io.StringIO()
        call_command("cacheops", "doctor", stdout=stream)
        assert f"at localhost:{server.port}/3 (CACHEOPS_REDIS)" in stream.getvalue()
        assert re.search(r"ok +eviction +maxmemory-policy is allkeys-lru", stream.getvalue())
        assert all_keys(server) == before != []


def all_keys(server):
    """Return the names and values of the keys of the database in use, and those of the others."""
    found = []
    for db in range(16):
        with redis.Redis(port=server.port, db=db) as client:
            found += sorted((db, key, client.dump(key)) for key in client.scan_iter())
    return found


def test_findings_are_drawn_by_rich_on_a_terminal():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    with examined():
        terminal = Terminal()
        call_command("cacheops", "doctor", stdout=terminal)
    assert "┃" in terminal.getvalue()
    assert "eviction" in terminal.getvalue()


def test_the_exit_status_depends_on_the_fail_level():
    """By default only errors count."""
    with examined():
        call_command("cacheops", "doctor", stdout=io.StringIO())
        with pytest.raises(CommandError, match=r"findings need attention: .*eviction.*docs/doctor.rst") as raised:
            call_command("cacheops", "doctor", "--fail-level", "warning", stdout=io.StringIO())
        assert raised.value.returncode == 1


def test_a_full_server_without_eviction():
    with examined("--maxmemory", "100mb", "--maxmemory-policy", "noeviction") as (server, _):
        finding = findings()["eviction"]
        assert finding["level"] == "warning"
        assert "OutOfMemoryError" in finding["meaning"]
        assert "allkeys-lru" in finding["advice"]
        server.client().config_set("maxmemory", server.client().info("memory")["used_memory"] * 9 // 10)
        assert levels(findings())["eviction"] == "error"
        server.client().config_set("maxmemory-policy", "volatile-lru")
        assert levels(findings())["eviction"] == "info"
        server.client().config_set("maxmemory", 0)
        assert "maxmemory is not set" in findings()["eviction"]["found"]


def test_persistence(tmp_path):
    """What is saved is of no use after a restart."""
    with examined("--dir", str(tmp_path)) as (server, _):
        # Servers differ in what they make of this on their command line.
        server.client().config_set("save", "3600 1 300 100")
        finding = findings()["persistence"]
        assert finding["level"] == "info"
        assert "save 3600 1 300 100" in finding["found"]
        assert "count as missing" in finding["meaning"]
        server.client().config_set("appendonly", "yes")
        assert "append-only file is on" in findings()["persistence"]["found"]
        server.client().config_set("appendonly", "no")


def test_a_replica_is_an_error_and_a_master_with_replicas_is_told():
    with servers.running() as master, examined("--replicaof", "127.0.0.1", str(master.port)):
        finding = findings()["replication"]
        assert finding["level"] == "error"
        assert f"replica of 127.0.0.1:{master.port}" in finding["found"]
        wait_for(lambda: master.client().info("replication")["connected_slaves"])
        with using(master):
            assert levels(findings())["replication"] == "info"


def wait_for(condition):
    until = time.monotonic() + 20
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    assert condition()


def test_a_node_of_a_cluster_is_an_error_where_the_settings_name_a_single_server(tmp_path):
    options = ("--cluster-enabled", "yes", "--cluster-config-file", str(tmp_path / "nodes.conf"))
    with servers.running(*options) as server, using(server, CACHEOPS_REDIS={"port": server.port}):
        found = findings()
    assert found["cluster"]["level"] == "error"
    assert "redis+cluster://" in found["cluster"]["advice"]


def test_each_node_of_a_cluster_is_examined():
    """What all nodes have in common is said once; what is wrong with a further node is said of that."""
    with clusters.running() as cluster, override_settings(CACHEOPS_REDIS=cluster.url, CACHEOPS_CLIENT_CLASS=None):
        for node in cluster.nodes:
            node.client().config_set("maxmemory", "1gb")
            node.client().config_set("maxmemory-policy", "allkeys-lru")
        cluster.nodes[2].client().config_set("maxmemory-policy", "noeviction")
        found = doctor.examine().findings
        by_id = {each.id: each for each in found if not each.found.startswith("Node ")}
        assert by_id["cluster"].level == "ok"
        assert "16384 of 16384 slots" in by_id["cluster"].found
        of_nodes = [each for each in found if each.id == "eviction"]
        wrong = [each for each in of_nodes if each.level in ("warning", "error")]
        assert len(wrong) == 1


def allow(server, *rules, keys=("*",)):
    """Make the user ``lean`` and return its settings."""
    admin = server.client()
    admin.acl_setuser("lean", enabled=True, passwords=["+s3cret"], keys=keys, reset_keys=True, commands=rules)
    return {"port": server.port, "username": "lean", "password": "s3cret"}


@pytest.mark.parametrize("can_ask", [True, False], ids=["dry run", "trial"])
def test_missing_commands_are_named(can_ask):
    """They are found by ACL DRYRUN, or else by a trial on a key that is removed; the password is not shown."""
    with examined() as (server, _):
        asking = ["+acl"] if can_ask else ["-acl"]
        with using(server, CACHEOPS_REDIS=allow(server, "+@all", "-evalsha", "-zadd", "-echo", "-exec", *asking)):
            finding = findings()["permissions"]
            assert finding["level"] == "error"
            assert "can't run EVALSHA, ZADD." in finding["found"]
            assert "ACL SETUSER" in finding["advice"]
            assert "+echo +evalsha +exec +zadd" in finding["advice"]
            stream = io.StringIO()
            with pytest.raises(CommandError) as raised:
                call_command("cacheops", "doctor", stdout=stream)
            assert "s3cret" not in stream.getvalue() + str(raised.value)
        with using(server, CACHEOPS_REDIS=allow(server, "+@all", "-echo", *asking)):
            assert levels(findings())["permissions"] == "warning"
        assert server.client().dbsize() == 0


@pytest.mark.parametrize("name", sorted({*commands.REQUIRED, *commands.OPTIONAL}))
def test_a_trial_finds_each_command_that_is_missing(name):
    """No other command is taken for missing, and no key remains."""
    with examined() as (server, _):
        address = allow(server, "+@all", "-acl", f"-{name.lower()}")
        with using(server, CACHEOPS_REDIS=address), session.Session(get_client()) as opened:
            assert permissions._denied_commands(opened) == {name}
        assert server.client().dbsize() == 0


@pytest.mark.parametrize("can_ask", [True, False], ids=["dry run", "trial"])
def test_forbidden_keys_are_named(can_ask):
    """The prefix of the settings counts."""
    with examined() as (server, _):
        rule = "+acl" if can_ask else "-acl"
        address = allow(server, "+@all", rule, keys=("shop:cacheops:v:*", "shop:cacheops:s:*"))
        with using(server, CACHEOPS_REDIS=address, CACHEOPS_PREFIX="shop:"):
            found = findings()
            assert found["keys"]["level"] == "error"
            assert "10 of 12 kinds of keys" in found["keys"]["found"]
            assert "~shop:cacheops:*" in found["keys"]["advice"]
            assert found["permissions"]["level"] == "ok"
        address = allow(server, "+@all", rule, keys=("shop:cacheops:*",))
        with using(server, CACHEOPS_REDIS=address, CACHEOPS_PREFIX="shop:"):
            assert levels(findings())["keys"] == "ok"


def test_a_server_that_refuses_config_and_info_leaves_questions_open():
    """Managed services do.  Nothing fails because of it."""
    with examined("--rename-command", "CONFIG", ""):
        found = findings()
        assert found["persistence"]["level"] == "unknown"
        assert "refuses CONFIG" in found["persistence"]["found"]
        assert "error" not in levels(found).values()
    with examined("--rename-command", "CONFIG", "", "--rename-command", "INFO", ""):
        found = findings()
        unknown = {id for id, level in levels(found).items() if level == "unknown"}
        assert unknown == {"cluster", "replication", "eviction", "memory", "persistence", "clients"}
        assert "the server refuses INFO" in found["memory"]["found"]
        assert "is supported" in found["server"]["found"], "HELLO tells it"


def test_a_server_that_is_away_is_one_clear_error():
    overrides = {"CACHEOPS_REDIS": {"port": servers.free_port(), "password": "s3cret"}, "CACHEOPS_CLIENT_CLASS": None}
    with override_settings(**overrides), pytest.raises(CommandError, match="Redis can't be asked") as raised:
        call_command("cacheops", "doctor")
    assert "which CACHEOPS_REDIS names" in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_a_user_who_may_not_select_the_database_is_one_clear_error():
    """PING may be forbidden."""
    with examined() as (server, _):
        address = {**allow(server, "+@all", "-select", "-ping"), "db": 3}
        with using(server, CACHEOPS_REDIS=address), pytest.raises(CommandError, match=r"'select'.*ACL SETUSER"):
            call_command("cacheops", "doctor")
        with using(server, CACHEOPS_REDIS={**address, "db": 0}):
            assert "can't run PING" in findings()["permissions"]["found"]


def test_a_client_of_several_servers_is_one_clear_error():
    class Client:
        def __init__(self, **kwargs):
            pass

    overrides = {"CACHEOPS_REDIS": {}, "CACHEOPS_CLIENT_CLASS": Client}
    with override_settings(**overrides), pytest.raises(CommandError, match="CACHEOPS_CLIENT_CLASS makes a Client"):
        call_command("cacheops", "doctor")


def test_a_wrong_password_is_one_clear_error():
    with examined() as (server, _):
        server.client().config_set("requirepass", "right")
        for password in ("wrong", None):
            address = {"port": server.port, "password": password}
            with using(server, CACHEOPS_REDIS=address), pytest.raises(CommandError, match="Correct username and pass"):
                call_command("cacheops", "doctor")


def test_a_server_that_runs_an_endless_script_is_one_clear_error():
    with examined("--lua-time-limit", "50") as (server, _):
        runner = threading.Thread(target=run_endless_script, args=(server,))
        runner.start()
        try:
            wait_for(lambda: is_busy(server))
            with pytest.raises(CommandError, match="SCRIPT KILL"):
                call_command("cacheops", "doctor")
        finally:
            server.client().script_kill()
            runner.join()


def run_endless_script(server):
    with pytest.raises(redis.ResponseError):
        server.client().eval("while true do end", 0)


def is_busy(server):
    try:
        server.client().ping()
    except redis.ResponseError as error:
        return str(error).startswith("BUSY")
    return False


def test_time_limits_of_the_client():
    with examined() as (server, _), override_settings(CACHEOPS_REDIS_TIMEOUT=None):
        limits = {"socket_timeout": None, "socket_connect_timeout": 1}
        with using(server, CACHEOPS_REDIS={"port": server.port, **limits}):
            finding = findings()["timeouts"]
            assert finding["level"] == "warning"
            assert "socket_timeout is not set" in finding["found"]
            assert "Set socket_timeout in CACHEOPS_REDIS" in finding["advice"]
        for seconds, retry, level in ((30, None, "info"), (1, None, "ok")):
            limits = {"socket_timeout": seconds, "socket_connect_timeout": seconds, "retry": retry}
            with using(server, CACHEOPS_REDIS={"port": server.port, **limits}):
                assert levels(findings())["timeouts"] == level
        retry = redis.retry.Retry(redis.backoff.NoBackoff(), 3)
        with using(server, CACHEOPS_REDIS={"port": server.port, **limits, "retry": retry}):
            assert "up to 3 times" in findings()["timeouts"]["found"]
        for seconds, level in ((30, "info"), (0.5, "ok")):
            with using(server, CACHEOPS_REDIS={"port": server.port}, CACHEOPS_REDIS_TIMEOUT=seconds):
                finding = findings()["timeouts"]
                assert finding["level"] == level
                assert f"{seconds} s" in finding["found"]


def test_too_few_connections():
    with examined("--maxclients", "12") as (server, _):
        assert "of at most 12, 0 refused" in findings()["clients"]["found"]
        opened = []
        with pytest.raises(redis.RedisError):
            for _ in range(20):
                opened.append(redis.Redis(port=server.port))
                opened[-1].ping()
        for each in opened:
            each.close()
        wait_for(lambda: has_free_connections(server))
        finding = findings()["clients"]
        assert finding["level"] == "warning"
        assert ", 0 refused" not in finding["found"]
        assert "Raise maxclients" in finding["advice"]


def has_free_connections(server):
    with suppress(redis.RedisError):
        return server.client().info("clients")["connected_clients"] < 6
    return False


FOREIGN = {
    "_kombu.binding.celery": "Celery",
    "celery-task-meta-1": "Celery",
    "asgi:group:x": "Channels",
    "rq:queue:default": "RQ",
    ":1:django.contrib.sessions.cachesecretsecret": "Django's cache framework",
    "conj:app_model:id=1": "django-cacheops",
    "app:secret": "app…",
    "app:1:secret": "app…",
    "0123456789abcdef": "names without a prefix",
}


@pytest.mark.parametrize("key", FOREIGN)
def test_other_programs_in_the_same_database_are_named_by_group(key):
    """Names of keys may be secrets, so none is shown in full."""
    with examined() as (server, _):
        with redis.Redis(port=server.port, db=3) as client:
            client.set(key, "x")
        finding = findings()["other-programs"]
        assert f"{FOREIGN[key]} (1)" in finding["found"]
        assert "secret" not in json.dumps(finding)
        is_queue = FOREIGN[key] in ("Celery", "Channels", "RQ")
        assert finding["level"] == ("warning" if is_queue else "info")


def test_other_projects_with_this_package_are_no_other_programs():
    with examined() as (server, _):
        with redis.Redis(port=server.port, db=3) as client:
            client.set("blog:cacheops:v:x", "x")
        found = findings()
        assert "'blog:'" in found["other-programs"]["found"]
        assert "1 results" in found["contents"]["found"]


def test_values_of_the_simple_cache_that_never_expire_are_counted(monkeypatch):
    """Of some of them; no finding if there are none."""
    with examined():
        cache.set("a", 1, 10)
        assert "simple-timeouts" not in findings()
        cache.set_many({"b": 1, "c": 1})
        finding = findings()["simple-timeouts"]
        assert (finding["level"], finding["found"][:7]) == ("info", "2 of 3 ")
        assert "CACHEOPS_SIMPLE_TIMEOUT" in finding["advice"]
        monkeypatch.setattr(contents, "MAX_SIMPLE", 0)
        assert "simple-timeouts" not in findings()


def test_a_large_database_is_sampled(monkeypatch):
    monkeypatch.setattr(contents, "MAX_CALLS", 1)
    monkeypatch.setattr(contents, "KEYS_PER_CALL", 10)
    with examined() as (server, _):
        with redis.Redis(port=server.port, db=3) as client:
            client.mset({f"app:{number}": "" for number in range(1000)})
        assert ", in a sample" in findings()["other-programs"]["found"]


def test_scripts_that_are_refused_are_an_error():
    with examined() as (server, _):
        with using(server, CACHEOPS_REDIS=allow(server, "+@all", "-eval", "-evalsha")):
            finding = findings()["scripts"]
        assert finding["level"] == "error"
        assert "Allow EVAL and EVALSHA" in finding["advice"]


def test_the_embedded_redis_is_examined_as_far_as_it_goes():
    overrides = {"CACHEOPS_REDIS": {}, "CACHEOPS_CLIENT_CLASS": "fakeredis.FakeRedis"}
    with override_settings(**overrides):
        found = findings()
    assert levels(found) == {
        "server": "info",
        "scripts": "ok",
        "latency": "ok",
        "contents": "ok",
        "other-programs": "ok",
    }
    assert "embedded" in found["server"]["found"]


def test_a_sentinel_is_asked_for_the_master(tmp_path):
    with servers.running() as master:
        port, config = servers.free_port(), tmp_path / "sentinel.conf"
        config.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 {master.port} 1\n")
        command = [servers.PROGRAM, str(config), "--sentinel"]
        sentinel = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            wait_for(lambda: services.answers("127.0.0.1", port))
            options = {"locations": [("127.0.0.1", port)], "service_name": "mymaster", "socket_timeout": 1}
            with using(master, CACHEOPS_REDIS={}, CACHEOPS_SENTINEL=options):
                stream = io.StringIO()
                call_command("cacheops", "doctor", stdout=stream)
        finally:
            sentinel.kill()
            sentinel.wait()
    assert f"at service 'mymaster' of Sentinel 127.0.0.1:{port} (CACHEOPS_SENTINEL)" in stream.getvalue()


# What no server here can show.


class Answers:
    """A session with prepared answers of INFO and CONFIG."""

    key = "key"
    connection = None

    def __init__(self, info=(), config=(), seconds=0.0):
        self._info, self._config, self._seconds = dict(info), dict(config), seconds

    def info(self, section):
        return self._info

    def config_or_none(self, name):
        return self._config.get(name)

    def ask(self, *command):
        time.sleep(self._seconds)
        return "PONG"


SERVERS = [
    ({"redis_version": "5.0.7"}, "error", "Redis 5.0.7 is too old"),
    ({"redis_version": "7.2.4", "valkey_version": "8.1.0"}, "ok", "Valkey 8.1.0 is supported"),
    ({"redis_version": "7.4.0", "dragonfly_version": "df-v1.21.2"}, "warning", "Dragonfly df-v1.21.2 is not Redis"),
    ({"redis_version": "6.3.4", "executable": "/usr/bin/keydb-server"}, "warning", "KeyDB 6.3.4 is not Redis"),
    ({"redis_version": "8.2.1"}, "ok", "Redis 8.2.1 is supported"),
]


@pytest.mark.parametrize(("info", "level", "text"), SERVERS, ids=lambda value: str(value)[:12])
def test_servers_are_recognized(info, level, text):
    (finding,) = identity.examine_server(Answers(info))
    assert (finding.level, finding.found.rstrip(".")) == (level, text)


@pytest.mark.parametrize(("seconds", "level"), [(0.0, "ok"), (0.003, "info"), (0.021, "warning")])
def test_a_slow_network_is_told(seconds, level):
    (finding,) = identity.examine_latency(Answers(seconds=seconds))
    assert finding.level == level
    assert re.match(r"PING takes [\d,]+ µs \(median of 50\)", finding.found)


def test_fragmented_memory_is_told():
    info = {"used_memory": 2**30, "used_memory_peak": 2**31, "mem_fragmentation_ratio": "2.5"}
    (finding,) = memory.examine_memory(Answers(info))
    assert finding.level == "info"
    assert "fragmentation 2.5" in finding.found


def test_a_client_without_time_limits_leaves_that_open():
    with pytest.raises(session.Refused):
        list(clients.examine_timeouts(Answers()))


def test_every_id_is_documented():
    """Each has an anchor, and no other has."""
    source = "".join(path.read_text() for path in (ROOT / "cacheops_lite/inspection/doctor").glob("*.py"))
    ids = set(re.findall(r'Finding\(\s*"([\w-]+)"', source)) | set(doctor._PROBES)
    documented = set(re.findall(r"^\.\. _doctor-([\w-]+):$", (ROOT / "docs/doctor.rst").read_text(), re.M))
    assert ids == documented


def test_every_command_is_documented():
    """The page lists them as an ACL takes them."""
    text = (ROOT / "docs/doctor.rst").read_text()
    needed = {*commands.required(is_cluster=True), *commands.OPTIONAL}
    assert {name.lower() for name in needed} == set(re.findall(r" \+(\w+)", text))
