"""Nothing in Redis is unpickled unless this project wrote it: each kind of value is signed, and bound to its key."""

import logging
import pickle
import random
import struct
import zlib

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.template import Context, Template
from django.test import RequestFactory

from cacheops_lite import cache, cached, cached_as, cached_view, cached_view_as
from cacheops_lite.inspection import stored_values
from cacheops_lite.observe import Reason, counters
from cacheops_lite.store import signatures, stored_value
from tests.shop.models import Category, Label, Product

pytestmark = pytest.mark.django_db(transaction=True)
# Of each kind of value, how many changes the fuzz tries; each also loses every possible tail up to this length.
FLIPS = 60
TAILS = 40


class Bomb:
    """Its unpickling is noticed."""

    exploded = False

    def __reduce__(self):
        return (setattr, (Bomb, "exploded", True))


@pytest.fixture(autouse=True)
def rows(store):
    Bomb.exploded = False
    category = Category.objects.create(name="tools")
    Product.objects.create(sku="s1", name="saw", category=category, price="2.50", blob=b"x" * 300)
    Product.objects.create(sku="s2", name="file", category=category)
    Label.objects.create(text="new")


def function():
    return {"answer": [42, "x"]}


def view(request):
    return HttpResponse("page")


def fragment():
    template = "{% load cacheops %}{% cached_as labels None 'labels' %}{{ labels|length }}{% endcached_as %}"
    return Template(template).render(Context({"labels": Label.objects.all()}))


def content(response):
    return response.content


KINDS = {
    "get": lambda: Product.objects.get(sku="s1").name,
    "get by primary key": lambda: Category.objects.get(pk=Category.objects.all()[0].pk).name,
    "fetch": lambda: [(each.sku, each.price, bytes(each.blob or b"")) for each in Product.objects.order_by("sku")],
    "values": lambda: list(Product.objects.order_by("sku").values("sku", "category__name")),
    "row-level dependencies": lambda: [
        each.category.name for each in Product.objects.select_related("category").order_by("sku")
    ],
    "count": lambda: Product.objects.filter(name="saw").count(),
    "exists": lambda: Product.objects.filter(name="saw").exists(),
    "raw": lambda: [each.sku for each in Product.objects.raw("SELECT * FROM shop_product ORDER BY sku").cache()],
    "cached_as": lambda: cached_as(Product)(function)(),
    "cached_view_as": lambda: content(cached_view_as(Product)(view)(RequestFactory().get("/"))),
    "fragment": fragment,
    "cached": lambda: cached(timeout=60)(function)(),
    "cached_view": lambda: content(cached_view(timeout=60)(view)(RequestFactory().get("/"))),
    "simple cache": lambda: cache.get_or_set("key", {"answer": 42}, 60),
}


def stored(store):
    """All values, by key."""
    found = {}
    for key in store.scan_iter():
        if store.type(key) == b"string" and any(kind in key for kind in (b":v:", b":s:", b":q:")):
            found[key] = store.get(key)
    return found


def changed(value, rng):
    """The value with one bit flipped, or with a few bytes replaced, inserted or removed, or cut off."""
    for _ in range(FLIPS):
        at = rng.randrange(len(value))
        yield value[:at] + bytes([value[at] ^ 1 << rng.randrange(8)]) + value[at + 1 :]
    for _ in range(FLIPS // 4):
        at, length = rng.randrange(len(value)), rng.randrange(1, 20)
        yield value[:at] + rng.randbytes(length) + value[at + length :]
        yield value[:at] + rng.randbytes(length) + value[at:]
        yield value[:at] + value[at + length :] + b"."
    for length in range(TAILS):
        yield value[:length]
        yield value[: -length - 1]
    yield value + b"x"


@pytest.mark.parametrize("name", KINDS)
def test_no_changed_value_is_used_or_raises(store, name):
    """A bit flipped, bytes replaced, inserted or cut off: the read is a miss and returns what the database has."""
    read, rng = KINDS[name], random.Random(name)
    expected = read()
    assert read() == expected
    originals = stored(store)
    assert originals
    for key, value in originals.items():
        for damaged in changed(value, rng):
            store.set(key, damaged, keepttl=True)
            assert read() == expected
            store.set(key, value, keepttl=True)


@pytest.mark.parametrize("name", KINDS)
def test_nothing_that_another_program_stored_is_unpickled(store, name):
    """Not behind a valid seal of another value, nor in place of the payload, the origin, the header or all of it."""
    read = KINDS[name]
    expected = read()
    bomb = pickle.dumps(Bomb())
    values = stored(store)
    assert values
    for key, value in values.items():
        for at in {0, 4, 16, 20, 32, 38, 48, 54, 64, len(value) // 2}:
            for forged in (value[:at] + bomb, value[:at] + bomb + value[at + len(bomb) :]):
                store.set(key, forged, keepttl=True)
                assert read() == expected
                list(stored_values.largest_values(5))
                store.set(key, value, keepttl=True)
    assert not Bomb.exploded


@pytest.mark.parametrize("name", ["get", "row-level dependencies", "cached_as", "cached", "simple cache"])
def test_a_value_of_another_project_is_a_miss(store, settings, name):
    """It has another secret, but the same keys."""
    settings.SECRET_KEY = "another"
    expected = KINDS[name]()
    before = stored(store)
    settings.SECRET_KEY = "ours"
    assert KINDS[name]() == expected
    assert any(value != before.get(key) for key, value in stored(store).items()), "the own value replaces it"


def test_values_that_are_swapped_are_misses(store):
    """A valid value under the key of another one is not that one's."""
    saw, file = (lambda: Product.objects.get(sku="s1").name), (lambda: Product.objects.get(sku="s2").name)
    assert (saw(), file()) == ("saw", "file")
    one, other = [(key, value) for key, value in stored(store).items() if b":v:" in key]
    store.set(one[0], other[1])
    store.set(other[0], one[1])
    assert (saw(), file()) == ("saw", "file")


@pytest.mark.parametrize("kind", ["values", "cached"])
def test_a_new_secret_keeps_values_of_the_fallbacks(store, settings, reads, is_hit, kind):
    """So a secret can be rotated without an empty cache; a secret that is dropped makes its values misses."""
    settings.SECRET_KEY = "old"
    calls = []

    @cached(timeout=60)
    def counted():
        calls.append(1)
        return 1

    read = counted if kind == "cached" else KINDS["values"]
    read()

    def is_found():
        if kind == "cached":
            before = len(calls)
            read()
            return len(calls) == before
        return is_hit(read)

    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", ["older", "old"]
    assert is_found()
    settings.SECRET_KEY_FALLBACKS = []
    assert not is_found()
    assert is_found()


def test_projects_with_the_same_signing_keys_share_results(store, settings, is_hit):
    """Their SECRET_KEY may differ."""
    settings.CACHEOPS_SIGNING_KEYS, settings.SECRET_KEY = ["shared"], "one"
    KINDS["fetch"]()
    settings.SECRET_KEY = "other"
    assert is_hit(KINDS["fetch"])
    settings.CACHEOPS_SIGNING_KEYS = ["next", "shared"]
    assert is_hit(KINDS["fetch"])
    settings.CACHEOPS_SIGNING_KEYS = ["next"]
    assert not is_hit(KINDS["fetch"])


@pytest.mark.parametrize("name", ["get", "row-level dependencies", "cached"])
def test_without_signing_values_need_no_secret(store, settings, is_hit, name):
    """Damaged values are still found, by a checksum; a project that signs does not accept them."""
    settings.CACHEOPS_SIGNING, settings.SECRET_KEY = False, "one"
    read = KINDS[name]
    expected = read()
    values = stored(store)
    settings.SECRET_KEY = "other"
    assert read() == expected
    assert stored(store) == values
    for key, value in values.items():
        store.set(key, value[:-1] + b"x", keepttl=True)
    assert read() == expected
    settings.CACHEOPS_SIGNING = True
    before = stored(store)
    assert read() == expected
    assert stored(store) != before


def test_an_invalid_signature_is_counted_and_logged_once(store, caplog):
    """The log names the key and the setting; the reason of the miss says so, too."""
    counters.take()
    for _ in range(3):
        assert KINDS["fetch"]()
        for key in stored(store):
            store.set(key, store.get(key)[:-1] + b"x")
    assert Product.objects.order_by("sku").explain_cache().reason is Reason.INVALID_SIGNATURE
    KINDS["fetch"]()
    counts = counters.take()
    assert sum(number for counted, number in counts.items() if counted.reason == "invalid-signature") == 3
    logged = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(logged) == 1
    assert "SECRET_KEY" in logged[0].getMessage()


@pytest.mark.parametrize("keys", ["secret", [""], [1], {"a": 1}])
def test_signing_keys_that_are_none_are_refused_without_showing_them(settings, keys):
    settings.CACHEOPS_SIGNING_KEYS = keys
    with pytest.raises(ImproperlyConfigured, match="CACHEOPS_SIGNING_KEYS") as refused:
        signatures.sign("k", b"", b"")
    assert "secret" not in str(refused.value).replace("are secret", "")


def test_a_signature_covers_name_head_and_body_each():
    """Moving bytes from one to the next gives another signature."""
    parts = ("ab", b"cd", b"ef")
    others = [("xx", b"cd", b"ef"), ("ab", b"xx", b"ef"), ("ab", b"cd", b"xx")]
    others += [("abc", b"d", b"ef"), ("a", b"bcd", b"ef"), ("ab", b"cde", b"f"), ("ab", b"c", b"def")]
    signature = signatures.sign(*parts)
    assert len(signature) == signatures.SIGNATURE_LENGTH
    assert signatures.is_signed(signature, *parts)
    assert not any(signatures.is_signed(signature, *other) for other in others)


def test_the_origin_of_a_value_is_not_unpickled_unless_it_is_signed(store):
    """`ls` and the admin page show which read a value is the result of."""
    KINDS["get"]()
    [(key, value)] = [(key, value) for key, value in stored(store).items() if b":v:" in key]
    origin = b"shop.Product\tget\tdefault\tr\t" + pickle.dumps(Bomb())
    header = struct.pack(">IH", 0, len(origin))
    store.set(
        key, value[: stored_value.SEAL_LENGTH] + header + bytes(signatures.SIGNATURE_LENGTH) + origin + b"payload"
    )
    assert [each.label for each in stored_values.largest_values(5)] == [""]
    assert not Bomb.exploded


def test_what_origins_are_compressed_with_is_not_used_unless_it_is_signed(store, monkeypatch):
    """It decides which query comes out, and that is unpickled."""
    for sku in ("s1", "s2"):
        list(Product.objects.filter(sku=sku))
    [(name, sealed)] = [(key, value) for key, value in stored(store).items() if b":q:" in key]
    assert all(each.text for each in stored_values.largest_values(5))
    similar = zlib.decompress(sealed[signatures.SIGNATURE_LENGTH :])
    # The checksum of zlib stays the same.
    compressed = zlib.compress(similar.replace(b"sku", b"tiv"))
    unpickled = []
    monkeypatch.setattr("cacheops_lite.reads.origin.pickle.loads", lambda data: unpickled.append(data) or 1 / 0)
    for forged in (compressed, sealed[: signatures.SIGNATURE_LENGTH] + compressed):
        store.set(name, forged)
        assert not any(each.text for each in stored_values.largest_values(5))
    assert not unpickled


def test_a_header_of_row_level_dependencies_is_signed(store, is_hit):
    """Otherwise a value could be made to depend on less than it was built from."""
    read = KINDS["row-level dependencies"]
    read()
    [(key, value)] = [(key, value) for key, value in stored(store).items() if b":v:" in key]
    start = stored_value.SEAL_LENGTH
    sizes = [int(value[start + 8 * i : start + 8 * i + 8]) for i in range(2)]
    body = value[start + 16 + sum(sizes) :]
    store.set(key, value[:start] + b"%08d%08d[][]" % (2, 2) + body)
    assert not is_hit(read)


def test_without_a_secret_a_process_uses_what_it_stored_itself(store, settings, is_hit, caplog):
    """Django alone answers queries without one, too."""
    settings.SECRET_KEY = ""
    assert [each.name for each in Category.objects.all()] == ["tools"]
    assert is_hit(lambda: list(Category.objects.all()))
    assert "SECRET_KEY" in caplog.text
