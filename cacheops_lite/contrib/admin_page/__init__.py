"""A page of Django's admin: what the cache does, which memory it takes, and buttons that invalidate.

Add ``"cacheops_lite.contrib.admin_page"`` to ``INSTALLED_APPS``.  See docs/admin-page.rst.
"""
