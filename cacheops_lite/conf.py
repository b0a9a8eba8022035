"""Read the ``CACHEOPS*`` settings, whose names and meanings are django-cacheops'.

A setting is read when it is first used, and again after it was overridden in a test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

if TYPE_CHECKING:
    from django.db.models import Model

Operation: TypeAlias = Literal["get", "fetch", "count", "aggregate", "exists"]
# What `cache` takes as its `ops`.
Ops: TypeAlias = Operation | Literal["all"] | Iterable[Operation]
Near: TypeAlias = Literal[False, True, "relaxed"]
ALL_OPS = frozenset({"get", "fetch", "count", "aggregate", "exists"})

DEFAULTS: dict[str, Any] = {
    "CACHEOPS": {},
    "CACHEOPS_DEFAULTS": {},
    "CACHEOPS_ENABLED": True,
    "CACHEOPS_REDIS": {},
    "CACHEOPS_SENTINEL": {},
    # In seconds, of one call; None leaves it to redis-py.
    "CACHEOPS_REDIS_TIMEOUT": 1.0,
    "CACHEOPS_CLIENT_CLASS": None,
    "CACHEOPS_SERIALIZER": "pickle",
    # "lz4" or "zstd", for large values.
    "CACHEOPS_COMPRESSION": None,
    "CACHEOPS_PREFIX": None,
    # By alias: the name of its database in keys, see docs/settings.rst.
    "CACHEOPS_DATABASE_NAMES": {},
    "CACHEOPS_INSIDEOUT": False,
    # In seconds: how long a process may answer from its near cache without asking Redis.
    "CACHEOPS_NEAR_LEASE": 0.02,
    # In bytes, of the near cache of a process.
    "CACHEOPS_NEAR_SIZE": 32 * 2**20,
    # In seconds, of what the simple and the file cache keep without a timeout; None leaves it to them.
    "CACHEOPS_SIMPLE_TIMEOUT": None,
    # Whether values are signed, and with which keys: by default SECRET_KEY and SECRET_KEY_FALLBACKS.
    "CACHEOPS_SIGNING": True,
    "CACHEOPS_SIGNING_KEYS": [],
    "CACHEOPS_CACHE_ADMIN": False,
    "CACHEOPS_DEGRADE_ON_FAILURE": False,
    # Whether a write is rolled back if its results cannot be invalidated.
    "CACHEOPS_STRICT": False,
    # Where processes keep undelivered invalidations; "" stands for a directory of this user among the temporary files.
    "CACHEOPS_SPOOL_DIR": "",
    # Values of these fields are long, or queries rarely compare them: they make no conditions.
    "CACHEOPS_SKIP_FIELDS": (
        "FileField",
        "TextField",
        "BinaryField",
        "JSONField",
        "ArrayField",
    ),
    "CACHEOPS_LONG_DISJUNCTION": 8,
    # In bytes, of one result; 0 for no limit.
    "CACHEOPS_MAX_RESULT_BYTES": 16 * 2**20,
    "CACHEOPS_STATS": True,
    "CACHEOPS_VERIFY": 0,
    "CACHEOPS_SERVER_TIMING": "debug",
    "CACHEOPS_OPENTELEMETRY_SQL": False,
    "CACHEOPS_KEEP_WHITESPACE": ("pre", "textarea", "script", "style"),
}


# The valid leases of near caches, in seconds.  A shorter lease ends before it is renewed; a longer one delays writers
# too much.
MIN_LEASE, MAX_LEASE = 0.002, 1.0


class Settings:
    """The package's settings as attributes, with their defaults; cached until Django signals a change."""

    def __getattr__(self, name: str) -> Any:
        if name not in DEFAULTS:
            raise AttributeError(f"{name} is not a setting of cacheops_lite")
        value = getattr(django_settings, name, DEFAULTS[name])
        if name == "CACHEOPS_SKIP_FIELDS":
            value = frozenset(field if isinstance(field, str) else field().get_internal_type() for field in value)
        if name == "CACHEOPS_KEEP_WHITESPACE":
            value = _element_names(value)
        if name == "CACHEOPS_VERIFY":
            value = _share(value)
        if name in SECONDS_OF:
            value = _seconds(name, value)
        if name == "CACHEOPS_NEAR_LEASE":
            value = parse_lease(value, name)
        self.__dict__[name] = value
        return value


def _element_names(value: Any) -> str | frozenset[str]:
    if value == "all":
        return "all"
    if isinstance(value, str) or not all(isinstance(name, str) for name in value or ()):
        raise ImproperlyConfigured(
            f"CACHEOPS_KEEP_WHITESPACE is {value!r}; it should be a list of names of HTML elements, or 'all'"
        )
    return frozenset(name.lower() for name in value or ())


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ImproperlyConfigured(
            f"CACHEOPS_VERIFY is {value!r}; it should be the share of hits to compare with the database, a number from "
            "0 to 1, such as 0.001"
        )
    return float(value)


# What the number of seconds in a setting means.
SECONDS_OF = {
    "CACHEOPS_REDIS_TIMEOUT": "the seconds that an operation of the cache may wait for Redis, such as 0.5, or None for "
    "the time limits and retries of redis-py",
    "CACHEOPS_SIMPLE_TIMEOUT": "the seconds that the simple cache keeps what is stored without a timeout, such as "
    "86400, or None to keep it until it is deleted",
}


def _seconds(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise ImproperlyConfigured(f"{name} is {value!r}; it should be {SECONDS_OF[name]}")
    return float(value)


def parse_lease(value: Any, where: str) -> float:
    """Return the lease of a near cache in seconds.  Raises ImproperlyConfigured, naming `where`, for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not MIN_LEASE <= value <= MAX_LEASE:
        raise ImproperlyConfigured(
            f"{where} is {value!r}; it should be the lease of near caches in seconds, from {MIN_LEASE} to {MAX_LEASE}, "
            "such as 0.02"
        )
    return float(value)


settings = Settings()

# Changes with the settings.  It is part of keys of caches that no observer clears.
_settings_version = 0
# Functions to call after a setting changed; they clear what was derived from it.
_observers: list[Callable[[str], None]] = []


def on_change(observer: Callable[[str], None]) -> Callable[[str], None]:
    """Call `observer` with the name of each setting that changes.  Usable as a decorator."""
    _observers.append(observer)
    return observer


def _setting_changed(*, setting: str, **kwargs: Any) -> None:
    if setting == "INSTALLED_APPS":
        # The set of models changes.
        forget_derived("CACHEOPS")
    if setting in ("USE_TZ", "TIME_ZONE", "DEBUG"):
        # The converters of a compiled statement depend on whether datetimes are aware; DEBUG has reasons logged.
        forget_derived(setting)
    if setting in ("SECRET_KEY", "SECRET_KEY_FALLBACKS"):
        # Signatures are made with them.
        forget_derived(setting)
    if not setting.startswith("CACHEOPS"):
        return
    # When several settings are overridden together, Django changes all of them and then signals one after the other.
    settings.__dict__.clear()
    forget_derived(setting)


def settings_version() -> int:
    """Return a number that changes whenever values derived from settings may have changed."""
    return _settings_version


def forget_derived(setting: str) -> None:
    """Clear all caches of values that are derived from `setting`."""
    global _settings_version
    _settings_version += 1
    if setting in ("CACHEOPS", "CACHEOPS_DEFAULTS"):
        _profiles.cache_clear()
        _profile_of.cache_clear()
    for observer in _observers:
        observer(setting)


setting_changed.connect(_setting_changed, dispatch_uid="cacheops_lite.conf")


@dataclass(frozen=True, slots=True)
class Profile:
    """The resolved ``CACHEOPS`` entry of a model.  `timeout` is in seconds."""

    ops: frozenset[str]
    timeout: int
    lock: bool = False
    local_get: bool = False
    cache_on_save: bool | str = False
    db_agnostic: bool = True
    near: Near = False
    # In seconds.
    near_lease: float = 0.02


def model_profile(model: type[Model]) -> Profile | None:
    """Return the profile of `model`, or None when it must not be cached.

    The most specific entry of ``'app.model'``, ``'app.*'`` and ``'*.*'`` applies.
    Raises ImproperlyConfigured when ``CACHEOPS`` is invalid.
    """
    # Historical models of migrations are temporary, and their columns differ from those of the real models.
    return None if model.__module__ == "__fake__" else _profile_of(model)


@cache
def _profile_of(model: type[Model]) -> Profile | None:
    profiles = _profiles()
    label = model._meta.app_label.lower()
    for name in (f"{label}.{model._meta.model_name}", f"{label}.*", "*.*"):
        if name in profiles:
            return profiles[name]
    return None


def check_profiles() -> None:
    """Resolve all profiles.

    Raises ImproperlyConfigured when ``CACHEOPS``, ``CACHEOPS_VERIFY`` or a number of seconds is invalid.
    """
    _profiles()
    for name in ("CACHEOPS_VERIFY", "CACHEOPS_NEAR_LEASE", *SECONDS_OF):
        getattr(settings, name)


@lru_cache(maxsize=1)
def _profiles() -> dict[str, Profile | None]:
    entries, defaults = settings.CACHEOPS or {}, settings.CACHEOPS_DEFAULTS or {}
    for name, value in (("CACHEOPS", entries), ("CACHEOPS_DEFAULTS", defaults)):
        if not isinstance(value, dict):
            raise ImproperlyConfigured(f"{name} should be a dict, not {value!r}")
    return {
        _checked_name(name).lower(): None if entry is None else _parsed_profile(name, entry, defaults)
        for name, entry in entries.items()
    }


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or len(name.split(".")) != 2 or not all(name.split(".")):
        raise ImproperlyConfigured(f"CACHEOPS entry {name!r} should be named 'app.model', 'app.*' or '*.*'")
    return name


def _parsed_profile(name: str, entry: Any, defaults: dict[str, Any]) -> Profile:
    if not isinstance(entry, dict):
        raise ImproperlyConfigured(f"CACHEOPS entry '{name}' should be a dict of options or None, not {entry!r}")
    options = {**defaults, **entry}
    if "timeout" not in options:
        raise ImproperlyConfigured(
            f"CACHEOPS entry '{name}' lacks a 'timeout'; add one in seconds, or set one for all in CACHEOPS_DEFAULTS"
        )
    return Profile(
        ops=parse_ops(options.get("ops"), f"CACHEOPS entry '{name}'"),
        timeout=parse_timeout(options["timeout"], f"CACHEOPS entry '{name}'"),
        lock=bool(options.get("lock", False)),
        local_get=bool(options.get("local_get", False)),
        cache_on_save=options.get("cache_on_save") or False,
        db_agnostic=bool(options.get("db_agnostic", True)),
        near=parse_near(options.get("near"), f"CACHEOPS entry '{name}'"),
        near_lease=parse_lease(
            options.get("near_lease", settings.CACHEOPS_NEAR_LEASE), f"near_lease in CACHEOPS entry '{name}'"
        ),
    )


def near_leases_of_profiles() -> list[float]:
    """Return the leases, in seconds, of the profiles whose writers wait for near caches."""
    profiles = [profile for profile in _profiles().values() if profile is not None]
    return [each.near_lease for each in profiles if each.near is True or each.local_get]


def parse_near(near: Any, where: str) -> Near:
    """Return the option ``near``.  Raises ImproperlyConfigured, naming `where`, for a value that it can't have."""
    if near is None or near is False:
        return False
    if near is True or near == "relaxed":
        return near
    raise ImproperlyConfigured(f"{where} has near {near!r}; it should be True, False or 'relaxed'")


def parse_ops(ops: Any, where: str) -> frozenset[str]:
    """Return a set of operations from ``'all'``, one name, a collection of names, or None.

    Raises ImproperlyConfigured, naming `where`, for an unknown operation.
    """
    if ops is None:
        return frozenset()
    if ops == "all":
        return ALL_OPS
    try:
        parsed = frozenset({ops} if isinstance(ops, str) else ops)
    except TypeError:
        parsed = frozenset({ops})
    if unknown := parsed - ALL_OPS:
        raise ImproperlyConfigured(
            f"{where} has unknown ops {sorted(map(str, unknown))}; write some of {', '.join(sorted(ALL_OPS))}, or 'all'"
        )
    return parsed


def parse_timeout(timeout: Any, where: str) -> int:
    """Return `timeout`, in whole seconds.  Raises ImproperlyConfigured, naming `where`, for anything else."""
    if isinstance(timeout, bool) or not isinstance(timeout, int) or timeout < 0:
        raise ImproperlyConfigured(
            f"{where} has timeout {timeout!r}; it should be a whole number of seconds, 0 or more"
        )
    return timeout
