"""Lazy objects such as ``request.user`` invalidate like the instances that they wrap."""

import pytest
from django.db import connection
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save
from django.utils.functional import SimpleLazyObject

from cacheops_lite import cached_as, invalidate_obj
from tests.shop.models import Label, Product

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]


def change_behind_the_cache(label):
    with connection.cursor() as cursor:
        cursor.cursor.execute("UPDATE shop_label SET text = 'new'")
    label.text = "new"


def send_save_signals(label, **options):
    pre_save.send(Label, instance=label, raw=False, using="default", update_fields=None)
    post_save.send(Label, instance=label, created=False, raw=False, using="default", update_fields=None)


WAYS = {
    "by hand": invalidate_obj,
    "signals": send_save_signals,
    "a signal of deletes": lambda label: post_delete.send(Label, instance=label, using="default", origin=label),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_lazy_object_invalidates_like_its_instance(way):
    Label.objects.create(text="old")
    read = lambda: [each.text for each in Label.objects.all()]
    assert read() == ["old"]
    label = SimpleLazyObject(lambda: Label.objects.nocache().get())
    change_behind_the_cache(label)
    assert read() == ["old"]
    WAYS[way](label)
    assert read() == ["new"]


def test_links_of_lazy_objects_invalidate():
    """This applies to both sides, and to m2m_changed signals that are sent by hand."""
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


def test_cached_as_accepts_lazy_objects():
    """A lazy object can be a sample of ``cached_as`` and an argument of the function."""
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
