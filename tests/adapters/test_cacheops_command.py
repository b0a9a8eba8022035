"""`manage.py cacheops` looks into the cache."""

import io
import json

import pytest
from django.core.management import CommandError, call_command

from tests.shop.models import Label

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]


def output(*arguments):
    stream = io.StringIO()
    call_command("cacheops", *arguments, stdout=stream)
    return stream.getvalue()


def test_explain_prints_the_report_of_a_queryset():
    expression = "shop.Label.objects.filter(Q(text='a'))"
    assert output("explain", expression).startswith("fetch of shop.Label: miss, no result is stored")
    list(Label.objects.filter(text="a"))
    assert output("explain", expression).startswith("fetch of shop.Label: hit")


def test_explain_prints_json():
    report = json.loads(output("explain", "shop.Label.objects", "--operation", "count", "--json"))
    assert (report["operation"], report["outcome"], report["reason"]) == ("count", "miss", "not-stored")
    assert report["key"].startswith("cacheops:v:")
    assert report["dependencies"] == ["shop_label: any row (columns none)"]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("shop.Lable.objects", "can't be evaluated: AttributeError.*no attribute 'Lable'"),
        ("shop.Label.objects.filter(", "can't be evaluated: SyntaxError"),
        ("1 + 1", "is no queryset"),
    ],
)
def test_what_is_no_queryset_is_a_clear_error(expression, message):
    with pytest.raises(CommandError, match=message):
        output("explain", expression)
