"""The API of django-cacheops 7.2 exists with the same arguments and is listed in docs/migrating.rst."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections import Counter
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest
from django.core.management import load_command_class
from django.db.models import Manager, QuerySet
from django.dispatch import Signal
from django.template import engines
from jinja2.ext import Extension

import cacheops_lite
from cacheops_lite import conf
from cacheops_lite.store.namespaces import PrefixQuery

ROOT = Path(cacheops_lite.__file__).parents[1]
TESTS = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "migrating.rst").read_text("utf-8")
ROW = re.compile(
    r"^   \* - (?P<feature>.+(?:\n {7}.+)*)\n     - (?P<verdict>.*)\n"
    r"     -(?P<remark>.*(?:\n {7}.+)*)\n     - (?P<test>.+)$",
    re.M,
)
ROWS = [match.groupdict() for match in ROW.finditer(PAGE) if match["feature"] != "Feature"]

# Names and parameters of django-cacheops 7.2.  Before a slash only the position is the same.
FUNCTIONS = {
    "cached_as": lambda *samples, timeout=None, extra=None, lock=None, keep_fresh=False: None,
    "cached_view_as": lambda *samples, timeout=None, extra=None, lock=None, keep_fresh=False: None,
    "cached": lambda timeout=None, extra=None: None,
    "cached_view": lambda timeout=None, extra=None: None,
    "file_cache.cached": lambda timeout=None, extra=None: None,
    "file_cache.cached_view": lambda timeout=None, extra=None: None,
    "cache.cached": lambda timeout=None, extra=None: None,
    "cache.cached_view": lambda timeout=None, extra=None: None,
    "cache.get": lambda cache_key, /: None,
    "cache.set": lambda cache_key, data, /, timeout=None: None,
    "cache.delete": lambda cache_key, /: None,
    "file_cache.get": lambda cache_key, /: None,
    "file_cache.set": lambda cache_key, data, /, timeout=None: None,
    "file_cache.delete": lambda cache_key, /: None,
    "RedisCache": lambda conn: None,
    "FileCache": lambda path, timeout=None: None,
    "invalidate_obj": lambda obj, using="default": None,
    "invalidate_model": lambda model, using="default": None,
    "invalidate_all": lambda: None,
    "invalidate_fragment": lambda fragment_name, *extra: None,
    "no_invalidation": lambda func: None,
    "CacheopsLibrary.decorator_tag": lambda self, func=None, takes_context=False: None,
    "reap_conjs": lambda chunk_size=1000, min_conj_set_size=1000, using="default", dry_run=False: None,
    "simple.CacheKey.make": lambda value, cache=None, timeout=None: None,
    "simple.CacheKey.get": lambda self: None,
    "simple.CacheKey.set": lambda self, value: None,
    "simple.CacheKey.delete": lambda self: None,
    "templatetags.cacheops.cached": lambda timeout, fragment_name, *extra: None,
    "templatetags.cacheops.cached_as": lambda queryset, timeout, fragment_name, *extra: None,
    "conf.model_profile": lambda model: None,
}
OBJECTS = [
    *("cache", "file_cache", "CacheMiss", "simple.cache", "simple.cached", "simple.cached_view", "simple.file_cache"),
    *("simple.CacheMiss", "simple.FileCache", "simple.RedisCache", "simple.BaseCache", "redis.redis_client"),
    *("invalidation.invalidate_obj", "invalidation.invalidate_model", "invalidation.invalidate_all"),
    *("invalidation.no_invalidation", "no_invalidation.active", "reaper.reap_conjs"),
    *("signals.cache_read", "signals.cache_invalidated", "jinja2.cache", "templatetags.cacheops.CacheopsLibrary"),
    *("templatetags.cacheops.invalidate_fragment", "templatetags.cacheops.register", "conf.settings", "VERSION"),
]
QUERYSET = {
    "cache": lambda self, ops=None, timeout=None, lock=None: None,
    "nocache": lambda self: None,
    "cloning": lambda self, cloning=1000: None,
    "inplace": lambda self: None,
    "clone": lambda self: None,
    "invalidated_update": lambda self, **kwargs: None,
}
MANAGER = {
    "cache": lambda self, ops=None, timeout=None, lock=None: None,
    "nocache": lambda self: None,
    "inplace": lambda self: None,
    "invalidated_update": lambda self, **kwargs: None,
}
SETTINGS = [
    *("CACHEOPS", "CACHEOPS_DEFAULTS", "CACHEOPS_ENABLED", "CACHEOPS_REDIS", "CACHEOPS_SENTINEL"),
    *("CACHEOPS_CLIENT_CLASS", "CACHEOPS_PREFIX", "CACHEOPS_INSIDEOUT", "CACHEOPS_DEGRADE_ON_FAILURE"),
    *("CACHEOPS_SKIP_FIELDS", "CACHEOPS_LONG_DISJUNCTION", "CACHEOPS_SERIALIZER"),
]
FILE_CACHE_SETTINGS = ["FILE_CACHE_DIR", "FILE_CACHE_TIMEOUT"]
PROFILE_OPTIONS = ["ops", "timeout", "lock", "local_get", "cache_on_save", "db_agnostic"]
OWN_PROFILE_OPTIONS = {"near", "near_lease"}
COMMANDS = [
    ("invalidate", ["all"], {}),
    ("invalidate", ["shop", "shop.Label", "shop.Label.1"], {}),
    ("cleanfilecache", [], {}),
    ("cleanfilecache", ["one", "two"], {"path": ["one", "two"]}),
    ("reapconjs", [], {"chunk_size": 1000, "min_conj_set_size": 1000, "dry_run": False}),
    (
        "reapconjs",
        ["--chunk-size=100", "--min-conj-set-size=10", "--dry-run"],
        {"chunk_size": 100, "min_conj_set_size": 10, "dry_run": True},
    ),
]


def found(path):
    """Return the object at a dotted path below the package."""
    value = cacheops_lite
    for name in path.split("."):
        if inspect.ismodule(value) and not hasattr(value, name):
            importlib.import_module(f"{value.__name__}.{name}")
        value = getattr(value, name)
    return value


def takes_what(theirs, ours):
    """Check that `ours` accepts each call that `theirs` accepts, with the same defaults."""
    ours, params = inspect.signature(ours), inspect.signature(theirs).parameters.values()
    positional = [each for each in params if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    several = any(each.kind is each.VAR_POSITIONAL for each in params)
    anything = any(each.kind is each.VAR_KEYWORD for each in params)
    named = [each for each in params if each.kind is each.KEYWORD_ONLY]
    required = [each.name for each in positional if each.default is each.empty]
    ours.bind(*required)
    ours.bind(*[each.name for each in positional], *["more", "still more"] * several)
    first = [each for each in positional if each.kind is each.POSITIONAL_ONLY or each.name == "self"]
    by_name = {each.name: each.name for each in [*positional, *named] if each not in first}
    ours.bind(*first, **by_name, **({"anything": 1} if anything else {}))
    for each in [*positional, *named]:
        if each.default is not each.empty and each.name in ours.parameters:
            assert ours.parameters[each.name].default == each.default, each.name


@cache
def functions_of(file):
    """Return the names of the functions in a test file."""
    (path,) = TESTS.rglob(file)
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


def test_each_row_says_what_it_should():
    """Each feature appears once, with a verdict, a test, and a remark if it is different."""
    assert len(ROWS) == len(re.findall(r"^   \* - (?!Feature$)", PAGE, re.M)) > 100
    for row in ROWS:
        assert row["verdict"] in ("same", "better", "different"), row
        assert row["verdict"] != "different" or row["remark"], row
    assert [feature for feature, times in Counter(row["feature"] for row in ROWS).items() if times > 1] == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["feature"])
def test_each_test_that_the_page_names_exists(row):
    file, function = re.fullmatch(r"``(test_\w+\.py)::(test_\w+)``", row["test"]).groups()
    assert function in functions_of(file)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_take_what_they_took(name):
    """The order, the names and the defaults are the same."""
    takes_what(FUNCTIONS[name], found(name))


@pytest.mark.parametrize(("owner", "methods"), [(QuerySet, QUERYSET), (Manager, MANAGER)])
def test_methods_of_querysets_and_managers_take_what_they_took(owner, methods):
    """The app adds them to the classes of Django."""
    for name, theirs in methods.items():
        takes_what(theirs, getattr(owner, name))


@pytest.mark.parametrize("name", OBJECTS)
def test_names_that_are_imported_are_there(name):
    """Importable names exist at the same paths."""
    assert found(name) is not None


def test_signals_template_tags_and_the_extension_are_what_they_were():
    """The signals, the tags of the template library `cacheops` and the class of the Jinja2 extension."""
    assert isinstance(found("signals.cache_read"), Signal)
    assert isinstance(found("signals.cache_invalidated"), Signal)
    library = engines["django"].engine.template_libraries["cacheops"]
    assert library is found("templatetags.cacheops.register")
    assert {"cached", "cached_as"} <= set(library.tags)
    assert issubclass(found("jinja2.cache"), Extension)
    assert {"cached", "cached_as"} == found("jinja2.cache").tags
    assert {"func", "dbs", "tables"} <= set(vars(PrefixQuery()))
    assert isinstance(PrefixQuery.db, property)
    assert isinstance(PrefixQuery.table, property)


@pytest.mark.parametrize(("name", "arguments", "options"), COMMANDS)
def test_commands_take_what_they_took(name, arguments, options):
    """The options and their defaults are the same."""
    parsed = load_command_class("cacheops_lite", name).create_parser("manage.py", name).parse_args(arguments)
    assert {option: getattr(parsed, option) for option in options} == options


def test_settings_have_their_names():
    """Settings and profile options have the names of django-cacheops."""
    assert set(SETTINGS) <= set(conf.DEFAULTS)
    assert {field.name for field in fields(conf.Profile)} == {*PROFILE_OPTIONS, *OWN_PROFILE_OPTIONS}


@pytest.mark.parametrize(
    "name",
    [
        *SETTINGS,
        *FILE_CACHE_SETTINGS,
        *PROFILE_OPTIONS,
        *conf.ALL_OPS,
        *cacheops_lite.__all__,
        *QUERYSET,
        *MANAGER,
        *{command for command, _, _ in COMMANDS},
        *(
            "cache_read",
            "cache_invalidated",
            "redis_client",
            "keep_fresh",
            "extra",
            "using",
            "jinja2.cache",
            "CacheKey",
        ),
        *("--chunk-size", "--min-conj-set-size", "--dry-run", "takes_context"),
    ],
)
def test_names_are_on_the_page(name):
    """The page mentions all settings, options and importable names."""
    assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", PAGE)
