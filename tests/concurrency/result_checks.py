"""Check whether a result is possible, given bounds on all versions.  Each row is checked by itself.

Each check returns None, or a text that says what is wrong.
"""

from __future__ import annotations

from tests.concurrency.rows import PLACES, PRODUCTS, category_lane, exists_at, lane, place

EVERYWHERE = frozenset(range(PLACES))


class Condition:
    """Products whose lanes are at one of the given places."""

    def __init__(self, a=EVERYWHERE, b=EVERYWHERE, pks=PRODUCTS):
        self.a, self.b, self.pks = frozenset(a), frozenset(b), pks

    def matches(self, pk, a, b):
        return pk in self.pks and exists_at(pk, a) and place(a) in self.a and place(b) in self.b

    def _possible_matches(self, pk, bounds):
        return {self.matches(pk, a, b) for a in bounds.versions(lane(pk, "a")) for b in bounds.versions(lane(pk, "b"))}

    def required(self, bounds):
        """Return the products that the result must contain."""
        return [pk for pk in self.pks if self._possible_matches(pk, bounds) == {True}]

    def possible(self, bounds):
        """Return the products that the result may contain."""
        return [pk for pk in self.pks if True in self._possible_matches(pk, bounds)]


def rows(condition, found, bounds):
    """Check rows (pk, a, b)."""
    for pk, a, b in found:
        for letter, version in (("a", a), ("b", b)):
            if not bounds.include(lane(pk, letter), version):
                return f"{lane(pk, letter)} is at {version}, not within {bounds[lane(pk, letter)]}"
        if not condition.matches(pk, a, b):
            return f"product {pk} at {a}, {b} does not match the condition"
    missing = set(condition.required(bounds)) - {pk for pk, _, _ in found}
    return f"products {missing} are missing" if missing else None


def names(found, bounds):
    """Check pairs of a category's key and its version."""
    for pk, version in found:
        if not bounds.include(category_lane(pk), version):
            return f"{category_lane(pk)} is at {version}, not within {bounds[category_lane(pk)]}"
    return None


def count(condition, found, bounds):
    least, most = len(condition.required(bounds)), len(condition.possible(bounds))
    return None if least <= found <= most else f"a count of {found}, not within {least, most}"


def exists(condition, found, bounds):
    if found:
        return None if condition.possible(bounds) else "exists() is True, but no row can match"
    return "exists() is False, but a row must match" if condition.required(bounds) else None


def highest(condition, found, bounds):
    """Check the maximum of `a`, which is None if there is no row."""
    least = max((bounds[lane(pk, "a")][0] for pk in condition.required(bounds)), default=None)
    most = max((bounds[lane(pk, "a")][1] for pk in condition.possible(bounds)), default=None)
    if found is None:
        return None if least is None else f"the maximum is None, but a row has {least}"
    within = most is not None and found <= most and (least is None or found >= least)
    return None if within else f"the maximum is {found}, not within {least, most}"
