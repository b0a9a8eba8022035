"""`manage.py cacheops` looks into the cache."""

import ast
import io
import json
import re

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings

from cacheops_lite.observe import counters
from tests.shop.models import Category, Label, Product

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


def test_stats_show_reads_by_reason_and_writes():
    counters.take()
    label = Label.objects.create(text="a")
    for _ in range(3):
        Label.objects.get(pk=label.pk)
    list(Label.objects.nocache())
    label.save()
    text = output("stats", "--minutes", "5")
    assert re.search(r"shop\.Label +get +2 +1 +0 +66\.67 .*not-stored 1", text), text
    assert re.search(r"shop\.Label +fetch +0 +0 +1 +- .*nocache 1", text), text
    found = json.loads(output("stats", "--json"))
    (get,) = [each for each in found["reads"] if each["operation"] == "get"]
    assert (get["hits"], get["misses"], get["reasons"]) == (2, 1, {"not-stored": 1})
    assert found["writes"][0]["label"] == "shop.Label"


def test_stats_can_be_watched_until_interrupted(monkeypatch):
    printed = []

    def interrupt(seconds):
        printed.append(seconds)
        if len(printed) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("cacheops_lite.management.subcommands.stats.time.sleep", interrupt)
    assert output("stats", "--watch").count("Writes") == 2


def test_ls_and_show_tell_what_is_cached():
    Label.objects.create(text="a")
    list(Label.objects.filter(text="a"))
    Category.objects.count()
    (listed,) = json.loads(output("ls", "shop.Label", "--json"))
    assert (listed["label"], listed["operation"]) == ("shop.Label", "fetch")
    assert "shop.Category" in output("ls")
    assert "shop.Category" not in output("ls", "label")
    text = output("show", listed["key"])
    assert "result of:   fetch of shop.Label" in text
    assert "valid:       yes" in text
    assert 'FROM "shop_label"' in text or "FROM `shop_label`" in text
    assert "shop_label: rows where text = a" in text
    assert json.loads(output("show", listed["key"], "--json"))["is_valid"] is True
    with pytest.raises(CommandError, match="Nothing is stored under 'nothing'"):
        output("show", "nothing")


def test_top_adds_up_memory_and_sorts():
    Label.objects.bulk_create(Label(text=str(number) * 20) for number in range(100))
    list(Label.objects.all())
    Label.objects.count()
    found = json.loads(output("top", "--json"))
    assert (found["values"], found["is_sample"], found["values_by_label"]) == (2, False, {"shop.Label": 2})
    sizes = [each["size"] for each in found["largest_results"]]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == found["bytes_by_label"]["shop.Label"]
    assert json.loads(output("top", "--sample", "1", "--json"))["is_sample"] is True
    assert re.search(r"shop\.Label +2 +[\d,]+", output("top"))


def test_verify_finds_a_difference_that_another_program_made():
    """The exit status says so; a sample of 1 of another model does not find it."""
    label = Label.objects.create(text="a")
    Label.objects.get(pk=label.pk), Category.objects.count()
    assert json.loads(output("verify", "--json"))["verdicts"] == {
        "same": 2,
        "different": 0,
        "no longer valid": 0,
        "not comparable": 0,
    }
    with connection.cursor() as cursor:
        cursor.cursor.execute("UPDATE shop_label SET text = 'planted'")
    assert re.search(r"same +1", output("verify", "--label", "shop.Category"))
    stream = io.StringIO()
    with pytest.raises(CommandError, match="1 cached results differ") as raised:
        call_command("cacheops", "verify", "--sample", "50", stdout=stream)
    assert raised.value.returncode == 1
    assert re.search(r"different +1", stream.getvalue())
    assert "get of shop.Label" in stream.getvalue()


def test_advise_suggests_what_the_counters_say():
    counters.take()
    profiles = {"shop.product": {"ops": {"count"}, "timeout": 60}, "shop.label": {"ops": "all", "timeout": 60}}
    with override_settings(CACHEOPS=profiles, CACHEOPS_DEFAULTS={}):
        for number in range(25):
            list(Product.objects.select_related("category").nocache())
            list(Product.objects.all())
            Category.objects.filter(name="x").exists()
            Label.objects.filter(text=str(number)).count()
        list(Product.objects.select_related("category").cache())
        text = output("advise")
        found = json.loads(output("advise", "--json"))["CACHEOPS"]
    assert "Add shop.Category: 1 times fetch of shop.Product was not cached because it joins shop.Category" in text
    assert "Add fetch of shop.Product: 25 reads went to the database, with 0 writes." in text
    assert "Add exists of shop.Category" in text
    assert "Drop count of shop.Label: 0 hits and 25 misses" in text
    assert found["shop.product"] == {"ops": ["count", "fetch"], "timeout": 60}
    assert found["shop.category"] == {"ops": ["exists"], "timeout": 600}
    assert "count" not in found["shop.label"]["ops"]
    # What is printed can be pasted into settings.
    assert ast.literal_eval(text[text.index("CACHEOPS = ") + 11 :]) == found


def test_redis_that_is_away_is_one_clear_error():
    with override_settings(CACHEOPS_REDIS="redis://127.0.0.1:1/0", CACHEOPS_CLIENT_CLASS=None):
        for name in ("stats", "ls", "top", "verify", "advise"):
            with pytest.raises(CommandError, match=r"Redis can't be asked: .*which CACHEOPS_REDIS names"):
                output(name)


def test_other_commands_without_redis_are_one_clear_error_too():
    """What was asked for by hand is never reported as done."""
    with override_settings(CACHEOPS_REDIS="redis://127.0.0.1:1/0", CACHEOPS_CLIENT_CLASS=None):
        for command in (("invalidate", "all"), ("invalidate", "shop.Label"), ("reapconjs",)):
            with pytest.raises(CommandError, match="which CACHEOPS_REDIS names"):
                call_command(*command)


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_numbers_are_checked(number):
    with pytest.raises(CommandError, match="should be a whole number, 1 or more"):
        output("stats", f"--minutes={number}")


def test_tables_are_drawn_by_rich_on_a_terminal():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    list(Label.objects.all())
    terminal = Terminal()
    call_command("cacheops", "ls", stdout=terminal, stderr=Terminal())
    assert "┃" in terminal.getvalue()
    assert "shop.Label" in terminal.getvalue()
