"""Pages that do what a test gives them to do, with Django Debug Toolbar's own pages beside them."""

from django.db import transaction
from django.http import HttpResponse
from django.template import engines
from django.urls import include, path

PAGE = "<html><body>done</body></html>"
# The function that the next request calls, a coroutine function for the asynchronous page.
work = None
# What the page that renders a template shows, and with which context.
template, context = "", {}


def page(request):
    work()
    return HttpResponse(PAGE)


async def async_page(request):
    await work()
    return HttpResponse(PAGE)


def template_page(request):
    text = engines["django"].from_string(f"<html><body>{template}</body></html>").render(context)
    return HttpResponse(text)


def handler404(request, exception):
    return HttpResponse("not found", status=404)


urlpatterns = [
    path("page/", page),
    path("atomic/", transaction.atomic(page)),
    path("async/", async_page),
    path("template/", template_page),
    path("__debug__/", include("debug_toolbar.urls")),
]
