"""Count decisions and invalidations in this process; `store.counter_flush` adds the counts to those in Redis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from threading import RLock
from typing import Any, NamedTuple

from ..conf import on_change, settings
from ..utils import after_fork_in_child
from .reasons import Outcome, Reason

# More kinds of reads than this are not counted until the next flush.
MAX_CELLS = 10_000


class Counted(NamedTuple):
    """What is counted.

    `subject` is a model's label, the name of a decorated function, or for writes the name of a table.  `operation` is
    that of a `Decision`, or ``write``.  `reason` is a reason's value; for writes ``writes`` or ``invalidations``;
    ``saved`` and ``computed`` count microseconds that hits saved and misses took; ``verified`` and ``differing`` count
    hits that were compared with the database.  `detail` names the joined model that lacks a profile.
    """

    subject: str
    operation: str
    reason: str
    detail: str = ""


# By subject, operation, reason and detail: the number of reads and the sum of their seconds.
_cells: dict[tuple[Any, str, Reason, str], list[float]] = {}
_counts: Counter[Counted] = Counter()
# Reentrant: a signal handler or a destructor may read, too.
_lock = RLock()
# Called with the first count after each `take`; it arranges that the counts are flushed.
_on_first: list[Callable[[], None]] = []
_is_flush_arranged = False
# Whether ``CACHEOPS_STATS`` is on.  Each read asks, so it is a plain variable that `install` sets.
is_on = False


def install() -> None:
    """Start counting if ``CACHEOPS_STATS`` is on."""
    global is_on
    is_on = bool(settings.CACHEOPS_STATS)


@on_change
def _on_change(setting: str) -> None:
    if setting == "CACHEOPS_STATS":
        install()


def uninstall() -> None:
    """Stop counting."""
    global is_on
    is_on = False


def note(subject: Any, operation: str, reason: Reason, detail: str = "", seconds: float = 0.0) -> None:
    """Count a read of a model or, by its name, of a decorated function.

    `seconds` is for a hit what it saved, for a miss what computing took.  Each read calls this, so it takes no lock: a
    count may get lost when another thread takes the counts at this moment, or without a global interpreter lock.
    """
    cell = _cells.get((subject, operation, reason, detail)) or _new_cell(subject, operation, reason, detail)
    cell[0] += 1
    cell[1] += seconds


def _new_cell(subject: Any, operation: str, reason: Reason, detail: str) -> list[float]:
    cell: list[float] = [0, 0.0]
    if len(_cells) < MAX_CELLS:
        _cells[subject, operation, reason, detail] = cell
    _arrange_flush()
    return cell


def add(counted: Counted, number: int = 1) -> None:
    """Count something rarer than a read."""
    with _lock:
        _counts[counted] += number
    _arrange_flush()


def take() -> Counter[Counted]:
    """Return the counts since the last call."""
    global _cells, _counts, _is_flush_arranged
    with _lock:
        cells, _cells = _cells, {}
        taken, _counts = _counts, Counter()
        _is_flush_arranged = False
    for (subject, operation, reason, detail), (number, seconds) in cells.items():
        label = label_of(subject)
        detail = detail if reason is Reason.TABLE_WITHOUT_PROFILE else ""
        taken[Counted(label, operation, reason.value, detail)] += int(number)
        if seconds:
            kind = "saved" if reason.outcome is Outcome.HIT else "computed"
            taken[Counted(label, operation, kind)] += round(seconds * 1e6)
    return taken


def put_back(counts: Counter[Counted]) -> None:
    """Keep counts that could not be flushed for the next time."""
    with _lock:
        _counts.update(counts)


def on_first_count(arrange: Callable[[], None]) -> Callable[[], None]:
    """Call `arrange` with the first count after each `take`.  Usable as a decorator."""
    _on_first.append(arrange)
    return arrange


def _arrange_flush() -> None:
    global _is_flush_arranged
    if not _is_flush_arranged:
        _is_flush_arranged = True
        for arrange in _on_first:
            arrange()


def label_of(subject: Any) -> str:
    """Return the label of a model, or the dotted name of a function; a name is returned as it is."""
    if isinstance(subject, str):
        return subject
    options = getattr(subject, "_meta", None)
    if options is not None:
        return str(options.label)
    name = getattr(subject, "__qualname__", None) or repr(subject)
    return f"{getattr(subject, '__module__', '')}.{name}"


@after_fork_in_child
def _reset_in_child() -> None:
    """Start anew: the parent flushes what it counted."""
    global _lock, _is_flush_arranged
    _lock = RLock()
    _cells.clear()
    _counts.clear()
    _is_flush_arranged = False
