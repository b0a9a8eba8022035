"""URLs of the directory."""

from django.urls import path

from . import views

urlpatterns = [
    path("", views.home, name="home"),
    path("countries/<str:code>/", views.country, name="country"),
    path("countries/<str:code>/update/", views.mass_update, name="mass-update"),
    path("add/", views.add, name="add"),
    path("airports/<str:icao>/", views.airport, name="airport"),
    path("airports/<str:icao>/edit/", views.edit, name="edit"),
    path("airports/<str:icao>/delete/", views.delete, name="delete"),
    path("airports/<str:icao>/visit/", views.visit, name="visit"),
    path("invalidate/", views.invalidate, name="invalidate"),
]
