"""An admin site of the project, which the page on the admin imports."""

from django.contrib.admin import AdminSite

my_admin_site = AdminSite(name="mine")
