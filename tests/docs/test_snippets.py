"""The code blocks of README.rst and of docs/ are true: Python runs, settings pass the checks, commands parse."""

from __future__ import annotations

import pytest

from tests.docs.blocks import PAGES, blocks_of, name_of
from tests.docs.run_snippets import LEFT_OUT

WITH_BLOCKS = [page for page in PAGES if blocks_of(page) and name_of(page) not in LEFT_OUT]


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=name_of)
def test_each_block_of_a_page_does_what_it_shows(page, results):
    """Blocks of one page share their names, so a page reads from top to bottom."""
    outcomes = results[name_of(page)]
    assert len(outcomes) == len(blocks_of(page))
    failures = [f"{name_of(page)}:{line}: {error}" for line, error in outcomes if error]
    assert not failures, "\n\n".join(failures)


def test_a_wrong_block_is_found(tmp_path):
    """Each kind of block can fail: a wrong result, setting, command, option, template and language."""
    from tests.docs import snippets

    page = tmp_path / "wrong.rst"
    page.write_text(WRONG)
    lines = [number for number, line in enumerate(WRONG.splitlines(), 1) if line.startswith(".. code-block")]
    found = snippets.run_all(str(page))[page.name]
    assert [line for line, error in found if error] == lines


WRONG = """
.. code-block:: pycon

    >>> Article.objects.count()
    4711

.. code-block:: python

    from cacheops_lite import no_such_name

.. code-block:: python

    CACHEOPS = {"blog.*": {"ops": "all", "timeout": 60, "tiemout": 5}}

.. code-block:: python

    CACHEOPS_REDSI = "redis://localhost"

.. code-block:: console

    $ python manage.py cacheops explode

.. code-block:: console

    $ python manage.py invalidate --deep blog

.. code-block:: console

    $ pip install cacheops_lite[nothing]

.. code-block:: html+django

    {% load cacheops %}{% cached_as articles %}...{% endcached_as %}

.. code-block:: fortran

    PRINT *, 1
"""
