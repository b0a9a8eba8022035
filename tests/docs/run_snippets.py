"""Run the code blocks of the pages whose paths are arguments, or of all, and print what became of each as JSON."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from tests.docs.blocks import PAGES, ROOT, Block, blocks_of, name_of

# The tutorial starts a project of its own: `test_tutorial` types it.
LEFT_OUT = {"docs/tutorial.rst"}


def main(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.environ["DOCS_SNIPPETS_DATABASE"] = f"{directory}/docs.sqlite3"
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.docs.settings"
        sys.path.insert(0, str(Path(__file__).parent / "project"))
        import django

        django.setup()
        from django.test import override_settings

        from tests.docs import checkers, scene

        scene.create_tables()
        results = []
        for page in [*map(Path, names)] or [page for page in PAGES if name_of(page) not in LEFT_OUT]:
            namespace = scene.fresh_namespace(name_of(page))
            # What a page overrides for itself ends with the page.
            with override_settings(CACHEOPS_PREFIX=None, **scene.SETTINGS.get(name_of(page), {})):
                results += [
                    {"page": block.page, "line": block.line, "error": _error(checkers, block, namespace)}
                    for block in blocks_of(page)
                ]
        print(json.dumps(results))
        scene.close()


def _error(checkers, block: Block, namespace: dict) -> str | None:
    if block.exempt is not None:
        return None if block.exempt else "an exempt block should say why: '.. not run: why'"
    try:
        with redirect_stdout(StringIO()):
            checkers.check(block, namespace)
    except Exception as error:
        tail = traceback.format_exc().splitlines()[-4:]
        return f"{type(error).__name__}: {error}\n" + "\n".join(tail)
    return None


if __name__ == "__main__":
    os.chdir(ROOT)
    main(sys.argv[1:])
