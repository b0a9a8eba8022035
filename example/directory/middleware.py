"""Show the cached reads and SQL queries of a request on each page and in response headers."""

from airports.counting import counting

PLACEHOLDER = b"<!-- request counts -->"


class CountsMiddleware:
    """Counts the cached reads and SQL queries of a request.

    The counts are known only after the page is rendered, so the template has a placeholder that is replaced here.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        with counting() as counts:
            response = self.get_response(request)
        response["X-Cache-Hits"] = str(counts.hits)
        response["X-Cache-Misses"] = str(counts.misses)
        response["X-SQL-Queries"] = str(counts.queries)
        if not response.streaming and PLACEHOLDER in response.content:
            response.content = response.content.replace(PLACEHOLDER, str(counts).encode(), 1)
            if response.has_header("Content-Length"):
                response["Content-Length"] = str(len(response.content))
        return response
