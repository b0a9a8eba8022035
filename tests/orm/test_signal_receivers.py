"""Receivers of Django's signals get cached instances exactly like fetched ones; signals sent by hand invalidate."""

from contextlib import contextmanager

import pytest
from django.db import connection
from django.db.models.signals import m2m_changed, post_delete, post_init, post_save, pre_init

from tests.conftest import counted_reads
from tests.property.differential import uncached
from tests.rich.models import Hall, Item, NewItem, Owner, Step, Tag
from tests.support.checks import changed

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("populated")]


@contextmanager
def received(signal, describe, sender=None):
    """Connect a receiver and yield the list of what `describe` returned for each signal."""
    noted = []

    def receive(**kwargs):
        noted.append(describe(**kwargs))

    signal.connect(receive, sender=sender)
    try:
        yield noted
    finally:
        signal.disconnect(receive, sender=sender)


def described(instance, **kwargs):
    """Return the type, values, state and related objects of an instance as a comparable value."""
    values = {name: value for name, value in vars(instance).items() if not name.startswith("_")}
    related = {name: value and value.pk for name, value in instance._state.fields_cache.items()}
    state = instance._state.adding, instance._state.db, related
    return (
        type(instance),
        values,
        state,
        instance.get_deferred_fields(),
        kwargs.get("created"),
        kwargs.get("update_fields"),
    )


READS = {
    "get": lambda: [Item.objects.get(pk=1)],
    "get by another column": lambda: [Item.objects.get(code="i1")],
    "fetch": lambda: list(Item.objects.filter(title="a").order_by("pk")),
    "first": lambda: [Item.objects.order_by("pk").first()],
    "select_related": lambda: list(Item.objects.select_related("owner__badge", "place").order_by("pk")),
    "prefetch_related": lambda: list(Owner.objects.prefetch_related("items__tags").order_by("pk")),
    "only": lambda: list(Item.objects.only("title").order_by("pk")),
    "defer": lambda: list(Item.objects.defer("title").order_by("pk")),
    "a proxy": lambda: list(NewItem.objects.order_by("pk")),
    "a child": lambda: list(Hall.objects.order_by("pk")),
    "a foreign key": lambda: [Item.objects.get(pk=1).owner],
    "a related manager": lambda: list(Owner.objects.get(pk=1).items.order_by("pk")),
    "in_bulk": lambda: list(Item.objects.in_bulk([1, 2]).values()),
}


@pytest.mark.parametrize("name", READS)
def test_receivers_of_init_signals_get_the_same_for_cached_and_fetched_instances(name):
    """They get the same arguments in the same order, and attributes that they set are kept."""
    read = READS[name]

    def mark(instance, **kwargs):
        instance.marked = dict(vars(instance))

    def arguments(sender, args, kwargs, **more):
        return sender, args, kwargs

    with received(post_init, described) as noted, received(pre_init, arguments) as given:
        fetched = uncached(read)
        expected, expected_arguments = list(noted), list(given)
        read()
        noted.clear(), given.clear()
        with counted_reads() as counted:
            cached = read()
        assert counted.hits
        assert not counted.misses
        assert (noted, given) == (expected, expected_arguments)
        assert [described(each) for each in cached] == [described(each) for each in fetched]
    post_init.connect(mark)
    try:
        assert all(hasattr(each, "marked") for each in read())
    finally:
        post_init.disconnect(mark)


@pytest.mark.parametrize("name", ["get", "fetch", "select_related", "only", "a proxy", "a child", "a related manager"])
def test_receivers_of_post_save_get_the_same_for_cached_and_fetched_instances(name):
    """Saves of cached instances with deferred fields write the same fields."""

    def save():
        with received(post_save, described) as noted:
            for each in READS[name]():
                each.save()
                changed(each, note="x").save(update_fields=["note"])
                changed(each, note="").save()
        return noted

    expected = uncached(save)
    READS[name]()
    with counted_reads() as counted:
        assert save() == expected
    assert counted.hits


def run_without_django(statement, *params):
    """Execute a statement by the driver, without Django's cursors."""
    connection.ensure_connection()
    cursor = connection.connection.cursor()
    cursor.execute(statement.replace("%s", "?") if connection.vendor == "sqlite" else statement, params)
    cursor.close()


def test_signals_sent_by_hand_invalidate():
    """Libraries that write without Django send them."""
    item = Item.objects.nocache().get(pk=1)
    title, steps = lambda: Item.objects.get(pk=1).title, lambda: Item.objects.filter(steps__text="s").count()
    assert (title(), steps()) == ("a", 2)
    run_without_django("UPDATE rich_item SET title = %s WHERE id = 1", "x")
    step = Step.objects.nocache().get(pk=3)
    run_without_django("DELETE FROM rich_step WHERE id = %s", 3)
    assert (title(), steps()) == ("a", 2)
    post_save.send(Item, instance=item, created=False, raw=False, using="default", update_fields=None)
    assert title() == "x"
    post_delete.send(Step, instance=step, using="default", origin=step)
    assert steps() == 1


def test_m2m_changed_sent_by_hand_invalidates_both_sides():
    """django-cacheops does the same."""
    item = Item.objects.nocache().get(pk=1)
    tags = lambda: sorted(item.tags.values_list("pk", flat=True))
    items = lambda: sorted(Tag.objects.get(pk=3).items.values_list("pk", flat=True))
    assert (tags(), items()) == ([1, 2], [])
    run_without_django("INSERT INTO rich_item_tags (item_id, tag_id) VALUES (1, %s)", 3)
    assert (tags(), items()) == ([1, 2], [])
    options = {"reverse": False, "model": Tag, "pk_set": {3}, "using": "default"}
    m2m_changed.send(Item.tags.through, instance=item, action="post_add", **options)
    assert (tags(), items()) == ([1, 2, 3], [1])


def test_links_by_django_s_managers_invalidate_only_the_object_even_with_receivers(is_hit):
    """Django sends ``m2m_changed`` after writes that the cache has already recorded."""
    one, other = Item.objects.order_by("pk")[:2]

    def tags():
        return [each.pk for each in other.tags.all()]

    with received(m2m_changed, lambda action, **kwargs: action, sender=Item.tags.through) as noted:
        tags()
        one.tags.set([3])
        one.tags.clear()
        assert is_hit(tags)
        assert noted
        other.tags.set([3])
    assert tags() == [3]
