"""What the process has imported from which the processes of tests are forked: Django, the models and the workers."""

import os
import sys
from pathlib import Path

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
sys.path.insert(0, str(Path(__file__).parents[2] / "example"))

import django

django.setup()

import tests.concurrency.worker  # noqa: E402
import tests.reliability.worker  # noqa: E402, F401
