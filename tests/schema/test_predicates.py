"""Predicates of conditions match a superset of the rows that the WHERE clause matches, and stay small."""

from hypothesis import given
from hypothesis import strategies as st

from cacheops_lite.schema.predicates import ANY, MAX_CONJUNCTIONS, NONE, Condition, all_of, any_of, one_of

CONDITIONS = st.builds(Condition, st.just("t"), st.sampled_from("abc"), st.sampled_from("012"))
TREES = st.recursive(
    st.lists(CONDITIONS, min_size=1, max_size=4).map(lambda conditions: ("in", conditions)) | st.just(("unknown", [])),
    lambda trees: st.tuples(st.sampled_from(["and", "or"]), st.lists(trees, max_size=5)),
    max_leaves=25,
)
A, B = Condition("t", "a", "1"), Condition("t", "b", "2")
ROWS = [dict(zip("abc", (x, y, z), strict=True)) for x in "012" for y in "012" for z in "012"]


def predicate_of(tree):
    kind, parts = tree
    if kind == "in":
        return one_of(parts)
    if kind == "unknown":
        return ANY
    return {"and": all_of, "or": any_of}[kind](map(predicate_of, parts))


def passes(tree, row, unknown):
    kind, parts = tree
    if kind == "in":
        return any(row[condition.column] == condition.token for condition in parts)
    if kind == "unknown":
        return unknown
    return {"and": all, "or": any}[kind](passes(part, row, unknown) for part in parts)


def meets(row, result):
    return any(all(row[condition.column] == condition.token for condition in conjunction) for conjunction in result)


@given(TREES)
def test_each_row_that_passes_the_condition_meets_the_predicate(tree):
    """No row is left out, however conditions are combined and dropped."""
    result = predicate_of(tree)
    for row in ROWS:
        if passes(tree, row, unknown=True):
            assert meets(row, result)


@given(TREES)
def test_a_predicate_stays_within_its_limit(tree):
    assert len(predicate_of(tree)) <= MAX_CONJUNCTIONS


@given(TREES.filter(lambda tree: "unknown" not in repr(tree)))
def test_a_small_predicate_is_exact(tree):
    """If no condition was dropped, no row that fails the condition meets the predicate."""
    result = predicate_of(tree)
    if result != ANY and len(repr(tree)) < 300:
        for row in ROWS:
            if meets(row, result) and not passes(tree, row, unknown=False):
                # Conditions are left out only if their product exceeds the limit.
                assert sum(1 for _ in repr(tree).split("Condition(")) > 6


def test_contradictions_are_dropped():
    """A column cannot equal two values, so that such a conjunction concerns no row."""
    assert all_of([one_of([Condition("t", "a", "1")]), one_of([Condition("t", "a", "2")])]) == NONE
    assert len(all_of([one_of([Condition("t", "a", "1")]), one_of([Condition("u", "a", "2")])])) == 1


def test_an_alternative_that_implies_another_one_is_left_out():
    """The weaker one remains: it is met by all rows that meet either."""
    strong, weak = one_of([A]), all_of([one_of([A]), one_of([B])])
    assert any_of([strong, weak]) == any_of([weak, strong]) == one_of([A])


def test_null_is_left_out_beside_a_negation_that_it_meets():
    """Django adds that a nullable column is not NULL to what it negates."""
    null = one_of([Condition("t", "a", "!")])
    for token, expected in [("?!=1", 1), ("?<1", 1), ("!=1", 2), ("<1", 2)]:
        derived = one_of([Condition("t", "a", token)])
        assert len(any_of([derived, null])) == expected
        # Of another column, or where more is required.
        assert len(any_of([derived, one_of([Condition("t", "b", "!")])])) == 2
        assert len(any_of([all_of([derived, one_of([B])]), null])) == 2


def test_derived_conditions_on_one_column_contradict_neither_each_other_nor_equality():
    several = [one_of([Condition("t", "a", token)]) for token in ("<5", ">=1", "3")]
    assert len(next(iter(all_of(several)))) == 3
