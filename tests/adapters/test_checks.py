"""System checks name what is wrong with the settings, and ask neither Redis nor a database."""

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

from cacheops_lite import apps, checks, database_checks
from cacheops_lite.schema import tracked_models
from cacheops_lite.store import client as store_client
from tests.shop.models import Label

ROOT = Path(checks.__file__).parents[1]


@pytest.fixture(autouse=True)
def disconnected(monkeypatch):
    """Whoever connects to anything fails."""

    def refuse(*args, **kwargs):
        raise AssertionError("a check connects")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(store_client, "_make_client", refuse)


def found(**overrides):
    """What the checks say of the tests' settings with some overridden."""
    return [each for each in found_with_infos(**overrides) if each.level >= WARNING]


def found_with_infos(**overrides):
    with override_settings(**overrides):
        return run_checks(tags=["cacheops_lite"])


def entry(name="shop.product", **options):
    return {"CACHEOPS": {name: {"timeout": 5, **options}}}


class Silent:
    dumps = None


def client(url):
    pass


WRONG = [
    ({"CACHEOPS_REDIS": "redis://h", "CACHEOPS_SENTINEL": {"locations": [("h", 1)], "service_name": "m"}}, "E001"),
    ({"CACHEOPS_REDIS": 6379}, "E002", "should be a dict or a URL, not 6379", ""),
    ({"CACHEOPS_REDIS": "localhost:6379"}, "E002", "not a URL of a Redis", ""),
    ({"CACHEOPS_REDIS": {"hots": "h"}}, "E002", "Redis does not accept: .*'hots'", ""),
    ({"CACHEOPS_REDIS": {"decode_responses": True}}, "E002", "leave decode_responses out", ""),
    ({"CACHEOPS_REDIS": "redis://h/1?decode_responses=True"}, "E002", "leave decode_responses out", ""),
    ({"CACHEOPS_REDIS": {}, "CACHEOPS_SENTINEL": {"service_name": "m"}}, "E003", "lacks locations:", ""),
    ({"CACHEOPS_REDIS": {}, "CACHEOPS_SENTINEL": ["h"]}, "E003", "should be a dict", ""),
    ({"CACHEOPS_REDIS": {}, "CACHEOPS_SENTINEL": {"locations": "h:1", "service_name": "m"}}, "E003", "host, port", ""),
    ({"CACHEOPS_REDIS": {}, "CACHEOPS_SENTINEL": {"locations": ["h"], "service_name": "m"}}, "E003", "host, port", ""),
    ({"CACHEOPS_CLIENT_CLASS": "no.such.Class"}, "E004", "'no.such.Class' can't be imported", ""),
    ({"CACHEOPS_CLIENT_CLASS": 5}, "E004", "a class or its path, not 5", ""),
    ({"CACHEOPS_SERIALIZER": "no.such.module"}, "E005", "'no.such.module' can't be imported", ""),
    ({"CACHEOPS_SERIALIZER": Silent}, "E005", r"should have dumps\(\) and loads\(\)", ""),
    ({"CACHEOPS_LONG_DISJUNCTION": "8"}, "E006", "whole number, not '8'", ""),
    ({"CACHEOPS_LONG_DISJUNCTION": True}, "E006", "whole number, not True", ""),
    ({"CACHEOPS_SKIP_FIELDS": "FileField"}, "E007", "not 'FileField'", ""),
    ({"CACHEOPS_SKIP_FIELDS": [5]}, "E007", "internal types or classes", ""),
    (entry(cache_on_save="skuu"), "E008", "'skuu', which is not a field", "'sku'"),
    (entry(cache_on_save="labels"), "E008", "'labels', which is not a field", ""),
    (entry("shop.label", cache_on_save="products"), "E008", "'products', which is not a field", ""),
    (entry(cache_on_save=5), "E008", "5, which is not a field", "True for the primary key"),
    (entry(timeuot=6), "W001", "'shop.product' has an unknown option 'timeuot'", "'timeout'"),
    ({"CACHEOPS_DEFAULTS": {"timeout": 6, "locks": True}}, "W001", "CACHEOPS_DEFAULTS has .* 'locks'", "'lock'"),
    ({"CACHEOPS_SERIALISER": "pickle"}, "W002", "CACHEOPS_SERIALISER is not a setting", "CACHEOPS_SERIALIZER"),
    ({"CACHEOPS_ZZZ": 1}, "W002", "CACHEOPS_ZZZ is not a setting", "Remove it"),
    (entry("shop.prodct"), "W003", "'shop.prodct' names no installed model", "'shop.product'"),
    (entry("shopp.*"), "W003", "'shopp.*' names no installed model", r"'shop\.\*'"),
    (entry("*.product"), "W003", "names no installed model", ""),
    ({"CACHEOPS": {"shop.prodct": None}}, "W003", "names no installed model", "'shop.product'"),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong[1])
def test_what_is_wrong_is_named(wrong):
    """By its id, with the value that is wrong and, where there is one, the nearest that would be right."""
    overrides, id, *texts = wrong
    if "CACHEOPS_CLIENT_CLASS" not in overrides:
        overrides = {**overrides, "CACHEOPS_CLIENT_CLASS": None}
    (message,) = found(**overrides)
    assert message.id == f"cacheops_lite.{id}"
    if texts:
        said, hint = texts
        assert re.search(said, message.msg)
        assert re.search(hint, message.hint)


RIGHT = [
    {},
    {"CACHEOPS": {}, "CACHEOPS_DEFAULTS": {}},
    {"CACHEOPS": {"*.*": {"timeout": 5}, "Shop.Product": None, "shop.product_labels": {"timeout": 5}}},
    entry(ops="all", lock=True, local_get=True, cache_on_save=True, db_agnostic=False),
    entry(cache_on_save="sku"),
    entry(cache_on_save="pk"),
    entry(cache_on_save="category"),
    entry("shop.customer", cache_on_save="name"),
    {"CACHEOPS_REDIS": {"host": "h", "db": 1, "unix_socket_path": ""}, "CACHEOPS_CLIENT_CLASS": None},
    {"CACHEOPS_REDIS": "unix:///socket?db=1", "CACHEOPS_CLIENT_CLASS": "redis.Redis"},
    {"CACHEOPS_REDIS": "other://h", "CACHEOPS_CLIENT_CLASS": client},
    {"CACHEOPS_REDIS": {}, "CACHEOPS_SENTINEL": {"locations": [("h", 1)], "service_name": "m", "db": 2}},
    {"CACHEOPS_SERIALIZER": "marshal"},
    {"CACHEOPS_LONG_DISJUNCTION": 0},
    {"CACHEOPS_SKIP_FIELDS": ("FileField", TextField)},
]


@pytest.mark.parametrize("overrides", RIGHT)
def test_what_is_right_is_not_complained_about(overrides):
    """Whatever form it has."""
    assert found(**overrides) == []


def test_a_profile_of_a_swapped_model_has_no_effect(monkeypatch):
    """It has no rows, so nobody follows its writes."""
    with override_settings(**entry("shop.label")), monkeypatch.context() as patch:
        patch.setitem(Label._meta.__dict__, "swapped", "shop.Category")
        tracked_models.clear_caches()
        (message,) = run_checks(tags=["cacheops_lite"])
    assert message.id == "cacheops_lite.W004"
    assert "'shop.label' has no effect" in message.msg


@pytest.mark.parametrize(("app", "id"), [("cacheops", "E009"), ("cachalot", "W005")])
def test_another_app_that_caches_querysets_is_named(tmp_path, monkeypatch, app, id):
    """Two that patch querysets are an error, one beside another a warning."""
    (tmp_path / app).mkdir()
    (tmp_path / app / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with modify_settings(INSTALLED_APPS={"append": app}):
        (message,) = found()
    sys.modules.pop(app)
    assert message.id == f"cacheops_lite.{id}"


def test_the_command_fails_for_errors_and_warns_of_the_rest():
    """Both with their ids."""
    with (
        override_settings(CACHEOPS_LONG_DISJUNCTION=None),
        pytest.raises(SystemCheckError, match=r"cacheops_lite\.E006"),
    ):
        call_command("check", tags=["cacheops_lite"])
    err = io.StringIO()
    with override_settings(**entry(timeuot=6)):
        call_command("check", tags=["cacheops_lite"], stderr=err)
    assert "(cacheops_lite.W001)" in err.getvalue()
    assert "Did you mean 'timeout'?" in err.getvalue()


NONSENSE = [
    ({"CACHEOPS": ["shop.product"]}, "CACHEOPS should be a dict, not ['shop.product']"),
    ({"CACHEOPS": {}, "CACHEOPS_DEFAULTS": 600}, "CACHEOPS_DEFAULTS should be a dict, not 600"),
    (
        entry(timeout="60"),
        "CACHEOPS entry 'shop.product' has timeout '60'; it should be a whole number of seconds, 0 or",
    ),
]


@pytest.mark.parametrize(("settings", "said"), NONSENSE)
def test_profiles_that_make_no_sense_stop_the_start(settings, said):
    """Which is earlier than any check, and as clear."""
    code = (
        "import django, django.conf;"
        f"django.conf.settings.configure(INSTALLED_APPS=['cacheops_lite'], **{settings!r}); django.setup()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"django.core.exceptions.ImproperlyConfigured: {said}")


def test_checks_are_registered_once_and_taken_away_again():
    """As all that is put in place."""
    before = registry.registered_checks.copy()
    apps.install()
    assert registry.registered_checks == before
    assert set(checks.CHECKS) <= before
    try:
        apps.uninstall()
        assert registry.registered_checks == before - {*checks.CHECKS, database_checks.check_columns}
    finally:
        apps.install()
    assert registry.registered_checks == before


def test_a_relation_to_a_model_without_a_profile_is_named():
    """Queries that join it are not cached, which a new user meets first."""
    (info,) = [each for each in found_with_infos(**entry(ops="all")) if each.id == "cacheops_lite.I001"]
    assert info.level < WARNING
    assert "shop.Product" in info.msg
    assert "category (shop.Category)" in info.msg
    assert "'shop.category'" in info.hint


def test_no_relation_is_named_where_no_query_is_cached():
    """Profiles without ops, or for get() alone, cache no joins by themselves."""
    for ops in ((), "get"):
        assert not [each for each in found_with_infos(**entry(ops=ops)) if each.id == "cacheops_lite.I001"]


def test_every_id_is_documented():
    """And no other."""
    source = (ROOT / "cacheops_lite" / "checks.py").read_text()
    made = {f"{kind[1].upper()}{int(number):03}" for kind, number in re.findall(r"(_[ew])\w+\(\s*(\d+),", source)}
    made |= {"E002", "E003"}  # Chosen at run time.
    made |= set(re.findall(r"cacheops_lite\.(I\d+)", source))
    made |= set(re.findall(r"cacheops_lite\.(\w\d+)", (ROOT / "cacheops_lite" / "database_checks.py").read_text()))
    documented = set(re.findall(r"^``cacheops_lite\.(\w+)``", (ROOT / "docs" / "checks.rst").read_text(), re.M))
    assert made == documented
