"""Separate processes, which share database and Redis with the test that starts them."""

from __future__ import annotations

import multiprocessing
import os
from importlib import import_module

PATIENCE = 60
spawn = multiprocessing.get_context("spawn")


def start(function, *args):
    """Start a process that calls a module-level function by name, which imports models after Django is set up."""
    from django.db import connection

    database = connection.settings_dict["NAME"]
    process = spawn.Process(target=_begin, args=(database, function.__module__, function.__name__, args), daemon=True)
    process.start()
    return process


def ended(*processes):
    """Wait for processes to end, and return their exit codes."""
    for process in processes:
        process.join(PATIENCE)
    return [process.exitcode for process in processes]


def _begin(database, module, name, args):
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django
    from django.db import connection

    from cacheops_lite.store import database_names

    django.setup()
    connection.settings_dict["NAME"] = database
    database_names.remember_configured()
    getattr(import_module(module), name)(*args)
