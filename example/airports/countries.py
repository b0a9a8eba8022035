"""Names of countries."""

import zoneinfo
from pathlib import Path


def country_names():
    """Return country names by ISO code, from the system's time zone database.

    The result is empty if the system has no such database; countries are then named by their codes.
    """
    for directory in zoneinfo.TZPATH:
        table = Path(directory) / "iso3166.tab"
        if table.is_file():
            lines = table.read_text(encoding="utf-8").splitlines()
            return dict(line.split("\t", 1) for line in lines if line and line[0] != "#")
    return {}
