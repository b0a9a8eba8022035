"""Settings of the test project; `services` says what it runs on."""

from tests import services

SECRET_KEY = "tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": services.database_settings(services.DATABASE)}
INSTALLED_APPS = ["django.contrib.contenttypes", "cacheops_lite", "tests.shop", "airports"]
ROOT_URLCONF = "directory.urls"
MIDDLEWARE = ["directory.middleware.RequestCountsMiddleware"]


TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]

CACHEOPS_REDIS = services.REDIS_URL
CACHEOPS_DEFAULTS = {"timeout": 600}
CACHEOPS = {
    "shop.unwatched": None,
    "shop.*": {"ops": "all"},
    "airports.*": {"ops": "all"},
}
