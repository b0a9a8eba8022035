from django.http import HttpResponse, JsonResponse

from articles.models import Article
from cacheops_lite import cached, invalidate_all
from cacheops_lite.signals import cache_read


@cached(timeout=600)
def number_of_articles():
    return Article.objects.nocache().count()


def titles(request):
    """Return the titles, and whether they come from the cache."""
    hits = []

    def note(hit, **kwargs):
        hits.append(hit)

    cache_read.connect(note)
    try:
        found = list(Article.objects.order_by("pk").values_list("title", flat=True))
    finally:
        cache_read.disconnect(note)
    return JsonResponse({"titles": found, "hit": hits == [True]})


def number(request):
    return HttpResponse(str(number_of_articles()))


def rename(request, title):
    article = Article.objects.nocache().first()
    if article is not None:
        article.title = title
        article.save()
    return HttpResponse("renamed")


def clear(request):
    invalidate_all()
    return HttpResponse("cleared")
