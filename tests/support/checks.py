"""Checks that are shared by tests of reads and writes."""

from collections.abc import Callable, Iterator
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.core import serializers

from cacheops_lite import invalidate_all
from tests.conftest import counted_reads
from tests.property.differential import uncached
from tests.property.population import Population
from tests.rich.models import Item, Owner, Place, Venue


def changed(instance, **values):
    """Return `instance` with other values."""
    for name, value in values.items():
        setattr(instance, name, value)
    return instance


def saved(instance, values, **options):
    """Return `instance`, saved with other values."""
    changed(instance, **values).save(**options)
    return instance


def deserialized(instance, **values):
    """Save a copy of an instance with other values, as ``loaddata`` does."""
    for each in serializers.deserialize("json", serializers.serialize("json", [changed(instance, **values)])):
        each.save()


def items(**conditions):
    return Item.objects.filter(**conditions).order_by("pk")


def owners(**conditions):
    return Owner.objects.filter(**conditions).order_by("pk")


def change(model, pk, **values):
    """Save a row with other values."""
    saved(model.objects.nocache().get(pk=pk), values)


def check_each_write_is_seen(read, writes, is_hit):
    """Check that `read` is a hit, and that after each write it returns the new result of the database."""
    # Content types that generic relations look up are not part of any write.
    ContentType.objects.get_for_models(Item, Place, Venue)
    before = uncached(read)
    for number, write in enumerate(writes):
        assert read() == before
        assert is_hit(read)
        write()
        true = uncached(read)
        assert true != before, f"write {number} changes nothing"
        assert read() == true, number
        before = true


def each_by_itself(writes: dict[str, Callable[[], Any]]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the names and the writes; the rows are restored before each, which is faster than one test per write."""
    population = Population()
    for name, write in writes.items():
        population.restore()
        invalidate_all()
        yield name, write


def check_each_changes_some(pool, writes):
    """Check that each write changes the results of `pool`, and that all of them are those of the database."""
    for name, write in each_by_itself(writes):
        before = [read() for read in pool]
        assert [read() for read in pool] == before
        write()
        true = uncached(lambda: [read() for read in pool])
        assert [read() for read in pool] == true, name
        assert true != before, f"{name} changes nothing"


def check_keeps_or_changes(read, restore, write, keeps):
    """Check that a write to the rows that `restore` makes keeps the result of `read`, or changes and invalidates it."""
    restore()
    invalidate_all()
    before = read()
    write()
    true = uncached(read)
    assert (true == before) == keeps, "this write is not what it should be"
    with counted_reads() as counted:
        assert read() == true
    assert bool(counted.misses) == (not keeps)
