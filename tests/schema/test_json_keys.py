"""Keys of JSON columns: which have names, and which values have one token."""

from types import SimpleNamespace

import pytest
from django.db.models import JSONField

from cacheops_lite.schema import columns, json_keys
from tests.rich.models import Sample

FACTS = Sample._meta.get_field("facts")


def unmanaged_field():
    field = JSONField()
    field.column, field.model = "facts", SimpleNamespace(_meta=SimpleNamespace(managed=False, db_table="t"))
    return field


def test_a_name_is_the_column_and_the_path():
    name = json_keys.key_column(FACTS, "sqlite", ["kind", "of"])
    assert json_keys.stored_column(name) == "facts"
    assert json_keys.in_words(name) == "facts.kind.of"


@pytest.mark.parametrize("path", [["0"], ["-1"], ["a b"], ["é"], ["a.b"], ['"'], [""], ["a"] * 5, ["a" * 65]])
def test_keys_that_databases_may_find_differently_have_no_name(path):
    assert json_keys.key_column(FACTS, "sqlite", path) is None


def test_columns_that_other_models_have_too_have_no_keys(monkeypatch):
    """Another field may write there what this one does not."""
    field, other = JSONField(), JSONField()
    for each in (field, other):
        each.column, each.model = "facts", SimpleNamespace(_meta=SimpleNamespace(managed=True, db_table="t"))
    assert json_keys.has_keys(field, "sqlite")
    json_keys.has_keys.cache_clear()
    monkeypatch.setattr(columns, "_shared_columns", lambda: {("t", "facts"): [field, other]})
    assert not json_keys.has_keys(field, "sqlite")
    json_keys.has_keys.cache_clear()


def test_tables_that_django_does_not_make_have_no_keys_on_mariadb():
    """Their columns may have a collation that takes different letters for equal."""
    field = unmanaged_field()
    assert json_keys.has_keys(field, "sqlite")
    assert not json_keys.has_keys(field, "mysql")
    assert not json_keys.has_keys(field, "oracle")


@pytest.mark.parametrize(
    "text", ['{"kind": "\\ud800"}', '{"kind": "\\ufffd"}', '{"kind": NaN}', '{"kind": 1, "kind": 2}', "[" * 100_000]
)
def test_what_databases_may_read_differently_has_no_token(text):
    assert json_keys.token_at(text, ["kind"]) is None


def test_a_path_through_something_else_than_objects_finds_nothing():
    for text in ('["kind"]', '"kind"', "1", "null", '[{"kind": 1}]', '{"Kind": 1}'):
        assert json_keys.token_at(text, ["kind"]) == "!"


def test_values_that_some_database_considers_equal_have_one_token():
    def tokens(*texts):
        return {json_keys.token_at(text, ()) for text in texts}

    assert len(tokens("1", "1.0", '"1"', '"1 "', "1e0")) == 1
    assert len(tokens("0", "-0.0", '"-0"')) == 1
    assert len(tokens("true", '"true"')) == len(tokens("null", '"null"')) == len(tokens("[]", '"[]"')) == 1
    assert len(tokens('"a"', '"A"', "1", "2", "true", "false", "null", '""', "[]")) == 9
