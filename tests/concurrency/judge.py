"""Whether a result can be true, given the bounds on all versions: each row for itself, as rows are written so."""

from __future__ import annotations

from tests.concurrency.rows import PLACES, PRODUCTS, category_lane, is_there, lane, place

EVERYWHERE = frozenset(range(PLACES))


class Condition:
    """Products at some places of their lanes."""

    def __init__(self, a=EVERYWHERE, b=EVERYWHERE, pks=PRODUCTS):
        self.a, self.b, self.pks = frozenset(a), frozenset(b), pks

    def holds(self, pk, a, b):
        return pk in self.pks and is_there(pk, a) and place(a) in self.a and place(b) in self.b

    def _answers(self, pk, bounds):
        return {self.holds(pk, a, b) for a in bounds.versions(lane(pk, "a")) for b in bounds.versions(lane(pk, "b"))}

    def sure(self, bounds):
        """The products that must be found."""
        return [pk for pk in self.pks if self._answers(pk, bounds) == {True}]

    def possible(self, bounds):
        """The products that may be found."""
        return [pk for pk in self.pks if True in self._answers(pk, bounds)]


def rows(condition, found, bounds):
    """What is wrong with rows (pk, a, b); None if nothing is."""
    for pk, a, b in found:
        for letter, version in (("a", a), ("b", b)):
            if not bounds.holds(lane(pk, letter), version):
                return f"{lane(pk, letter)} is at {version}, not within {bounds[lane(pk, letter)]}"
        if not condition.holds(pk, a, b):
            return f"product {pk} at {a}, {b} does not belong there"
    missing = set(condition.sure(bounds)) - {pk for pk, _, _ in found}
    return f"products {missing} are missing" if missing else None


def names(found, bounds):
    """What is wrong with categories' versions by key."""
    for pk, version in found:
        if not bounds.holds(category_lane(pk), version):
            return f"{category_lane(pk)} is at {version}, not within {bounds[category_lane(pk)]}"
    return None


def count(condition, found, bounds):
    least, most = len(condition.sure(bounds)), len(condition.possible(bounds))
    return None if least <= found <= most else f"a count of {found}, not within {least, most}"


def exists(condition, found, bounds):
    if found:
        return None if condition.possible(bounds) else "something exists that can't"
    return "nothing exists though something must" if condition.sure(bounds) else None


def highest(condition, found, bounds):
    """What is wrong with the highest `a`, None where no row is."""
    least = max((bounds[lane(pk, "a")][0] for pk in condition.sure(bounds)), default=None)
    most = max((bounds[lane(pk, "a")][1] for pk in condition.possible(bounds)), default=None)
    if found is None:
        return None if least is None else f"nothing is highest, though {least} must be there"
    within = most is not None and found <= most and (least is None or found >= least)
    return None if within else f"{found} is highest, not within {least, most}"
