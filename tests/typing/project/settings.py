SECRET_KEY = "typing"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["cacheops_lite", "library"]
CACHEOPS_CLIENT_CLASS = "fakeredis.FakeRedis"
CACHEOPS = {"library.*": {"ops": "all", "timeout": 60}}
