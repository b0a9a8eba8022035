"""Values that are stored, or shown, otherwise than instances hold them: no write of one is told as what it is not."""

import datetime
from decimal import Decimal

import pytest
from django.conf import settings as django_settings
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.models import Count
from django.test import override_settings
from django.utils import timezone, translation

from cacheops_lite.schema import columns, field_traits
from tests.rich.models import Sample
from tests.shop.fields import ShoutingText
from tests.shop.models import Attached, Category, Document, Odd, Page, Rough

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]


def check(read, write):
    """What was read before the write is not read after it, unless it is true."""
    read()
    read()
    write()
    with override_settings(CACHEOPS_ENABLED=False):
        true = read()
    assert read() == read() == true


def keys(model, **conditions):
    return lambda: sorted(model.objects.filter(**conditions).values_list("pk", flat=True))


def create(model, **values):
    return lambda: model.objects.create(**values)


def save(instance, **values):
    def write():
        for name, value in values.items():
            setattr(instance, name, value)
        instance.save()

    return write


def bulk_create(model, **values):
    return lambda: model.objects.bulk_create([model(**values)])


def update(model, **values):
    return lambda: model.objects.update(**values)


# A field, what is written, and what the database may make of it.
CHANGES = {
    "rounded up": (Sample, "amount", Decimal("0.125"), ["0.12", "0.13", "0.125"]),
    "rounded to the even one": (Sample, "amount", Decimal("0.135"), ["0.13", "0.14", "0.135"]),
    "of a float": (Sample, "amount", 0.145, ["0.14", "0.15", "0.145"]),
    "with an exponent": (Sample, "long_amount", Decimal("5E-11"), ["0", "1E-10", "5E-11"]),
    "of too many spaces": (Category, "name", f"{'x' * 50}  ", ["x" * 50, f"{'x' * 50}  "]),
    "by a placeholder": (Odd, "lower", "ABC", ["abc", "ABC"]),
    "shown otherwise": (Odd, "shown", "ABC", ["abc", "ABC"]),
    "a hash": (Odd, "hashed", "abc", ["abc", "ABC"]),
    "by another field": (Odd, "note", "mine", ["mine", "noted", ""]),
    "equal by itself": (Odd, "shouting", ShoutingText("abc"), ["abc", "ABC"]),
}


@pytest.mark.parametrize(("model", "name", "value", "conditions"), CHANGES.values(), ids=CHANGES)
def test_whatever_is_made_of_a_value_is_seen(model, name, value, conditions):
    """When it comes, in each way that it can come."""
    reads = [keys(model, **{name: condition}) for condition in conditions]
    reads.append(lambda: sorted(map(repr, model.objects.values_list("pk", name))))
    writes = [create(model, **{name: value}), bulk_create(model, **{name: value})]
    writes.append(save(model.objects.create(), **{name: value}))
    writes.append(update(model, **{name: value}))
    for write in writes:
        check(lambda: [read() for read in reads], write)


@pytest.mark.parametrize(("model", "name", "value", "conditions"), CHANGES.values(), ids=CHANGES)
def test_whatever_was_made_of_a_value_is_seen_to_go(model, name, value, conditions):
    """Also where an instance was read, and so holds what is shown."""
    reads = [keys(model, **{name: condition}) for condition in conditions]
    for write in (
        lambda: model.objects.get().save(),
        lambda: model.objects.get().delete(),
        lambda: model.objects.all().delete(),
        lambda: model.objects.filter(pk__gt=0)._raw_delete("default"),
        update(model, **{name: type(value)("1")}),
        lambda: model.objects.bulk_update([model.objects.get()], [name]),
    ):
        model.objects.all().delete()
        model.objects.create(**{name: value})
        check(lambda: [read() for read in reads], write)


def test_decimals_without_places_are_told_apart_by_theirs(monkeypatch):
    """1.0 and 1.00 are equal, and a column that keeps the places shows which it is."""
    amount = Sample._meta.get_field("amount")
    assert field_traits.has_fixed_scale(amount)
    monkeypatch.setattr(amount, "decimal_places", None)
    assert not field_traits.has_fixed_scale(amount)


@pytest.mark.parametrize("use_tz", [True, False])
def test_naive_times_have_no_token_where_the_database_knows_zones(use_tz):
    """What they are there depends on the connection's zone: skipped hours, repeated ones."""
    columns.tokenizer.cache_clear()
    with override_settings(USE_TZ=use_tz):
        moment = Sample._meta.get_field("moment")
        has_token = columns.token(moment, "postgresql", datetime.datetime(2026, 1, 1)) is not None
        assert has_token is use_tz is field_traits.distinguishes_instants(moment, "postgresql")
    columns.tokenizer.cache_clear()


def test_a_join_of_a_number_and_its_text_is_seen_from_both_ends():
    """A condition on one is none on the other, whose tokens are of another kind."""
    odd = Odd.objects.create()
    reads = [
        lambda: sorted(Odd.objects.filter(pk=odd.pk, attached__text="x").values_list("pk", flat=True)),
        lambda: list(Odd.objects.filter(pk=odd.pk).annotate(n=Count("attached")).values_list("n")),
        lambda: list(Attached.objects.filter(object_id=str(odd.pk)).values_list("text")),
    ]
    if connection.vendor == "postgresql":
        # It compares no number with a text.
        reads = reads[2:]
    for write in (
        lambda: Attached.objects.create(of=odd, text="x"),
        lambda: Attached.objects.get().delete(),
        lambda: Attached.objects.bulk_create(
            [Attached(content_type=ContentType.objects.get_for_model(Odd), object_id=f"0{odd.pk}", text="x")]
        ),
    ):
        check(lambda: [read() for read in reads], write)


def test_two_models_of_one_table_see_each_other_s_writes():
    """Though to one of them a number is another one."""
    reads = [keys(Rough, number=3.0), keys(Odd, number=3)]
    for write in (create(Odd, number=3), update(Odd, number=2), update(Rough, number=3.0)):
        check(lambda: [read() for read in reads], write)


def test_what_fields_show_by_language_and_zone_is_cached_for_each():
    """By a get and by a list."""
    Page.objects.bulk_create([Page(title={"en": "Hello", "de": "Hallo"}, at=timezone.now())])
    found = set()
    for language, zone in (("en", "UTC"), ("de", "UTC"), ("de", "Asia/Tokyo")) * 2:
        with translation.override(language), timezone.override(zone):
            with override_settings(CACHEOPS_ENABLED=False):
                true = [(each.pk, each.title, each.at) for each in Page.objects.all()]
            key = true[0][0]
            assert [(each.pk, each.title, each.at) for each in Page.objects.all()] == true
            got = Page.objects.get(pk=key)
            assert [(got.pk, got.title, got.at)] == true
            assert list(Page.objects.values_list("pk", "title", "at")) == true
            found.add(true[0])
    assert len(found) == 3
    assert django_settings.USE_TZ


def test_what_an_instance_takes_from_its_values_is_there_the_next_time():
    """It changes them in place as it is made."""
    Document.objects.bulk_create([Document()])
    with connection.cursor() as cursor:
        cursor.execute("""UPDATE shop_document SET facts = '{"kind": "report"}'""")
    (key,) = Document.objects.nocache().values_list("pk", flat=True)
    for _ in range(3):
        assert Document.objects.get(pk=key).kind == "report"
        assert [each.kind for each in Document.objects.all()] == ["report"]
