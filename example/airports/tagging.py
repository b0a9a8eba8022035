"""Tags that follow from an airport's data."""

TROPIC = 23.44
POLAR_CIRCLE = 66.56

# The tag's name, and the condition on a row of `airportsdata`.
RULES = {
    "has IATA code": lambda row: bool(row["iata"]),
    "high altitude": lambda row: row["elevation"] > 5000,
    "below sea level": lambda row: row["elevation"] < 0,
    "tropical": lambda row: abs(row["lat"]) < TROPIC,
    "polar": lambda row: abs(row["lat"]) > POLAR_CIRCLE,
    "ocean time": lambda row: row["tz"].startswith(("Atlantic/", "Indian/", "Pacific/")),
    "international": lambda row: "International" in row["name"],
    "air base": lambda row: "Air Base" in row["name"] or "Air Force" in row["name"],
}


def tags_of(row):
    """The names of the tags that a row of `airportsdata` deserves."""
    return [name for name, applies in RULES.items() if applies(row)]
