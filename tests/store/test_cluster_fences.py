"""On a Redis Cluster, a fence counts although its slot moves to another node while a writer is about to commit."""

import pytest

from cacheops_lite.store import server_clients
from tests.conftest import in_thread
from tests.shop.models import Category, Label, Product
from tests.support import cluster as clusters
from tests.support import services
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.redis,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(services.DATABASE == "sqlite", reason="a writer blocks readers on SQLite"),
]

SLOT = clusters.slot_of("{shop_label}")


@pytest.fixture
def label(cluster):
    label = Label.objects.create(text="old")
    product = Product.objects.create(sku="s", category=Category.objects.create(name="c"))
    product.labels.add(label)
    return label


def texts():
    return [each.text for each in Label.objects.all()]


def joined():
    return [each.text for each in Label.objects.filter(products__sku="s")]


class Move:
    """Moves the slot of labels to another node, step by step."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.source = cluster.node_of(SLOT)
        self.target = next(each for each in cluster.masters() if each is not self.source)

    def begin(self):
        self.cluster.begin_move(SLOT, self.target)

    def move_keys(self, number=1000):
        self.cluster.move_keys(SLOT, self.source, self.target, limit=number)

    def end(self):
        self.move_keys()
        self.cluster.end_move(SLOT, self.source, self.target)


def fence_keys():
    return [key for client in server_clients().values() for key in client.scan_iter("*cacheops:f:*")]


STEPS = ["begin", "move one key", "move all keys", "end"]


def go_on(move, step):
    {"begin": move.begin, "move one key": lambda: move.move_keys(1), "move all keys": move.move_keys, "end": move.end}[
        step
    ]()


@pytest.mark.parametrize("read", [texts, joined])
@pytest.mark.parametrize("before_commit", range(len(STEPS) + 1))
@pytest.mark.parametrize("before_fence", range(len(STEPS) + 1))
def test_no_reader_stores_what_a_writer_is_about_to_replace(
    label, cluster, around_commit, read, before_fence, before_commit
):
    """The slot moves in part before the fence, then in part between fence and commit, then to its end."""
    if before_fence > before_commit:
        pytest.skip("the second part begins where the first one ends")
    in_thread(read)
    move, found = Move(cluster), []

    def around(is_committed):
        if not is_committed:
            for step in STEPS[before_fence:before_commit]:
                go_on(move, step)
        found.append((is_committed, in_thread(read)))

    for step in STEPS[:before_fence]:
        go_on(move, step)
    around_commit(around)
    label.text = "new"
    label.save()
    for step in STEPS[before_commit:]:
        go_on(move, step)
    assert found == [(False, ["old"]), (True, ["new"])]
    assert in_thread(read) == ["new"]
    # While the slot moves, the release is refused, and is repeated in the background.
    assert wait_until(lambda: not fence_keys())
