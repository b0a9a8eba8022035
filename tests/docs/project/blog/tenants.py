"""What the page on several tenants imports."""

from contextvars import ContextVar

current_tenant = ContextVar("current_tenant", default="public")


def prefix(query):
    return f"{current_tenant.get()}:"
