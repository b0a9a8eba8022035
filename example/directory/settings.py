"""Settings of the airports directory.

Environment: EXAMPLE_DB (path of the SQLite file), CACHEOPS_REDIS (URL of a Redis server),
EXAMPLE_DEBUG=1 (Django's debug pages), EXAMPLE_HOSTS (further host names, comma-separated).
"""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = "only for the example: it signs nothing of value"
DEBUG = os.environ.get("EXAMPLE_DEBUG") == "1"
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS += [host for host in os.environ.get("EXAMPLE_HOSTS", "").split(",") if host]

INSTALLED_APPS = [
    "cacheops_lite",
    "django.contrib.messages",
    "airports",
]

MIDDLEWARE = [
    "directory.middleware.CacheBarMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

# The cache. Without the URL of a Redis server it runs on an embedded Redis, which belongs to one process. That is
# enough to explore the example, but other processes (a worker, a shell) can neither read nor invalidate it.
CACHEOPS = {"airports.*": {"ops": "all", "timeout": 3600}}
if os.environ.get("CACHEOPS_REDIS"):
    CACHEOPS_REDIS = os.environ["CACHEOPS_REDIS"]
else:
    CACHEOPS_CLIENT_CLASS = "fakeredis.FakeRedis"
    CACHEOPS_REDIS = {}

# The database. With IMMEDIATE concurrent writers wait for one another instead of failing.
DATABASE = os.environ.get("EXAMPLE_DB") or str(BASE_DIR / "var" / "airports.sqlite3")
if DATABASE != ":memory:":
    Path(DATABASE).parent.mkdir(parents=True, exist_ok=True)
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATABASE,
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"

ROOT_URLCONF = "directory.urls"
WSGI_APPLICATION = "directory.wsgi.application"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
