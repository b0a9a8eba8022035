"""A release of the application that changes a field does not read results that the previous release cached."""

import json

import pytest

from cacheops_lite.query import plan_cache, read_identity
from cacheops_lite.reads import row_keys
from tests.property.differential import uncached
from tests.shop.models import Product, Warranty

pytestmark = pytest.mark.django_db(transaction=True)


class Reversed(json.JSONDecoder):
    """Reverses lists."""

    def decode(self, text):
        return super().decode(text)[::-1]


@pytest.fixture
def deploy(monkeypatch):
    """Return a function that simulates a deployment: it changes a field and clears the caches about fields."""

    def deploy(field, **attributes):
        for name, value in attributes.items():
            monkeypatch.setattr(field, name, value)
        forget_fields()

    def forget_fields():
        read_identity._model_field_identity.cache_clear()
        read_identity.model_layout.cache_clear()
        row_keys.forget()
        plan_cache.forget_plans()

    yield deploy
    forget_fields()


def test_a_changed_json_decoder_applies_to_all_kinds_of_reads(store, deploy):
    """By get(), in lists, in values, through joins and in raw queries."""
    product = Product.objects.create(sku="x", facts=[1, 2])
    Warranty.objects.create(product=product, months=1)
    reads = [
        lambda: Product.objects.get(pk=product.pk).facts,
        lambda: Product.objects.get(sku="x").facts,
        lambda: [each.facts for each in Product.objects.all()],
        lambda: list(Product.objects.values_list("facts", flat=True)),
        lambda: [each.product.facts for each in Warranty.objects.select_related("product")],
        lambda: list(Warranty.objects.values_list("product__facts", flat=True)),
        lambda: [each.facts for each in Product.objects.raw("SELECT * FROM shop_product").cache()],
    ]
    before = uncached(lambda: [read() for read in reads])
    assert [read() for read in reads] == before
    deploy(Product._meta.get_field("facts"), decoder=Reversed)
    after = uncached(lambda: [read() for read in reads])
    assert after != before
    assert [read() for read in reads] == after
