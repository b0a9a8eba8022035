"""The project's URLs: the directory is the whole site."""

from django.urls import include, path

urlpatterns = [path("", include("airports.urls"))]
