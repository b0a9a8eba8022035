"""invalidate_obj(), invalidate_model(), invalidate_all(), the invalidate command, and no_invalidation."""

import asyncio
import threading

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.test import override_settings

from cacheops_lite import invalidate_all, invalidate_model, invalidate_obj, no_invalidation
from cacheops_lite.signals import cache_invalidated
from cacheops_lite.writes.manual import is_active
from tests.shop.models import Category, Customer, Label, Person, Product

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def label(store):
    Label.objects.create(text="other")
    return Label.objects.create(text="text")


def one():
    return Label.objects.filter(text="text").count()


def other():
    return Label.objects.filter(pk=Label.objects.nocache().get(text="other").pk).count()


def categories():
    return Category.objects.count()


@pytest.fixture
def invalidated(is_hit):
    """Return the names of the reads that a step invalidates."""

    def check(step):
        reads = [one, other, categories]
        for read in reads:
            read()
        step()
        return [read.__name__ for read in reads if not is_hit(read)]

    return check


def test_invalidate_obj_invalidates_only_results_that_the_row_can_affect(label, invalidated, settings):
    settings.CACHEOPS_SKIP_FIELDS = ["TextField"]
    assert "other" not in invalidated(lambda: invalidate_obj(label))
    assert "one" in invalidated(lambda: invalidate_obj(label))


def test_invalidate_model_invalidates_its_table_only(invalidated):
    assert invalidated(lambda: invalidate_model(Label)) == ["one", "other"]


def test_invalidate_all_invalidates_all_tables_and_leaves_foreign_keys(invalidated, store):
    """Redis keys of other applications stay."""
    store.set("mine", 1)
    assert invalidated(invalidate_all) == ["one", "other", "categories"]
    assert store.get("mine") == b"1"


def test_invalidate_model_of_a_child_invalidates_its_parents(is_hit):
    """The rows of a child model lie in both tables."""
    count = lambda: Person.objects.count()
    count()
    invalidate_model(Customer)
    assert not is_hit(count)


def test_manual_invalidation_in_a_transaction_happens_at_the_commit(label, invalidated, is_hit):
    """A rollback discards it."""

    def committed():
        with transaction.atomic():
            invalidate_obj(label)
            invalidate_model(Category)

    def rolled_back():
        with transaction.atomic():
            invalidate_model(Label)
            transaction.set_rollback(True)

    assert {"one", "categories"} <= set(invalidated(committed))
    assert invalidated(rolled_back) == []


def test_invalidate_all_in_a_transaction_invalidates_at_once_and_at_the_commit(label):
    """The second time invalidates values of the old state that other processes cached before the commit."""
    assert Label.objects.count() == 2
    with transaction.atomic():
        with no_invalidation:
            Label.objects.create(text="third")
        invalidate_all()
    assert Label.objects.count() == 3


@pytest.mark.parametrize(
    ("function", "argument"),
    [(invalidate_obj, "label"), (invalidate_obj, Label), (invalidate_obj, Label()), (invalidate_model, 5)],
)
def test_an_invalid_argument_raises_type_error(function, argument):
    """The message names what the function takes."""
    with pytest.raises(TypeError, match="takes a"):
        function(argument)


def test_manual_invalidation_sends_cache_invalidated(label):
    """Receivers get the model and the values of the object, or None for the whole model or for all models."""
    received = []

    def note(sender, obj_dict, **kwargs):
        received.append((sender, obj_dict))

    cache_invalidated.connect(note)
    try:
        invalidate_obj(label)
        invalidate_model(Label)
        invalidate_all()
    finally:
        cache_invalidated.disconnect(note)
    assert received == [(Label, {"id": label.pk, "text": "text"}), (Label, None), (None, None)]


def test_no_invalidation_works_as_a_context_manager_and_as_a_decorator(label, invalidated):
    """If nested, it lasts until the outermost one ends."""

    def within():
        with no_invalidation:
            with no_invalidation:
                label.save(force_update=True)
            Label.objects.filter(pk=label.pk).invalidated_update(text="text")
            invalidate_obj(label)
            invalidate_all()
            assert no_invalidation.active

    @no_invalidation
    def decorated():
        Label.objects.create(text="third")

    assert invalidated(within) == []
    assert invalidated(decorated) == []
    assert is_active()


def test_no_invalidation_applies_to_its_task_only():
    """Threads and coroutines do not share it."""
    seen = {}

    async def off(started, done):
        with no_invalidation:
            started.set()
            await done.wait()
            seen["off"] = is_active()

    async def on(started, done):
        await started.wait()
        seen["on"] = is_active()
        done.set()

    async def both():
        events = asyncio.Event(), asyncio.Event()
        await asyncio.gather(off(*events), on(*events))

    asyncio.run(both())
    with no_invalidation:
        thread = threading.Thread(target=lambda: seen.update(thread=is_active()))
        thread.start()
        thread.join()
    assert seen == {"off": False, "on": True, "thread": True}


def test_no_invalidation_decorates_coroutine_functions():
    """It is active while the coroutine runs."""

    @no_invalidation
    async def within():
        await asyncio.sleep(0)
        return is_active()

    assert asyncio.iscoroutinefunction(within)
    assert asyncio.run(within()) is False
    assert is_active()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["all"], ["one", "other", "categories"]),
        (["shop"], ["one", "other", "categories"]),
        (["shop.Label"], ["one", "other"]),
        (["shop.label", "shop.Category"], ["one", "other", "categories"]),
    ],
)
def test_the_command_invalidates_apps_models_or_everything(labels, expected, invalidated):
    """It takes several labels and ignores their case."""
    assert invalidated(lambda: call_command("invalidate", *labels)) == expected


def test_the_command_invalidates_one_object_by_primary_key(label, invalidated):
    found = invalidated(lambda: call_command("invalidate", f"shop.Label.{label.pk}"))
    assert "one" in found
    assert "other" not in found


def test_the_command_refuses_to_run_while_the_cache_is_disabled():
    """It would invalidate nothing, and report success."""
    with override_settings(CACHEOPS_ENABLED=False), pytest.raises(CommandError, match="CACHEOPS_ENABLED is off"):
        call_command("invalidate", "all")


def test_the_command_accepts_a_primary_key_with_dots():
    """All text after the model name is the key."""
    with pytest.raises(CommandError, match=r"primary key '1\.5'"):
        call_command("invalidate", "shop.Label.1.5")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["nonsense"], "No installed app with label 'nonsense'.*shop"),
        (["shop.Nonsense"], "doesn't have a 'Nonsense' model.*Product"),
        (["shop.Label.0"], "no shop.Label with primary key '0'"),
        (["shop.Label.x"], "no shop.Label with primary key 'x'"),
        (["shop.Ticket.x"], "no shop.Ticket with primary key 'x'"),
        ([], "required"),
    ],
)
def test_the_command_rejects_unknown_labels(labels, said):
    """The message lists the apps or models that exist."""
    with pytest.raises(CommandError, match=said):
        call_command("invalidate", *labels)


def test_an_unknown_label_invalidates_nothing(invalidated):
    """All labels are resolved before anything is invalidated."""

    def mistaken():
        with pytest.raises(CommandError):
            call_command("invalidate", "shop.Label", "shop.Nonsense")

    assert invalidated(mistaken) == []


def test_invalidate_obj_counts_for_every_condition_on_its_row():
    product = Product.objects.create(sku="x", name="x", views=3)
    count = lambda: Product.objects.filter(views=3).count()
    count()
    with no_invalidation:
        product.delete()
    assert count() == 1
    product.pk = 1
    invalidate_obj(product)
    assert count() == 0
