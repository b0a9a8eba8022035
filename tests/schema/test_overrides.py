"""Fields with a custom lookup in place of Django's ``exact``."""

import pytest
from django.db import connection
from django.db.models import CharField
from django.db.models.lookups import Exact
from django.test.utils import register_lookup

from cacheops_lite.schema import overrides
from tests.property.differential import uncached
from tests.rich.models import Mark
from tests.shop.models import Label, Product

pytestmark = pytest.mark.django_db(transaction=True)


class CaseInsensitiveExact(Exact):
    """Compares texts without regard to case."""

    lookup_name = "exact"

    def as_sql(self, compiler, connection):
        left, left_params = self.process_lhs(compiler, connection)
        right, right_params = self.process_rhs(compiler, connection)
        return f"LOWER({left}) = LOWER({right})", [*left_params, *right_params]


@pytest.fixture(params=["class", "field", "late"])
def label(store, request):
    """A label whose text compares case-insensitively: by its class, by its field, or from its second read on."""
    label = Label.objects.create(text="Kim")
    field = Label._meta.get_field("text")
    if request.param == "late":
        Label.objects.get(text="Kim")
    with register_lookup(field if request.param == "field" else CharField, CaseInsensitiveExact):
        yield label


def test_a_custom_exact_lookup_is_recognised():
    """It may be registered on the class or on the field."""
    text, name = Label._meta.get_field("text"), Product._meta.get_field("name")
    assert overrides.compares_like_django(text)
    with register_lookup(text, CaseInsensitiveExact):
        assert not overrides.compares_like_django(text)
        assert overrides.compares_like_django(name)
    with register_lookup(CharField, CaseInsensitiveExact):
        assert not overrides.compares_like_django(text)
        assert not overrides.compares_like_django(name)
    assert overrides.compares_like_django(text)


@pytest.mark.parametrize("text", ["Kim", "kim"])
def test_reads_by_a_value_that_the_lookup_treats_as_equal_are_not_stale(label, text):
    """Gets, filters, counts and conditional updates."""
    reads = [
        lambda: [Label.objects.get(text=text).text],
        lambda: [Label.objects.get(text__exact=text).text],
        lambda: [each.text for each in Label.objects.filter(text=text)],
        lambda: [each.text for each in Label.objects.exclude(text=text)],
        lambda: Label.objects.filter(text=text).count(),
        lambda: Label.objects.filter(text=text).exists(),
    ]
    assert [read() for read in reads] == uncached(lambda: [read() for read in reads])
    label.text = "KIM"
    label.save()
    assert [read() for read in reads] == uncached(lambda: [read() for read in reads])
    assert Label.objects.filter(text="KIm").update(text="kIM") == 1
    assert [read() for read in reads] == uncached(lambda: [read() for read in reads])
    assert [read() for read in reads[:1]] == [["kIM"]]


def test_a_save_by_a_key_that_equals_those_of_other_rows_invalidates_them(store):
    """Django updates all rows that the custom lookup of the key finds."""
    if connection.vendor == "mysql":
        pytest.skip("the database itself treats the keys as equal")
    Mark.objects.bulk_create([Mark(code="kim", text="1"), Mark(code="Kim", text="2"), Mark(code="x", text="3")])
    reads = [
        *(lambda text=text: sorted(Mark.objects.filter(text=text).values_list("pk", flat=True)) for text in "1234"),
        lambda: sorted(Mark.objects.values_list("pk", "text")),
    ]
    rows = {each.pk: each for each in Mark.objects.nocache()}
    with register_lookup(CharField, CaseInsensitiveExact):
        for write in (
            lambda: setattr(rows["m-Kim"], "text", "4") or rows["m-Kim"].save(),
            lambda: Mark.objects.filter(pk="KIM").update(text="1"),
            lambda: rows["m-kim"].delete(),
        ):
            [read() for read in reads]
            write()
            assert [read() for read in reads] == uncached(lambda: [read() for read in reads])
