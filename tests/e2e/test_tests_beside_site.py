"""A project's test runs and its site share one Redis, and take no notice of each other.

The project is `tests/projects/newsroom`; its own tests check that they read nothing of the site.
"""

import json
import os
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import servers

PROJECT = Path(__file__).parents[1] / "projects" / "newsroom"
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.redis
RUNS = {
    "django": ["manage.py", "test", "--noinput"],
    "django in parallel": ["manage.py", "test", "--noinput", "--parallel", "2"],
    "pytest": ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2"],
    "pytest with kept databases": ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--reuse-db"],
}


class Site:
    """The project's site, served by ``runserver``."""

    def __init__(self, environment):
        self.environment = environment
        self.port = servers.free_port()
        self.manage("migrate", "--run-syncdb", "--verbosity", "0")
        self.manage("shell", "-c", "from articles.models import Article; Article.objects.create(title='live')")
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "runserver", "--noreload", f"127.0.0.1:{self.port}"],
            cwd=PROJECT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert servers.listens(self.port)

    def manage(self, *arguments):
        subprocess.run([sys.executable, "manage.py", *arguments], cwd=PROJECT, env=self.environment, check=True)

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=60) as response:
            return response.read().decode()

    def titles(self):
        return json.loads(self.get(""))

    def end(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def site(request, tmp_path):
    """The site, whose titles and number of articles are in the cache."""
    with servers.running() as server, database(request.param, tmp_path) as settings:
        environment = {
            **os.environ,
            "NEWSROOM_DATABASE": json.dumps(settings),
            "NEWSROOM_REDIS": server.url,
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        # Those of this run.
        for name in ("DJANGO_SETTINGS_MODULE", "COVERAGE_PROCESS_START"):
            environment.pop(name, None)
        site = Site(environment)
        try:
            assert [site.titles()["hit"] for _ in range(2)] == [False, True]
            assert site.get("function") == "1"
            yield site
        finally:
            site.end()


@contextmanager
def database(kind, folder):
    if kind == "sqlite":
        test = {"NAME": str(folder / "test.sqlite3")}
        yield {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "news.sqlite3"), "TEST": test}
        return
    with servers.postgresql() as settings:
        yield {**settings, "NAME": "postgres", "TEST": {"NAME": "test_news"}}


def run_tests(site, name):
    done = subprocess.run(
        [sys.executable, *RUNS[name]], cwd=PROJECT, env=site.environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("site", "name"),
    [
        ("sqlite", "django"),
        ("sqlite", "pytest"),
        ("postgresql", "django in parallel"),
        ("postgresql", "pytest with kept databases"),
    ],
    indirect=["site"],
)
def test_a_test_run_changes_nothing_that_the_site_reads(site, name):
    """Afterwards the site has the same hits as before.  With kept databases the second run passes as well."""
    for _ in range(2 if "kept" in name else 1):
        run_tests(site, name)
        assert site.titles() == {"titles": ["live"], "hit": True}
        assert site.get("function") == "1"


@pytest.mark.parametrize("site", ["postgresql"], indirect=True)
def test_a_site_that_writes_and_clears_the_cache_changes_nothing_for_the_tests(site):
    """Nor do its own pages become wrong meanwhile."""
    ended = threading.Event()
    wrong = []

    def use():
        number = 0
        # Without a pause it would keep the tests from running.
        while not ended.wait(0.02):
            number += 1
            site.get(f"rename/title-{number}")
            if number % 10 == 0:
                site.get("clear")
            for _ in range(2):
                titles = site.titles()["titles"]
                if titles != [f"title-{number}"]:
                    wrong.append((number, titles))

    thread = threading.Thread(target=use)
    thread.start()
    try:
        for name in ("django", "pytest"):
            run_tests(site, name)
    finally:
        ended.set()
        thread.join()
    assert not wrong
