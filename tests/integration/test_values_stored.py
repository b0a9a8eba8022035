"""What is stored is not what is shown: by fields of somebody else's, and by databases that know no zones."""

import datetime
import uuid

import pytest
from django.db import connections

from cacheops_lite import conf
from tests.integration.checks import changed
from tests.property.differential import uncached
from tests.rich.models import Mark, Marking, Sample
from tests.shop.models import Product

pytestmark = pytest.mark.django_db(transaction=True)

ID = uuid.UUID(int=2**127 + 1)


def save(row, **values):
    changed(row, **values).save()


def test_bytes_behind_a_uuid(store):
    """A field of somebody else's, which stores what it is not."""
    mark = Mark.objects.create(code="m-1", ident=ID)
    by_ident = [lambda value=value: Mark.objects.filter(ident=value).count() for value in (ID, str(ID), ID.hex)]
    got = lambda: Mark.objects.get(code="m-1").ident
    assert ([read() for read in by_ident], got()) == ([1, 1, 1], ID)
    save(mark, ident=uuid.UUID(int=1))
    assert ([read() for read in by_ident], got()) == ([0, 0, 0], uuid.UUID(int=1))
    Mark.objects.update(ident=ID.hex)
    assert ([read() for read in by_ident], got()) == ([1, 1, 1], ID)


def test_a_save_of_what_was_read_otherwise_than_it_was_stored_is_seen(store):
    """Old and new value are equal where a field makes them so, and the stored ones differ."""
    reads = [lambda text=text: Mark.objects.filter(tidy=text).count() for text in (" x", "x")]
    Mark.objects.create(code="1", tidy=" x")
    assert [read() for read in reads] == [1, 0]
    Mark.objects.get(pk="1").save()
    assert [read() for read in reads] == [0, 1]
    Mark.objects.update(tidy=" x")
    assert [read() for read in reads] == [1, 0]
    save(Mark.objects.get(pk="1"), text="new")
    assert [read() for read in reads] == [0, 1]


def test_a_key_that_is_stored_otherwise_than_it_is_shown(store):
    """By itself, through foreign keys, in joined rows that came back, in related managers."""
    one, two = Mark.objects.create(code="m-1", text="1"), Mark.objects.create(code="2", text="2")
    Marking.objects.create(mark=one, text="of one")
    reads = [
        lambda: Mark.objects.get(code="m-1").text,
        lambda: Mark.objects.get(pk="2").text,
        lambda: [each.mark and each.mark.text for each in Marking.objects.select_related("mark")],
        lambda: [each.mark and each.mark.text for each in Marking.objects.filter(mark="1").select_related("mark")],
        lambda: [each.mark and each.mark.text for each in Marking.objects.all()],
        lambda: [each.mark and each.mark.text for each in Marking.objects.prefetch_related("mark")],
        lambda: list(Marking.objects.values_list("mark", "mark__text")),
        lambda: [each.text for each in Mark.objects.get(pk="1").markings.all()],
        lambda: Marking.objects.filter(mark="m-2").count(),
        lambda: Marking.objects.filter(mark__text="2").count(),
        lambda: sorted(Mark.objects.in_bulk(["m-1", "2", "no"])),
        lambda: [sorted(m.text for m in each.markings.all()) for each in Mark.objects.prefetch_related("markings")],
    ]
    marking = Marking.objects.nocache()
    writes = [
        lambda: save(one, text="3"),
        lambda: save(two, text="4"),
        lambda: Mark.objects.filter(pk="1").update(text="5"),
        lambda: save(marking.get(), mark=two),
        lambda: save(two, text="6"),
        lambda: Marking.objects.update(mark=one),
        lambda: save(marking.get(), text="7"),
        lambda: Marking.objects.bulk_create([Marking(mark_id="2", text="8")]),
        two.delete,
        lambda: save(marking.get(), mark=None),
    ]
    for number, write in enumerate(writes):
        [read_or_error(read) for read in reads]
        write()
        cached = [read_or_error(read) for read in reads]
        assert cached == uncached(lambda: [read_or_error(read) for read in reads]), number


def read_or_error(read):
    try:
        return read()
    except Mark.DoesNotExist:
        return Mark.DoesNotExist


@pytest.fixture
def berlin(monkeypatch):
    """A database that keeps times of Berlin, without their zone."""
    connection = connections["default"]
    if connection.features.supports_timezones:
        pytest.skip("it knows zones")

    def forget():
        for name in ("timezone", "timezone_name"):
            connection.__dict__.pop(name, None)
        connection.close()
        # It is asked once, as a setting that stays.
        conf.forget_derived("CACHEOPS_SKIP_FIELDS")

    monkeypatch.setitem(connection.settings_dict, "TIME_ZONE", "Europe/Berlin")
    forget()
    yield
    monkeypatch.undo()
    forget()


def test_two_instants_that_are_stored_as_one(store, berlin):
    """An hour apart, when clocks are turned back."""
    instants = [datetime.datetime(2026, 10, 25, hour, 30, tzinfo=datetime.timezone.utc) for hour in (0, 1)]
    reads = [lambda instant=instant: Sample.objects.filter(moment=instant).count() for instant in instants]
    row = Sample.objects.create()
    assert [read() for read in reads] == [0, 0]
    save(row, moment=instants[1])
    assert [read() for read in reads] == [1, 1]
    Sample.objects.update(moment=None)
    assert [read() for read in reads] == [0, 0]
    Sample.objects.bulk_create([Sample(moment=instants[0])])
    assert [read() for read in reads] == [1, 1]


def test_a_get_follows_a_change_of_the_time_zone_settings(store, settings):
    """Projects override these settings in tests; converters composed before would make the other kind of datetimes."""
    for use_tz in (True, False, True):
        settings.USE_TZ = use_tz
        moment = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.timezone.utc if use_tz else None)
        product = Product.objects.create(sku=f"tz {use_tz}", added=moment)
        for _ in range(2):
            found = Product.objects.get(pk=product.pk)
            assert found.added == moment
            # This reads the before image.
            found.save()
        product.delete()
