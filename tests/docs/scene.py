"""The data and the names that snippets find: rows of the blog, a request, and a stand-in for Celery."""

from __future__ import annotations

import sys
import types
from typing import Any

from blog.models import Article, Author, Comment, MenuItem, Tag
from django.apps import apps
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.core.management import call_command
from django.db import connections
from django.test import RequestFactory

from cacheops_lite.store import get_client

# Settings that the snippets of a page assume.
SETTINGS = {"docs/reasons.rst": {"CACHEOPS": {"blog.*": {"ops": ("fetch", "get")}}}}


def create_tables() -> None:
    call_command("migrate", verbosity=0, run_syncdb=True)
    # A real one needs a broker.
    sys.modules["celery"] = _celery()


def _celery() -> types.ModuleType:
    """Return a module with the one name that the documentation imports from Celery."""
    module: Any = types.ModuleType("celery")

    def shared_task(function: Any) -> Any:
        function.delay = function
        return function

    module.shared_task = shared_task
    return module


def fresh_namespace(page: str) -> dict[str, Any]:
    """Empty the tables and the cache, and return the names that the snippets of a page may use."""
    for model in (Comment, Article, Author, Tag, MenuItem, User):
        model.objects.all().delete()
    get_client().flushdb()
    author = Author.objects.create(pk=1, name="Ada")
    tag = Tag.objects.create(pk=2, name="cache")
    user = User.objects.create_user("reader", is_staff=True)
    for pk in (1, 2, 34):
        article = Article.objects.create(pk=pk, title=f"Title {pk}", slug=f"title-{pk}", author=author, owner=user)
        article.tags.add(tag)
    MenuItem.objects.create(title="Home", place="top")
    module = sys.modules["blog.snippets"] = types.ModuleType("blog.snippets")
    namespace = vars(module)
    request = RequestFactory().get("/articles/")
    request.user, request.session = AnonymousUser(), SessionStore()
    namespace |= {model.__name__: model for model in apps.get_app_config("blog").get_models()}
    namespace["view"] = lambda request: list(Article.objects.all())
    namespace |= {"User": User, "user": user, "author": author, "tag": tag, "article": article, "request": request}
    return namespace


def close() -> None:
    connections.close_all()
