"""Settings of the tests of a package with the cache."""

import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = ("cacheops_lite", *INSTALLED_APPS)
CACHEOPS_REDIS = os.environ["TEST_REDIS_URL"]
CACHEOPS = {"*.*": {"ops": "all", "timeout": 600, "db_agnostic": False}}
