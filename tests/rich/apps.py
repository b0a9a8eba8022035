from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import pre_migrate


class RichConfig(AppConfig):
    name = "tests.rich"
    label = "rich"

    def ready(self):
        pre_migrate.connect(create_caseless, sender=self)


def create_caseless(using, **kwargs):
    """Create a collation NOCASE and the extension citext on PostgreSQL.

    SQLite has a collation NOCASE, and MariaDB's default collations are case-insensitive.
    """
    if connections[using].vendor == "postgresql":
        with connections[using].cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS citext")
            cursor.execute(
                """CREATE COLLATION IF NOT EXISTS "NOCASE"
                (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"""
            )
