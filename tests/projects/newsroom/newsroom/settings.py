"""A site whose database and Redis the environment names."""

import json
import os

SECRET_KEY = "newsroom"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
DATABASES = {"default": json.loads(os.environ["NEWSROOM_DATABASE"])}
INSTALLED_APPS = ["cacheops_lite", "articles"]
ROOT_URLCONF = "newsroom.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates"}]

CACHEOPS_REDIS = os.environ["NEWSROOM_REDIS"]
CACHEOPS = {"articles.*": {"ops": "all", "timeout": 600}}
