#!/usr/bin/env python
"""Django's command line for the example: `python example/manage.py runserver`."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main():
    """Run a management command with the example and the repository importable."""
    for directory in (HERE.parent, HERE):
        if str(directory) not in sys.path:
            sys.path.insert(0, str(directory))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "directory.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
