"""The names that reads and writes of a history are written with, so that a failing one can be run by hand."""

# ruff: noqa: F401
from __future__ import annotations

import datetime
import uuid
from decimal import Decimal

from django.contrib.contenttypes.models import ContentType
from django.core import serializers
from django.db import connection, transaction
from django.db.models import (
    Avg,
    Case,
    CharField,
    Count,
    Exists,
    ExpressionWrapper,
    F,
    FilteredRelation,
    IntegerField,
    Max,
    Min,
    OuterRef,
    Prefetch,
    Q,
    Subquery,
    Sum,
    Value,
    When,
    Window,
)
from django.db.models.functions import Cast, Coalesce, Concat, Length, Lower, Rank, RowNumber, TruncMonth, Upper

from cacheops_lite import cached_as
from tests.rich.models import (
    Badge,
    Cell,
    Event,
    Hall,
    Help,
    Item,
    Label,
    NewItem,
    OpenVenue,
    Owner,
    Place,
    Remark,
    Sample,
    Step,
    Tag,
    Venue,
)

UTC = datetime.timezone.utc
date1, date2 = datetime.date(2026, 1, 1), datetime.date(2026, 2, 1)
moment1 = datetime.datetime(2026, 1, 1, 23, 30, tzinfo=UTC)
# The same instant as the first, in another zone.
moment2 = moment1.astimezone(datetime.timezone(datetime.timedelta(hours=5)))
moment3 = datetime.datetime(2026, 2, 1, tzinfo=UTC)
time1, time2 = datetime.time(1, 2, 3), datetime.time(1, 2, 3, 4)
span1, span2 = datetime.timedelta(1), datetime.timedelta(microseconds=-1)
uuid1, uuid2 = uuid.UUID(int=1), uuid.UUID(int=2**127)

# Instances that are kept from one write to the next, while others write.
kept: dict[str, object] = {}


def sql(statement: str, *params: object) -> None:
    """Raw SQL through a cursor, with Django's quotes for those of standard SQL."""
    with connection.cursor() as cursor:
        cursor.execute(_quoted(statement), params)


def sql_many(statement: str, rows: list[list[object]]) -> None:
    """The same for several rows of parameters."""
    with connection.cursor() as cursor:
        cursor.executemany(_quoted(statement), rows)


def _quoted(statement: str) -> str:
    return statement.replace('"', "`") if connection.vendor == "mysql" else statement


def deserialize(instance, **values) -> None:
    """Save a copy of an instance, with other values, as loaddata does."""
    for name, value in values.items():
        setattr(instance, name, value)
    for each in serializers.deserialize("json", serializers.serialize("json", [instance])):
        each.save()


def like(queryset, *extra):
    """What a function that rests on `queryset` returns, through ``cached_as``."""

    @cached_as(queryset, extra=(str(queryset.query), *extra))
    def rows():
        return list(queryset.nocache().order_by("pk").values_list("pk", flat=True))

    return rows()


def truncate(model) -> None:
    """Empty a table by the statement for it, where there is one."""
    # MariaDB commits what was written before it.
    has_it = connection.vendor == "postgresql" or (connection.vendor == "mysql" and not connection.in_atomic_block)
    verb = "TRUNCATE TABLE" if has_it else "DELETE FROM"
    sql(f'{verb} "{model._meta.db_table}"')


def unique(fields: str) -> dict:
    """How an upsert names its conflict, where the database lets it."""
    if not connection.features.supports_update_conflicts_with_target:
        return {}
    return {"unique_fields": fields.split()}
