"""Tokens are equal where the database treats values as equal, and differ where it does not."""

import datetime
import decimal
import enum
import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheops_lite.schema import tokens

SAFE = re.compile(r"[A-Za-z0-9_.~%#+-]*")


@given(st.text(), st.text())
def test_texts_have_equal_tokens_only_if_they_are_equal(one, other):
    """Escaping and hashing keep different texts distinct."""
    assert (tokens.text(one) == tokens.text(other)) == (one == other)


@given(st.text(alphabet="a!#%&=|:,~\x00 é", max_size=200))
def test_tokens_contain_no_separator_of_keys(text):
    """No value can imitate another condition or NULL."""
    assert SAFE.fullmatch(tokens.text(text))
    assert tokens.text(text) != tokens.NULL


TOKENIZERS = {"text": tokens.text, "padded": tokens.padded, "nocase": tokens.nocase, "folded": tokens.folded}


@pytest.mark.parametrize("name", TOKENIZERS)
@given(text=st.text())
def test_tokens_of_texts_are_safe_in_keys_and_never_null(name, text):
    """This applies to all tokenizers."""
    token = TOKENIZERS[name](text)
    assert SAFE.fullmatch(token) or token == tokens.INDETERMINATE
    assert token != tokens.NULL
    assert token.startswith(tokens.INEXACT) or name == "text"


@given(st.text(alphabet="aAbBéÉ -1"), st.text(alphabet="aAbBéÉ -1"))
def test_inexact_tokens_are_equal_where_the_database_compares_texts_as_equal(one, other):
    """With NOCASE and RTRIM of SQLite, and with binary collations that pad."""
    ascii_lower = lambda text: "".join(each.lower() if each.isascii() else each for each in text)
    assert (tokens.nocase(one) == tokens.nocase(other)) == (ascii_lower(one) == ascii_lower(other))
    assert (tokens.padded(one) == tokens.padded(other)) == (one.rstrip(" ") == other.rstrip(" "))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a", "A"),
        ("a", "a  "),
        ("", " "),
        ("IIV", "jju"),
        ("lyga", "liga"),
        ("chaos", "caos"),
        ("vax", "wax"),
        ("ccs", "cscs"),
    ],
)
def test_texts_that_some_collation_treats_as_equal_have_one_token(one, other):
    """They differ in case, in padding, or in letters that are equal in some languages."""
    assert tokens.folded(one) == tokens.folded(other) != tokens.INDETERMINATE


@pytest.mark.parametrize("text", ["é", "ß", "a\x00", "a\tb", "\x7f", "a`", "x~", "[", "\u200b", "日本"])
def test_texts_that_may_equal_any_text_have_an_indeterminate_token(text):
    """Collations ignore or expand these characters, or treat them as equal to plain letters."""
    assert tokens.folded(text) == tokens.INDETERMINATE


@pytest.mark.parametrize(
    ("one", "other"),
    [("new", "old"), ("sku1", "sku11"), ("a-b", "ab"), ("a@b.org", "a@c.org"), ("1", "10"), ("a a", "a")],
)
def test_common_texts_have_different_tokens(one, other):
    """Numbers and punctuation are kept in full."""
    assert tokens.folded(one) != tokens.folded(other)


@given(st.integers(), st.integers())
def test_different_integers_have_different_tokens(one, other):
    """Big integers are never rounded."""
    assert (tokens.integer(one) == tokens.integer(other)) == (one == other)


def test_neighbouring_big_integers_have_different_tokens():
    """As doubles, the only numbers of Lua, they would be equal."""
    assert tokens.integer(2**63 - 1) != tokens.integer(2**63 - 2)


def test_an_enum_member_has_the_token_of_its_stored_value():
    """Its own `__str__` does not matter."""

    class Color(str, enum.Enum):
        RED = "red"

    assert tokens.text(Color.RED) == tokens.text("red")


@pytest.mark.parametrize("vendor", ["sqlite", "postgresql", "mysql"])
@pytest.mark.parametrize(("one", "other"), [("1", "1.00"), ("0", "-0.00"), ("100", "1E+2")])
def test_equal_decimals_have_one_token(vendor, one, other):
    """The scale does not matter."""
    token = tokens.decimal_of(8, 2, vendor)
    assert token(decimal.Decimal(one)) == token(decimal.Decimal(other))


@pytest.mark.parametrize(
    ("one", "other"), [("2.345", "2.35"), ("2.355", "2.36"), ("-2.345", "-2.35"), ("12", "12.004")]
)
def test_decimals_are_rounded_like_the_database_does(one, other):
    """Half away from zero. Decimals raise `ValueError` if SQLite would not round them or MariaDB would use doubles."""
    for vendor in ("postgresql", "mysql"):
        token = tokens.decimal_of(8, 2, vendor)
        assert token(decimal.Decimal(one)) == token(decimal.Decimal(other))
    for vendor, number in (("sqlite", "2.345"), ("mysql", "1E-7")):
        with pytest.raises(ValueError, match="decimal places"):
            tokens.decimal_of(8, 2, vendor)(decimal.Decimal(number))


def test_decimals_that_differ_in_the_last_place_have_different_tokens():
    token = tokens.decimal_of(8, 2, "sqlite")
    assert token(decimal.Decimal("1.01")) != token(decimal.Decimal("1.02"))


def test_the_same_instant_has_one_token_in_all_timezones():
    """Aware datetimes compare as instants."""
    utc = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.timezone.utc)
    local = utc.astimezone(datetime.timezone(datetime.timedelta(hours=5, minutes=30)))
    assert tokens.instant(utc) == tokens.instant(local)
    assert tokens.instant(utc) != tokens.instant(utc + datetime.timedelta(microseconds=1))


def test_zeros_of_both_signs_have_one_token_and_nan_has_none():
    """This is how the database compares floats."""
    assert tokens.real(0.0) == tokens.real(-0.0)
    with pytest.raises(ValueError, match="NaN"):
        tokens.real(float("nan"))


def test_a_uuid_has_one_token_in_all_spellings():
    """Text with or without dashes, or an instance."""
    key = uuid.uuid4()
    assert tokens.uuid_hex(key) == tokens.uuid_hex(str(key)) == tokens.uuid_hex(key.hex)


def test_a_value_of_another_temporal_type_raises_type_error():
    """A date column compares with midnight, which a datetime may not be."""
    with pytest.raises(TypeError):
        tokens.date(datetime.datetime(2026, 1, 1, 12))
    with pytest.raises(TypeError):
        tokens.instant(datetime.date(2026, 1, 1))
    with pytest.raises(TypeError):
        tokens.time(datetime.time(1, tzinfo=datetime.timezone.utc))


def test_durations_are_microseconds_and_times_are_iso_texts():
    """Both are exact."""
    assert tokens.duration(datetime.timedelta(days=1, microseconds=1)) == "86400000001"
    assert tokens.time(datetime.time(1, 2, 3)) == "01%3A02%3A03"
