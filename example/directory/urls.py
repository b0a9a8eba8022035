"""URLs of the project: the directory of airports is the whole site."""

from django.urls import include, path

urlpatterns = [path("", include("airports.urls"))]
