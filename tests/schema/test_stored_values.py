"""Values that are displayed alike but stored differently are distinguished."""

import datetime
import decimal
import uuid

import pytest
from django.db import connection
from django.db.models import Case, Exists, F, FloatField, JSONField, OuterRef, TextField, Value, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast, Now

from cacheops_lite.schema import field_traits
from tests.property.differential import uncached
from tests.shop.models import Every, Knowing, Known
from tests.support import services

pytestmark = pytest.mark.django_db(transaction=True)

HEX = uuid.UUID(int=0xABCDEF).hex
DASHED = str(uuid.UUID(int=0xABCDEF))

# SQL of values that the field displays as other values, or does not write itself; at least two per field.
ODD = {
    "sqlite": {
        "integer": ["1", "1.5", "'a'", "x'31'", "1e300"],
        "big": ["1", "1.5", "9223372036854775808"],
        "positive": ["1", "1.25"],
        "decimal": ["1.1", "1.1 + 0.0000001", "1.1 + 2.2", "1.104"],
        "long_decimal": ["9876543210.12346", "9876543210.1234567891", "'9876543210.123457'"],
        "real": ["1.5", "0.1 + 0.2", "0.3", "'1.5'"],
        "boolean": ["0", "2", "1", "-1", "1.5", "'t'", "NULL"],
        "date": ["'2020-01-02'", "'2020-01-02 10:00:00'", "CURRENT_TIMESTAMP", "'20200102'", "NULL"],
        "moment": [
            "'2020-01-02 10:00:00.120000'",
            "'2020-01-02 10:00:00.120'",
            "'2020-01-02T10:00:00.12'",
            "'2020-01-02'",
            "NULL",
        ],
        "time": ["'10:00:00'", "'10:00'", "'10:00:00.000000'", "'10:00:00.0'", "NULL"],
        "span": ["1", "1.25", "0.75"],
        "uuid": [f"'{HEX}'", f"'{HEX.upper()}'", f"'{DASHED}'"],
        "binary": ["x'61'", "'a'"],
        "json": ["NULL", "'null'", "'1'", "'1.0'", "' 1'", "'true'", "'{\"a\": 1}'", "'{\"a\":1}'", "'\"\\u0061\"'"],
        "coded": ["NULL", "'null'", "'1'", "'[1]'", "'[1, 2]'"],
        "address": ["'2001:db8::1'", "'2001:0DB8::1'", "'2001:db8:0::1'"],
        "file": ["'a'", "x'61'"],
        "char": ["'a'", "x'61'"],
        "text": ["'a'", "x'61'"],
        "tidy": ["'a'", "' a'", "x'61'", "'a '"],
        "salted": ["'a'", "'a.'"],
    },
    "postgresql": {
        "integer": ["1", "1.4"],
        "decimal": ["1.1", "1.104", "'NaN'"],
        "real": ["0.0", "'-0'", "'NaN'", "0.1::float8 + 0.2::float8", "0.3"],
        "boolean": ["true", "false", "NULL"],
        "date": ["'2020-01-02'", "'2020-01-02 10:00'::timestamp", "NULL"],
        "moment": ["'2020-01-02 10:00:00.12Z'", "'2020-01-02 12:00:00.12+02'", "NULL"],
        "time": ["'10:00'", "'10:00:00.000001'"],
        "span": [
            "'1 day'",
            "'24 hours'",
            "'2 days -24 hours'",
            "'30 days'",
            "'1 mon'",
            "'365 days'",
            "'1 year'",
            "'-1 day 1 hour'",
            "'-23 hours'",
            "'1:00:00.5'",
        ],
        "uuid": [f"'{HEX}'", f"'{HEX.upper()}'", f"'{DASHED}'"],
        "binary": ["'a'"],
        "json": [
            *("NULL", "'null'", "'1'", "'1.0'", "'1.00'", "'true'", "'{\"a\": 1}'", '\'{"aa": 1, "b": 1}\''),
            *("'0.1'", "'0.1000000000000000055'", "'\"\u00e9\"'"),
        ],
        "coded": ["NULL", "'null'", "'1'", "'[1]'", "'[1, 2]'"],
        "address": ["'2001:db8::1'", "'2001:0DB8::1'", "'1.2.3.4'", "'1.2.3.4/24'"],
        "char": ["'a'", "'a '"],
        "tidy": ["'a'", "' a'", "'a '"],
        "salted": ["'a'", "'a.'"],
        "array": ["'{1,2}'", "'[0:1]={1,2}'", "'{}'", "NULL"],
        "range": ["'[1.0,2.0)'", "'[1.00,2.0)'", "'empty'", "'(1.0,2.0]'", "NULL"],
    },
    "mariadb": {
        "integer": ["1", "1.4"],
        "decimal": ["1.1", "1.104"],
        "real": ["0e0", "-0e0", "0.1e0 + 0.2e0", "0.3e0"],
        "boolean": ["0", "2", "1", "-1", "NULL"],
        "date": ["NULL", "'0000-00-00'", "'2020-01-02'", "'2020-00-00'"],
        "moment": ["NULL", "'0000-00-00'", "'2020-01-02 10:00:00.12'", "'2020-01-02 10:00:00.120000'"],
        "time": ["'10:00'", "'10:00:00.000001'"],
        "span": ["1", "1.25"],
        "uuid": [f"'{HEX}'", f"'{HEX.upper()}'", f"'{DASHED}'"],
        "binary": ["'a'"],
        "json": [
            *("NULL", "'null'", "'1'", "'1.0'", "' 1'", "'true'", "'{\"a\": 1}'", "'{\"a\":1}'", "'\"a\"'"),
            *("'\"\u00e9\"'", "'\"\\\\u00e9\"'"),
        ],
        "coded": ["NULL", "'null'", "'1'", "'[1]'", "'[1, 2]'"],
        "address": ["'2001:db8::1'", "'2001:0DB8::1'"],
        "char": ["'a'", "'A'", "'a '"],
        "tidy": ["'a'", "' a'", "'a '"],
        "salted": ["'a'", "'a.'"],
    },
}[services.DATABASE]

ORDINARY = {
    "integer": -7,
    "big": 2**62,
    "positive": 7,
    "decimal": decimal.Decimal("-10.50"),
    "long_decimal": decimal.Decimal("12345.67"),
    "real": 0.1,
    "boolean": True,
    "date": datetime.date(2020, 1, 2),
    "moment": datetime.datetime(2020, 1, 2, 3, 4, 5, 120000, tzinfo=datetime.timezone.utc),
    "time": datetime.time(1, 2, 3, 4000),
    "span": datetime.timedelta(days=-3, hours=25, microseconds=5),
    "uuid": uuid.UUID(hex=HEX),
    "binary": b"\x00a",
    "json": {"b": [1, 1.5, None, True, 'é"'], "aa": "x"},
    "coded": {"at": "x"},
    "address": "2001:db8::1",
    "file": "a/b.txt",
    "char": "Kim é",
    "text": "a\nb ",
    "tidy": "a",
    "generated": None,
    "array": [1, 2],
    "range": None,
}
FIELDS = [field.name for field in Every._meta.concrete_fields if field.name not in ("id", "note")]
# Fields of the application and of django.contrib: this package does not know how they store their values.
UNCERTAIN = {"salted", "array", "range"}


def sql(text):
    return RawSQL(text.replace("%", "%%"), [])


def outcome(read):
    """Return the result of the read, or the type of its error: some odd values cannot be displayed."""
    try:
        return read()
    except Exception as error:
        return type(error)


def reads_of(name):
    """Return reads of one column: its displayed values, its stored values, and the rows that meet conditions on it."""
    objects = Every.objects.order_by("pk")
    if services.DATABASE == "mariadb":
        raw = RawSQL(f"HEX(CAST(`{name}` AS char))", [])
    elif services.DATABASE == "sqlite":
        raw = RawSQL(f'quote(+"{name}")', [])
    else:
        raw = Cast(name, TextField())
    displayed = outcome(lambda: uncached(lambda: list(objects.values_list(name, flat=True))))
    conditions = [{name: value} for value in displayed if value is not None] if isinstance(displayed, list) else []
    if (value := ORDINARY.get(name)) is not None:
        conditions.append({name: value})
    return [
        lambda: list(objects.values_list(name, flat=True)),
        lambda: list(objects.annotate(raw=raw).values_list("pk", "raw")),
        lambda: list(objects.filter(**{f"{name}__isnull": True}).values_list("pk", flat=True)),
        lambda: list(objects.filter(**{f"{name}__isnull": False}).values_list("pk", flat=True)),
        *(lambda each=each: list(objects.filter(**each).values_list("pk", flat=True)) for each in conditions),
        *(lambda each=each: list(objects.exclude(**each).values_list("pk", flat=True)) for each in conditions),
    ]


def check(name, reads):
    found = [outcome(read) for read in reads]
    true = uncached(lambda: [outcome(read) for read in reads])
    for number, (one, other) in enumerate(zip(found, true, strict=True)):
        # NaN differs from itself.
        assert repr(one) == repr(other), f"read {number} of {name}"


def fields_read(row):
    return {each.attname: row.__dict__.get(each.attname) for each in row._meta.concrete_fields}


@pytest.mark.parametrize("name", ODD)
def test_every_odd_value_is_distinguished(store, name):
    """Each is written by an expression, saved as it is displayed, changed to another one, and deleted."""
    is_checked = []
    if services.DATABASE == "mariadb":
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION sql_mode = REPLACE(@@SESSION.sql_mode, 'NO_ZERO_DATE', '')")
    odd = ODD[name]
    for one, other in zip(odd, odd[1:] + odd[:1], strict=True):
        Every.objects.all().delete()
        Every.objects.create()
        Every.objects.create()
        Every.objects.update(**{name: sql(one)})
        reads = reads_of(name)
        check(name, reads)
        for save in (lambda row: row.save(), lambda row: row.save(update_fields=[name, "note"])):
            row = outcome(lambda: Every.objects.nocache().last())
            if isinstance(row, Every):
                row.note += "x"
                if outcome(lambda row=row, save=save: save(row)) is None:
                    is_checked.append(one)
                check(name, reads)
            Every.objects.filter(pk__gt=1).update(**{name: sql(one)})
            check(name, reads)
        Every.objects.update(**{name: sql(other)})
        check(name, reads)
        field = Every._meta.get_field(name)
        Every.objects.update(**{name: Case(When(note="", then=sql(one)), default=F(name), output_field=field)})
        check(name, reads)
        outcome(lambda: Every.objects.nocache().order_by("pk")[0].delete())
        check(name, reads)
        Every.objects.all().delete()
        check(name, reads)
    assert is_checked


@pytest.mark.parametrize("name", FIELDS)
def test_a_save_of_an_unchanged_value_leaves_reads_of_its_field_cached(store, is_hit, name):
    """This applies to each field of Django; results of other fields are invalidated rather than stale."""
    value = ORDINARY.get(name)
    values = {} if name in ("generated", "salted") else {name: value}
    row = Every.objects.create(**values)
    # The row as it is read from the database.
    row = Every.objects.nocache().get(pk=row.pk)
    reads = [lambda: list(Every.objects.values_list(name, flat=True)), lambda: Every.objects.filter(**values).count()]
    for write in (
        lambda: setattr(row, "note", "a") or row.save(),
        lambda: setattr(row, "note", "b") or row.save(update_fields=["note", name]),
        lambda: Every.objects.update(note="c", **values),
        lambda: Every.objects.update(note="d", **({} if name == "generated" else {name: F(name)})),
        lambda: setattr(Every.objects.nocache().get(), "note", "e") or Every.objects.nocache().get().save(),
    ):
        [read() for read in reads]
        write()
        if name in UNCERTAIN:
            check(name, reads)
        else:
            assert is_hit(reads[0])
            if name not in ("binary", "file", "generated") and not isinstance(value, dict):
                assert is_hit(reads[1])


def test_distinguishes_stored_values_is_false_for_uncertain_fields():
    """A write to such a field counts as a change."""
    uncertain = {
        field.name
        for field in Every._meta.concrete_fields
        if not field_traits.distinguishes_stored_values(field, connection.vendor)
    }
    assert uncertain == UNCERTAIN & set(FIELDS)
    assert not any(field_traits.distinguishes_stored_values(field, "oracle") for field in Every._meta.concrete_fields)


def test_expressions_of_django_that_store_unusual_values_are_seen(store):
    """Values that are displayed differently can be stored without raw SQL."""
    for name, expression in {
        "integer": F("integer") * 1.5,
        "boolean": Cast(F("integer") + 1, Every._meta.get_field("integer")),
        "date": Now(),
        "moment": Now(),
        "span": F("span") * 1.5,
        "json": Value(None, JSONField()),
        "real": Value(-0.0, output_field=FloatField()),
    }.items():
        # These databases, or Django on them, do not support the expression.
        if (services.DATABASE, name) in (("postgresql", "boolean"), ("mariadb", "span")):
            continue
        Every.objects.all().delete()
        Every.objects.create(integer=3, span=datetime.timedelta(microseconds=3), date=None)
        Every.objects.create(integer=1, span=datetime.timedelta(microseconds=1), date="2020-01-01")
        reads = reads_of(name)
        check(name, reads)
        Every.objects.update(**{name: expression})
        check(name, reads)
        reads = reads_of(name)
        check(name, reads)
        for row in Every.objects.nocache():
            row.note = "x"
            outcome(row.save)
            check(name, reads)
            setattr(row, name, expression)
            row.save()
            check(name, reads)
        Every.objects.all().delete()
        check(name, reads)


def test_a_foreign_key_to_a_field_with_odd_values_is_invalidated(store):
    """The writes go to the table with the key and to the table that it refers to."""
    odd = {
        "sqlite": {"day": "'20200102'", "span": "86400000000.5"},
        "postgresql": {"span": "'24 hours'"},
        "mariadb": {"day": "'0000-00-00'"},
    }[services.DATABASE]
    for name, text in odd.items():
        Known.objects.all().delete()
        Knowing.objects.all().delete()
        known = Known.objects.create(day=datetime.date(2020, 1, 2), span=datetime.timedelta(days=1))
        Knowing.objects.create(by_day_id=known.day, by_span_id=known.span)
        of = Known.objects.filter(**{name: OuterRef(f"by_{name}")})
        reads = [
            lambda name=name, known=known: Known.objects.filter(**{name: getattr(known, name)}).count(),
            lambda name=name, known=known: Known.objects.get(**{name: getattr(known, name)}).text,
            lambda name=name, known=known: Knowing.objects.filter(**{f"by_{name}": getattr(known, name)}).count(),
            lambda name=name: list(Knowing.objects.filter(**{f"by_{name}__text": ""}).values_list("pk", flat=True)),
            lambda name=name: [each.pk for each in Knowing.objects.select_related(f"by_{name}").all()],
            lambda of=of: Knowing.objects.filter(Exists(of)).count(),
        ]
        check(name, reads)
        for write in (
            lambda name=name, text=text: Knowing.objects.update(**{f"by_{name}": sql(text)}),
            lambda: [each.save() for each in Knowing.objects.nocache()],
            lambda name=name, text=text: Known.objects.update(**{name: sql(text)}),
            lambda: [each.save() for each in Known.objects.nocache()],
            lambda name=name, text=text: Known.objects.update(**{name: sql(text)}),
            lambda: Known.objects.all().delete(),
        ):
            outcome(write)
            check(name, reads)
