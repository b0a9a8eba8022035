"""Show on each page what the cache did for it, and after a save what that invalidated."""

from collections import OrderedDict
from dataclasses import dataclass, field

from django.template.loader import render_to_string

from cacheops_lite.observe import Outcome, activity
from cacheops_lite.store import describe_dependency

MAX_REMEMBERED = 2000
# By visitor: what the last request that wrote has invalidated, until the next page shows it.
_writes: OrderedDict[str, list] = OrderedDict()
# By key of a cached result: the page that read it.
_pages: OrderedDict[str, str] = OrderedDict()


@dataclass
class Write:
    """A write as the panel shows it: what it was, and the cached results that it invalidated and kept."""

    title: str
    caller: str
    reasons: list[str]
    invalidated: list[str]
    kept: int


@dataclass
class Page:
    """What the cache did for one page."""

    work: activity.Activity
    queries: int
    writes: list[Write] = field(default_factory=list)

    @property
    def hits(self):
        return self.work.count(Outcome.HIT)

    @property
    def misses(self):
        return self.work.count(Outcome.MISS)

    @property
    def bypasses(self):
        return self.work.count(Outcome.BYPASS)

    @property
    def milliseconds(self):
        """The time of all reads, as they were."""
        return sum(each.seconds for each in self.work.decisions) * 1000

    @property
    def uncached_milliseconds(self):
        """The time of the database alone: for a hit that of the read which stored the result."""
        return sum(each.compute_seconds or each.seconds for each in self.work.decisions) * 1000

    @property
    def reads(self):
        return [
            {
                "what": f"{each.operation} of {_label(each)}",
                "outcome": each.outcome.value,
                "reason": each.reason.text + (f" ({each.detail})" if each.detail else ""),
                "milliseconds": each.seconds * 1000,
                "database": each.compute_seconds * 1000,
                "size": each.size,
                "dependencies": [describe_dependency(name) for name in each.dependencies]
                + [f"{name}: the joined rows of the result" for name in each.joined_tables],
            }
            for each in self.work.decisions
        ]

    def bar(self):
        """Return the HTML of the bar and its panel."""
        return render_to_string("airports/bar.html", {"page": self})


def remember_reads(work, path):
    """Remember which page read which cached results."""
    for decision in work.decisions:
        if decision.key:
            _remember(_pages, decision.key, path)


def remember_writes(work, visitor):
    """Keep what a request invalidated for the next page of the same visitor."""
    if work.invalidations:
        _remember(_writes, visitor, [_write(each) for each in work.invalidations])


def take_writes(visitor):
    """Return what the last request of a visitor invalidated, once."""
    return _writes.pop(visitor, [])


def _write(invalidation):
    met = {decision.key: decision for decision in activity.reads_met_by(invalidation)}
    invalidated = [
        f"{decision.operation} of {_label(decision)}, read by {_pages.get(key, 'a page before')}"
        for key, decision in met.items()
    ]
    kept = len(_pages.keys() - met.keys())
    for key in met:
        _pages.pop(key, None)
    title = invalidation.operation
    if invalidation.model is not None:
        title = f"{invalidation.operation} of {invalidation.model._meta.label}"
    reasons = sorted({describe_dependency(name) for name in invalidation.dependencies})
    return Write(title, _short(invalidation.caller), reasons, invalidated, kept)


def _label(decision):
    return decision.model._meta.label if decision.model is not None else decision.func.__qualname__


def _short(caller):
    """Return the last two parts of ``file:line``."""
    return "/".join(caller.split("/")[-2:])


def _remember(into, key, value):
    into[key] = value
    into.move_to_end(key)
    while len(into) > MAX_REMEMBERED:
        into.popitem(last=False)
