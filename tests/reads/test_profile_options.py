"""The profile option ``cache_on_save``; ``near`` and ``local_get`` have tests of their own."""

import pytest
from django.db import connection, transaction

from tests.shop.models import Label

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def label(store):
    return Label.objects.create(text="old")


@pytest.mark.parametrize(("option", "condition"), [(True, "pk"), ("text", "text")])
@pytest.mark.parametrize("in_transaction", [False, True])
def test_cache_on_save_caches_a_saved_object(settings, queries, option, condition, in_transaction):
    """It is read by its primary key or by the field that the profile names, after the commit."""
    settings.CACHEOPS = {"shop.*": {"ops": "get", "timeout": 60, "cache_on_save": option}}
    if in_transaction:
        with transaction.atomic():
            label = Label.objects.create(text="new")
    else:
        label = Label.objects.create(text="new")
    label.text = "newer"
    label.save()
    with queries() as ran:
        assert Label.objects.get(**{condition: getattr(label, condition)}).text == "newer"
    assert len(ran) == 0


def test_cache_on_save_does_not_cache_an_object_that_was_rolled_back(settings):
    settings.CACHEOPS = {"shop.*": {"ops": "get", "timeout": 60, "cache_on_save": True}}
    with transaction.atomic():
        label = Label.objects.create(text="new")
        transaction.set_rollback(True)
    with pytest.raises(Label.DoesNotExist):
        Label.objects.get(pk=label.pk)
    assert connection.get_autocommit()
