"""System checks name wrong settings, and connect neither to Redis nor to a database."""

import io
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.checks import WARNING, run_checks
from django.core.checks.registry import registry
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db.models import TextField
from django.test import modify_settings, override_settings
from redis.cache import CacheConfig

from cacheops_lite import apps, checks, database_checks
from cacheops_lite.schema import tracked_models
from cacheops_lite.store import client as store_client
from tests.shop.models import Label

ROOT = Path(checks.__file__).parents[2]


@pytest.fixture(autouse=True)
def no_connections(monkeypatch):
    """Fail on every attempt to connect."""

    def refuse(*args, **kwargs):
        raise AssertionError("a check connects")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(store_client, "make_client", refuse)


def run_checks_with(**overrides):
    """Return the problems that the checks find with the settings of the tests and these overrides."""
    return [each for each in run_checks_and_hints_with(**overrides) if each.level >= WARNING]


def run_checks_and_hints_with(**overrides):
    with override_settings(**overrides):
        return run_checks(tags=["cacheops_lite"])


def profile_setting(name="shop.product", **options):
    return {"CACHEOPS": {name: {"timeout": 5, **options}}}


class WithoutDumps:
    dumps = None


class Embedded:
    """Like `burner_redis.BurnerRedis`: some methods of redis-py, but none that runs any command."""

    async def get(self, key):
        pass

    def pipeline(self):
        pass


def client(url):
    pass


SENTINEL = {"locations": [("h", 1)], "service_name": "m"}


CLUSTER = {"CACHEOPS_CLIENT_CLASS": None, "CACHEOPS_INSIDEOUT": True}
WRONG_SETTINGS = [
    ({"CACHEOPS_REDIS": "redis://h", "CACHEOPS_SENTINEL": {"locations": [("h", 1)], "service_name": "m"}}, "E001"),
    ({"CACHEOPS_REDIS": 6379}, "E002", "should be a dict or a URL, not 6379", ""),
    ({"CACHEOPS_REDIS": "localhost:6379"}, "E002", "not a URL of a Redis", ""),
    ({"CACHEOPS_REDIS": "redis+cluster://h:1/3", **CLUSTER}, "E002", "one database only", "redis[+]cluster://10"),
    ({"CACHEOPS_REDIS": "redis+cluster://h:x", **CLUSTER}, "E002", "names the node 'h:x'", ""),
    ({"CACHEOPS_REDIS": "redis+cluster://h", "CACHEOPS_CLIENT_CLASS": "redis.Redis"}, "E002", "CLASS is Redis", ""),
    ({"CACHEOPS_REDIS": {}, "CACHEOPS_CLIENT_CLASS": "redis.RedisCluster"}, "E002", "names no node", ""),
    ({"CACHEOPS_REDIS": {"host": "h", "db": 2}, "CACHEOPS_CLIENT_CLASS": "redis.RedisCluster"}, "E002", "has db", ""),
    (
        {"CACHEOPS_REDIS": {"host": "h", "read_from_replicas": True}, "CACHEOPS_CLIENT_CLASS": "redis.RedisCluster"},
        "E002",
        "replicas lag",
        "",
    ),
    ({"CACHEOPS_REDIS": {"hots": "h"}}, "E002", "Redis does not accept: .*'hots'", ""),
    ({"CACHEOPS_REDIS": {"decode_responses": True}}, "E002", "Leave decode_responses out of", ""),
    (
        {"CACHEOPS_REDIS": "redis://h/1?decode_responses=True"},
        "E002",
        "Leave decode_responses out of",
        "",
    ),
    ({"CACHEOPS_REDIS": "redis://h/1?decode_responses=false"}, "E002", "a text that is not empty", ""),
    ({"CACHEOPS_REDIS": {"cache_config": CacheConfig()}}, "E002", "has cache_config: .* stale. Leave cache_config", ""),
    ({"CACHEOPS_REDIS": {"cache": object()}}, "E002", "has cache: .* its own memory", ""),
    (
        {"CACHEOPS_REDIS": {}, "CACHEOPS_SENTINEL": {**SENTINEL, "decode_responses": True}},
        *("E003", "CACHEOPS_SENTINEL has decode_responses: .* out of CACHEOPS_SENTINEL", ""),
    ),
    (
        {"CACHEOPS_REDIS": {}, "CACHEOPS_SENTINEL": {**SENTINEL, "cache_config": CacheConfig()}},
        *("E003", "CACHEOPS_SENTINEL has cache_config", ""),
    ),
    ({"CACHEOPS_REDIS": {}, "CACHEOPS_SENTINEL": {"service_name": "m"}}, "E003", "lacks locations:", ""),
    ({"CACHEOPS_REDIS": {}, "CACHEOPS_SENTINEL": ["h"]}, "E003", "should be a dict", ""),
    ({"CACHEOPS_REDIS": {}, "CACHEOPS_SENTINEL": {"locations": "h:1", "service_name": "m"}}, "E003", "host, port", ""),
    ({"CACHEOPS_REDIS": {}, "CACHEOPS_SENTINEL": {"locations": ["h"], "service_name": "m"}}, "E003", "host, port", ""),
    ({"CACHEOPS_CLIENT_CLASS": "no.such.Class"}, "E004", "'no.such.Class' can't be imported", ""),
    ({"CACHEOPS_CLIENT_CLASS": 5}, "E004", "a class or its path, not 5", ""),
    ({"CACHEOPS_CLIENT_CLASS": "redis.asyncio.Redis"}, "E004", "methods return coroutines", "'redis.Redis'"),
    ({"CACHEOPS_CLIENT_CLASS": Embedded}, "E004", "Embedded, which lacks execute_command, .*scripts", "'redis.Redis'"),
    ({"CACHEOPS_SERIALIZER": "no.such.module"}, "E005", "'no.such.module' can't be imported", ""),
    ({"CACHEOPS_SERIALIZER": WithoutDumps}, "E005", r"should have dumps\(\) and loads\(\)", ""),
    ({"CACHEOPS_LONG_DISJUNCTION": "8"}, "E006", "whole number, not '8'", ""),
    ({"CACHEOPS_LONG_DISJUNCTION": True}, "E006", "whole number, not True", ""),
    ({"CACHEOPS_SKIP_FIELDS": "FileField"}, "E007", "not 'FileField'", ""),
    ({"CACHEOPS_SKIP_FIELDS": [5]}, "E007", "internal types or classes", ""),
    (profile_setting(cache_on_save="skuu"), "E008", "'skuu', which is not a field", "'sku'"),
    (profile_setting(cache_on_save="labels"), "E008", "'labels', which is not a field", ""),
    (profile_setting("shop.label", cache_on_save="products"), "E008", "'products', which is not a field", ""),
    (profile_setting(cache_on_save=5), "E008", "5, which is not a field", "True for the primary key"),
    (profile_setting(timeuot=6), "W001", "'shop.product' has an unknown option 'timeuot'", "'timeout'"),
    ({"CACHEOPS_DEFAULTS": {"timeout": 6, "locks": True}}, "W001", "CACHEOPS_DEFAULTS has .* 'locks'", "'lock'"),
    ({"CACHEOPS_SERIALISER": "pickle"}, "W002", "CACHEOPS_SERIALISER is not a setting", "CACHEOPS_SERIALIZER"),
    ({"CACHEOPS_ZZZ": 1}, "W002", "CACHEOPS_ZZZ is not a setting", "Remove it"),
    (profile_setting("shop.prodct"), "W003", "'shop.prodct' names no installed model", "'shop.product'"),
    (profile_setting("shopp.*"), "W003", "'shopp.*' names no installed model", r"'shop\.\*'"),
    (profile_setting("*.product"), "W003", "names no installed model", ""),
    ({"CACHEOPS": {"shop.prodct": None}}, "W003", "names no installed model", "'shop.product'"),
    ({"CACHEOPS_PREFIX": "project.cache.prefix"}, "E010", "CACHEOPS_PREFIX .*'project.cache.prefix'", "'shop:'"),
    ({"CACHEOPS_PREFIX": "cacheops:v:"}, "E010", "looks like the beginning of a cache key", ""),
    ({"CACHEOPS_PREFIX": 5}, "E010", "CACHEOPS_PREFIX .*not 5", ""),
]


@pytest.mark.parametrize("wrong", WRONG_SETTINGS, ids=lambda wrong: wrong[1])
def test_each_wrong_setting_is_reported_with_its_id(wrong):
    """The message has the wrong value, and the hint has the nearest valid one if there is one."""
    overrides, id, *texts = wrong
    if "CACHEOPS_CLIENT_CLASS" not in overrides:
        overrides = {**overrides, "CACHEOPS_CLIENT_CLASS": None}
    (message,) = run_checks_with(**overrides)
    assert message.id == f"cacheops_lite.{id}"
    if texts:
        said, hint = texts
        assert re.search(said, message.msg)
        assert re.search(hint, message.hint)


VALID_SETTINGS = [
    {},
    {"CACHEOPS": {}, "CACHEOPS_DEFAULTS": {}},
    {"CACHEOPS": {"*.*": {"timeout": 5}, "Shop.Product": None, "shop.product_labels": {"timeout": 5}}},
    profile_setting(ops="all", lock=True, local_get=True, near=True, cache_on_save=True, db_agnostic=False),
    profile_setting(cache_on_save="sku"),
    profile_setting(cache_on_save="pk"),
    profile_setting(cache_on_save="category"),
    profile_setting("shop.customer", cache_on_save="name"),
    {"CACHEOPS_REDIS": {"host": "h", "db": 1, "unix_socket_path": ""}, "CACHEOPS_CLIENT_CLASS": None},
    {"CACHEOPS_REDIS": "unix:///socket?db=1", "CACHEOPS_CLIENT_CLASS": "redis.Redis"},
    {"CACHEOPS_REDIS": "redis://h/1?protocol=3", "CACHEOPS_CLIENT_CLASS": "tests.support.clients.BlockingRedis"},
    {"CACHEOPS_REDIS": {"cache_config": None, "protocol": 3}, "CACHEOPS_CLIENT_CLASS": None},
    {"CACHEOPS_CLIENT_CLASS": "redis.RedisCluster", "CACHEOPS_REDIS": {"host": "h"}, "CACHEOPS_INSIDEOUT": True},
    {"CACHEOPS_REDIS": "redis+cluster://u:p@h:1,[::1]:2,i", **CLUSTER},
    {"CACHEOPS_REDIS": "valkeys+cluster://h:1/0", **CLUSTER},
    {"CACHEOPS_REDIS": "other://h", "CACHEOPS_CLIENT_CLASS": client},
    {"CACHEOPS_REDIS": {}, "CACHEOPS_SENTINEL": {"locations": [("h", 1)], "service_name": "m", "db": 2}},
    {"CACHEOPS_SERIALIZER": "marshal"},
    {"CACHEOPS_PREFIX": "shop:"},
    {"CACHEOPS_PREFIX": lambda query: 1 / 0},
    {"CACHEOPS_LONG_DISJUNCTION": 0},
    {"CACHEOPS_SKIP_FIELDS": ("FileField", TextField)},
]


def test_that_a_cluster_has_no_conjunction_sets_is_named():
    with override_settings(CACHEOPS_REDIS="redis+cluster://h", CACHEOPS_CLIENT_CLASS=None):
        (message,) = [each for each in run_checks(tags=[checks.TAG]) if "cluster" in each.msg]
    assert message.id == "cacheops_lite.I004"
    assert "CACHEOPS_INSIDEOUT = True" in message.hint


@pytest.mark.parametrize("overrides", VALID_SETTINGS)
def test_valid_settings_are_not_reported(overrides):
    """This applies to all accepted forms."""
    assert run_checks_with(**overrides) == []


def test_a_profile_of_a_swapped_model_is_reported(monkeypatch):
    """A swapped model has no rows, so its writes are not tracked."""
    with override_settings(**profile_setting("shop.label")), monkeypatch.context() as patch:
        patch.setitem(Label._meta.__dict__, "swapped", "shop.Category")
        tracked_models.clear_caches()
        (message,) = run_checks(tags=["cacheops_lite"])
    assert message.id == "cacheops_lite.W004"
    assert "'shop.label' has no effect" in message.msg


@pytest.mark.parametrize(("app", "id"), [("cacheops", "E009"), ("cachalot", "W005")])
def test_another_app_that_caches_querysets_is_reported(tmp_path, monkeypatch, app, id):
    """An app that also patches querysets is an error; any other app that caches them is a warning."""
    (tmp_path / app).mkdir()
    (tmp_path / app / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with modify_settings(INSTALLED_APPS={"append": app}):
        (message,) = run_checks_with()
    sys.modules.pop(app)
    assert message.id == f"cacheops_lite.{id}"


def test_the_check_command_fails_for_errors_and_prints_warnings():
    """Both have their ids."""
    with (
        override_settings(CACHEOPS_LONG_DISJUNCTION=None),
        pytest.raises(SystemCheckError, match=r"cacheops_lite\.E006"),
    ):
        call_command("check", tags=["cacheops_lite"])
    err = io.StringIO()
    with override_settings(**profile_setting(timeuot=6)):
        call_command("check", tags=["cacheops_lite"], stderr=err)
    assert "(cacheops_lite.W001)" in err.getvalue()
    assert "Did you mean 'timeout'?" in err.getvalue()


INVALID_PROFILES = [
    ({"CACHEOPS": ["shop.product"]}, "CACHEOPS should be a dict, not ['shop.product']"),
    ({"CACHEOPS": {}, "CACHEOPS_DEFAULTS": 600}, "CACHEOPS_DEFAULTS should be a dict, not 600"),
    (
        profile_setting(timeout="60"),
        "CACHEOPS entry 'shop.product' has timeout '60'; it should be a whole number of seconds, 0 or",
    ),
]


@pytest.mark.parametrize(("settings", "said"), INVALID_PROFILES)
def test_invalid_profiles_raise_when_django_starts(settings, said):
    """The error precedes all checks."""
    code = (
        "import django, django.conf;"
        f"django.conf.settings.configure(INSTALLED_APPS=['cacheops_lite'], **{settings!r}); django.setup()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"django.core.exceptions.ImproperlyConfigured: {said}")


def test_checks_are_registered_once_and_unregistered():
    """Installation registers them, and uninstallation unregisters them."""
    before = registry.registered_checks.copy()
    apps.install()
    assert registry.registered_checks == before
    assert set(checks.CHECKS) <= before
    assert set(checks.DEPLOYMENT_CHECKS) <= registry.deployment_checks
    try:
        apps.uninstall()
        assert registry.registered_checks == before - {*checks.CHECKS, database_checks.check_columns}
        assert not registry.deployment_checks & set(checks.DEPLOYMENT_CHECKS)
    finally:
        apps.install()
    assert registry.registered_checks == before


def test_a_relation_to_a_model_without_a_profile_is_named():
    """Queries that join it are not cached, which a new user meets first."""
    (info,) = [
        each for each in run_checks_and_hints_with(**profile_setting(ops="all")) if each.id == "cacheops_lite.I001"
    ]
    assert info.level < WARNING
    assert "shop.Product" in info.msg
    assert "category (shop.Category)" in info.msg
    assert "'shop.category'" in info.hint


def test_no_relation_is_named_where_no_query_is_cached():
    """Profiles without ops, or for get() alone, cache no joins by themselves."""
    for ops in ((), "get"):
        assert not [
            each for each in run_checks_and_hints_with(**profile_setting(ops=ops)) if each.id == "cacheops_lite.I001"
        ]


def ids_with(deploy=False, **overrides):
    """Return the ids of what the checks find with these settings, and the messages by id."""
    with override_settings(**overrides):
        found = run_checks(tags=["cacheops_lite"], include_deployment_checks=deploy)
    return {each.id.removeprefix("cacheops_lite."): each for each in found}


def test_a_model_whose_relations_have_profiles_is_not_named():
    """Profiles without operations count, and so does a wildcard."""
    for silencing in ({"shop.category": {}}, {"*.*": {}}, {"shop.*": {"ops": ()}}):
        profiles = {"shop.product": {"ops": "all"}, **silencing}
        assert "I001" not in ids_with(CACHEOPS=profiles, CACHEOPS_DEFAULTS={"timeout": 5})


@pytest.mark.parametrize("value", [{}, None])
def test_that_no_model_has_a_profile_is_named(value):
    """Nothing is cached then, which surprises those who expect a cache after installing the app."""
    info = ids_with(CACHEOPS=value)["I002"]
    assert "CACHEOPS is not set" in info.msg
    assert "CACHEOPS = {'blog.*'" in info.hint
    assert "I002" not in ids_with()
    assert "I002" not in ids_with(CACHEOPS={}, CACHEOPS_ENABLED=False)


def test_that_the_default_address_is_used_is_named():
    overrides = {"CACHEOPS_REDIS": {}, "CACHEOPS_CLIENT_CLASS": None}
    info = ids_with(**overrides)["I003"]
    assert "localhost:6379, database 0" in info.msg
    assert "redis://localhost:6379/1" in info.hint
    sentinel = {"locations": [("h", 1)], "service_name": "m"}
    for named in (
        {"CACHEOPS_REDIS": "redis://h"},
        {"CACHEOPS_SENTINEL": sentinel},
        {"CACHEOPS_CLIENT_CLASS": "fakeredis.FakeRedis"},
        {"CACHEOPS_ENABLED": False},
    ):
        assert "I003" not in ids_with(**{**overrides, **named})


ONE = {"ENGINE": "django.db.backends.postgresql", "NAME": "app", "HOST": "a"}
OTHER = {**ONE, "HOST": "b"}
MEMORY = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
UNDECLARED = [(ONE, OTHER), (MEMORY, MEMORY), (ONE, {**ONE, "OPTIONS": {"options": "-c search_path=x"}})]
DECLARED = [
    (ONE, {**OTHER, "TEST": {"MIRROR": "default"}}),
    (ONE, {**OTHER, "NAME": "other"}),
    (ONE, {**ONE, "USER": "another"}),
    (ONE, {"ENGINE": "", "NAME": ""}),
]


@pytest.fixture
def databases(monkeypatch):
    """Return the problems with two databases: Django does not let tests override them."""

    def found(one, other, **overrides):
        with override_settings(**{"CACHEOPS_DATABASE_NAMES": {}, **overrides}):
            return checks.databases.list_undeclared_replicas({"default": one, "b": other})

    return found


@pytest.mark.parametrize(("one", "other"), UNDECLARED)
def test_two_databases_that_look_like_replicas_are_named(databases, one, other):
    """The hint says how to declare a replica, and how to tell them apart."""
    (warning,) = databases(one, other)
    assert warning.id == "cacheops_lite.W007"
    assert "'default' and 'b'" in warning.msg
    assert "'TEST': {'MIRROR': 'default'} in DATABASES['b']" in warning.hint
    assert "CACHEOPS_DATABASE_NAMES = {'b': " in warning.hint
    assert "'db_agnostic': False" in warning.hint


@pytest.mark.parametrize(("one", "other"), DECLARED)
def test_replicas_that_are_declared_and_other_databases_are_not_named(databases, one, other):
    """Nor are several entries for the same data on the same server."""
    assert databases(one, other) == []


def test_names_of_databases_declare_what_they_are(databases):
    """Equal names declare replicas, and distinct names tell databases apart."""
    for names in ({"b": "b"}, {"default": "x", "b": "x"}):
        assert databases(ONE, OTHER, CACHEOPS_DATABASE_NAMES=names) == []
    assert databases(ONE, OTHER, CACHEOPS_DATABASE_NAMES={"c": "x"})


def test_databases_are_not_compared_where_no_profile_shares_results(databases):
    assert databases(ONE, OTHER, CACHEOPS={"shop.*": {"timeout": 5, "db_agnostic": False}}) == []
    assert databases(ONE, OTHER, CACHEOPS={}) == []


EXPOSED = [
    {"CACHEOPS_REDIS": "redis://cache:6379/1"},
    {"CACHEOPS_REDIS": "rediss://user@cache"},
    {"CACHEOPS_REDIS": {"host": "10.0.0.1", "password": ""}},
    {"CACHEOPS_REDIS": {}, "CACHEOPS_SENTINEL": {"locations": [("cache", 1)], "service_name": "m"}},
]
PROTECTED = [
    {"CACHEOPS_REDIS": "redis://:pw@cache:6379/1"},
    {"CACHEOPS_REDIS": "redis://cache?password=pw"},
    {"CACHEOPS_REDIS": "rediss://cache?ssl_certfile=mine"},
    {"CACHEOPS_REDIS": {"host": "10.0.0.1", "password": "pw"}},
    {"CACHEOPS_REDIS": {"host": "::1"}},
    {"CACHEOPS_REDIS": "redis://127.0.0.2"},
    {"CACHEOPS_REDIS": {"unix_socket_path": "/s"}},
    {"CACHEOPS_REDIS": {}, "CACHEOPS_SENTINEL": {"locations": [("cache", 1)], "service_name": "m", "password": "p"}},
    {"CACHEOPS_REDIS": "redis://cache", "CACHEOPS_ENABLED": False},
]


@pytest.mark.parametrize("overrides", EXPOSED)
def test_a_remote_redis_without_a_password_is_named_at_deployment(overrides):
    """Those who can write there can remove results, and without signatures execute code."""
    overrides = {"CACHEOPS_CLIENT_CLASS": None, **overrides}
    warning = ids_with(deploy=True, **overrides)["W008"]
    assert "without a password" in warning.msg
    assert "execute code" not in warning.msg
    assert "execute code" in ids_with(deploy=True, CACHEOPS_SIGNING=False, **overrides)["W008"].msg
    assert "W008" not in ids_with(**overrides)


@pytest.mark.parametrize("overrides", PROTECTED)
def test_a_protected_redis_is_not_named_at_deployment(overrides):
    assert "W008" not in ids_with(deploy=True, **{"CACHEOPS_CLIENT_CLASS": None, **overrides})


DJANGO_CACHE = {"BACKEND": "django.core.cache.backends.redis.RedisCache"}
SHARED = [
    ("CACHES", {"default": {**DJANGO_CACHE, "LOCATION": "redis://h:6379/1"}}),
    ("CACHES", {"default": {**DJANGO_CACHE, "LOCATION": ["redis://leader", "redis://:pw@h:6379?db=1"]}}),
    ("CACHES", {"default": {**DJANGO_CACHE, "LOCATION": "redis://h", "OPTIONS": {"db": "1"}}}),
    ("CACHES", {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://H:6379/1"}}),
    ("CELERY_BROKER_URL", "redis://:pw@h/1"),
    ("CELERY_RESULT_BACKEND", "redis://h/1"),
    ("BROKER_URL", "redis://a/1;redis://h/1"),
    (
        "CHANNEL_LAYERS",
        {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": ["redis://h/1"]}}},
    ),
    ("RQ_QUEUES", {"default": {"HOST": "h", "PORT": 6379, "DB": 1}}),
]
NOT_SHARED = [
    ("CACHES", {"default": {**DJANGO_CACHE, "LOCATION": "redis://h:6379/2", "OPTIONS": {"db": 1}}}),
    (
        "CACHES",
        {"default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": "redis://h/1"}},
    ),
    ("CACHES", {"default": {**DJANGO_CACHE, "LOCATION": 5}}),
    ("CELERY_BROKER_URL", "amqp://h/1"),
    ("CELERY_BROKER_URL", "redis://h:port/1"),
    ("CHANNEL_LAYERS", {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer"}}),
    ("CHANNEL_LAYERS", {"default": {"BACKEND": "channels_redis", "CONFIG": {"hosts": [("h", 6379), {"address": 5}]}}}),
    ("RQ_QUEUES", "h"),
]


@pytest.mark.parametrize(("setting", "value"), SHARED)
def test_another_user_of_the_same_database_is_named_at_deployment(setting, value):
    overrides = {"CACHEOPS_CLIENT_CLASS": None, "CACHEOPS_REDIS": "redis://:pw@h/1", setting: value}
    warning = ids_with(deploy=True, **overrides)["W009"]
    assert warning.msg.startswith(setting)
    assert "h:6379/1" in warning.msg
    assert "pw" not in warning.msg
    assert "W009" not in ids_with(**overrides)


@pytest.mark.parametrize(("setting", "value"), NOT_SHARED)
def test_users_of_other_databases_are_not_named(setting, value):
    """Values that are not understood are no reason to fail."""
    overrides = {"CACHEOPS_CLIENT_CLASS": None, "CACHEOPS_REDIS": "redis://:pw@h/1", setting: value}
    assert "W009" not in ids_with(deploy=True, **overrides)


@pytest.mark.parametrize("value", [5, "redis://h:port", ["h"], {"host": 5, "port": "x"}, {"port": []}])
def test_deployment_checks_never_fail(value):
    """Other checks report what they do not understand."""
    ids_with(deploy=True, CACHEOPS_REDIS=value, CACHEOPS_CLIENT_CLASS=None)
    ids_with(deploy=True, CACHEOPS_SENTINEL=value, CACHEOPS_REDIS={}, CACHEOPS_CLIENT_CLASS=None)


def test_every_id_is_documented():
    """No other id is documented."""
    source = "".join(path.read_text() for path in (ROOT / "cacheops_lite" / "checks").glob("*.py"))
    calls = re.findall(r"\b(error|warning|info)\(\s*(\d+),", source)
    found_ids = {f"{kind[0].upper()}{int(number):03}" for kind, number in calls}
    found_ids |= {"E002", "E003"}  # Chosen at run time.
    found_ids |= set(re.findall(r"cacheops_lite\.(\w\d+)", (ROOT / "cacheops_lite" / "database_checks.py").read_text()))
    documented = set(re.findall(r"^``cacheops_lite\.(\w+)``", (ROOT / "docs" / "checks.rst").read_text(), re.M))
    assert found_ids == documented


@pytest.mark.parametrize(
    ("value", "message"),
    [("live", "should be a dict"), ({"default": "a:b"}, "should be a dict"), ({"x": "live"}, "'x'")],
)
def test_names_of_databases_are_checked(value, message):
    """So are their aliases: a mistyped one would name no database."""
    with override_settings(CACHEOPS_DATABASE_NAMES=value):
        (found,) = [each for each in run_checks(tags=["cacheops_lite"]) if each.id == "cacheops_lite.E011"]
    assert message in found.msg


@pytest.mark.parametrize(
    "overrides", [{"CACHEOPS_SIGNING_KEYS": "a"}, {"CACHEOPS_SIGNING_KEYS": [""]}, {"SECRET_KEY": ""}]
)
def test_what_can_not_sign_values_is_named(overrides):
    """Without signing it does not matter."""
    assert "SIGNING_KEYS" in ids_with(**overrides)["E012"].msg
    assert "E012" not in ids_with(CACHEOPS_SIGNING=False, **overrides)


@pytest.mark.parametrize("options", [{"local_get": True}, {"local_get": True, "near": True}, {"near": "relaxed"}])
def test_what_local_get_costs_writers_is_named(options):
    found = [each.id for each in run_checks_and_hints_with(**profile_setting(**options)) if "local_get" in each.msg]
    assert found == (["cacheops_lite.I005"] if options == {"local_get": True} else [])
