"""A row of the page: what the application saw of a fault, and what of it breaks a promise."""

from __future__ import annotations

from collections import Counter

from tests.reliability.load import STEADY

# A writer that is cut off commits unfenced; its invalidation is delivered within this time of Redis being back, by
# another process if the writer was killed.
DELIVERY_SECONDS = 0.5
TIMEOUT_SECONDS = 1.0
WITHOUT_CACHING_SECONDS = 2.0
# A process that got no processor for a while, on a machine with two of them.
SCHEDULING_SECONDS = 1.0
MAX_EXAMPLES = 3


def row(scenario, is_strict, fault_began, healed, reports):
    """Return the figures of a run; times are in seconds."""
    figures, errors = Counter(), Counter()
    for report in reports:
        figures.update(report["figures"])
        errors.update(report["errors"])
    delivered = healed + DELIVERY_SECONDS
    stale = [each for report in reports for each in report.get("stale", ())]
    during = [each for each in stale if fault_began <= each[0] <= delivered]
    stuck = [each for report in reports for each in report.get("stuck", ())]
    last_errors = [report["last_error"] for report in reports]
    return {
        "scenario": scenario.name,
        "strict": is_strict,
        "fault_seconds": round(healed - fault_began, 2),
        **{name: figures[name] for name in ("reads", "hits", "writes")},
        "errors": dict(sorted(errors.items())),
        "slowest_read": slowest(reports, "reads", fault_began),
        "slowest_write": slowest(reports, "writes", fault_began),
        "stale_in_the_fault": len(during),
        "stale": len(stale) - len(during),
        "last_stale": round(max((began for began, _ in stale), default=healed) - healed, 2) if stale else None,
        "stuck": len(stuck),
        "seconds_without_caching": without_caching(reports, healed),
        "examples": [*(text for _, text in stale), *stuck, *filter(None, last_errors)][:MAX_EXAMPLES],
    }


def slowest(reports, kind, fault_began):
    """Return the longest request of a kind that ended after the fault began."""
    found = [each for report in reports for each in report["longest"] if each[2] == kind]
    return round(max((seconds for seconds, began, _ in found if began + seconds > fault_began), default=0), 3)


def without_caching(reports, healed):
    """Return the seconds from healing until each reader had a hit for each steady read; None if one had none."""
    firsts = [
        min((each for each in report["steady_hits"][name] if each > healed), default=None)
        for report in reports
        # Readers that a deploy replaced have ended before.
        if "steady_hits" in report and not report["is_replaced"]
        for name in STEADY
    ]
    return None if None in firsts else round(max(firsts) - healed, 2)


def broken_promises(scenario, row, most_without_caching=WITHOUT_CACHING_SECONDS):
    """Return what in a row is not as the page promises, as sentences.

    `most_without_caching` is how long caching may take to go on, in seconds.
    """
    found = []
    if row["stale"]:
        found.append(f"{row['stale']} reads were stale outside of the fault")
    if row["stale_in_the_fault"] and (row["strict"] or scenario.fences):
        found.append(f"{row['stale_in_the_fault']} reads were stale during the fault, although all writes are fenced")
    if row["stuck"]:
        found.append(f"{row['stuck']} results stayed stale")
    if unexpected := [name for name in row["errors"] if not is_expected(scenario, row["strict"], name)]:
        found.append(f"the application saw {', '.join(unexpected)}")
    if scenario.refuses and row["strict"] and not any("InvalidationError" in name for name in row["errors"]):
        found.append("no strict write was refused, so that the fault had no effect")
    for kind in ("read", "write"):
        if row[f"slowest_{kind}"] > TIMEOUT_SECONDS + SCHEDULING_SECONDS:
            found.append(f"a {kind} took {row[f'slowest_{kind}']} s")
    without = row["seconds_without_caching"]
    if not scenario.kills_writers and (without is None or without > most_without_caching):
        found.append(f"results were not cached for {without} s afterwards")
    return found


def is_expected(scenario, is_strict, name):
    error, _, kind = name.partition(" of ")
    if kind == "writes":
        return is_strict and error == "InvalidationError"
    return scenario.surfaces and error in ("AuthenticationError", "NoPermissionError")
