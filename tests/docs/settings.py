"""Settings of the project that the snippets of the documentation run in: SQLite and the embedded Redis."""

import os

SECRET_KEY = "docs"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "blog.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["DOCS_SNIPPETS_DATABASE"],
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
    }
}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "cacheops_lite",
    "cacheops_lite.contrib.admin_page",
    "blog",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
CACHEOPS_CLIENT_CLASS = "fakeredis.FakeRedis"
CACHEOPS_DEFAULTS = {"timeout": 600}
CACHEOPS = {"auth.*": {}, "blog.*": {"ops": "all"}}
FILE_CACHE_DIR = os.environ["DOCS_SNIPPETS_DATABASE"] + ".files"
