"""The list of commands that an ACL must allow is complete, and has no command that is not used."""

import io
import re
import shlex
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from django.core.management import call_command
from django.db import transaction
from django.test import override_settings

from cacheops_lite import cache, cached, cached_as, invalidate_all, invalidate_model, invalidate_obj
from cacheops_lite.observe import counters
from cacheops_lite.reaper import reap_conjs
from cacheops_lite.store import commands, counter_flush, fill_lock, invalidator
from tests.shop.models import Category, Label, Product
from tests.support import servers

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.redis]

LUA = Path(commands.__file__).parent / "lua"
SECURITY = Path(__file__).parents[2] / "docs" / "production" / "security.rst"
ALL = {*commands.REQUIRED, *commands.OPTIONAL}


def test_each_command_of_a_script_is_listed():
    """Scripts run with the permissions of their caller."""
    called = set()
    for path in LUA.glob("*.lua"):
        called |= set(re.findall(r"(?:redis\.p?call|call_in_chunks)\(\s*'(\w+)'", path.read_text()))
    assert len(called) > 15
    assert {name.upper() for name in called} <= set(commands.REQUIRED)


def cache_and_invalidate():
    """Do what the package does with Redis, but for what needs optional commands."""
    category = Category.objects.create(name="c")
    product = Product.objects.create(sku="a", name="a", category=category)
    label = Label.objects.create(text="a")
    counted = cached_as(Label, lock=True)(Label.objects.count)
    for _ in range(2):
        list(Product.objects.select_related("category"))
        Label.objects.get(pk=label.pk)
        list(Label.objects.filter(text="a"))
        counted()
    Product.objects.update(name="b")
    with transaction.atomic():
        product.save()
        category.delete()
    list(Label.objects.all())
    list(Label.objects.filter(text__in=["a", "b"]))
    label.save()
    invalidate_obj(label)
    invalidate_model(Label)
    invalidator.postpone({"": invalidator.WriteSet(tables={"shop_label"}, keys={"cacheops:s:x"})})
    assert Label.objects.count() == 1
    cache.set("key", 1, 10)
    cache.get("key")
    cache.delete("key")
    cached(timeout=10)(lambda: 1)()
    invalidate_all()


def inspect():
    """Do what needs optional commands."""
    list(Label.objects.all())
    cache.set("key", 1, 10)
    cache.change("cacheops:s:key", lambda value: value + 1)
    reap_conjs(min_conj_set_size=0)
    cache.clear()
    counter_flush.flush()
    for name in ("stats", "ls", "top", "verify", "doctor"):
        call_command("cacheops", name, stdout=io.StringIO())


@pytest.fixture
def server():
    with servers.running() as server:
        yield server


@pytest.mark.parametrize("insideout", [False, True])
def test_a_user_who_may_run_only_these_commands_misses_none(server, insideout):
    """The required ones suffice to cache and to invalidate, and each is used."""
    admin, used = server.client(), set()
    for names, contract in ((set(commands.REQUIRED), cache_and_invalidate), (ALL, inspect)):
        # SELECT and CLIENT are sent by redis-py when it connects.
        rules = ["-@all", *(f"+{name.lower()}" for name in names)]
        admin.acl_setuser("lean", enabled=True, passwords=["+pw"], keys=["cacheops:*"], reset_keys=True, commands=rules)
        admin.execute_command("ACL", "LOG", "RESET")
        admin.config_resetstat()
        address = {"port": server.port, "username": "lean", "password": "pw"}
        counters.take()
        with override_settings(CACHEOPS_REDIS=address, CACHEOPS_CLIENT_CLASS=None, CACHEOPS_INSIDEOUT=insideout):
            contract()
            assert not invalidator.is_overdue()
        # Redis 6 does not name the subcommand.
        denied = {each["object"].partition("|")[0] for each in admin.acl_log()} - {"client"}
        # The doctor asks what it may, and is refused.
        assert denied <= {"acl", "config"}, denied
        used |= {name.removeprefix("cmdstat_").upper() for name in admin.info("commandstats")}
    if not insideout:
        assert ALL - used == set()


def test_the_rights_that_the_page_about_security_names_suffice(server):
    """They name groups of commands, which differ between versions of Redis."""
    [line] = re.findall(r"redis-cli acl setuser blog (.*)", SECURITY.read_text("utf-8"))
    admin = server.client()
    admin.execute_command("ACL", "SETUSER", "blog", *shlex.split(line))
    address = {"port": server.port, "username": "blog", "password": "password"}
    with override_settings(CACHEOPS_REDIS=address, CACHEOPS_CLIENT_CLASS=None):
        cache_and_invalidate()
        inspect()
    # The doctor asks what it may, and is refused; redis-py tells its name and version when it connects.
    assert {each["object"].partition("|")[0] for each in admin.acl_log()} <= {"acl", "config", "client"}


@pytest.mark.parametrize("name", ["GETRANGE", "ZREM", "SRANDMEMBER"])
def test_the_server_logs_a_command_of_a_script_that_is_denied(server, name, monkeypatch):
    """Even where the script goes on: otherwise the test above would prove nothing."""
    # Without ZREM, fill locks and fences stay until they expire.
    monkeypatch.setattr(fill_lock, "LOCK_SECONDS", 1)
    monkeypatch.setattr(invalidator, "FENCE_SECONDS", 1)
    rules = ["-@all", *(f"+{each.lower()}" for each in commands.REQUIRED if each != name)]
    server.client().acl_setuser("lean", enabled=True, passwords=["+pw"], keys=["cacheops:*"], commands=rules)
    address = {"port": server.port, "username": "lean", "password": "pw"}
    with override_settings(CACHEOPS_REDIS=address, CACHEOPS_CLIENT_CLASS=None), suppress(redis.ResponseError):
        cache_and_invalidate()
    assert name.lower() in {each["object"] for each in server.client().acl_log()}
