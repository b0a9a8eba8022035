"""Fields that store, or show, something else than they hold."""

import hashlib
import json
from typing import Any

from django.db import models
from django.db.models.lookups import Exact, StartsWith
from django.utils import timezone, translation


class LowerField(models.CharField):
    """The database stores it in lower case."""

    def get_placeholder_sql(self, value, compiler, connection):
        sql, params = compiler.compile(value) if hasattr(value, "as_sql") else ("%s", [value])
        return f"LOWER({sql})", params

    # Before Django 6.1.
    def get_placeholder(self, value, compiler, connection):
        return "%s" if hasattr(value, "as_sql") else "LOWER(%s)"


class ShownLowerField(models.CharField):
    """The database shows it in lower case."""

    def select_format(self, compiler, sql, params):
        return f"LOWER({sql})", params


class HashedField(models.CharField):
    """Stores a hash of what it is given, even of a hash."""

    def get_prep_value(self, value):
        return None if value is None else hashlib.md5(str(value).encode(), usedforsecurity=False).hexdigest()


class NotingField(models.IntegerField):
    """When it is stored it makes its instance say so, after that was taken for what is stored."""

    def pre_save(self, instance, add):
        instance.note = "noted"
        return super().pre_save(instance, add)


class TidyField(models.CharField):
    """Shows text without the spaces around it."""

    def from_db_value(self, value, expression, connection):
        return value and value.strip()


class SaltedField(models.CharField):
    """Stores more than it is given, each time."""

    def get_db_prep_value(self, value, connection, prepared=False):
        return value and f"{value}."


class TimeEncoder(json.JSONEncoder):
    def default(self, value):
        return value.isoformat()


class FirstDecoder(json.JSONDecoder):
    """Shows the first of several."""

    def decode(self, s, *args):
        found = super().decode(s, *args)
        return found[0] if isinstance(found, list) else found


class TranslatedField(models.JSONField):
    """Shows the text of the language that is active."""

    def from_db_value(self, value, expression, connection):
        return super().from_db_value(value, expression, connection)[translation.get_language()]


class LocalField(models.DateTimeField):
    """Shows the time of the zone that is active."""

    def from_db_value(self, value, expression, connection):
        return None if value is None else timezone.localtime(value).isoformat()


class UnitField(models.IntegerField):
    """Shows a number with a unit."""

    def __init__(self, unit="m", **options):
        self.unit = unit
        super().__init__(**options)

    def from_db_value(self, value, expression, connection):
        return f"{value} {self.unit}"


class ShoutingText(str):
    """Equal whatever the case."""

    def __eq__(self, other):
        return str.upper(self) == str.upper(other)

    __hash__ = str.__hash__


class ShoutingField(models.CharField):
    def to_python(self, value):
        return value if value is None else ShoutingText(value)


class ShownByField(models.CharField):
    """Shows what a class makes of the text, and stores the text of such an object; None: the text itself."""

    kind = None

    def from_db_value(self, value, expression, connection):
        return value if value is None or self.kind is None else self.kind(value)

    def get_prep_value(self, value):
        return super().get_prep_value(vars(value)["text"] if hasattr(type(value), "raises") else value)


class InLanguage(models.ForeignObject):
    """What is related in the language that is active."""

    requires_unique_target = False

    def get_extra_restriction(self, alias, related_alias):
        language: Any = self.related_model._meta.get_field("language")
        return Exact(language.get_col(alias), translation.get_language())


class Above(models.ForeignObject):
    """Whatever has a path that its own begins with: no column joins the two."""

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
