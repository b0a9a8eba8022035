"""The site: pages of the library, as a WSGI application for the peer and the database that the environment names."""

from __future__ import annotations

import os
from decimal import Decimal
from typing import Any

from ..databases import DATABASES
from ..peers import PEERS
from ..worker import configure

# Which peer, and the name of the run, which is part of the database's name.
PEER, RUN = "BENCH_SITE_PEER", "BENCH_SITE_RUN"

_PEER = PEERS[os.environ[PEER]]
_TEMPLATES = {
    "base.html": (
        "<!doctype html><title>{% block title %}{% endblock %}</title><nav>{{ counted }} books, {{ tags|length }} tags:"
        "{% for tag in tags %} {{ tag.name }}{% endfor %}</nav>{% block main %}{% endblock %}"
    ),
    "book.html": (
        "{% extends 'base.html' %}{% block title %}{{ book.title }}{% endblock %}{% block main %}"
        "<h1>{{ book.title }}</h1><p>{{ book.author.name }}, {{ book.author.country.name }}; "
        "{{ book.publisher.name }}, {{ book.price }}, {{ book.published|date:'Y-m-d' }}</p>"
        "<ul>{% for tag in book.tags.all %}<li>{{ tag.name }}{% endfor %}</ul>"
        "<ol>{% for other in others %}<li>{{ other.title }}, {{ other.price }}{% endfor %}</ol>{% endblock %}"
    ),
    "author.html": (
        "{% extends 'base.html' %}{% block title %}{{ author.name }}{% endblock %}{% block main %}"
        "<h1>{{ author.name }}</h1><p>{{ author.country.name }}</p>"
        "{% for book in books %}<p>{{ book.title }}, {{ book.publisher.name }}:"
        "{% for tag in book.tags.all %} {{ tag.name }}{% endfor %}</p>{% endfor %}{% endblock %}"
    ),
}
_LOADER = "django.template.loaders.locmem.Loader", _TEMPLATES
configure(
    _PEER,
    DATABASES["postgresql"](os.environ[RUN]).settings(_PEER.name),
    ROOT_URLCONF="bench.site.pages",
    ALLOWED_HOSTS=["*"],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [
                    ("django.template.loaders.cached.Loader", [("django.template.loaders.locmem.Loader", _TEMPLATES)])
                ]
            },
        }
    ],
)

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.shortcuts import get_object_or_404, render  # noqa: E402
from django.urls import path  # noqa: E402

from ..library.models import Author, Book, Tag  # noqa: E402


def _page(request: HttpRequest, template: str, **context: Any) -> HttpResponse:
    tags = Tag.objects.order_by("name")[:20]
    return render(request, template, {"counted": Book.objects.filter(in_print=True).count(), "tags": tags, **context})


def book(request: HttpRequest, pk: int) -> HttpResponse:
    """Show a book with what it refers to; a POST request changes its price."""
    found = get_object_or_404(Book, pk=pk)
    if request.method == "POST":
        found.price = Decimal(int(found.price * 100) % 9900 + 1) / 100
        found.save()
        return HttpResponse(status=204)
    others = Book.objects.filter(author_id=found.author_id).order_by("title")[:10]
    return _page(request, "book.html", book=found, others=others)


def author(request: HttpRequest, pk: int) -> HttpResponse:
    """Show an author and all books."""
    books = Book.objects.filter(author_id=pk).select_related("publisher").prefetch_related("tags").order_by("title")
    return _page(request, "author.html", author=get_object_or_404(Author, pk=pk), books=books)


urlpatterns = [path("book/<int:pk>/", book), path("author/<int:pk>/", author)]
application = get_wsgi_application()
