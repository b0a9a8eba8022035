"""The subcommands of ``manage.py cacheops``."""
