"""Settings have the meaning that they have in django-cacheops; invalid values are refused by name."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from cacheops_lite import conf
from cacheops_lite.conf import ALL_OPS, model_profile, parse_ops, settings
from cacheops_lite.store import client as cacheops_redis
from cacheops_lite.store.serializers import function_serializer
from tests.shop.models import Category, Label, Product


def profile(entries, model=Product, **defaults):
    with override_settings(CACHEOPS=entries, CACHEOPS_DEFAULTS=defaults):
        return model_profile(model)


def test_the_most_specific_profile_applies():
    """'app.model' precedes 'app.*', which precedes '*.*'; the case of letters does not matter."""
    entries = {
        "Shop.Product": {"ops": "get", "timeout": 1},
        "shop.*": {"ops": {"fetch", "get"}, "timeout": 2},
        "*.*": {"timeout": 3},
        "shop.label": None,
    }
    assert profile(entries).timeout == 1
    assert profile(entries, Category).ops == {"fetch", "get"}
    assert profile(entries, Label) is None
    assert profile({"*.*": {"timeout": 3}}).ops == frozenset()


def test_all_means_all_ops_and_defaults_complete_a_profile():
    """CACHEOPS_DEFAULTS supplies the options that a profile lacks."""
    found = profile({"shop.product": {"ops": "all"}}, timeout=5, lock=True, db_agnostic=False)
    assert (found.ops, found.timeout, found.lock, found.db_agnostic) == (ALL_OPS, 5, True, False)
    assert profile({"shop.product": {"ops": ("get", "count")}}, timeout=5).ops == {"get", "count"}


@pytest.mark.parametrize(
    ("entries", "named"),
    [
        ({"shop.product": {"ops": "gte", "timeout": 1}}, "'shop.product' has unknown ops"),
        ({"shop.product": {"ops": ["get", 5], "timeout": 1}}, "unknown ops"),
        ({"shop.product": {"ops": 5, "timeout": 1}}, "unknown ops"),
        ({"shop.product": {"ops": "get"}}, "'shop.product' lacks a 'timeout'"),
        ({"shop.product": {"timeout": "60"}}, "'shop.product' has timeout '60'"),
        ({"shop.product": {"timeout": 1.5}}, "whole number of seconds"),
        ({"shop.product": {"timeout": True}}, "timeout True"),
        ({"shop.product": {"timeout": -1}}, "timeout -1"),
        ({"shop.product": {"timeout": 1, "near": "strict"}}, "'shop.product' has near 'strict'"),
        ({"shop.product": {"timeout": 1, "near": 1.5}}, "True, False or 'relaxed'"),
        ({"shop.product": {"timeout": 1, "near_lease": 2}}, "near_lease in CACHEOPS entry 'shop.product' is 2"),
        ({"shop.product": {"timeout": 1, "near_lease": True}}, "the lease of near caches in seconds, from 0.002 to 1"),
        ({"shop.product": 60}, "'shop.product' should be a dict"),
        ({"product": {"timeout": 60}}, "'product' should be named"),
        ({5: {"timeout": 60}}, "5 should be named"),
        (["shop.product"], "CACHEOPS should be a dict"),
    ],
)
def test_an_invalid_profile_is_refused_by_name(entries, named):
    """The message names the wrong entry and a valid form."""
    with pytest.raises(ImproperlyConfigured, match=named), override_settings(CACHEOPS=entries, CACHEOPS_DEFAULTS={}):
        model_profile(Product)


@pytest.mark.parametrize("name", ["CACHEOPS_REDIS_TIMEOUT", "CACHEOPS_SIMPLE_TIMEOUT"])
@pytest.mark.parametrize("value", [0, -1, "60", True, float("inf"), float("nan")])
def test_a_number_of_seconds_that_is_none_is_refused_by_name(name, value):
    """This happens when Django starts."""
    with override_settings(**{name: value}):
        with pytest.raises(ImproperlyConfigured, match=f"{name} is {value!r}; it should be the seconds"):
            conf.check_profiles()
        with pytest.raises(ImproperlyConfigured, match=name):
            getattr(settings, name)


@pytest.mark.parametrize("value", [None, 0.5, 86400])
def test_seconds_may_be_fractions_or_none(value):
    with override_settings(CACHEOPS_SIMPLE_TIMEOUT=value):
        conf.check_profiles()
        assert value == settings.CACHEOPS_SIMPLE_TIMEOUT


def test_overridden_settings_apply_at_once():
    """This includes settings that were read before, and derived ones."""
    assert settings.CACHEOPS_LONG_DISJUNCTION == 8
    with override_settings(CACHEOPS_LONG_DISJUNCTION=3):
        assert settings.CACHEOPS_LONG_DISJUNCTION == 3
    assert settings.CACHEOPS_LONG_DISJUNCTION == 8


def test_an_unknown_setting_raises_attribute_error():
    """A misspelled name in the package must not read as None."""
    with pytest.raises(AttributeError, match="CACHEOPS_NONSENSE"):
        settings.CACHEOPS_NONSENSE  # noqa: B018


def test_fields_to_skip_may_be_classes():
    """Old configurations have classes."""
    from django.db.models import TextField

    with override_settings(CACHEOPS_SKIP_FIELDS=["FileField", TextField]):
        assert {"FileField", "TextField"} == settings.CACHEOPS_SKIP_FIELDS


def test_historical_models_of_migrations_have_no_profile():
    """Their columns may differ from those of the current model."""
    fake = type("Fake", (), {"__module__": "__fake__"})
    assert model_profile(fake) is None


def test_ops_are_parsed_from_a_name_or_any_iterable():
    """None means no ops."""
    assert parse_ops(None, "x") == frozenset()
    assert parse_ops("get", "x") == {"get"}
    assert parse_ops(iter(["get", "count"]), "x") == {"get", "count"}


class Client:
    def __init__(self, **options):
        self.options = options

    @classmethod
    def from_url(cls, url):
        return cls(url=url)

    def register_script(self, source):
        return source

    execute_command = pipeline = scan = set = transaction = unlink = register_script


def make_client(**overrides):
    overrides = {"CACHEOPS_REDIS": {}, "CACHEOPS_SENTINEL": {}, "CACHEOPS_CLIENT_CLASS": Client, **overrides}
    with override_settings(**overrides):
        return cacheops_redis.get_client()


def test_redis_is_configured_by_a_dict_a_url_or_a_socket():
    """The client class may be a class or its dotted path; an empty socket path means none."""
    assert make_client(CACHEOPS_REDIS={"host": "h", "db": 3, "unix_socket_path": ""}).options == {"host": "h", "db": 3}
    assert make_client(CACHEOPS_REDIS={"unix_socket_path": "/s"}).options == {"unix_socket_path": "/s"}
    assert make_client(CACHEOPS_REDIS="redis://h/1").options == {"url": "redis://h/1"}
    assert make_client(CACHEOPS_CLIENT_CLASS=f"{__name__}.Client").options == {}


def test_sentinel_options_are_passed_to_sentinel_and_its_master():
    """Options that the package does not use itself are passed to `Sentinel()`."""
    with override_settings(
        CACHEOPS_REDIS={},
        CACHEOPS_SENTINEL={"locations": [("h", 1)], "service_name": "m", "db": 2, "socket_timeout": 0.1},
    ):
        pool = cacheops_redis.get_client().connection_pool
    assert pool.service_name == "m"
    assert pool.connection_kwargs["db"] == 2


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"CACHEOPS_REDIS": {"host": "h"}, "CACHEOPS_SENTINEL": {"locations": []}}, "mutually exclusive"),
        ({"CACHEOPS_SENTINEL": {"locations": []}}, "service_name"),
        ({"CACHEOPS_CLIENT_CLASS": "no.such.Class"}, "no.such.Class"),
        ({"CACHEOPS_REDIS": 5}, "CACHEOPS_REDIS should be"),
        ({"CACHEOPS_REDIS": {"decode_responses": True}, "CACHEOPS_CLIENT_CLASS": None}, "decode_responses"),
    ],
)
def test_an_invalid_client_setting_is_refused(overrides, said):
    """The message names the setting."""
    with pytest.raises(ImproperlyConfigured, match=said):
        make_client(**overrides)


class Upper:
    dumps = staticmethod(lambda data: data.upper())
    loads = staticmethod(lambda data: data)


@pytest.mark.parametrize("serializer", [Upper, f"{__name__}.Upper"])
def test_the_serializer_may_be_a_class_or_a_path(serializer):
    """It needs `dumps()` and `loads()`."""
    with override_settings(CACHEOPS_SERIALIZER=serializer):
        assert function_serializer().dumps("a") == "A"


def test_the_serializer_may_be_a_module():
    """Examples are marshal and dill."""
    import marshal

    with override_settings(CACHEOPS_SERIALIZER="marshal"):
        assert function_serializer() is marshal


@pytest.mark.parametrize("serializer", ["no.such.module", "os", 5])
def test_a_serializer_without_dumps_and_loads_is_refused(serializer):
    """The message names it."""
    with override_settings(CACHEOPS_SERIALIZER=serializer), pytest.raises(ImproperlyConfigured, match=str(serializer)):
        function_serializer()
