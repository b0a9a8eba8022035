"""Spans and metrics for OpenTelemetry say what became of reads, and what writes invalidated."""

import sys
import time

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.test import override_settings
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv.attributes import code_attributes, db_attributes
from opentelemetry.trace import SpanKind

from cacheops_lite import cached_as
from cacheops_lite.contrib import opentelemetry
from cacheops_lite.contrib.opentelemetry import attributes
from cacheops_lite.observe import decisions, invalidations
from tests.conftest import run_async
from tests.shop.models import Category, Label, Product

pytestmark = pytest.mark.django_db(transaction=True)


class Telemetry:
    """What was exported."""

    def __init__(self):
        self._exporter, self._reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers, self.meters = TracerProvider(), MeterProvider([self._reader])
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.tracers.get_tracer("tests")

    def spans(self, name=None):
        return [span for span in self._exporter.get_finished_spans() if name is None or span.name == name]

    def points(self, name):
        """Return the data points of a metric, by the values of their attributes."""
        data = self._reader.get_metrics_data()
        metrics = [] if data is None else data.resource_metrics[0].scope_metrics[0].metrics
        return {
            tuple(value for _, value in sorted(point.attributes.items())): point
            for metric in metrics
            if metric.name == name
            for point in metric.data.data_points
        }


@pytest.fixture
def telemetry(store):
    telemetry = Telemetry()
    opentelemetry.install(telemetry.tracers, telemetry.meters)
    yield telemetry
    opentelemetry.uninstall()


def test_a_miss_its_fill_and_a_hit_are_spans_within_the_current_one(telemetry):
    with telemetry.tracer.start_as_current_span("request") as request:
        Label.objects.count()
        Label.objects.count()
    fill, miss, hit, parent = telemetry.spans()
    assert [span.name for span in (fill, miss, hit)] == ["fill shop_label", "count shop_label", "count shop_label"]
    assert miss.parent.span_id == hit.parent.span_id == request.get_span_context().span_id
    assert fill.parent.span_id == miss.context.span_id
    assert parent.start_time <= miss.start_time <= fill.start_time <= fill.end_time <= miss.end_time
    assert miss.end_time <= hit.end_time <= parent.end_time
    assert (miss.attributes["cacheops.outcome"], hit.attributes["cacheops.outcome"]) == ("miss", "hit")
    assert (miss.attributes["cacheops.reason"], hit.attributes["cacheops.reason"]) == ("not-stored", "hit")
    assert miss.attributes["cacheops.fingerprint"] == hit.attributes["cacheops.fingerprint"]
    assert fill.attributes["cacheops.size"] == hit.attributes["cacheops.size"] > 0
    assert all(span.kind is SpanKind.CLIENT for span in (fill, miss, hit))


def test_attributes_are_those_of_the_semantic_conventions(telemetry):
    Label.objects.count()
    _, miss = telemetry.spans()
    assert miss.attributes["db.system.name"] == "redis"
    assert miss.attributes["db.operation.name"] == "count"
    assert miss.attributes["db.collection.name"] == "shop_label"
    assert miss.attributes["code.file.path"] == __file__
    assert miss.attributes["code.line.number"] > 0
    for name in ("DB_SYSTEM_NAME", "DB_OPERATION_NAME", "DB_COLLECTION_NAME", "DB_QUERY_TEXT"):
        assert getattr(attributes, name) == getattr(db_attributes, name)
    for name in ("CODE_FILE_PATH", "CODE_LINE_NUMBER"):
        assert getattr(attributes, name) == getattr(code_attributes, name)


def test_an_invalidation_is_a_span_within_the_one_of_the_write(telemetry):
    label = Label.objects.create(text="a")
    list(Label.objects.all())
    label.text = "b"
    with telemetry.tracer.start_as_current_span("request") as request, transaction.atomic():
        label.save()
    span = telemetry.spans("invalidate shop_label")[-1]
    assert span.parent.span_id == request.get_span_context().span_id
    assert span.attributes["cacheops.model"] == "shop.Label"
    assert span.attributes["cacheops.write"] == "save"
    assert span.attributes["cacheops.invalidated_dependencies"] > 0
    assert 0 < span.end_time - span.start_time < 5e9


def test_functions_have_their_names(telemetry):
    @cached_as(Label)
    def total():
        time.sleep(0.01)
        return 1

    total()
    _, miss = telemetry.spans()
    assert miss.name == f"call {__name__}.{total.__qualname__}"
    assert "db.collection.name" not in miss.attributes
    assert miss.attributes["cacheops.compute_seconds"] >= 0.01
    assert miss.end_time - miss.start_time >= 1e7


def test_a_read_past_the_cache_is_counted_and_has_no_span(telemetry):
    list(Label.objects.nocache())
    assert not telemetry.spans()
    (attributes,) = telemetry.points("cacheops.reads")
    assert attributes == ("shop.Label", "bypass", "nocache", "fetch")


def test_reads_of_async_views_belong_to_their_span(telemetry):
    async def view():
        with telemetry.tracer.start_as_current_span("request") as request:
            await Label.objects.acount()
            await sync_to_async(Label.objects.count)()
        return request

    request = run_async(view())
    found = telemetry.spans("count shop_label")
    assert [span.parent.span_id for span in found] == [request.get_span_context().span_id] * 2


def read_and_write(secret):
    Label.objects.create(text=secret)
    list(Label.objects.filter(text=secret))
    list(Label.objects.filter(text=secret))
    Label.objects.get(text=secret).delete()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_label SET text = 'literal'")

    @cached_as(Label)
    def call(argument):
        return argument

    call(secret)


def attributes_in_words(telemetry):
    return " ".join(str({**span.attributes, "name": span.name}) for span in telemetry.spans())


def test_spans_have_neither_values_nor_sql(telemetry):
    read_and_write("secret")
    found = attributes_in_words(telemetry)
    assert "shop_label" in found
    assert all(each not in found for each in ("secret", "SELECT", "UPDATE", "literal"))
    assert len(telemetry.spans()) > 8


@pytest.mark.parametrize("setting", ["DEBUG", "CACHEOPS_OPENTELEMETRY_SQL"])
def test_sql_is_in_spans_where_it_is_asked_for(telemetry, setting):
    """Values of conditions are not in it."""
    with override_settings(**{setting: True}):
        read_and_write("secret")
    texts = [span.attributes["db.query.text"] for span in telemetry.spans() if "db.query.text" in span.attributes]
    assert {text.split()[0] for text in texts} == {"SELECT", "UPDATE"}
    assert "secret" not in attributes_in_words(telemetry)


def test_metrics_count_reads_writes_and_what_they_invalidate(telemetry):
    pens = Category.objects.create(name="pens")
    for _ in range(3):
        Category.objects.count()
    Product.objects.create(sku="pen", category=pens)
    pens.delete()
    reads = telemetry.points("cacheops.reads")
    assert reads["shop.Category", "hit", "hit", "count"].value == 2
    assert reads["shop.Category", "miss", "not-stored", "count"].value == 1
    assert telemetry.points("cacheops.read.duration")["shop.Category", "hit", "count"].count == 2
    assert telemetry.points("cacheops.writes")["shop.Category", "save"].value == 1
    assert telemetry.points("cacheops.invalidated_dependencies")["shop.Category",].value > 0


def test_a_trace_that_is_not_sampled_costs_no_attributes(store, monkeypatch):
    """Without a provider, OpenTelemetry's spans record nothing."""
    described = []
    opentelemetry.install()
    try:
        monkeypatch.setattr(opentelemetry.spans, "_of_read", described.append)
        Label.objects.count()
    finally:
        opentelemetry.uninstall()
    assert not described


def test_uninstall_stops_everything(store):
    telemetry = Telemetry()
    opentelemetry.install(telemetry.tracers, telemetry.meters)
    opentelemetry.install(telemetry.tracers, telemetry.meters)
    opentelemetry.uninstall()
    opentelemetry.uninstall()
    assert not decisions.is_observed()
    assert not invalidations.is_observed()
    Label.objects.count()
    assert not telemetry.spans()
    assert not telemetry.points("cacheops.reads")


def test_a_missing_package_is_an_error_that_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ImproperlyConfigured, match=r"pip install cacheops_lite\[opentelemetry\]"):
        opentelemetry.install()
    assert not decisions.is_observed()


def test_the_app_installs_the_telemetry_and_nothing_else_does(store):
    assert not decisions.is_observed()
    with override_settings(INSTALLED_APPS=["cacheops_lite.contrib.opentelemetry"]):
        assert decisions.is_observed()
        opentelemetry.uninstall()
