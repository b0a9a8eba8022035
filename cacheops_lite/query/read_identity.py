"""Make the texts that identify a read: its parameters, and how fields and expressions convert columns into values."""

from __future__ import annotations

import datetime
import decimal
import pickle
import uuid
from collections.abc import Iterable
from functools import cache
from typing import Any

from django.conf import settings
from django.db.models import Field, Model
from django.db.models.expressions import Col
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.query import Query
from django.utils import timezone, translation

from ..observe import Reason
from ..schema import loads_like_django, target_of
from ..store import FORMAT_VERSION
from ..utils import error_boundary
from .field_identity import field_text
from .query_walk import Uncacheable

# Types whose repr() is different for different values.
EXACT_REPR_TYPES = (
    *(str, int, float, bool, bytes, type(None), decimal.Decimal, uuid.UUID),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta),
)


def depends_on_locale(expression: Any) -> bool:
    """Return whether custom code shows the expression's values, which may use the active language or time zone."""
    field = expression.target if isinstance(expression, Col) else getattr(expression, "_output_field_or_none", None)
    is_django_s = type(expression).__module__.startswith("django.")
    return not is_django_s or (field is not None and not loads_like_django(field))


def active_locale() -> str:
    """Return the active language and time zone, which custom fields may use to show values."""
    zone = timezone.get_current_timezone_name() if settings.USE_TZ else ""
    return f"{translation.get_language()} {zone}"


def conversions(compiler: SQLCompiler, query: Query) -> Iterable[str]:
    """Describe what turns columns into values, as the same SQL with other fields has other results."""
    yield f"{FORMAT_VERSION} {compiler.connection.vendor}"
    yield "" if query.model is None else model_layout(query.model)
    for expression, _, alias in compiler.select or ():
        yield f"{alias or ''} {conversion(expression)}"


def conversion(expression: Any) -> str:
    """Describe what turns the column of a selected expression into values."""
    if isinstance(expression, Col):
        return _field_identity(expression.output_field)
    output_field, kind = getattr(expression, "_output_field_or_none", None), type(expression)
    own = "" if output_field is None else _field_identity(output_field)
    if not kind.__module__.startswith("django."):
        # A custom expression may convert values, depending on its arguments.
        own += f" {kind.__module__}.{kind.__qualname__} {parameters_text([_constructor_arguments(expression)])}"
    return own


def _constructor_arguments(part: Any) -> Any:
    """Return the arguments that an expression was made with, without the identities of objects among them."""
    if isinstance(part, Field):
        return _field_identity(part)
    if isinstance(part, dict):
        return sorted((name, _constructor_arguments(each)) for name, each in part.items())
    if isinstance(part, (list, tuple)):
        return [_constructor_arguments(each) for each in part]
    arguments = getattr(part, "_constructor_args", None)
    if arguments is None:
        return part
    return f"{type(part).__module__}.{type(part).__qualname__}", _constructor_arguments(arguments)


def _field_identity(field: Field[Any, Any]) -> str:
    return field_text(field) if getattr(field, "model", None) is None else _model_field_identity(field)


@cache
def _model_field_identity(field: Field[Any, Any]) -> str:
    """Describe the field and how it makes its values, which another release of the application may change."""
    target = target_of(field)
    target_identity = "" if target is field else _field_identity(target)
    return f"{field.model._meta.label}.{field.attname} {field_text(field)} {target_identity}"


@cache
def model_layout(model: type[Model]) -> str:
    """Return a text that changes when the model or one of its fields does."""
    fields = [_model_field_identity(field) for field in model._meta.concrete_fields]
    return " ".join([model.__module__, model.__qualname__, *fields])


def parameters_text(params: Iterable[Any]) -> str:
    """Return a text that differs for different parameters, also for ``1`` and ``'1'``.  Raises Uncacheable."""
    return repr([_identifying_value(param) for param in params])


def _identifying_value(param: Any) -> Any:
    if type(param) in EXACT_REPR_TYPES:
        return param
    if isinstance(param, memoryview):
        return bytes(param)
    try:
        return type(param).__qualname__, pickle.dumps(param)
    except Exception as error:
        error_boundary.reraise_interrupt(error)
        kind = type(param).__qualname__
        reason = f"a {kind} among its parameters can't be pickled: {error_boundary.describe_error(error)}"
        raise Uncacheable(Reason.NOT_ANALYSABLE, reason) from error
