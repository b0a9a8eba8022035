"""Fields whose values in Python differ from the values that are stored or read."""

import hashlib
import json
from typing import Any

from django.db import models
from django.db.models.lookups import Exact, StartsWith
from django.utils import timezone, translation


class LowerField(models.CharField):
    """Lowered by SQL when it is stored."""

    def get_placeholder_sql(self, value, compiler, connection):
        sql, params = compiler.compile(value) if hasattr(value, "as_sql") else ("%s", [value])
        return f"LOWER({sql})", params

    # Before Django 6.1.
    def get_placeholder(self, value, compiler, connection):
        return "%s" if hasattr(value, "as_sql") else "LOWER(%s)"


class ShownLowerField(models.CharField):
    """Lowered by SQL when it is read."""

    def select_format(self, compiler, sql, params):
        return f"LOWER({sql})", params


class HashedField(models.CharField):
    """Stores a hash of its value.  Saving a value that was read hashes it again."""

    def get_prep_value(self, value):
        return None if value is None else hashlib.md5(str(value).encode(), usedforsecurity=False).hexdigest()


class NotingField(models.IntegerField):
    """Changes another field of its instance in ``pre_save()``, after the value of that field was prepared."""

    def pre_save(self, instance, add):
        instance.note = "noted"
        return super().pre_save(instance, add)


class TidyField(models.CharField):
    """Strips text when it is read."""

    def from_db_value(self, value, expression, connection):
        return value and value.strip()


class SaltedField(models.CharField):
    """Appends a character each time it is stored."""

    def get_db_prep_value(self, value, connection, prepared=False):
        return value and f"{value}."


class TimeEncoder(json.JSONEncoder):
    def default(self, value):
        return value.isoformat()


class FirstDecoder(json.JSONDecoder):
    """Decodes a list to its first element."""

    def decode(self, s, *args):
        found = super().decode(s, *args)
        return found[0] if isinstance(found, list) else found


class TranslatedField(models.JSONField):
    """Reads the text of the active language."""

    def from_db_value(self, value, expression, connection):
        return super().from_db_value(value, expression, connection)[translation.get_language()]


class LocalField(models.DateTimeField):
    """Reads the time in the active time zone."""

    def from_db_value(self, value, expression, connection):
        return None if value is None else timezone.localtime(value).isoformat()


class UnitField(models.IntegerField):
    """Reads a number as text with a unit."""

    def __init__(self, unit="m", **options):
        self.unit = unit
        super().__init__(**options)

    def from_db_value(self, value, expression, connection):
        return f"{value} {self.unit}"


class ShoutingText(str):
    """Text that compares case-insensitively."""

    def __eq__(self, other):
        return str.upper(self) == str.upper(other)

    __hash__ = str.__hash__


class ShoutingField(models.CharField):
    def to_python(self, value):
        return value if value is None else ShoutingText(value)


class ShownByField(models.CharField):
    """Reads its text as an object of the class `kind`, and stores the object's text.  With None it reads the text."""

    kind = None

    def from_db_value(self, value, expression, connection):
        return value if value is None or self.kind is None else self.kind(value)

    def get_prep_value(self, value):
        return super().get_prep_value(vars(value)["text"] if hasattr(type(value), "raises") else value)


class InLanguage(models.ForeignObject):
    """A relation to the row of the active language."""

    requires_unique_target = False

    def get_extra_restriction(self, alias, related_alias):
        language: Any = self.related_model._meta.get_field("language")
        return Exact(language.get_col(alias), translation.get_language())


class Above(models.ForeignObject):
    """A relation to the rows whose path is a prefix of this row's path.  It joins by no column."""

    requires_unique_target = False

    def __init__(self):
        super().__init__("self", models.DO_NOTHING, from_fields=[], to_fields=[], related_name="+", null=True)

    def get_joining_fields(self, reverse_join=False):
        return ()

    def get_joining_columns(self, reverse_join=False):
        return ()

    def get_extra_restriction(self, alias, related_alias):
        path: Any = self.model._meta.get_field("path")
        return StartsWith(path.get_col(related_alias), path.get_col(alias))

    def resolve_related_fields(self):
        return []

    def contribute_to_class(self, cls, name, private_only=False, **kwargs):
        super().contribute_to_class(cls, name, private_only=True, **kwargs)
