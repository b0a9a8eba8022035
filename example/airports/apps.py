"""Configuration of the app."""

from django.apps import AppConfig


class AirportsConfig(AppConfig):
    """The airports of the world, by country."""

    name = "airports"
    verbose_name = "Airports"
