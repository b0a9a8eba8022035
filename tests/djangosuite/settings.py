"""Settings of Django's own test suite with the cache."""

import os

from tests.support import services

NAME = services.DATABASE
DATABASES = {"default": services.database_settings(NAME), "other": services.database_settings(NAME, "other")}
for role, settings in DATABASES.items():
    settings["TEST"] = {"NAME": f"{settings['TEST']['NAME']}{'' if role == 'default' else role}"}
if NAME == "sqlite":
    DATABASES = {role: {"ENGINE": "django.db.backends.sqlite3"} for role in DATABASES}
SECRET_KEY = "of a test"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
CACHEOPS_REDIS = os.environ["TEST_REDIS_URL"]
CACHEOPS = {"*.*": {"ops": "all", "timeout": 600, "db_agnostic": False}}
