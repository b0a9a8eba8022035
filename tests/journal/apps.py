from django.apps import AppConfig


class JournalConfig(AppConfig):
    name = "tests.journal"
    label = "journal"
