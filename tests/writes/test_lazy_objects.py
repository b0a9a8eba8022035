"""``request.user`` and the like: instances that are not there before they are asked for."""

import pytest
from django.db import connection
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save
from django.utils.functional import SimpleLazyObject

from cacheops_lite import cached_as, invalidate_obj
from tests.shop.models import Label, Product

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]


def changed_past_all_that_is_watched(label):
    with connection.cursor() as cursor:
        cursor.cursor.execute("UPDATE shop_label SET text = 'new'")
    label.text = "new"


def sent_by_hand(label, **options):
    pre_save.send(Label, instance=label, raw=False, using="default", update_fields=None)
    post_save.send(Label, instance=label, created=False, raw=False, using="default", update_fields=None)


WAYS = {
    "by hand": invalidate_obj,
    "signals": sent_by_hand,
    "a signal of deletes": lambda label: post_delete.send(Label, instance=label, using="default", origin=label),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_said_of_one_counts(way):
    """As of the instance itself."""
    Label.objects.create(text="old")
    read = lambda: [each.text for each in Label.objects.all()]
    assert read() == ["old"]
    label = SimpleLazyObject(lambda: Label.objects.nocache().get())
    changed_past_all_that_is_watched(label)
    assert read() == ["old"]
    WAYS[way](label)
    assert read() == ["new"]


def test_links_of_one_count():
    """From both sides, also by signals that are sent by hand."""
    Product.objects.create(sku="a")
    Label.objects.create(text="new")
    product = SimpleLazyObject(lambda: Product.objects.nocache().get())
    read = lambda: list(Product.objects.filter(labels__text="new"))
    assert read() == []
    product.labels.add(SimpleLazyObject(lambda: Label.objects.nocache().get()))
    assert read() == [product]
    with connection.cursor() as cursor:
        cursor.cursor.execute("DELETE FROM shop_product_labels")
    keys = {Label.objects.nocache().get().pk}
    m2m_changed.send(
        Product.labels.through,
        action="post_remove",
        instance=product,
        reverse=False,
        model=Label,
        pk_set=keys,
        using="default",
    )
    assert read() == []


def test_a_result_like_one_falls_with_it():
    """As a sample, and as an argument."""
    label = SimpleLazyObject(lambda: Label.objects.nocache().get())
    Label.objects.create(text="old")
    calls = []

    @cached_as(label)
    def text(given):
        calls.append(given)
        return Label.objects.nocache().get().text

    assert [text(label), text(label)] == ["old", "old"]
    Label.objects.update(text="new")
    assert [text(label), text(label)] == ["new", "new"]
    assert len(calls) == 2
