"""Show what the cache did for a request on each page, and count it in response headers."""

from secrets import token_hex

from airports.counting import counting
from airports.showing import Page, remember_reads, remember_writes, take_writes

from cacheops_lite.observe import activity

PLACEHOLDER = b"<!-- cache bar -->"
VISITOR_COOKIE = "visitor"


class CacheBarMiddleware:
    """Collects the reads and writes of a request.

    They are known only after the page is rendered, so the template has a placeholder that is replaced here.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        with activity.collect() as work, counting() as counts:
            response = self.get_response(request)
        visitor = request.COOKIES.get(VISITOR_COOKIE)
        if work.invalidations:
            visitor = visitor or token_hex(8)
            remember_writes(work, visitor)
            response.set_cookie(VISITOR_COOKIE, visitor, samesite="Lax", httponly=True)
        remember_reads(work, request.path)
        response["X-Cache-Hits"] = str(counts.hits)
        response["X-Cache-Misses"] = str(counts.misses)
        response["X-SQL-Queries"] = str(counts.queries)
        if not response.streaming and PLACEHOLDER in response.content:
            page = Page(work, counts.queries, take_writes(visitor) if visitor else [])
            response.content = response.content.replace(PLACEHOLDER, page.bar().encode(), 1)
            if response.has_header("Content-Length"):
                response["Content-Length"] = str(len(response.content))
        return response
