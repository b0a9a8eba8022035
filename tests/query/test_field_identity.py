"""The identity of a field is equal in all processes, and differs if the values that the field makes may differ."""

import json
import os
import re
import subprocess
import sys
import types

import pytest
from django.db import models
from django.utils.translation import gettext_lazy

from cacheops_lite.query import field_identity
from cacheops_lite.query.field_identity import field_text


class Decoder(json.JSONDecoder):
    pass


class Codec:
    """Has no `__repr__` or `__eq__` of its own."""

    def __init__(self, separator):
        self.separator = separator
        self.itself = self


class SeparatedField(models.TextField):
    """Keeps its arguments only as attributes; `deconstruct()` does not return them."""

    separator = ";"

    def __init__(self, separator=";", parse=None, codec=None, **options):
        self.separator, self.parse, self.codec = separator, parse, codec
        super().__init__(**options)

    def from_db_value(self, value, expression, connection):
        return value.split(self.separator)

    def get_prep_value(self, value):
        return super().get_prep_value(value)


class DeconstructedField(SeparatedField):
    def deconstruct(self):
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, {**kwargs, "separator": self.separator}


class FailingDeconstructField(models.TextField):
    def deconstruct(self):
        raise ValueError("no")


def redefined(kind, **members):
    """Return a class of the same name with other members, like another release of the code."""
    made = type(kind.__name__, kind.__bases__, {**vars(kind), **members})
    made.__qualname__, made.__module__ = kind.__qualname__, kind.__module__
    return made


def parser(separator):
    return lambda text: text.split(separator)


DIFFERENT = {
    "a decoder": lambda: (models.JSONField(), models.JSONField(decoder=Decoder)),
    "a decoder's attribute": lambda: (
        models.JSONField(decoder=Decoder),
        models.JSONField(decoder=redefined(Decoder, strict=True)),
    ),
    "digits": lambda: (models.DecimalField(5, 2), models.DecimalField(5, decimal_places=3)),
    "a separator": lambda: (SeparatedField(), SeparatedField(",")),
    "a separator that is told": lambda: (DeconstructedField(), DeconstructedField(",")),
    "a lambda": lambda: (SeparatedField(parse=lambda x: x), SeparatedField(parse=lambda x: x + 1)),
    "a closure": lambda: (SeparatedField(parse=parser(";")), SeparatedField(parse=parser(","))),
    "an object": lambda: (SeparatedField(codec=Codec(";")), SeparatedField(codec=Codec(","))),
    "an own field's choices": lambda: (SeparatedField(choices=[("a", "A")]), SeparatedField(choices=[("b", "B")])),
    "a pattern": lambda: (SeparatedField(parse=re.compile("a")), SeparatedField(parse=re.compile("a", re.I))),
    "a set": lambda: (SeparatedField(parse={"a", "b"}), SeparatedField(parse={"a", "c"})),
    "1 and True": lambda: (SeparatedField(parse=[1]), SeparatedField(parse=[True])),
    "a type": lambda: (models.TextField(), models.CharField()),
}


def other_method(self, value, expression, connection):
    return value


@pytest.mark.parametrize("member", [{"separator": ","}, {"from_db_value": other_method}])
def test_the_identity_depends_on_the_members_of_a_custom_field_class(monkeypatch, member):
    before = field_text(SeparatedField())
    field_identity._class_text.cache_clear()
    assert field_text(SeparatedField()) == before
    field_identity._class_text.cache_clear()
    for name, value in member.items():
        monkeypatch.setattr(SeparatedField, name, value)
    assert field_text(SeparatedField()) != before
    field_identity._class_text.cache_clear()


ALIKE = {
    "choices": lambda: (models.CharField(max_length=5), models.CharField(max_length=5, choices=[("a", "A")])),
    "names": lambda: (models.TextField("a", help_text="b"), models.TextField(gettext_lazy("c"))),
    "a default": lambda: (models.TextField(default="a"), models.TextField(default=lambda: "b")),
    "own ones": lambda: (SeparatedField(",", parse={"a", "b"}), SeparatedField(",", parse={"b", "a"})),
    "objects": lambda: (SeparatedField(codec=Codec(";")), SeparatedField(codec=Codec(";"))),
    "one that raises": lambda: (FailingDeconstructField(), FailingDeconstructField()),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_fields_that_make_different_values_have_different_identities(what):
    one, other = DIFFERENT[what]()
    assert field_text(one) != field_text(other)


@pytest.mark.parametrize("what", ALIKE)
def test_fields_that_make_equal_values_have_equal_identities(what):
    """The identity does not depend on names, defaults or object addresses."""
    one, other = ALIKE[what]()
    assert field_text(one) == field_text(other)


def every_text():
    """The texts of all fields above."""
    return [field_text(field) for made in (DIFFERENT, ALIKE) for make in made.values() for field in make()]


def test_identities_are_equal_in_another_process():
    """Object addresses and the hash seed, and with it the order of sets, differ there."""
    write = "sys.stdout.write('\\n'.join(each.every_text()))"
    code = f"import sys, django; django.setup(); import {__name__} as each; {write}"
    for seed in "1", "2":
        path = os.pathsep.join(sys.path)
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": path,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
        }
        ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert ran.stdout.split("\n") == every_text()


def test_identities_contain_no_object_address():
    """The parts are checked before they are hashed."""
    walk = field_identity._Describer()
    described = " ".join(walk.parts([Codec(";"), parser(";"), Decoder, types.SimpleNamespace(a=object()), every_text]))
    assert "0x" not in described


def test_descriptions_of_large_and_deep_objects_are_bounded():
    assert len(list(field_identity._Describer().parts(list(range(100_000))))) <= 100_000 + 1
    deep = []
    for _ in range(10_000):
        deep = [deep]
    assert len(list(field_identity._Describer().parts(deep))) < 100
