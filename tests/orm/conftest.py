"""Fixtures of prefetches: rows to prefetch, and Django's own way to do it."""

import pytest
from django.apps import apps
from django.core.management.color import no_style
from django.db import connection

from tests.property.population import drop_views, populate
from tests.rich.models import Item, Mark, Owner, Tag, Venue
from tests.shop.models import Branch, Category
from tests.support.fast_paths import switched


@pytest.fixture
def rows(store):
    """The rows of the rich schema, and enough of each model that its prefetches are assembled."""
    populate()
    drop_views()
    continue_keys()
    for number in range(4):
        Item.objects.create(title=f"t{number}", code=f"c{number}", owner_id=1, place_id=1 + number % 2, nick_id="x")
    for number in range(4):
        Mark.objects.create(code=f"m-own{number}").markings.create(text=f"{number}")
        Venue.objects.create(name=f"venue {number}").events.create(day="2026-01-01")
        Category.objects.create(name=f"c{number}", parent=Category.objects.first()).products.create(sku=f"s{number}")
    for number in range(3):
        Branch.objects.create(name=f"b{number}", parent=Branch.objects.first())
    for item in Item.objects.all():
        item.tags.add(*Tag.objects.order_by("pk")[: item.pk % 3])
        item.helpers.add(1 + item.pk % 3)
        item.steps.create(text="s")
        item.remarks.create(text="r")
    for owner in Owner.objects.all():
        owner.friends.add(1)
        owner.follows.add(2)
    yield
    drop_views()


def continue_keys():
    """Let new rows have other keys than those that were inserted with theirs."""
    models = [model for model in apps.get_app_config("rich").get_models() if model._meta.managed]
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), models):
            cursor.execute(statement)


@pytest.fixture
def by_django(monkeypatch):
    """Return a function that returns the result of another one, with Django's own prefetches."""

    def result(function):
        with monkeypatch.context() as patched:
            patched.setattr(*switched("prefetched querysets", False))
            return function()

    return result
