"""Django's admin: querysets of model admins are uncached by default."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import override_settings
from django.urls import path

from cacheops_lite.orm import admin_hooks
from tests.conftest import counted_reads
from tests.shop.models import Category, Product

pytestmark = pytest.mark.django_db(transaction=True)

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

site = admin.AdminSite()


class ProductInline(admin.TabularInline):
    model = Product
    fields = ("name",)
    extra = 0


class CategoryAdmin(admin.ModelAdmin):
    inlines = (ProductInline,)


site.register(Product, list_display=("name",))
site.register(Category, CategoryAdmin)
urlpatterns = [path("admin/", site.urls)]


@pytest.fixture
def visit(store, client):
    """Return a function that requests an admin page as a superuser and returns its content."""
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=MIDDLEWARE):
        client.force_login(User.objects.create_superuser("root"))

        def visit(url):
            response = client.get(url)
            assert response.status_code == 200
            return response.content.decode()

        yield visit


def write_without_django(name):
    """Write directly through the driver, so that the cache does not notice, like another program."""
    from django.db import connection

    connection.ensure_connection()
    with connection.connection.cursor() if connection.vendor != "sqlite" else connection.connection as cursor:
        cursor.execute(f"UPDATE shop_product SET name = '{name}'")


def test_the_admin_shows_rows_that_another_program_wrote(visit):
    """This applies to lists, forms and inlines."""
    pens = Category.objects.create(name="pens")
    product = Product.objects.create(sku="pen", name="first", category=pens)
    urls = [
        "/admin/shop/product/",
        f"/admin/shop/product/{product.pk}/change/",
        f"/admin/shop/category/{pens.pk}/change/",
    ]
    for url in urls:
        assert "first" in visit(url)
    write_without_django("second")
    for url in urls:
        assert "second" in visit(url)
        assert "first" not in visit(url)


@override_settings(CACHEOPS_CACHE_ADMIN=True)
def test_cacheops_cache_admin_caches_the_admin(visit):
    """A write through Django invalidates its pages."""
    Product.objects.create(sku="pen", name="first")
    visit("/admin/shop/product/")
    with counted_reads() as reads:
        assert "first" in visit("/admin/shop/product/")
    assert reads.hits
    Product.objects.update(name="second")
    assert "second" in visit("/admin/shop/product/")


def test_uninstalling_the_hook_restores_django_s_method():
    """Installing it again keeps the original method."""
    original = admin_hooks._patches.original(admin.options.BaseModelAdmin, "get_queryset")
    assert admin.ModelAdmin.get_queryset is admin_hooks.get_queryset
    admin_hooks.uninstall()
    try:
        assert admin.ModelAdmin.get_queryset is original
    finally:
        admin_hooks.install()
    admin_hooks.install()
    assert admin_hooks._patches.original(admin.options.BaseModelAdmin, "get_queryset") is original
