"""A site of its own: a process with settings of its own, which does what the test tells it.

The test writes a line of JSON with settings, then a line for each thing to do; the site answers each with a line.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BASE_SETTINGS = {
    "INSTALLED_APPS": ["django.contrib.contenttypes", "django.contrib.auth", "cacheops_lite"],
    "SECRET_KEY": "site",
    "USE_TZ": True,
    "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
    "CACHEOPS": {"auth.*": {"ops": "all", "timeout": 600}},
}


class Site:
    """A site process.  Its methods are those of the functions below, with JSON in between."""

    def __init__(self, databases, **settings):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.site"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._send({**BASE_SETTINGS, "DATABASES": databases, **settings})

    def _send(self, message):
        self._process.stdin.write(json.dumps(message, default=str) + "\n")
        self._process.stdin.flush()

    def __getattr__(self, name):
        def call(*args):
            self._send([name, *args])
            answer = self._process.stdout.readline()
            assert answer, f"the site ended in {name}{args}"
            result, error = json.loads(answer)
            assert error is None, error
            return result

        return call

    def end(self):
        self._process.stdin.close()
        self._process.wait(60)


# In the site


def migrate():
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def create(name):
    from django.contrib.auth.models import Group

    return Group.objects.create(name=name).pk


def rename(old, new):
    from django.contrib.auth.models import Group

    group = Group.objects.nocache().get(name=old)
    group.name = new
    group.save()


def names(using="default"):
    """Return the names of all groups, and whether they come from the cache."""
    from django.contrib.auth.models import Group

    from cacheops_lite.signals import cache_read

    hits = []

    def note(hit, **kwargs):
        hits.append(hit)

    cache_read.connect(note)
    try:
        found = list(Group.objects.using(using).order_by("pk").values_list("name", flat=True))
    finally:
        cache_read.disconnect(note)
    return [found, hits == [True]]


def simple():
    """Return the names of all groups by a function that is cached in the simple cache."""
    from django.contrib.auth.models import Group

    from cacheops_lite import cached

    @cached(timeout=600)
    def names_of_groups():
        return list(Group.objects.nocache().order_by("pk").values_list("name", flat=True))

    return names_of_groups()


def reason(using="default"):
    from django.contrib.auth.models import Group

    report = Group.objects.using(using).order_by("pk").values_list("name", flat=True).explain_cache()
    return [report.reason.value, str(report)]


def clear():
    from cacheops_lite import invalidate_all

    invalidate_all()


def queries_of_first_read():
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        names()
    return len(queries)


def let_comparisons_expire():
    """Do what the time does: processes compare again once a minute."""
    from cacheops_lite.store import database_comparison

    for each in database_comparison._known.comparisons.values():
        each.until = 0


def disconnect():
    from django.db import connections

    connections.close_all()


def main():
    from django.conf import settings

    answers, sys.stdout = sys.stdout, sys.stderr
    settings.configure(**json.loads(sys.stdin.readline()))
    import django

    django.setup()
    for line in sys.stdin:
        name, *args = json.loads(line)
        try:
            answer = [globals()[name](*args), None]
        except Exception as error:
            answer = [None, repr(error)]
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
