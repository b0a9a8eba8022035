"""The names that the source text of reads and writes uses.  With them, a failing history can be run by hand."""

# ruff: noqa: F401
from __future__ import annotations

import datetime
import uuid
from decimal import Decimal
from functools import lru_cache

from asgiref.sync import async_to_sync
from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.core import serializers
from django.core.management.color import no_style
from django.db import connection, transaction
from django.db.migrations.state import ProjectState
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
from tests.rich.expressions import ItemsOf, Loud, Plus, Tagged, Unsaid
from tests.rich.models import (
    Badge,
    Bottle,
    Cell,
    Cork,
    Crate,
    Event,
    Few,
    Hall,
    Help,
    Item,
    Label,
    Mark,
    Marking,
    NewItem,
    OpenVenue,
    Owner,
    Place,
    Remark,
    Sample,
    Seen,
    Step,
    Tag,
    Venue,
)

UTC = datetime.timezone.utc
date1, date2 = datetime.date(2026, 1, 1), datetime.date(2026, 2, 1)
moment1 = datetime.datetime(2026, 1, 1, 23, 30, tzinfo=UTC)
# The same instant as `moment1`, in another time zone.
moment2 = moment1.astimezone(datetime.timezone(datetime.timedelta(hours=5)))
moment3 = datetime.datetime(2026, 2, 1, tzinfo=UTC)
time1, time2 = datetime.time(1, 2, 3), datetime.time(1, 2, 3, 4)
span1, span2 = datetime.timedelta(1), datetime.timedelta(microseconds=-1)
uuid1, uuid2 = uuid.UUID(int=1), uuid.UUID(int=2**127)

# Instances that stay in memory while other writes run, so that they become stale.
kept: dict[str, object] = {}


def sql(statement: str, *params: object) -> None:
    """Execute raw SQL through a cursor; quotes of standard SQL are replaced by those of the database."""
    with connection.cursor() as cursor:
        cursor.execute(_quoted(statement), params)


def sql_many(statement: str, rows: list[list[object]]) -> None:
    """Execute raw SQL for several rows of parameters."""
    with connection.cursor() as cursor:
        cursor.executemany(_quoted(statement), rows)


def _quoted(statement: str) -> str:
    return statement.replace('"', "`") if connection.vendor == "mysql" else statement


def deserialize(instance, **values) -> None:
    """Save a copy of an instance with other values, as ``loaddata`` does."""
    for name, value in values.items():
        setattr(instance, name, value)
    for each in serializers.deserialize("json", serializers.serialize("json", [instance])):
        each.save()


def like(queryset, *extra):
    """Return the result of a ``cached_as`` function that depends on `queryset`."""

    @cached_as(queryset, extra=(str(queryset.query), *extra))
    def rows():
        return list(queryset.nocache().order_by("pk").values_list("pk", flat=True))

    return rows()


def truncate(model) -> None:
    """Empty a table by TRUNCATE, or by DELETE on SQLite.  On MariaDB, TRUNCATE commits the transaction."""
    verb = "DELETE FROM" if connection.vendor == "sqlite" else "TRUNCATE TABLE"
    sql(f'{verb} "{model._meta.db_table}"')


def flush(*models) -> None:
    """Empty tables as ``manage.py flush`` does."""
    tables = [model._meta.db_table for model in models]
    connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), tables))


def commit() -> None:
    """Commit by SQL, which Django does not notice."""
    if connection.in_atomic_block:
        sql("COMMIT")


def composed(table: str, column: str, value: object, pk: object) -> None:
    """Update a row by a statement that psycopg composes, or by plain SQL on other databases."""
    if connection.vendor != "postgresql":
        sql(f'UPDATE "{table}" SET "{column}" = %s WHERE id = %s', value, pk)
        return
    from psycopg.sql import SQL, Identifier, Literal

    statement = SQL("UPDATE {} SET {} = {} WHERE id = {}")
    with connection.cursor() as cursor:
        cursor.execute(statement.format(Identifier(table), Identifier(column), Literal(value), Literal(pk)))


def merge(table: str, column: str, value: object, pk: object) -> None:
    """Update a row by MERGE, or by UPDATE where the database has no MERGE."""
    if connection.vendor != "postgresql" or connection.pg_version < 150000:
        sql(f'UPDATE "{table}" SET "{column}" = %s WHERE id = %s', value, pk)
        return
    matching = f'MERGE INTO "{table}" AS t USING (SELECT %s AS id) AS n ON t.id = n.id'
    sql(f'{matching} WHEN MATCHED THEN UPDATE SET "{column}" = %s', pk, value)


def copy(table: str, **values: object) -> None:
    """Insert a row by COPY, or by INSERT where the database has no COPY."""
    columns = ", ".join(values)
    if connection.vendor != "postgresql":
        sql(f'INSERT INTO "{table}" ({columns}) VALUES ({", ".join(["%s"] * len(values))})', *values.values())
        return
    with connection.cursor() as cursor, cursor.copy(f'COPY "{table}" ({columns}) FROM STDIN') as copying:
        copying.write_row(list(values.values()))


def stream(statement: str) -> None:
    """Execute a statement by psycopg's ``stream()``, or by ``execute()`` on other databases."""
    if connection.vendor != "postgresql":
        sql(statement)
        return
    with connection.cursor() as cursor:
        list(cursor.stream(f"{statement} RETURNING id"))


def script(statement: str) -> None:
    """Execute a text of several statements.  SQLite's driver commits before it."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.executescript(f"SELECT 1; {statement}")
        else:
            cursor.execute(_quoted(f"SELECT 1; {statement}"))


def call(number: int, by_driver: bool) -> None:
    """Call a stored procedure that writes, by SQL or by ``callproc()``; execute its UPDATE on SQLite."""
    if connection.vendor == "sqlite":
        sql("UPDATE rich_item SET number = %s WHERE number < %s", number, number)
    elif by_driver:
        with connection.cursor() as cursor:
            cursor.callproc("renumber", [number])
    else:
        sql("CALL renumber_all(%s)", number)


def past(model):
    """Return the historical model, as a migration gets it."""
    return _past_apps().get_model(model._meta.label)


@lru_cache(maxsize=1)
def _past_apps():
    return ProjectState.from_apps(apps).apps


def awaited(function, *args, **kwargs):
    """Return the result of an async function."""
    return async_to_sync(function)(*args, **kwargs)


async def listed(queryset):
    """Return the rows of a queryset, fetched by an async loop."""
    return [each async for each in queryset]


def unique(fields: str) -> dict:
    """Return the argument `unique_fields` of an upsert, if the database supports it."""
    if not connection.features.supports_update_conflicts_with_target:
        return {}
    return {"unique_fields": fields.split()}
