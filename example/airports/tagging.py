"""Derive tags from an airport's data."""

TROPIC_DEGREES = 23.44
POLAR_CIRCLE_DEGREES = 66.56

# The names of tags, each with a predicate on a row of `airportsdata`.
RULES = {
    "has IATA code": lambda row: bool(row["iata"]),
    "high altitude": lambda row: row["elevation"] > 5000,
    "below sea level": lambda row: row["elevation"] < 0,
    "tropical": lambda row: abs(row["lat"]) < TROPIC_DEGREES,
    "polar": lambda row: abs(row["lat"]) > POLAR_CIRCLE_DEGREES,
    "ocean time": lambda row: row["tz"].startswith(("Atlantic/", "Indian/", "Pacific/")),
    "international": lambda row: "International" in row["name"],
    "air base": lambda row: "Air Base" in row["name"] or "Air Force" in row["name"],
}


def tags_of(row):
    """Return the names of the tags of a row of `airportsdata`."""
    return [name for name, applies in RULES.items() if applies(row)]
