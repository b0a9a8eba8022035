"""Compressed payloads: large ones, signed, bounded, and a miss where a process does not know how to read them."""

import os
import pickle
from contextlib import suppress

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from cacheops_lite.store import payload_compression, stored_value
from cacheops_lite.store.payload_compression import MAGIC, MIN_SIZE, method_of, packed, unpacked
from tests.conftest import counted_reads
from tests.shop.models import Label, Product

METHODS = ["lz4", "zstd"]


@pytest.fixture(params=METHODS)
def method(request):
    """A method whose library is installed."""
    if method_of(request.param) is None:
        pytest.skip(f"{payload_compression.PACKAGES[request.param]} is not installed")
    with override_settings(CACHEOPS_COMPRESSION=request.param):
        yield method_of(request.param)


PAYLOADS = {
    "nothing": b"",
    "small": b"a" * (MIN_SIZE - 1),
    "large": b"a" * MIN_SIZE,
    "pickle": pickle.dumps([(number, f"title {number}") for number in range(500)]),
    "incompressible": os.urandom(5000),
    "like a compressed one": MAGIC + b"z\0\0\0\1" + b"x" * 3000,
    "the beginning of one": MAGIC,
    "short like one": MAGIC + b"l",
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_unpacking_undoes_packing(method, name):
    """Whatever the setting is when it is read, and also for payloads that look like compressed ones."""
    payload = PAYLOADS[name]
    stored = packed(payload)
    with override_settings(CACHEOPS_COMPRESSION=None):
        assert unpacked(stored) == payload
        assert unpacked(packed(payload)) == payload
    is_compressed = name in ("large", "pickle", "like a compressed one")
    assert (len(stored) < len(payload)) == is_compressed
    assert stored[:4] != MAGIC or is_compressed or name in ("the beginning of one", "short like one")


def test_nothing_is_compressed_by_default():
    assert packed(PAYLOADS["large"]) == PAYLOADS["large"]


def test_damaged_payloads_and_other_sizes_are_misses(method):
    """Decompression stops at the size that is signed."""
    stored = packed(PAYLOADS["pickle"])
    size = len(PAYLOADS["pickle"])
    for other in (size - 1, size + 1, 0, 2**32 - 1):
        assert unpacked(MAGIC + method.letter + other.to_bytes(4, "big") + stored[9:]) is None
    assert unpacked(stored[:-5]) is None
    assert unpacked(stored[:20] + b"damaged" + stored[27:]) != PAYLOADS["pickle"]
    assert unpacked(MAGIC + b"?" + stored[5:]) is None
    assert unpacked(stored[:7]) is None


def test_decompressing_makes_no_more_than_one_byte_too_much(method):
    """A few bytes could become gigabytes."""
    bomb = method.compress(bytes(50 * 2**20))
    made = b""
    # lz4 raises an error of its own.
    with suppress(Exception):
        made = method.decompress(bomb, 1000)
    assert len(made) <= 1001


def test_a_process_without_the_library_counts_a_miss(method, monkeypatch):
    stored = packed(PAYLOADS["large"])
    monkeypatch.setattr(payload_compression, "method_of", lambda name: None)
    assert unpacked(stored) is None


def test_the_signature_is_checked_before_anything_is_decompressed(method, monkeypatch):
    decompressed = []
    monkeypatch.setattr(stored_value, "unpacked", lambda stored: decompressed.append(stored) or stored)
    lookup = stored_value.Lookup("k", None, stored_value.MISS, [])
    body = stored_value.origin_header("k", lookup) + packed(PAYLOADS["large"])
    seal = stored_value.make_seal("k", [], b"", body)
    stored_value.checked(lookup, seal, b"", memoryview(body[:-1] + b"x"), [])
    assert lookup.is_unsigned
    assert not decompressed
    stored_value.checked(lookup, seal, b"", memoryview(body), [])
    assert len(decompressed) == 1


@pytest.mark.django_db(transaction=True)
def test_results_are_stored_compressed_and_found_again(store, method, monkeypatch):
    """Rows with and without joined tables; a process that can't decompress reads the database."""
    Product.objects.bulk_create(Product(sku=f"s{number}", text="text " * 50) for number in range(50))
    Label.objects.create(text="x")
    reads = [
        lambda: [each.text for each in Product.objects.order_by("pk")],
        lambda: list(Product.objects.order_by("pk").values_list("text", "category__name")),
        lambda: list(Label.objects.values_list("text", flat=True)),
    ]
    with override_settings(CACHEOPS_ENABLED=False):
        true = [read() for read in reads]
    assert [read() for read in reads] == true
    values = [store.get(key) for key in store.scan_iter("*cacheops:v:*")]
    assert sum(len(value) > 12_000 for value in values) == 0
    with counted_reads() as counted:
        assert [read() for read in reads] == true
    assert (counted.hits, counted.misses) == (3, 0)
    monkeypatch.setattr(payload_compression, "method_of", lambda name: None)
    with counted_reads() as counted:
        assert [read() for read in reads] == true
    assert (counted.hits, counted.misses) == (1, 2)
    with counted_reads() as counted:
        assert [read() for read in reads] == true
    assert (counted.hits, counted.misses) == (3, 0)


@pytest.mark.parametrize("name", [*METHODS, "gzip"])
def test_a_method_that_is_not_available_is_named(name, monkeypatch):
    monkeypatch.setattr(payload_compression, "method_of", lambda name: None)
    with override_settings(CACHEOPS_COMPRESSION=name):
        (found,) = [each for each in run_checks(tags=["cacheops_lite"]) if each.id == "cacheops_lite.E013"]
    assert name in found.msg
    with override_settings(CACHEOPS_COMPRESSION=None):
        assert not [each for each in run_checks(tags=["cacheops_lite"]) if each.id == "cacheops_lite.E013"]
