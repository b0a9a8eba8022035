"""Check one code block: run Python, check settings, parse commands, render templates."""

from __future__ import annotations

import ast
import asyncio
import doctest
import inspect
import re
import shlex
from importlib import import_module
from io import StringIO
from typing import Any

from django.conf import global_settings
from django.core.checks import run_checks
from django.core.management import call_command, get_commands, load_command_class
from django.template import Context, engines
from django.template.engine import Engine
from django.test import override_settings
from django.utils.module_loading import import_string

from cacheops_lite import conf
from cacheops_lite.checks import TAG
from cacheops_lite.store import client, prefix_of, uses_cluster

from .blocks import ROOT, Block

SETTING = re.compile(r"[A-Z][A-Z0-9_]+")
# Commands that are run; others are parsed.
HARMLESS = {"cacheops", "invalidate", "reapconjs", "cleanfilecache"}
# Programs that are not part of this project.
FOREIGN = {"cd", "mkdir", "python3", "redis-cli", "redis-server", "createdb", "curl", "export", "python"}


def check(block: Block, namespace: dict[str, Any]) -> None:
    """Raise an exception if a block is wrong."""
    if block.language not in CHECKERS:
        raise AssertionError(f"{block.language!r} is no language of the documentation; use one of {[*CHECKERS]}")
    CHECKERS[block.language](block.text, namespace)


def check_python(text: str, namespace: dict[str, Any]) -> None:
    if text.lstrip().startswith(">>>"):
        return check_session(text, namespace)
    tree = ast.parse(text)
    names = _assigned(tree)
    if any(map(_is_setting, names)) and all(map(SETTING.fullmatch, names)):
        return check_settings(text, names)
    return _run(text, namespace)


def _run(text: str, namespace: dict[str, Any]) -> None:
    code = compile(text, "<documentation>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(eval(code, namespace))
    else:
        exec(code, namespace)


def _assigned(tree: ast.Module) -> list[str]:
    """Return the names that the block assigns; nothing if it does anything else but import and define functions."""
    names = []
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            names.append(node.targets[0].id)
        elif isinstance(node, ast.FunctionDef) and _is_setting(node.name):
            names.append(node.name)
        elif not isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef)):
            return []
    return names


def _is_setting(name: str) -> bool:
    prefixes = ("CACHEOPS", "CACHALOT_", "FILE_CACHE_", "DEBUG_TOOLBAR_")
    return name.startswith(prefixes) or hasattr(global_settings, name)


def check_session(text: str, namespace: dict[str, Any]) -> None:
    test = doctest.DocTestParser().get_doctest(text, namespace, "documentation", None, 0)
    printed: list[str] = []
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    doctest.DocTestRunner(optionflags=flags, verbose=False).run(test, out=printed.append, clear_globs=False)
    if printed:
        raise AssertionError("".join(printed)[-1500:])


def check_settings(text: str, names: list[str]) -> None:
    """Run the system checks with the settings of a block, and resolve each of them.  ``...`` in lists is left out."""
    found: dict[str, Any] = {"__name__": "blog.settings"}
    exec(compile(text, "<documentation>", "exec"), found)
    values = {name: _without_ellipsis(found[name]) for name in names}
    for name in values.get("INSTALLED_APPS", ()):
        import_module(name) if not name.rpartition(".")[2][:1].isupper() else import_string(name)
    for name in [*values.get("MIDDLEWARE", ()), *values.get("DEBUG_TOOLBAR_PANELS", ())]:
        if not name.startswith("debug_toolbar."):
            assert "." in name
            import_module(name.rpartition(".")[0])
    ours = {name: value for name, value in values.items() if name.startswith(("CACHEOPS", "FILE_CACHE"))}
    if {"CACHEOPS_REDIS", "CACHEOPS_SENTINEL"} & ours.keys():
        ours = {"CACHEOPS_CLIENT_CLASS": None, **ours}
    with override_settings(**ours):
        # A hint to those who come from django-cacheops.
        messages = [each for each in run_checks(tags=[TAG]) if each.id != "cacheops_lite.I005"]
        assert not messages, messages
        conf.check_profiles()
        for name in ours:
            if name in conf.DEFAULTS:
                getattr(conf.settings, name)
        if not uses_cluster():
            # That of a cluster connects.
            client.get_client()
        assert isinstance(prefix_of(dbs=["default"], tables=["blog_article"]), str)


def _without_ellipsis(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(each for each in value if each is not ...)
    return {key: each for key, each in value.items() if key is not ...} if isinstance(value, dict) else value


def check_console(text: str, namespace: dict[str, Any]) -> None:
    """Check each line that starts with ``$``: the command exists and parses, and is run if it is harmless."""
    commands = re.findall(r"^\$ (.*(?:\\\n.*)*)", text, re.M)
    assert commands, "a console block shows commands after '$ '"
    for command in commands:
        check_command(shlex.split(command.replace("\\\n", " "), comments=True))


def check_command(words: list[str]) -> None:
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    if words[0] in ("python", ".venv/bin/python") and len(words) > 1 and words[1] == "manage.py":
        words = words[1:]
    program, arguments = words[0], words[1:]
    if program == "manage.py":
        check_management_command(arguments[0], arguments[1:])
    elif program == "make":
        assert re.search(rf"^{re.escape(arguments[0])}:", (ROOT / "Makefile").read_text("utf-8"), re.M), arguments
    elif program == "pip" or words[:3] == ["python", "-m", "pip"]:
        check_extras(words)
    else:
        assert program in FOREIGN, f"{program} is no known program"


def check_management_command(name: str, arguments: list[str]) -> None:
    command = load_command_class(get_commands()[name], name)
    parser = command.create_parser("manage.py", name)
    try:
        parser.parse_args(arguments)
    except SystemExit as error:
        raise AssertionError(f"manage.py {name} does not take {arguments}") from error
    is_shown = {"KEY", "--watch"} & {*arguments}
    if name in HARMLESS and not is_shown:
        call_command(command, *arguments, stdout=StringIO(), stderr=StringIO())


def check_extras(words: list[str]) -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    for word in words:
        if found := re.fullmatch(r"cacheops_lite\[(.*)\]", word):
            assert all(re.search(rf"^{re.escape(extra)} = \[", project, re.M) for extra in found[1].split(",")), word


def check_django_template(text: str, namespace: dict[str, Any]) -> None:
    own = engines["django"].engine
    engine = Engine(dirs=own.dirs, app_dirs=True, libraries=own.libraries)
    if "register" in namespace:
        engine.template_builtins.append(namespace["register"])
    articles = namespace["Article"].objects.all()
    engine.from_string(text).render(Context({"articles": articles, **namespace}))


def check_jinja_template(text: str, namespace: dict[str, Any]) -> None:
    from jinja2 import Environment

    environment = Environment(extensions=["cacheops_lite.jinja2.cache"], autoescape=True)
    articles = namespace["Article"].objects.all()
    environment.from_string(text).render({"articles": articles, **namespace})


def check_text(text: str, namespace: dict[str, Any]) -> None:
    assert text.strip()


def refuse_literal(text: str, namespace: dict[str, Any]) -> None:
    raise AssertionError("write '.. code-block:: language' instead of '::', so that the block can be checked")


CHECKERS = {
    "python": check_python,
    "pycon": check_session,
    "console": check_console,
    "html+django": check_django_template,
    "html+jinja": check_jinja_template,
    "text": check_text,
    "ini": check_text,
    "literal": refuse_literal,
}
