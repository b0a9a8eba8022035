"""Separate processes, which share database and Redis with the test that starts them.

They are forked from a process that has imported everything and has used neither, so they begin within milliseconds, as
workers of a preloading web server do.
"""

from __future__ import annotations

import multiprocessing
from importlib import import_module

PATIENCE = 60
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["tests.support.preloaded"])


def start(function, *args):
    """Start a process that calls a module-level function on the database of this test."""
    return start_named(function.__module__, function.__name__, *args)


def start_named(module, name, *args):
    """Start a process that calls a function of a module, which this process need not import."""
    from django.db import connection

    database = connection.settings_dict["NAME"]
    process = context.Process(target=_begin, args=(database, module, name, args), daemon=True)
    process.start()
    return process


def ended(*processes):
    """Wait for processes to end, and return their exit codes."""
    for process in processes:
        process.join(PATIENCE)
    return [process.exitcode for process in processes]


def _begin(database, module, name, args):
    # The process that forks has done so already, unless an import failed there, which is told here.
    import_module("tests.support.preloaded")
    from django.db import connection

    from cacheops_lite.store import database_names

    connection.settings_dict["NAME"] = database
    database_names.remember_configured()
    getattr(import_module(module), name)(*args)
