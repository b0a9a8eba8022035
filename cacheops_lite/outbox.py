"""The side of a write: invalidations, which are delivered sooner or later."""

from __future__ import annotations

import atexit
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock, RLock, Thread
from typing import Any

from . import keys, registries
from .changes import MAX_CHANGES_PER_TABLE, AnyChange, Work
from .failure import call
from .forks import in_children
from .redis import get_client, run_script, send_script

# Keys that wait to be removed; of more everything is.
MAX_KEYS = 1000
# How often an invalidation is told before tables are dropped.
MAX_TURNS = 3
# In place of a registry's size; and of how many stamps fall.
UNKNOWN, WHOLE_TABLE = 0, -1
UNTOLD = -1
# Seconds after which a writer that holds tables counts as dead; a commit takes less.
HOLD_SECONDS = 30
# In place of a token and these.
NO_HOLD = ("", "")
# Seconds between attempts to deliver what is overdue, at first and at most.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0

# What could not be delivered, by prefix, and what of it somebody delivers just now.
_overdue: dict[str, Work] = {}
_in_delivery: dict[str, Work] = {}
_courier: Thread | None = None
# Of these dicts and the courier; and of being the one who delivers.
_state_lock = Lock()
_delivery_lock = RLock()


@dataclass(slots=True)
class Hold:
    """The tables that a writer holds under each prefix, and its token."""

    token: str
    tables: dict[str, list[str]]


def hold(work_by_prefix: Mapping[str, Work]) -> Hold:
    """Drop all that the work meets, and keep others from making such stamps until it is flushed; in one call a prefix.

    To be called right before the commit.  Raises what Redis does.
    """
    held = Hold(keys.fresh_token(), {})
    for prefix, work in work_by_prefix.items():
        if work.changes or work.tables:
            held.tables[prefix] = call(partial(_tell, prefix, work, [held.token, HOLD_SECONDS]))
    return held


def invalidate(work_by_prefix: Mapping[str, Work], held: Hold | None = None) -> None:
    """Drop all that the work of each prefix meets, in one script call a prefix; what is `held` is dropped: let it go.

    When Redis can't be reached its error surfaces, but nothing is lost: the work is done before this process reads from
    the cache again, and tried in the background until then.
    """
    owed = {prefix: work for prefix, work in work_by_prefix.items() if work}
    if not owed:
        return

    def send_in_turn() -> None:
        deliver_overdue()
        _send(owed, held)

    try:
        call(send_in_turn)
    except Exception:
        postpone(owed)
        raise


def is_overdue() -> bool:
    """There are invalidations that are still to be done."""
    return bool(_overdue or _in_delivery)


def deliver_overdue() -> None:
    """Do the invalidations that are overdue, or wait until somebody has done so.  Raises what Redis does."""
    if not is_overdue():
        return
    with _delivery_lock:
        with _state_lock:
            _in_delivery.update(_overdue)
            _overdue.clear()
        try:
            _send(_in_delivery)
            _in_delivery.clear()
        finally:
            with _state_lock:
                _merge(_in_delivery)
                _in_delivery.clear()


def _send(work_by_prefix: Mapping[str, Work], held: Hold | None = None) -> None:
    for prefix, work in work_by_prefix.items():
        if work.everything:
            clear(prefix)
        if work.keys:
            get_client().unlink(*work.keys)
        if held is not None and prefix in held.tables:
            _lift(prefix, work, held)
        elif work.changes or work.tables:
            _tell(prefix, work, NO_HOLD)


def _lift(prefix: str, work: Work, held: Hold) -> None:
    """Lift the hold.  Nobody waits for that: what it dropped nobody can make until it is done."""
    tables = held.tables[prefix]
    names = [key(prefix, table) for key in (keys.hold_key, keys.generation_key) for table in tables]
    # The hold may have been lost, too: then all is dropped again.
    send_script("lift", names, [held.token], partial(postpone, {prefix: work}))


def _tell(prefix: str, work: Work, hold: Sequence[Any]) -> list[str]:
    """Tell which stamps fall by the schemes that are known here; where there are others by now, once more.

    Returns the tables that it was about.
    """
    owed = work.by_table()
    tables = list(owed)
    for _ in range(MAX_TURNS):
        _, *others = _run(prefix, hold, _arguments(prefix, owed))
        found = {table.decode(): members[0] if members else [] for table, *members in others}
        for table, members in found.items():
            registries.note(prefix, table, members)
        owed = {table: owed[table] for table, members in found.items() if members}
        if not owed:
            return tables
    # Schemes come faster than we learn of them.
    _run(prefix, hold, _arguments(prefix, dict.fromkeys(owed)))
    return tables


def _run(prefix: str, hold: Sequence[Any], arguments: Sequence[Any]) -> Any:
    return run_script("invalidate", [prefix + keys.NAMESPACE], [*hold, *arguments])


def _arguments(prefix: str, owed: Mapping[str, list[AnyChange] | None]) -> list[Any]:
    """What the script takes of each table."""
    arguments: list[Any] = []
    for table, changes in owed.items():
        registry = registries.known(prefix, table)
        if changes is not None and (registry is None or not registry.size):
            arguments += [table, "", UNKNOWN, 0]
        elif changes is None or registry is None or registry.version is None:
            arguments += [table, "", WHOLE_TABLE, 0]
        else:
            stamps = registry.met_by(changes)
            count = UNTOLD if stamps is None else len(stamps)
            arguments += [table, registry.version, registry.size, count, *(stamps or ())]
    return arguments


def postpone(owed: Mapping[str, Work]) -> None:
    """Have work done as soon as Redis is there, before this process reads from it again."""
    global _courier
    with _state_lock:
        _merge(owed)
        if _courier is None or not _courier.is_alive():
            _courier = Thread(target=_carry, name="cacheops_lite.outbox", daemon=True)
            _courier.start()


def _merge(owed: Mapping[str, Work]) -> None:
    for prefix, work in owed.items():
        merged = _overdue.setdefault(prefix, Work())
        # Whoever is to be told has been.
        merged.add(replace(work, notices=[]))
        if merged.weight > MAX_CHANGES_PER_TABLE:
            merged.coarsen()
        if len(merged.keys) > MAX_KEYS:
            merged.everything, merged.keys = True, set()


def _carry() -> None:
    """Deliver what is overdue, however long it takes."""
    global _courier
    pause = FIRST_PAUSE
    while True:
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
        with suppress(Exception):
            call(deliver_overdue)
        with _state_lock:
            if not (_overdue or _in_delivery):
                _courier = None
                return


@in_children
def _renew_in_child() -> None:
    """What was under way in the parent is done once more."""
    global _courier, _delivery_lock, _state_lock
    _courier, _state_lock, _delivery_lock = None, Lock(), RLock()
    _merge(_in_delivery)
    _in_delivery.clear()


@atexit.register
def _deliver_at_last() -> None:
    with suppress(Exception):
        deliver_overdue()


def clear(prefix: str) -> None:
    """Remove all of our keys under `prefix`, and no others, without blocking Redis."""
    client = get_client()
    pattern = keys.escape_glob(prefix + keys.NAMESPACE) + "*"
    cursor = 0
    while True:
        cursor, found = client.scan(cursor, match=pattern, count=1000)
        if found:
            client.unlink(*found)
        if cursor == 0:
            break
