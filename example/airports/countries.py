"""Names of countries."""

import zoneinfo
from pathlib import Path


def country_names():
    """Country names by ISO code, from the system's time zone database.

    Empty where the system has none; a country is then called by its code.
    """
    for directory in zoneinfo.TZPATH:
        table = Path(directory) / "iso3166.tab"
        if table.is_file():
            lines = table.read_text(encoding="utf-8").splitlines()
            return dict(line.split("\t", 1) for line in lines if line and line[0] != "#")
    return {}
