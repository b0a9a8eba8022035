"""Read stored values exactly, so that different values in the column of a field are different values here.

Fields load some different values as the same one: both JSON's null and NULL as None, SQLite's integers 0 and 2 as the
same boolean, all texts that are no dates as None.  So a value is read only if it is canonical: stored exactly as the
field itself writes it.  Any other value counts as unknown.
"""

from __future__ import annotations

import datetime
import decimal
import json
import re
import uuid
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Field, Func, TextField
from django.db.models.functions import Cast

from .field_traits import (
    INTEGER_TYPES,
    SQLITE_DECIMAL_DIGITS,
    TEXT_TYPES,
    has_fixed_scale,
    internal_type,
    loads_like_django,
    prepares_like_django,
    stores_like_django,
    target_of,
)
from .tokens import unwrap_memoryview

# Takes a selected value, its field and the connection, and returns the value as the database gets it.
# Raises any exception for a value that is not canonical.
Reader = Callable[[Any, Any, BaseDatabaseWrapper], Any]


class NotCanonical(Exception):
    """A stored value is not what its field would write."""


class RawField(Field):
    """Loads and stores values as the driver does."""

    def get_internal_type(self) -> str:
        return "cacheops_lite.Raw"


class RawColumn(Func):
    """A column whose values neither its field nor, on SQLite, its declared type converts."""

    template = "%(expressions)s"

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="(+%(expressions)s)", **context)


class ExactRead(NamedTuple):
    """How to read the values of a field exactly."""

    # Takes the attname, and returns the argument of ``values_list()``.
    select: Callable[[str], Any]
    # The type of values that the driver returns unambiguously, or the function that converts selected values.
    read: type | Reader


def exact_read_of(field: Field[Any, Any], vendor: str) -> ExactRead:
    """Return how to read `field` exactly on the databases of a vendor."""
    is_loaded_as_stored = loads_like_django(field)
    if field.column is None or not stores_like_django(field):
        # A composite primary key; or a custom field, for which equal values may be stored differently.
        if is_loaded_as_stored:
            return ExactRead(str, _prepared)
        return ExactRead(_raw, _unchanged)
    kind = internal_type(target_of(field))
    read = READERS.get(vendor, {}).get(kind, _equal_to_prepared)
    if (vendor, kind) in SELECTED_AS_TEXT:
        return ExactRead(_as_text, read)
    # Neither a converter nor a declared type of SQLite changes these values.
    is_unconverted = is_loaded_as_stored and (isinstance(read, type) or read is _equal_to_prepared)
    return ExactRead(str if is_unconverted else _raw, read)


def _raw(attname: str) -> Any:
    return RawColumn(F(attname), output_field=RawField(null=True))


def _as_text(attname: str) -> Any:
    return Cast(F(attname), TextField(null=True))


def _reject(value: Any) -> Any:
    raise NotCanonical(value)


def _unchanged(value: Any, field: Any, connection: Any) -> Any:
    return value


def _prepared(value: Any, field: Any, connection: Any) -> Any:
    return unwrap_memoryview(field.get_prep_value(value)) if prepares_like_django(field) else value


def _equal_to_prepared(value: Any, field: Any, connection: Any) -> Any:
    """Read a value of a field without a reader of its own, such as an IP address or a file name."""
    prepared = _prepared(value, field, connection)
    return prepared if type(prepared) is type(value) and prepared == value else _reject(value)


def _boolean(value: Any, field: Any, connection: Any) -> bool:
    return bool(value) if type(value) is int and value in (0, 1) else _reject(value)


def _decimal(value: Any, field: Any, connection: Any) -> decimal.Decimal:
    """Read a number of SQLite with no more digits than a double certainly keeps, and than the field has."""
    text = repr(value) if type(value) in (int, float) else ""
    whole, _, fraction = text.partition(".")
    # A fast path for short numbers, which are the most frequent.
    is_short = 0 < len(text) <= SQLITE_DECIMAL_DIGITS and whole.lstrip("-").isdecimal()
    if is_short and (not fraction or fraction.isdecimal()):
        places = field.decimal_places
        if len(fraction.rstrip("0")) <= places and len(whole.lstrip("-")) + places <= field.max_digits:
            return decimal.Decimal(text)
    number = decimal.Decimal(repr(value)) if type(value) in (int, float) else _reject(value)
    if len(number.normalize().as_tuple().digits) > SQLITE_DECIMAL_DIGITS:
        raise NotCanonical(value)
    written = connection.ops.adapt_decimalfield_value(number, field.max_digits, field.decimal_places)
    return number if decimal.Decimal(written) == number else _reject(value)


def _date(value: Any, field: Any, connection: Any) -> datetime.date:
    found = datetime.date.fromisoformat(value)
    return found if found.isoformat() == value else _reject(value)


def _datetime(value: Any, field: Any, connection: Any) -> datetime.datetime:
    """Read the text of a naive datetime.

    SQLite stores that text.  MariaDB and MySQL store a time, so that the number of trailing zeros does not matter.
    """
    found = datetime.datetime.fromisoformat(value)
    if found.tzinfo is not None or (connection.vendor == "sqlite" and str(found) != value):
        raise NotCanonical(value)
    return connection.ops.convert_datetimefield_value(found, None, connection)


def _time(value: Any, field: Any, connection: Any) -> datetime.time:
    found = datetime.time.fromisoformat(value)
    return found if str(found) == value and found.tzinfo is None else _reject(value)


def _microseconds(value: Any, field: Any, connection: Any) -> datetime.timedelta:
    return datetime.timedelta(microseconds=value) if type(value) is int else _reject(value)


_INTERVAL = re.compile(r"(?:(-?\d+) days?)?(?: ?\+?(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?")


def _interval(value: Any, field: Any, connection: Any) -> datetime.timedelta:
    """Read PostgreSQL's text of an interval without months and with less than 24 hours.

    PostgreSQL stores months, days and hours separately; Python counts 24 hours as a day.
    """
    found = _INTERVAL.fullmatch(value)
    if not value or found is None or int(found[2] or 0) > 23:
        raise NotCanonical(value)
    days, hours, minutes, seconds = (int(each or 0) for each in found.groups()[:4])
    fraction = int((found[5] or "").ljust(6, "0"))
    return datetime.timedelta(days, seconds, fraction, minutes=minutes, hours=hours)


def _uuid_hex(value: Any, field: Any, connection: Any) -> uuid.UUID:
    found = uuid.UUID(value)
    return found if value == found.hex else _reject(value)


def _mysql_uuid(value: Any, field: Any, connection: Any) -> uuid.UUID:
    """Read a UUID of MariaDB, which may have a type for it, or of MySQL, which stores its hexadecimal digits."""
    found = uuid.UUID(value)
    is_native = getattr(connection.features, "has_native_uuid_field", False)
    return found if value == (str(found) if is_native else found.hex) else _reject(value)


def _json(value: Any, field: Any, connection: Any) -> Any:
    """Read a text that stays the same when the field's decoder and then its encoder are applied to it."""
    found = json.loads(value, cls=getattr(field, "decoder", None))
    is_jsonb = connection.vendor == "postgresql"
    if found is None or value != json_text(field, found, ensure_ascii=not is_jsonb):
        raise NotCanonical(value)
    return found


def json_text(field: Any, value: Any, **options: Any) -> str:
    """Return the text that a JSON field writes."""
    return json.dumps(value, cls=getattr(field, "encoder", None), **options)


def _readers(**more: type | Reader) -> dict[str, type | Reader]:
    integers, texts = dict.fromkeys(INTEGER_TYPES, int), dict.fromkeys(TEXT_TYPES, str)
    return {**integers, **texts, "FloatField": float, "BinaryField": bytes, "JSONField": _json, **more}


# By vendor and internal type.
READERS: dict[str, dict[str, type | Reader]] = {
    "sqlite": _readers(
        BooleanField=_boolean,
        DecimalField=_decimal,
        DateField=_date,
        DateTimeField=_datetime,
        TimeField=_time,
        DurationField=_microseconds,
        UUIDField=_uuid_hex,
    ),
    "postgresql": _readers(
        BooleanField=bool,
        DecimalField=decimal.Decimal,
        DateField=datetime.date,
        DateTimeField=datetime.datetime,
        TimeField=datetime.time,
        DurationField=_interval,
        UUIDField=uuid.UUID,
    ),
    "mysql": _readers(
        BooleanField=_boolean,
        DecimalField=decimal.Decimal,
        DateField=_date,
        DateTimeField=_datetime,
        TimeField=datetime.time,
        DurationField=_microseconds,
        UUIDField=_mysql_uuid,
    ),
}
# Types whose values drivers return ambiguously, so that they are selected as text: MariaDB's zero date is None, and an
# interval of PostgreSQL becomes a number of days whatever units it is stored in.
SELECTED_AS_TEXT = {("mysql", "DateField"), ("mysql", "DateTimeField"), ("postgresql", "DurationField")}


def are_stored_equal(field: Field[Any, Any], before: Any, after: Any) -> bool:
    """Return whether two values, as the database gets them, are certainly stored as the same value."""
    if before is None or after is None:
        return before is after
    if _is_json(field):
        target = target_of(field)
        return json_text(target, before) == json_text(target, after)
    # A fast path for the most frequent types.
    if type(before) is type(after) and type(before) in _STORED_BY_VALUE:
        return bool(before == after)
    if isinstance(before, decimal.Decimal) and isinstance(after, decimal.Decimal):
        return bool(before == after) if has_fixed_scale(field) else before.as_tuple() == after.as_tuple()
    if type(before) is float:
        # A driver may write -0.0 as 0.0.
        return type(after) is float and repr(before) == repr(after) != "-0.0"
    # A member of an enum is stored as its text or number, whatever its own __eq__() says.
    stored_as: Any
    for stored_as in _STORED_BY_VALUE:
        if isinstance(before, stored_as) and isinstance(after, stored_as):
            return stored_as.__eq__(before, after) is True
    return False


@lru_cache(maxsize=4096)
def _is_json(field: Field[Any, Any]) -> bool:
    return internal_type(target_of(field)) == "JSONField"


# Types whose equal values are stored as the same value; for times, where the zone has no ambiguous ones.
_STORED_BY_VALUE = (str, int, bytes, datetime.datetime, datetime.date, datetime.time, datetime.timedelta, uuid.UUID)
