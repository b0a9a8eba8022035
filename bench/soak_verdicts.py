"""What the soak has to show, and whether it did."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cacheops_lite

from .soak_records import MIB, STEADY, Record, Span, spans

MAX_SCRIPT_MS = 5.0
# The last third may have so much more than the middle one.  Results are counted in a sample of 5,000 keys, which is
# accurate to 2 % in an interval, and to 0.5 % in 20.  The rest is the mix of results and the speed of the machine:
# versions live longer than results, so after a faster minute there are more of them for each result.  What grows with
# time is two thirds larger in the last third than in the middle one: a leak of a sixth of the memory shows.
MAX_GROWTH_OF_RESULT = 0.10
# Caches of a process are filled in its first minutes.
MAX_GROWTH_OF_PROCESS = 0.05
# Fewer intervals than this in a third say nothing.
MIN_INTERVALS = 3


@dataclass
class Verdict:
    """A bound, what was found, and whether it is met: None if this run was too short to tell."""

    title: str
    found: str
    is_met: bool | None


def verdicts(records: list[Record], final: Counter[str], timeout: int, failure: str) -> list[Verdict]:
    """Return the verdicts on a run whose results live `timeout` seconds.

    `final` are the verdicts of the comparison at the end, by their texts; `failure` says why the run ended early.
    """
    steady = spans([each for each in records if each.phase == STEADY])
    whole = Span("all", records)
    found = [_stale(whole, final)] if records else []
    found += _flatness(steady, timeout)
    if records:
        found += [_scripts(whole), _shapes(whole), _errors(whole)]
    if failure or not records:
        found.append(Verdict("the run ends as planned", failure or "there is no record", False))
    return found


def _stale(whole: Span, final: Counter[str]) -> Verdict:
    verified, stale = whole.figures.counts["verified"], whole.figures.counts["stale"]
    text = f"{stale} of {verified:,} verified hits, and {final['different']} of {final.total():,} results at the end"
    is_compared = verified + final["same"] > 0
    return Verdict("stale results: 0", text, is_compared and stale + final["different"] == 0)


def _flatness(steady: list[Span], timeout: int) -> list[Verdict]:
    """Compare the last third of the steady load with the middle one, where versions had time to expire."""
    titles = ["memory per live result: flat", "memory of each process: flat"]
    # Versions live twice as long as results.
    first = steady[0].records[-1].end if steady else 0.0
    if len(steady) < 3 or len(steady[0].records) < MIN_INTERVALS or first < 2 * timeout:
        why = f"a third of the steady load has to last {2 * timeout} s and {MIN_INTERVALS} intervals"
        return [Verdict(title, why, None) for title in titles]
    _, middle, last = steady
    ends = [each.bytes_per_result() for each in (middle, last)]
    result = _grown(titles[0], [(ends[0], ends[1])], "{:,.0f} to {:,.0f} bytes", 1, MAX_GROWTH_OF_RESULT)
    processes = range(len(last.records[-1].rss))
    resident = [(middle.rss_of(i), last.rss_of(i)) for i in processes]
    return [result, _grown(titles[1], resident, "{:.1f} to {:.1f} MiB", MIB, MAX_GROWTH_OF_PROCESS)]


def _grown(title: str, pairs: list[tuple[float | None, float | None]], text: str, unit: int, bound: float) -> Verdict:
    known = [(before, after) for before, after in pairs if before is not None and after is not None]
    if not known:
        return Verdict(title, "the system does not tell", None)
    growth = [after / before - 1 for before, after in known]
    worst = max(range(len(known)), key=growth.__getitem__)
    shown = text.format(*(each / unit for each in known[worst]))
    return Verdict(title, f"{shown}, {100 * growth[worst]:+.1f} % (at most +{100 * bound:g} %)", max(growth) <= bound)


def _scripts(whole: Span) -> Verdict:
    scripts = whole.scripts()
    name = max(scripts, key=scripts.__getitem__, default="")
    other = max(each.redis.other for each in whole.records)
    shown = f"{scripts[name]:.1f} ms, {name}" if name else "all shorter than 0.2 ms"
    shown += f"; of other commands {other:.1f} ms"
    calls = [call for each in whole.records for call in each.redis.slow_calls]
    more = "".join(f"\n    {call}" for call in calls[:5])
    if any(each.redis.is_truncated for each in whole.records):
        more += "\n    the slow log was full: some times may be missing"
    is_met = scripts.get(name, 0.0) <= MAX_SCRIPT_MS
    return Verdict(f"largest time of a script: {MAX_SCRIPT_MS:g} ms", f"{shown}{more}", is_met)


def max_shapes() -> int:
    """Return the number of shapes at which the scripts stop to add any."""
    source = Path(cacheops_lite.__file__).parent / "store" / "lua" / "max_shapes.lua"
    found = re.search(r"MAX_SHAPES = (\d+)", source.read_text())
    assert found is not None
    return int(found[1])


def _shapes(whole: Span) -> Verdict:
    most = max(each.redis.shapes for each in whole.records)
    return Verdict(f"dependency shapes of a table: at most {max_shapes()}", f"{most}", most <= max_shapes())


def _errors(whole: Span) -> Verdict:
    counts = whole.figures.counts
    conflicts = {name: number for name, number in counts.items() if name.startswith("conflicts")}
    shown = f"{counts['errors']}" + "".join(f"; {name} {number:,}" for name, number in sorted(conflicts.items()))
    shown += "".join(f"\n    {number} x {text}" for text, number in whole.figures.messages.most_common(5))
    return Verdict("errors that were logged: 0", shown, counts["errors"] == 0)
