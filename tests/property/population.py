"""The rows of the rich schema at the start of each history."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager

from django.apps import apps
from django.db import connection, transaction
from django.test import override_settings

from tests.property import namespace
from tests.rich import models

# Rows that a history adds without a primary key get keys from here on.  The keys are the same in each history if the
# database can reset its sequences.
FIRST_NEW_KEY = 1000


def populate() -> None:
    """Add the rows."""
    names = vars(namespace)
    for line in ROWS.strip().splitlines():
        model, _, values = line.partition(" ")
        for pk, each in enumerate(eval(f"[{values}]", names), start=1):
            model_class = getattr(models, model)
            if model != "Cell" and "pk" not in each:
                each["pk"] = pk
            model_class.objects.create(**each)
    item, other = models.Item.objects.order_by("pk")[:2]
    item.tags.set([1, 2])
    other.tags.set([2])
    models.Owner.objects.get(pk=1).friends.add(2)
    models.Owner.objects.get(pk=1).follows.add(2, 3)
    make_views()
    make_procedures()


VIEWS = {
    "rich_few": "SELECT id, title, number, owner_id FROM rich_item WHERE number < 3",
    "rich_seen": """SELECT f.id AS id, f.title AS title, o.name AS owner_name
        FROM rich_few f LEFT JOIN rich_owner o ON o.id = f.owner_id""",
}


def make_views() -> None:
    """Create the views that are the tables of some models."""
    drop_views()
    with connection.cursor() as cursor:
        for name, query in VIEWS.items():
            cursor.execute(f"CREATE VIEW {name} AS {query}")


def drop_views() -> None:
    """Drop the views, because other tests change the tables that they read."""
    with connection.cursor() as cursor:
        for name in reversed(VIEWS):
            cursor.execute(f"DROP VIEW IF EXISTS {name}")


def make_procedures() -> None:
    """Create stored procedures that write, for `namespace.call`, if the database supports them."""
    renumber = "(n integer) {} UPDATE rich_item SET number = n WHERE number < n"
    statements = {
        "postgresql": [
            f"CREATE OR REPLACE FUNCTION renumber{renumber.format('RETURNS void LANGUAGE SQL AS $$')} $$",
            f"CREATE OR REPLACE PROCEDURE renumber_all{renumber.format('LANGUAGE SQL AS $$')} $$",
        ],
        "mysql": [f"CREATE OR REPLACE PROCEDURE {name}{renumber.format('')}" for name in ("renumber", "renumber_all")],
    }
    with connection.cursor() as cursor:
        for statement in statements.get(connection.vendor, ()):
            cursor.execute(statement)


ROWS = """
Owner dict(name="a", code="x"), dict(name="b", code="y", note="n"), dict(name="a", code="z")
Badge dict(pk=1, owner_id=1, color="red")
Place dict(name="park", area=1), dict(name="yard", inside_id=1)
Venue dict(pk=3, name="arena", seats=1, kind="k"), dict(pk=4, name="club", inside_id=1, area=1)
Hall dict(pk=5, name="hall", seats=2, heated=True)
Tag dict(word="new"), dict(word="old"), dict(word="Old b")
Item dict(title="a", code="i1", owner_id=1, place_id=1), dict(title="b", owner_id=1, place_id=3, keeper_id=2, number=1)
Item dict(pk=3, title="a", code="i3", level=2, status="old", warden_id=3, fallback_id=2)
Item dict(pk=4, title="c", nick_id="y")
Help dict(item_id=1, owner_id=2), dict(item_id=2, owner_id=2, level=2)
Label dict(item_id=1, text="t")
Step dict(item_id=1, text="s"), dict(item_id=1, text="t"), dict(item_id=2, text="s")
Event dict(pk=uuid1, day=date1, venue_id=3), dict(pk=uuid2, day=date2, hall_id=5, venue_id=5)
Remark dict(text="r", target=Item(pk=1)), dict(text="s", target=Place(pk=1)), dict(text="s", target=Place(pk=3))
Cell dict(row=1, column=1, text="a"), dict(row=1, column=2, text="b", item_id=1), dict(row=2, column=1, text="a")
Crate dict(name="a"), dict(name="b")
Bottle dict(crate_id=1, text="a"), dict(crate_id=1, text="b"), dict(crate_id=2, text="a")
Cork dict(bottle_id=1, text="a"), dict(bottle_id=3, text="b")
Mark dict(word="a", ident=uuid1, tidy=" A ", text="a"), dict(word="B", tidy="b", text="b")
Marking dict(mark_id="m-1", text="a"), dict(mark_id="m-2", text="b")
Sample dict(whole=1, amount=Decimal("1"), ratio=0.0, facts={"a": 1}, nocase="a", secret="ab", odd=1, item_id=1)
Sample dict(pk=2, flag=True, day=date1, moment=moment1, clock=time1, span=span1, token=uuid1, blob=b"\\0", big=2**60)
"""


class Population:
    """Remember the rows of all tables of the schema, and restore them quickly."""

    def __init__(self) -> None:
        self._rows = {}
        self._models = [model for model in apps.get_models(include_auto_created=True) if _is_rich(model)]
        with connection.cursor() as cursor:
            for model in self._models:
                columns = [field.column for field in model._meta.local_concrete_fields if not field.generated]
                names = ", ".join(map(_quoted, columns))
                cursor.execute(f"SELECT {names} FROM {_quoted(model._meta.db_table)}")
                self._rows[model] = names, [list(map(_bindable, row)) for row in cursor.fetchall()]

    def restore(self) -> None:
        """Restore the rows without the cache."""
        with override_settings(CACHEOPS_ENABLED=False), _unchecked(), connection.cursor() as cursor:
            for model in reversed(self._models):
                cursor.execute(f"DELETE FROM {_quoted(model._meta.db_table)}")
            if connection.vendor == "sqlite":
                cursor.execute("DELETE FROM sqlite_sequence")
            for model, (names, rows) in self._rows.items():
                if rows:
                    marks = ", ".join(["%s"] * len(rows[0]))
                    cursor.executemany(f"INSERT INTO {_quoted(model._meta.db_table)} ({names}) VALUES ({marks})", rows)
            if connection.vendor == "postgresql":
                self._restart_sequences(cursor)

    def _restart_sequences(self, cursor) -> None:
        keys = [model._meta.auto_field for model in self._models if model._meta.auto_field]
        calls = [
            f"setval(pg_get_serial_sequence('{_quoted(key.model._meta.db_table)}', '{key.column}'), 999)"
            for key in keys
        ]
        cursor.execute(f"SELECT {', '.join(calls)}")


@contextmanager
def _unchecked() -> Iterator[None]:
    """Open a transaction in which rows may refer to rows that are inserted later."""
    if connection.vendor != "mysql":
        with transaction.atomic():
            yield
        return
    with connection.constraint_checks_disabled(), transaction.atomic():
        yield


def _bindable(value):
    # SQLite's driver does not accept times.
    return str(value) if isinstance(value, datetime.time) else value


def _is_rich(model) -> bool:
    return model._meta.app_label == "rich" and not model._meta.proxy and model._meta.managed


def _quoted(name: str) -> str:
    return connection.ops.quote_name(name)
