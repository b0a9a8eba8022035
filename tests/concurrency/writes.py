"""Writes of new versions of a row's lanes.  Each takes the row's primary key and the new columns."""

from __future__ import annotations

from django.db import connection, transaction
from django.db.models import F

from tests.concurrency.rows import product
from tests.shop.models import Product


def fetched(pk, values):
    return changed(Product.objects.nocache().get(pk=pk), values)


def changed(instance, values):
    for name, value in values.items():
        setattr(instance, name, value)
    return instance


def save_fields(pk, values):
    fetched(pk, values).save(update_fields=list(values))


def save_fields_atomic(pk, values):
    with transaction.atomic():
        fetched(pk, values).save(update_fields=list(values))


def save_deferred(pk, values):
    changed(Product.objects.nocache().only("pk", *values).get(pk=pk), values).save()


def save_locked(pk, values):
    with transaction.atomic():
        changed(Product.objects.select_for_update().get(pk=pk), values).save()


def save_in_savepoint(pk, values):
    with transaction.atomic():
        with transaction.atomic():
            save_fields(pk, values)
        Product.objects.nocache().count()


def update(pk, values):
    Product.objects.filter(pk=pk).update(**values)


def invalidated_update(pk, values):
    Product.objects.filter(pk=pk).invalidated_update(**values)


def bulk_update(pk, values):
    Product.objects.bulk_update([fetched(pk, values)], list(values))


def _growing(pk, values):
    """Return the new columns, with the version as an expression.  Only the writer of the lane changes it."""
    now = Product.objects.nocache().values("views", "price").get(pk=pk)
    return {name: F(name) + (value - now[name]) if name in now else value for name, value in values.items()}


def update_by_expression(pk, values):
    Product.objects.filter(pk=pk).update(**_growing(pk, values))


def save_by_expression(pk, values):
    fetched(pk, _growing(pk, values)).save(update_fields=list(values))


def raw_sql(pk, values):
    assignments = ", ".join(f"{name} = %s" for name in values)
    with connection.cursor() as cursor:
        parameters = [
            connection.ops.adapt_decimalfield_value(v, 8, 2) if n == "price" else v for n, v in values.items()
        ]
        cursor.execute(f"UPDATE shop_product SET {assignments} WHERE id = %s", [*parameters, pk])


def save_whole(pk, values):
    """Save all columns.  Only a writer that has all lanes of the row may do so."""
    fetched(pk, values).save()


WRITES_OF_LANES = [
    save_fields,
    save_fields,
    save_fields_atomic,
    save_deferred,
    save_locked,
    save_in_savepoint,
    update,
    invalidated_update,
    bulk_update,
    update_by_expression,
    save_by_expression,
    raw_sql,
]
WRITES_OF_ROWS = [save_whole, save_whole, *WRITES_OF_LANES]


def create(pk, version):
    product(pk, version).save(force_insert=True)


def save_unfetched(pk, version):
    product(pk, version).save()


def bulk_create(pk, version):
    Product.objects.bulk_create([product(pk, version)])


def update_or_create(pk, version):
    new = product(pk, version)
    names = ("sku", "name", "views", "category_id", "price", "day")
    Product.objects.update_or_create(pk=pk, defaults={name: getattr(new, name) for name in names})


CREATIONS = [create, save_unfetched, bulk_create, update_or_create]


def delete(pk):
    Product.objects.nocache().get(pk=pk).delete()


def delete_atomic(pk):
    with transaction.atomic():
        delete(pk)


def delete_query(pk):
    Product.objects.filter(pk=pk).delete()


def delete_raw(pk):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM shop_product WHERE id = %s", [pk])


DELETIONS = [delete, delete_atomic, delete_query, delete_raw]
