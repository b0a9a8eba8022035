"""What a database holds in the column of a field, read so that no two stored values look the same.

What a field shows may not tell: JSON's null and NULL are both None, SQLite's booleans show 2 as they show 0, its dates
show None for what is no date.  So a value is known only if it is stored just as the field itself writes it.  Any other
value is odd: of a row that holds one, this column counts as unknown.
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

from . import columns
from .tokens import plain

# What makes a value as the database gets it of one that it holds, of a field.  Raises anything for an odd one.
Reader = Callable[[Any, Any, BaseDatabaseWrapper], Any]


class Odd(Exception):
    """A stored value is not as its field writes it."""


class Raw(Field):
    """Shows and stores what it is given, as the driver does."""

    def get_internal_type(self) -> str:
        return "cacheops_lite.Raw"


class Exactly(Func):
    """A column without what its field, and on SQLite its declared type, makes of its values."""

    template = "%(expressions)s"

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="(+%(expressions)s)", **context)


class Form(NamedTuple):
    """How a field is read exactly."""

    # What to select, by the attname.
    select: Callable[[str], Any]
    # The type of values that the driver tells completely, else what makes values of what was selected.
    read: type | Reader


def form_of(field: Field[Any, Any], vendor: str) -> Form:
    """How `field` is read exactly on the databases of a vendor."""
    is_shown_as_stored = columns.is_shown_as_stored(field)
    if field.column is None or not columns.stores_plainly(field):
        # A key of several columns; or what is stored is the field's own matter: all that is equal may differ.
        return Form(str if is_shown_as_stored else _exactly, _prepared if is_shown_as_stored else _as_is)
    kind = columns.kind_of(columns.target_of(field))
    read = READERS.get(vendor, {}).get(kind, _other)
    if (vendor, kind) in AS_TEXT:
        return Form(_as_text, read)
    # What neither a converter nor a declared type of SQLite's changes.
    is_raw = is_shown_as_stored and (isinstance(read, type) or read is _other)
    return Form(str if is_raw else _exactly, read)


def _exactly(attname: str) -> Any:
    return Exactly(F(attname), output_field=Raw(null=True))


def _as_text(attname: str) -> Any:
    return Cast(F(attname), TextField(null=True))


def _odd(value: Any) -> Any:
    raise Odd(value)


def _as_is(value: Any, field: Any, connection: Any) -> Any:
    return value


def _prepared(value: Any, field: Any, connection: Any) -> Any:
    return plain(field.get_prep_value(value)) if columns.prepares_plainly(field) else value


def _other(value: Any, field: Any, connection: Any) -> Any:
    """Of any other field, such as addresses and names of files."""
    told = _prepared(value, field, connection)
    return told if type(told) is type(value) and told == value else _odd(value)


def _boolean(value: Any, field: Any, connection: Any) -> bool:
    return bool(value) if type(value) is int and value in (0, 1) else _odd(value)


def _decimal(value: Any, field: Any, connection: Any) -> decimal.Decimal:
    """Of SQLite's numbers: as many digits as a double is sure to keep, and as the field has."""
    text = repr(value) if type(value) in (int, float) else ""
    whole, _, fraction = text.partition(".")
    # Most are short enough to tell at a glance.
    is_short = 0 < len(text) <= columns.SQLITE_DIGITS and whole.lstrip("-").isdecimal()
    if is_short and (not fraction or fraction.isdecimal()):
        places = field.decimal_places
        if len(fraction.rstrip("0")) <= places and len(whole.lstrip("-")) + places <= field.max_digits:
            return decimal.Decimal(text)
    number = decimal.Decimal(repr(value)) if type(value) in (int, float) else _odd(value)
    if len(number.normalize().as_tuple().digits) > columns.SQLITE_DIGITS:
        raise Odd(value)
    written = connection.ops.adapt_decimalfield_value(number, field.max_digits, field.decimal_places)
    return number if decimal.Decimal(written) == number else _odd(value)


def _date(value: Any, field: Any, connection: Any) -> datetime.date:
    found = datetime.date.fromisoformat(value)
    return found if found.isoformat() == value else _odd(value)


def _moment(value: Any, field: Any, connection: Any) -> datetime.datetime:
    """Of the text of a naive time: SQLite holds that text, to MariaDB it is a time however many zeros it ends by."""
    found = datetime.datetime.fromisoformat(value)
    if found.tzinfo is not None or (connection.vendor == "sqlite" and str(found) != value):
        raise Odd(value)
    return connection.ops.convert_datetimefield_value(found, None, connection)


def _time(value: Any, field: Any, connection: Any) -> datetime.time:
    found = datetime.time.fromisoformat(value)
    return found if str(found) == value and found.tzinfo is None else _odd(value)


def _microseconds(value: Any, field: Any, connection: Any) -> datetime.timedelta:
    return datetime.timedelta(microseconds=value) if type(value) is int else _odd(value)


_INTERVAL = re.compile(r"(?:(-?\d+) days?)?(?: ?\+?(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?")


def _interval(value: Any, field: Any, connection: Any) -> datetime.timedelta:
    """Of PostgreSQL's text: it keeps months, days and hours apart, where Python has days of 24 hours only."""
    found = _INTERVAL.fullmatch(value)
    if not value or found is None or int(found[2] or 0) > 23:
        raise Odd(value)
    days, hours, minutes, seconds = (int(each or 0) for each in found.groups()[:4])
    fraction = int((found[5] or "").ljust(6, "0"))
    return datetime.timedelta(days, seconds, fraction, minutes=minutes, hours=hours)


def _hexadecimal(value: Any, field: Any, connection: Any) -> uuid.UUID:
    found = uuid.UUID(value)
    return found if value == found.hex else _odd(value)


def _dashed(value: Any, field: Any, connection: Any) -> uuid.UUID:
    """Of MariaDB and MySQL, some of which have a type for it."""
    found = uuid.UUID(value)
    is_native = getattr(connection.features, "has_native_uuid_field", False)
    return found if value == (str(found) if is_native else found.hex) else _odd(value)


def _json(value: Any, field: Any, connection: Any) -> Any:
    """Of a text that the field's own decoder and encoder, one after the other, leave as it is."""
    found = json.loads(value, cls=getattr(field, "decoder", None))
    is_jsonb = connection.vendor == "postgresql"
    if found is None or value != json_text(field, found, ensure_ascii=not is_jsonb):
        raise Odd(value)
    return found


def json_text(field: Any, value: Any, **options: Any) -> str:
    """The text that a JSON field writes."""
    return json.dumps(value, cls=getattr(field, "encoder", None), **options)


def _by_kind(**more: type | Reader) -> dict[str, type | Reader]:
    integers, texts = dict.fromkeys(columns.INTEGERS, int), dict.fromkeys(columns.TEXTS, str)
    return {**integers, **texts, "FloatField": float, "BinaryField": bytes, "JSONField": _json, **more}


READERS: dict[str, dict[str, type | Reader]] = {
    "sqlite": _by_kind(
        BooleanField=_boolean,
        DecimalField=_decimal,
        DateField=_date,
        DateTimeField=_moment,
        TimeField=_time,
        DurationField=_microseconds,
        UUIDField=_hexadecimal,
    ),
    "postgresql": _by_kind(
        BooleanField=bool,
        DecimalField=decimal.Decimal,
        DateField=datetime.date,
        DateTimeField=datetime.datetime,
        TimeField=datetime.time,
        DurationField=_interval,
        UUIDField=uuid.UUID,
    ),
    "mysql": _by_kind(
        BooleanField=_boolean,
        DecimalField=decimal.Decimal,
        DateField=_date,
        DateTimeField=_moment,
        TimeField=datetime.time,
        DurationField=_microseconds,
        UUIDField=_dashed,
    ),
}
# What drivers don't tell apart: MariaDB's date of zeros is None, an interval of PostgreSQL's any number of days.
AS_TEXT = {("mysql", "DateField"), ("mysql", "DateTimeField"), ("postgresql", "DurationField")}


def are_alike(field: Field[Any, Any], before: Any, after: Any) -> bool:
    """Two values, as the database gets them, are stored as one and the same; False where that is not certain."""
    if before is None or after is None:
        return before is after
    if _is_json(field):
        target = columns.target_of(field)
        return json_text(target, before) == json_text(target, after)
    # What most of the others hold.
    if type(before) is type(after) and type(before) in _TOLD_BY_VALUE:
        return bool(before == after)
    if isinstance(before, decimal.Decimal) and isinstance(after, decimal.Decimal):
        return bool(before == after) if columns.has_scale(field) else before.as_tuple() == after.as_tuple()
    if type(before) is float:
        # Zeros of both signs are equal, and drivers may write the negative one as the other.
        return type(after) is float and repr(before) == repr(after) != "-0.0"
    # An enum's member is stored as the text or number that it is, whatever it equals itself.
    stored_as: Any
    for stored_as in _TOLD_BY_VALUE:
        if isinstance(before, stored_as) and isinstance(after, stored_as):
            return stored_as.__eq__(before, after) is True
    return False


@lru_cache(maxsize=4096)
def _is_json(field: Field[Any, Any]) -> bool:
    return columns.kind_of(columns.target_of(field)) == "JSONField"


# Types whose equal values are stored as one and the same; of times, in zones that tell them apart.
_TOLD_BY_VALUE = (str, int, bytes, datetime.datetime, datetime.date, datetime.time, datetime.timedelta, uuid.UUID)
