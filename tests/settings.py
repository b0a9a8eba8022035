"""Settings of the test project: the shop and the airports directory, on what `services` finds."""

from tests.support import services

SECRET_KEY = "tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": services.database_settings(services.DATABASE),
    # The same data under another alias, and other data of the same models.
    "replica": {**services.database_settings(services.DATABASE), "TEST": {"MIRROR": "default"}},
    "other": services.database_settings("sqlite", "other"),
}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "cacheops_lite",
    "cacheops_lite.contrib.admin_page",
    "tests.support",
    "tests.journal",
    "tests.rich",
    "tests.shop",
    "airports",
]
ROOT_URLCONF = "directory.urls"
MIDDLEWARE = [
    "directory.middleware.CacheBarMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"
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

if services.redis_answers():
    CACHEOPS_REDIS, CACHEOPS_CLIENT_CLASS = services.REDIS_URL, services.CLIENT_CLASS
else:
    CACHEOPS_CLIENT_CLASS = "fakeredis.FakeRedis"
# Most tests look for keys by their names, and run with one database at a time.  `tests.store.test_database_names` and
# a run of the contract suites (TEST_DATABASE_NAMES=on) use the names that projects have by default.
CACHEOPS_DATABASE_NAMES = {} if services.HAS_DATABASE_NAMES else {"default": "", "replica": "", "other": ""}
# Machines that run several suites at once stall now and then.
CACHEOPS_REDIS_TIMEOUT = 10
# Tests cut Redis off and drop what is owed; `tests.store.test_spool` has directories of its own.
CACHEOPS_SPOOL_DIR = None
CACHEOPS_DEFAULTS = {"timeout": 600}
CACHEOPS = {
    "shop.unwatched": None,
    "shop.*": {"ops": "all"},
    "journal.*": {"ops": "all"},
    "rich.*": {"ops": "all"},
    "airports.*": {"ops": "all"},
}
