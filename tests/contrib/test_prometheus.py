"""Prometheus metrics say what became of reads, and what writes invalidated."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import override_settings
from prometheus_client import CollectorRegistry, generate_latest

from cacheops_lite import cached_as, invalidate_all
from cacheops_lite.contrib import labels, prometheus
from cacheops_lite.observe import Bypass, Reason, decisions, invalidations
from tests.shop.models import Category, Label, Product

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def registry(store):
    registry = CollectorRegistry()
    prometheus.install(registry)
    yield registry
    prometheus.uninstall()


def value(registry, name, **labels):
    return registry.get_sample_value(name, labels) or 0


def test_reads_are_counted_by_model_operation_outcome_and_reason(registry):
    for _ in range(3):
        Label.objects.count()
    list(Label.objects.nocache())
    reads = partial(value, registry, "cacheops_reads_total", model="shop.Label")
    assert reads(operation="count", outcome="miss", reason="not-stored") == 1
    assert reads(operation="count", outcome="hit", reason="hit") == 2
    assert reads(operation="fetch", outcome="bypass", reason="nocache") == 1
    assert value(registry, "cacheops_read_seconds_count", outcome="hit") == 2
    assert value(registry, "cacheops_read_seconds_count", outcome="miss") == 1
    assert value(registry, "cacheops_read_seconds_count", outcome="bypass") == 0


def test_hits_count_the_seconds_that_they_save(registry):
    decision = decisions.Decision("fetch", Label, Reason.HIT, seconds=0.25, compute_seconds=1.0)
    decisions.publish(decision)
    slow = decisions.Decision("fetch", Label, Reason.HIT, seconds=2.0, compute_seconds=1.0)
    decisions.publish(slow)
    saved = value(registry, "cacheops_saved_seconds_total", model="shop.Label", operation="fetch")
    assert saved == 0.75


def test_functions_are_counted_by_their_names(registry):
    @cached_as(Label)
    def total():
        return 1

    total()
    name = f"{__name__}.{total.__qualname__}"
    assert value(registry, "cacheops_reads_total", model=name, operation="call", outcome="miss", reason="not-stored")


def test_writes_and_what_they_invalidate_are_counted_by_model(registry):
    pens = Category.objects.create(name="pens")
    list(Category.objects.all())
    Product.objects.create(sku="pen", category=pens)
    pens.name = "quills"
    pens.save()
    writes = partial(value, registry, "cacheops_writes_total", operation="save")
    assert (writes(model="shop.Category"), writes(model="shop.Product")) == (2, 1)
    assert value(registry, "cacheops_invalidated_dependencies_total", model="shop.Category") > 0
    assert value(registry, "cacheops_invalidated_dependencies_total", model="shop.Product") == 0


def test_statements_of_the_application_are_counted_for_the_model_of_their_table(registry):
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_label SET text = 'b'")
    invalidate_all()
    assert value(registry, "cacheops_writes_total", model="shop.Label", operation="SQL") == 1
    assert value(registry, "cacheops_writes_total", model="other", operation="invalidate_all") == 1


def test_labels_have_neither_keys_nor_values(registry, monkeypatch):
    """And there are not more of them than the code has functions."""
    Label.objects.create(text="secret-text")
    list(Label.objects.filter(text="secret-text"))
    anonymous = partial(print, "secret-argument")
    decisions.publish_bypass("call", None, Bypass(Reason.NOCACHE, "secret-detail"), func=anonymous)
    assert labels.read_label(decisions.Decision("call", None, Reason.HIT, func=anonymous)) == "other"
    monkeypatch.setattr(labels, "MAX_FUNCTIONS", 0)
    assert labels.read_label(decisions.Decision("call", None, Reason.HIT, func=lambda: 0)) == "other"
    text = generate_latest(registry).decode()
    assert 'model="shop.Label"' in text
    assert "secret" not in text
    assert "cacheops:" not in text


def test_uninstall_stops_everything(store):
    registry = CollectorRegistry()
    prometheus.install(registry)
    prometheus.install(registry)
    prometheus.uninstall()
    prometheus.uninstall()
    assert not decisions.is_observed()
    assert not invalidations.is_observed()
    assert not list(registry.collect())
    Label.objects.count()
    # It can be installed again.
    prometheus.install(registry)
    prometheus.uninstall()


def test_a_missing_package_is_an_error_that_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ImproperlyConfigured, match=r"pip install cacheops_lite\[prometheus\]"):
        prometheus.install()
    assert not decisions.is_observed()


def test_the_app_installs_the_metrics_and_nothing_else_does(store):
    assert not decisions.is_observed()
    with override_settings(INSTALLED_APPS=["cacheops_lite.contrib.prometheus"]):
        assert decisions.is_observed()
        assert invalidations.is_observed()
        prometheus.uninstall()


READER = """
import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "cacheops_lite", "cacheops_lite.contrib.prometheus"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    CACHEOPS_CLIENT_CLASS="fakeredis.FakeRedis",
    CACHEOPS={"contenttypes.*": {"ops": "all", "timeout": 60}},
    # After a fork there are two databases in memory, which would have names of their own.
    CACHEOPS_DATABASE_NAMES={"default": "one"},
)
django.setup()
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command

call_command("migrate", verbosity=0)
for _ in range(3):
    ContentType.objects.filter(app_label="x").count()
"""
FORKING = """
import os

child = os.fork()
ContentType.objects.filter(app_label="x").count()
if child:
    os.waitpid(child, 0)
"""
SCRAPED = """
from prometheus_client import CollectorRegistry, generate_latest, multiprocess

registry = CollectorRegistry()
multiprocess.MultiProcessCollector(registry)
print(generate_latest(registry).decode())
"""


def run(code, folder):
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_metrics_of_several_processes_add_up(tmp_path):
    """Those of processes that ended, and of children of a process that counted before."""
    run(READER, tmp_path)
    run(READER + FORKING, tmp_path)
    text = run(SCRAPED, tmp_path)
    samples = [line.rpartition(" ") for line in text.split("\n") if line and not line.startswith("#")]
    counts = {name: float(number) for name, _, number in samples}
    reads = 'cacheops_reads_total{model="contenttypes.ContentType",operation="count",outcome="%s",reason="%s"}'
    assert counts[reads % ("miss", "not-stored")] == 2
    assert counts[reads % ("hit", "hit")] == 2 + 2 + 2
    assert counts['cacheops_read_seconds_count{outcome="hit"}'] == 6
