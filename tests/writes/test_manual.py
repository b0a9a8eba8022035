"""Invalidation by hand, by command, and turning it off."""

import asyncio
import threading

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

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
def fallen(is_hit):
    """Which of the reads fall by a step."""

    def check(step):
        reads = [one, other, categories]
        for read in reads:
            read()
        step()
        return [read.__name__ for read in reads if not is_hit(read)]

    return check


def test_an_object_drops_what_its_row_can_influence(label, fallen, settings):
    """And nothing else of its table."""
    settings.CACHEOPS_SKIP_FIELDS = ["TextField"]
    assert "other" not in fallen(lambda: invalidate_obj(label))
    assert "one" in fallen(lambda: invalidate_obj(label))


def test_a_model_drops_its_table(fallen):
    """And no other."""
    assert fallen(lambda: invalidate_model(Label)) == ["one", "other"]


def test_everything_drops_everything_of_ours(fallen, store):
    """And nothing of anybody else's."""
    store.set("mine", 1)
    assert fallen(invalidate_all) == ["one", "other", "categories"]
    assert store.get("mine") == b"1"


def test_a_child_model_drops_its_parents_too(is_hit):
    """Its rows lie in both tables."""
    count = lambda: Person.objects.count()
    count()
    invalidate_model(Customer)
    assert not is_hit(count)


def test_in_a_transaction_it_waits_for_the_commit(label, fallen, is_hit):
    """A rollback takes it back."""

    def committed():
        with transaction.atomic():
            invalidate_obj(label)
            invalidate_model(Category)

    def rolled_back():
        with transaction.atomic():
            invalidate_model(Label)
            transaction.set_rollback(True)

    assert {"one", "categories"} <= set(fallen(committed))
    assert fallen(rolled_back) == []


def test_everything_is_dropped_at_once_and_again_at_the_commit(label):
    """What others cached of the old state meanwhile falls as well."""
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
def test_what_can_not_be_invalidated_is_refused(function, argument):
    """With a word on what can."""
    with pytest.raises(TypeError, match="takes a"):
        function(argument)


def test_receivers_hear_of_invalidation_by_hand(label):
    """With the model and the object's values, or None for all of them."""
    heard = []

    def note(sender, obj_dict, **kwargs):
        heard.append((sender, obj_dict))

    cache_invalidated.connect(note)
    try:
        invalidate_obj(label)
        invalidate_model(Label)
        invalidate_all()
    finally:
        cache_invalidated.disconnect(note)
    assert heard == [(Label, {"id": label.pk, "text": "text"}), (Label, None), (None, None)]


def test_no_invalidation_turns_it_off_as_a_context_and_as_a_decorator(label, fallen):
    """Also nested, until the outermost one ends."""

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

    assert fallen(within) == []
    assert fallen(decorated) == []
    assert is_active()


def test_no_invalidation_belongs_to_its_task():
    """Threads and coroutines don't share it."""
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
    """For the time that they run."""

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
def test_the_command_invalidates_apps_models_and_everything(labels, expected, fallen):
    """Several at a time, in any case of letters."""
    assert fallen(lambda: call_command("invalidate", *labels)) == expected


def test_the_command_invalidates_single_objects(label, fallen):
    """By primary key."""
    found = fallen(lambda: call_command("invalidate", f"shop.Label.{label.pk}"))
    assert "one" in found
    assert "other" not in found


def test_the_command_takes_keys_with_dots_in_them():
    """Whatever stands behind the model's name is the key."""
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
def test_the_command_refuses_what_is_not_there(labels, said):
    """And says what is."""
    with pytest.raises(CommandError, match=said):
        call_command("invalidate", *labels)


def test_a_mistake_in_one_name_leaves_nothing_half_done(fallen):
    """Names are looked up before anything falls."""

    def mistaken():
        with pytest.raises(CommandError):
            call_command("invalidate", "shop.Label", "shop.Nonsense")

    assert fallen(mistaken) == []


def test_products_are_dropped_by_all_their_columns():
    """An object by hand counts for every condition on its row."""
    product = Product.objects.create(sku="x", name="x", views=3)
    count = lambda: Product.objects.filter(views=3).count()
    count()
    with no_invalidation:
        product.delete()
    assert count() == 1
    product.pk = 1
    invalidate_obj(product)
    assert count() == 0
