"""URLs of the project: the directory of airports, and Django's admin with the page of the cache."""

from django.conf import settings
from django.contrib import admin
from django.contrib.staticfiles.views import serve
from django.urls import include, path

urlpatterns = [
    path("", include("airports.urls")),
    path("admin/", admin.site.urls),
    # The example's own server serves static files, also without DEBUG.
    path("static/<path:path>", serve, {"insecure": True}),
]
if "debug_toolbar" in settings.INSTALLED_APPS:
    urlpatterns.append(path("__debug__/", include("debug_toolbar.urls")))
