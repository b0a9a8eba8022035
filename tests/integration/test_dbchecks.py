"""The check of columns that compare otherwise than their fields say."""

import pytest
from django.core.checks import Tags, run_checks
from django.db import connection

from tests.shop.models import Club

pytestmark = pytest.mark.django_db(transaction=True)


def found():
    checked = run_checks(tags=[Tags.database], databases=["default"])
    return [each for each in checked if each.id == "cacheops_lite.W006"]


def execute(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)


def test_fields_that_say_how_their_columns_compare_are_fine():
    """As all of ours do, those of other collations and types among them."""
    assert found() == []


def test_other_checks_ask_no_database():
    """Only who names databases has them asked."""
    assert not [each for each in run_checks() if each.id == "cacheops_lite.W006"]


@pytest.mark.parametrize("how", ["type", "domain", "collation"])
def test_a_column_that_finds_more_equal_is_told(how):
    """By its type, directly or not, or its collation."""
    if connection.vendor == "mysql" or (connection.vendor == "sqlite" and how != "collation"):
        pytest.skip("there is none, or ours is as coarse")
    if connection.vendor == "sqlite":
        execute("ALTER TABLE shop_club RENAME TO shop_club_kept")
        execute('CREATE TABLE shop_club ("id" integer PRIMARY KEY, "name" varchar(50) COLLATE NOCASE)')
        undo = ["DROP TABLE shop_club", "ALTER TABLE shop_club_kept RENAME TO shop_club"]
    else:
        execute("CREATE EXTENSION IF NOT EXISTS citext")
        execute("CREATE DOMAIN spelling AS citext")
        execute("CREATE COLLATION caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
        kind = {"type": "citext", "domain": "spelling", "collation": "varchar(50) COLLATE caseless"}[how]
        execute(f"ALTER TABLE shop_club ALTER name TYPE {kind}")
        undo = [
            'ALTER TABLE shop_club ALTER name TYPE varchar(50) COLLATE "default"',
            "DROP DOMAIN spelling",
            "DROP COLLATION caseless",
        ]
    try:
        (message,) = found()
    finally:
        for each in undo:
            execute(each)
    assert "shop_club.name" in message.msg
    assert message.obj is Club._meta.get_field("name")
    assert found() == []
