"""Texts that the database treats as equal have equal tokens."""

import itertools

import pytest
from django.db import connection

from cacheops_lite.schema import columns
from cacheops_lite.schema import tokens as schema_tokens
from tests.property.differential import uncached
from tests.rich.models import Item, Owner
from tests.shop.models import Label, Product

pytestmark = pytest.mark.django_db(transaction=True)

TEXTS = ["", "a", "A", "a ", " a", "b", "é", "e", "É", "ß", "ss", "SS", "ae", "æ", "Æ", "i", "j"]
TEXTS += ["a\u200b", "\N{LATIN SMALL LETTER DOTLESS I}", "1", "\N{FULLWIDTH DIGIT ONE}"]
mariadb_only = pytest.mark.skipif(connection.vendor != "mysql", reason="its collations")


def test_reads_by_text_see_every_change(store):
    """Whichever texts the database treats as equal."""
    reads = [lambda text=text: sorted(p.pk for p in Product.objects.filter(name=text)) for text in TEXTS]
    reads += [lambda: sorted(p.pk for p in Product.objects.filter(name__in=["a", "é"]))]
    product = Product.objects.create(sku="x", name="")
    for text in TEXTS * 2:
        cached = [read() for read in reads]
        product.name = text
        product.save()
        cached = [read() for read in reads]
        assert cached == uncached(lambda: [read() for read in reads]), text


def test_gets_by_text_see_every_change(store):
    """In the point lookup two texts never share a key."""

    def get(text):
        return list(Label.objects.filter(text=text).values_list("text")), got(text)

    def got(text):
        try:
            return Label.objects.get(text=text).text
        except Label.DoesNotExist:
            return None

    label = Label.objects.create(text="x")
    for text in TEXTS:
        for each in TEXTS:
            get(each)
        label.text = text
        label.save()
        cached = [get(each) for each in TEXTS]
        assert cached == uncached(lambda: [get(each) for each in TEXTS]), text


def test_a_write_of_another_text_leaves_a_read_cached(store, is_hit):
    """This includes MariaDB."""
    Product.objects.create(sku="x", name="new")
    product = Product.objects.create(sku="y", name="old")
    read = lambda: Product.objects.filter(name="new").count()
    get = lambda: Product.objects.get(sku="x").name
    assert (read(), get()) == (1, "new")
    product.name = "lost"
    product.save()
    assert is_hit(read)
    assert is_hit(get)
    product.name = "New" if connection.vendor == "mysql" else "new"
    product.save()
    assert read() == 2
    assert is_hit(get)


def test_a_foreign_key_of_text_is_invalidated(store):
    """Its column compares like the column that it refers to."""
    owner = Owner.objects.create(name="a", code="é")
    owner.nicked.create(title="x", fallback=None)
    read = lambda: [item.nick.name for item in owner.nicked.select_related("nick")]
    assert read() == ["a"]
    Owner.objects.filter(pk=owner.pk).update(name="b")
    assert read() == ["b"]


@mariadb_only
def test_a_foreign_key_may_differ_in_case_or_accents_from_its_target(store):
    """Neither an equality across a join nor the returned rows contain the spelling of the other side."""
    Owner.objects.create(name="a", code="é")
    item = Item.objects.create(title="x", fallback=None, nick_id="E")
    reads = [
        lambda: [each.nick.name for each in Item.objects.filter(nick="e").select_related("nick")],
        lambda: [each.nick.name for each in Item.objects.filter(pk=item.pk).select_related("nick")],
    ]
    for name in "abc":
        Owner.objects.update(name=name)
        assert [read() for read in reads] == [[name], [name]]


@mariadb_only
def test_texts_that_any_collation_treats_as_equal_have_equal_tokens():
    """Texts of two characters in all collations for Unicode that the server has, and of one in all others."""
    plain = [chr(code) for code in range(0x20, 0x7F)]
    pairs = ["".join(pair) for pair in itertools.product(plain, repeat=2)]
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION group_concat_max_len = 1000000")
        cursor.execute("CREATE TEMPORARY TABLE texts (s VARCHAR(8) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin)")
        cursor.executemany("INSERT INTO texts VALUES (%s)", [[text] for text in plain + pairs])
        for charset, collation in collations(cursor):
            condition = "" if charset == "utf8mb4" else "WHERE LENGTH(s) = 1"
            cursor.execute(
                f"SELECT GROUP_CONCAT(HEX(s)) FROM texts {condition}"
                f" GROUP BY CONVERT(s USING {charset}) COLLATE {collation} HAVING COUNT(*) > 1"
            )
            tokenize = schema_tokens.padded if collation.endswith("_bin") else schema_tokens.folded
            for (group,) in cursor.fetchall():
                tokens = {tokenize(bytes.fromhex(each).decode()) for each in group.split(",")}
                assert len(tokens - {schema_tokens.INDETERMINATE}) <= 1, (collation, group)


def collations(cursor):
    """Return pairs of character sets and collations; those that differ in padding or in case sensitivity are finer.

    Characters that SWE7 lacks are converted to question marks.
    """
    cursor.execute(
        "SELECT character_set_name, full_collation_name FROM information_schema.collation_character_set_applicability"
        " WHERE character_set_name NOT IN ('binary', 'ucs2', 'utf16', 'utf16le', 'utf32', 'swe7')"
        " AND full_collation_name NOT LIKE '%%nopad%%' AND full_collation_name NOT LIKE '%%_as_%%'"
        " AND full_collation_name NOT LIKE '%%_cs'"
    )
    return cursor.fetchall()


@pytest.mark.parametrize(
    ("vendor", "collation", "tokenizer"),
    [
        ("postgresql", None, schema_tokens.text),
        ("postgresql", "C", schema_tokens.text),
        ("postgresql", "of-somebody", None),
        ("sqlite", None, schema_tokens.text),
        ("sqlite", "nocase", schema_tokens.nocase),
        ("sqlite", "RTRIM", schema_tokens.padded),
        ("sqlite", "own", None),
        ("mysql", None, schema_tokens.folded),
        ("mysql", "utf8mb4_bin", schema_tokens.padded),
        ("mysql", "utf8mb4_swedish_ci", schema_tokens.folded),
        ("oracle", None, None),
    ],
)
def test_a_tokenizer_is_chosen_by_collation(vendor, collation, tokenizer):
    """An unknown collation has no tokenizer, and makes no conditions."""
    assert columns._text_tokenizer(collation, vendor) is tokenizer
