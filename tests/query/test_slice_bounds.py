"""A slice that is full depends only on rows up to its last one, by the column that sorts first."""

import datetime
import random
from decimal import Decimal

import pytest
from django.db import connection
from django.db.models import Count, Exists, F, OuterRef, Prefetch, Q, Window
from django.db.models.functions import Abs, RowNumber
from django.utils import timezone

from cacheops_lite import invalidate_all
from cacheops_lite.query import row_dependencies
from cacheops_lite.query.compiler import compile_rows
from tests.conftest import counted_reads
from tests.journal.models import Author, Comment, Post
from tests.property.plain import plain
from tests.rich.models import Hall, Sample
from tests.support.uncached import uncached

UTC = datetime.timezone.utc
DAY = datetime.datetime(2026, 1, 1, tzinfo=UTC)

pytestmark = pytest.mark.django_db(transaction=True)

posts = Post.objects.all()
HIGH_SCORES = Comment.objects.filter(post=OuterRef("pk"), score__gt=25)
samples = Sample.objects.all()


def restore():
    """Make ten posts: their ratings are 10, 20 ... 100, published in as many months; the even ones are live."""
    for model in (Comment, Post, Author):
        model.objects.nocache().all().delete()
    author = Author.objects.create(pk=1, name="Ann", email="Ann", city="Rome")
    Post.objects.bulk_create(
        Post(
            pk=pk,
            slug=f"p{pk}",
            title="t",
            status="draft" if pk % 2 else "live",
            rating=pk * 10,
            published=DAY.replace(month=pk),
            author=author,
        )
        for pk in range(1, 11)
    )
    Comment.objects.bulk_create(
        Comment(pk=pk, post_id=pk, author=author, text="c", score=pk * 10, created=DAY) for pk in range(1, 11)
    )
    invalidate_all()


def create(**values):
    Post.objects.create(**{"pk": 50, "slug": "new", "title": "n", "published": DAY, "author_id": 1, **values})


def change(pk, **values):
    post = Post.objects.nocache().get(pk=pk)
    for name, value in values.items():
        setattr(post, name, value)
    post.save()


# A read; writes that keep its result; writes that change it.
CASES = {
    "a slice": (
        lambda: plain(posts.order_by("rating", "pk")[:3]),
        [
            lambda: change(4, title="u"),
            lambda: change(4, rating=90),
            lambda: create(rating=31),
            lambda: Post.objects.filter(pk=9).delete(),
            lambda: Post.objects.filter(pk=9).update(rating=F("rating") - 50),
        ],
        [
            lambda: change(3, title="u"),
            lambda: change(3, rating=41),
            lambda: change(1, rating=25),
            lambda: create(rating=29),
            lambda: Post.objects.filter(pk=1).delete(),
            lambda: Post.objects.filter(pk=3).delete(),
            lambda: Post.objects.filter(pk=9).update(rating=F("rating") - 65),
        ],
    ),
    "a slice in descending order": (
        lambda: plain(posts.order_by("-rating", "pk")[:3]),
        [lambda: change(7, title="u"), lambda: change(7, rating=1), lambda: create(rating=79)],
        [lambda: change(8, title="u"), lambda: change(8, rating=69), lambda: create(rating=81)],
    ),
    "ties": (
        lambda: plain(posts.order_by("rating", "-pk")[:3]),
        [lambda: change(2, views=0), lambda: create(pk=2000, rating=40)],
        [lambda: create(pk=2000, rating=30), lambda: change(9, rating=30)],
    ),
    "an offset": (
        lambda: plain(posts.order_by("rating", "pk")[2:4]),
        [lambda: change(5, title="u"), lambda: create(rating=41), lambda: change(9, rating=50)],
        [
            lambda: create(rating=1),
            lambda: change(1, rating=45),
            lambda: change(3, title="u"),
            lambda: Post.objects.filter(pk=1).delete(),
        ],
    ),
    "an offset without an end": (
        lambda: plain(posts.order_by("rating", "pk")[7:]),
        [],
        [lambda: create(rating=1), lambda: create(rating=200), lambda: change(10, title="u")],
    ),
    "a slice that is not full": (
        lambda: plain(posts.filter(status="live").order_by("rating", "pk")[:6]),
        [lambda: create(rating=500, status="draft"), lambda: change(1, title="u")],
        [lambda: create(rating=500, status="live"), lambda: change(9, status="live"), lambda: create(status="live")],
    ),
    "a slice after an offset that is not full": (
        lambda: plain(posts.order_by("rating", "pk")[8:11]),
        [],
        [lambda: create(rating=500), lambda: create(rating=1)],
    ),
    "a slice that is just full": (
        lambda: plain(posts.filter(status="live").order_by("rating", "pk")[:5]),
        [lambda: create(rating=500, status="live")],
        [lambda: create(rating=1, status="live"), lambda: change(10, status="draft")],
    ),
    "conditions": (
        lambda: plain(posts.filter(Q(status="live") | Q(views=7)).order_by("rating", "pk")[:2]),
        [lambda: change(1, title="u"), lambda: change(9, views=7), lambda: change(6, title="u")],
        [lambda: change(1, views=7), lambda: change(1, status="live"), lambda: change(2, title="u")],
    ),
    "first by the primary key": (
        lambda: plain(posts.first()),
        [lambda: create(), lambda: change(2, title="u")],
        [lambda: change(1, title="u"), lambda: create(pk=-1), lambda: Post.objects.filter(pk=1).delete()],
    ),
    "last by the primary key": (
        lambda: plain(posts.last()),
        [lambda: change(9, title="u"), lambda: Post.objects.filter(pk=3).delete()],
        [lambda: change(10, title="u"), lambda: create()],
    ),
    "latest": (
        lambda: plain(posts.latest("published")),
        [lambda: create(), lambda: change(9, title="u")],
        [lambda: create(published=DAY.replace(month=11)), lambda: change(10, published=DAY)],
    ),
    "earliest": (
        lambda: plain(posts.filter(status="live").earliest("published")),
        [lambda: change(4, title="u"), lambda: create(status="live", published=DAY.replace(month=3))],
        [lambda: create(status="live"), lambda: change(2, title="u"), lambda: change(8, published=DAY)],
    ),
    "a reversed order": (
        lambda: plain(posts.order_by("rating", "pk").reverse()[:2]),
        [lambda: create(rating=1), lambda: change(8, title="u")],
        [lambda: create(rating=91), lambda: change(10, rating=1)],
    ),
    "values": (
        lambda: list(posts.order_by("-published").values_list("pk", "published")[:2]),
        [lambda: change(10, title="u"), lambda: create(), lambda: change(8, published=DAY)],
        [lambda: create(published=DAY.replace(month=11)), lambda: change(10, published=DAY)],
    ),
    "values that lack the sorting one": (
        lambda: list(posts.order_by("rating").values_list("title", flat=True)[:2]),
        [lambda: change(1, body="u")],
        [lambda: change(1, title="u"), lambda: create(rating=1)],
    ),
    "a joined table": (
        lambda: plain(posts.select_related("author").order_by("rating")[:2]),
        [lambda: change(3, title="u"), lambda: Author.objects.create(pk=2, name="Bob")],
        [lambda: change(2, title="u"), lambda: Author.objects.filter(pk=1).update(name="A")],
    ),
    "a condition on a joined table": (
        lambda: plain(posts.filter(comments__score__lt=60).order_by("rating")[:2]),
        [lambda: change(3, title="u")],
        [lambda: Comment.objects.filter(pk=1).update(score=60), lambda: change(5, rating=1)],
    ),
    "the order of a joined table": (
        lambda: plain(Comment.objects.select_related("post").order_by("-post__rating")[:2]),
        [],
        [lambda: change(1, rating=500), lambda: Comment.objects.filter(pk=1).update(post_id=10, text="a")],
    ),
    "an inner query": (
        lambda: plain(
            posts.filter(Exists(Comment.objects.filter(post=OuterRef("pk"), score__gt=25))).order_by("pk")[:2]
        ),
        [lambda: create()],
        [lambda: Comment.objects.filter(pk=1).update(score=90), lambda: change(3, title="u")],
    ),
    "prefetched slices": (
        lambda: [
            [each.pk for each in author.lowest]
            for author in Author.objects.prefetch_related(Prefetch("posts", posts.order_by("rating")[:2], "lowest"))
        ],
        [],
        [lambda: create(rating=1), lambda: change(1, rating=500)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_write_beyond_the_last_row_keeps_a_slice(name, store, is_hit):
    """The row is beyond it before and after the write, or meets no condition."""
    read, keeping, _ = CASES[name]
    for number, write in enumerate(keeping):
        restore()
        before = read()
        write()
        assert uncached(read) == before, f"write {number} is not what it should be"
        assert is_hit(read), f"write {number}"
        assert read() == before


@pytest.mark.parametrize("name", CASES)
def test_a_write_that_changes_a_slice_invalidates_it(name, store):
    """Into the slice, out of it, within it, or of rows before it."""
    read, _, changing = CASES[name]
    for number, write in enumerate(changing):
        restore()
        before = read()
        write()
        true = uncached(read)
        assert true != before, f"write {number} is not what it should be"
        assert read() == true, f"write {number}"


def test_a_slice_within_a_query_depends_on_all_its_rows(store):
    if connection.vendor == "mysql":
        pytest.skip("MariaDB refuses it")
    restore()
    read = lambda: plain(posts.filter(pk__in=posts.order_by("rating").values("pk")[:2]).order_by("-pk")[:2])
    assert len(read()) == 2
    change(9, rating=1)
    assert read() == uncached(read)
    create(rating=-5)
    assert read() == uncached(read)


DAYS = [datetime.date(2026, *each) for each in ((1, 1), (1, 31), (2, 1), (12, 31))]
MICROSECOND = datetime.timedelta(microseconds=1)
# Values of each kind of column: on the grid of bounds and beside it, equal in different forms, and the extremes.
VALUES = {
    "whole": [None, 0, -1, 1, 9, 10, 11, 20, -20, 99, 100, 2**30 - 1, -(2**30)],
    "odd": [None, 0, 5, 10, 30],
    "double": [None, 0, -1, 5, 10, 15, 20, 100, 1000],
    "big": [None, 0, 10**18, 2**63 - 1, -(2**63), 999, 1000],
    "amount": [None, *map(Decimal, ("0", "-0.00", "0.1", "0.10", "1.99", "2", "2.0", "-2", "9.5", "100", "999999.99"))],
    "long_amount": [None, *map(Decimal, ("0", "0.0000000001", "1", "1.0", "2"))],
    "ratio": [None, 0.0, -0.0, 0.1, 1.0, -1.0, 1e300, 5e-324, 1.7976931348623157e308, 0.30000000000000004, 0.3],
    "day": [None, *DAYS, datetime.date.today(), datetime.date(1000, 1, 1), datetime.date.max],
    "moment": [
        None,
        timezone.now(),
        DAY,
        DAY + MICROSECOND,
        DAY - MICROSECOND,
        datetime.datetime(2026, 1, 1, 0, 30, tzinfo=timezone.get_fixed_timezone(60)),
        DAY.replace(month=2),
        DAY.replace(month=12, day=31, hour=23),
    ],
    "clock": [None, datetime.time(0), datetime.time(23, 59, 59, 999999), datetime.time(12), datetime.time(12, 0, 0, 1)],
    "span": [None, *(datetime.timedelta(seconds=each) for each in (0, 1, -1, 0.000001, 86400, 90000))],
    "short": ["", "a", "A", "b", "ab", "é", "zz"],
    "flag": [None, True, False],
}
if connection.vendor == "sqlite":
    VALUES["ratio"] += [float("inf"), float("-inf")]


def reads_by(column):
    """Return reads that sort by a column, and by the primary key where its values are equal."""
    reads = []
    for order in (column, f"-{column}"):
        ordered = samples.order_by(order, "pk")
        for first, end in ((0, 1), (0, 3), (1, 3), (4, 6), (0, 50), (7, None)):
            reads.append(lambda rows=ordered[first:end]: list(rows.all().values_list("pk", column, "text")))
        reads.append(lambda rows=ordered: [(each.pk, each.text) for each in rows.filter(fresh=5)[:2]])
        reads.append(lambda rows=ordered: (rows.first() or samples.model()).pk)
        reads.append(lambda rows=ordered: (rows.last() or samples.model()).pk)
    for order in (F(column).asc(nulls_first=True), F(column).desc(nulls_last=True), F(column).asc(nulls_last=True)):
        ordered = samples.order_by(order, "-pk")
        reads.append(lambda rows=ordered: [each.pk for each in rows.all()[:3]])
    return reads


@pytest.mark.parametrize("column", VALUES)
def test_no_slice_is_stale_whatever_its_column_holds(column, store):
    """Random rows, random writes; the database's own answer is the truth."""
    rng = random.Random(column)
    source = "whole" if column == "double" else column
    Sample.objects.nocache().delete()

    def value():
        return rng.choice(VALUES[column])

    for pk in range(10, 90, 10):
        Sample.objects.create(pk=pk, **{source: value()})
    reads = reads_by(column)
    hits = 0
    for number in range(40):
        rows = list(Sample.objects.nocache().order_by("pk"))
        row = rng.choice(rows)
        kind = rng.randrange(6)
        if kind == 0 and len(rows) < 12:
            Sample.objects.create(pk=rng.choice([*{*range(1, 99)} - {each.pk for each in rows}]), **{source: value()})
        elif kind == 1 and len(rows) > 5:
            row.delete()
        elif kind == 2:
            samples.filter(pk=row.pk).update(**{source: value()})
        elif kind == 3:
            samples.filter(pk=row.pk).update(text=str(number), fresh=rng.choice([4, 5]))
        else:
            setattr(row, source, value())
            row.text = str(number)
            row.save()
        true = uncached(lambda: [read() for read in reads])
        with counted_reads() as counted:
            assert [read() for read in reads] == true, f"after {number} writes of {column}"
        hits += counted.hits
    assert hits > 20


def bounded_columns(queryset):
    """Return the columns by whose last values the result's dependencies are bounded."""
    row_level = compile_rows(queryset).row_level
    usable = row_dependencies.usable_for(row_level, queryset.query.is_sliced)
    return {each.bound.column for found in usable for each in found.bounded}


by_rating = posts.order_by("rating")
BOUNDED = {
    "a slice": (by_rating[:5], {"rating"}),
    "an offset": (by_rating[3:5], {"rating"}),
    "several columns": (posts.order_by("-published", "title")[:5], {"published"}),
    "an expression that is a column": (posts.order_by(F("rating").desc())[:5], {"rating"}),
    "the column of a foreign key": (posts.order_by("category_id")[:5], {"category_id"}),
    "a selected column": (by_rating.values_list("rating", "title")[:5], {"rating"}),
    "a joined table that adds columns": (by_rating.select_related("category")[:5], {"rating"}),
    "no slice": (by_rating, set()),
    "no end": (by_rating[5:], set()),
    "no order": (posts.order_by()[:5], set()),
    "random order": (posts.order_by("?")[:5], set()),
    "an expression": (posts.order_by(Abs("rating"))[:5], set()),
    "a joined column": (posts.order_by("author__id", "pk")[:5], {"author_id"}),
    "a column of another table": (posts.select_related("author").order_by("author__seen")[:5], set()),
    "a column of a table that may lack the row": (
        posts.select_related("category").order_by("category__parent_id")[:5],
        set(),
    ),
    "a column that is not selected": (by_rating.values("title")[:5], set()),
    "a text": (posts.order_by("title")[:5], set()),
    "DISTINCT": (by_rating.distinct()[:5], set()),
    "a group": (by_rating.annotate(n=Count("comments"))[:5], set()),
    "a window": (by_rating.annotate(n=Window(RowNumber(), order_by=["pk"]))[:5], set()),
    "raw SQL": (by_rating.extra(where=["1 = 1"])[:5], set()),
    "an order in raw SQL": (posts.extra(order_by=["journal_post.rating"])[:5], set()),
    "a union": (posts.filter(views=1).union(posts.filter(views=2)).order_by("rating")[:5], set()),
    "a single row": (posts.filter(slug="p1").order_by("rating")[:5], set()),
    "the sorting column's value": (by_rating.filter(rating=5)[:5], set()),
    "a column of a parent": (Hall.objects.order_by("name")[:5], set()),
    "a column with another collation": (samples.order_by("nocase")[:5], set()),
}


@pytest.mark.parametrize("name", BOUNDED)
def test_only_slices_by_a_certain_order_of_their_own_rows_are_bounded(name):
    queryset, expected = BOUNDED[name]
    assert bounded_columns(queryset) == expected


def test_a_row_number_depends_on_rows_beyond_the_slice(store):
    """The window is computed before the slice is cut."""
    if connection.vendor == "mysql":
        pytest.skip("the same on all databases")
    restore()
    numbered = posts.annotate(n=Window(Count("pk"))).order_by("rating")
    read = lambda: list(numbered.values_list("rating", "n").all()[:2])
    assert read() == [(10, 10), (20, 10)]
    create(rating=500)
    assert read() == [(10, 11), (20, 11)]


def test_explain_says_how_far_a_slice_reaches(store):
    """In words, because it does not read the slice."""
    report = posts.filter(views=7).order_by("rating")[:5].explain_cache()
    assert "journal_post: rows where views = 7, up to the slice's last one by rating" in report.dependencies


def test_a_slice_without_room_for_its_bound_depends_on_its_conditions(store, is_hit, monkeypatch):
    """So bounds do not crowd out the conditions of other queries: half of the derived shapes are theirs."""
    from cacheops_lite.store import shape_limit

    restore()
    monkeypatch.setattr(shape_limit, "is_met", False)
    read = lambda: plain(posts.filter(status="live").order_by("rating")[:2])
    posts.count()
    (index,) = [key for key in store.keys("*cacheops:i:*") if b"journal_post" in key]
    store.sadd(index, *(f"views<{number}|*" for number in range(125)))
    # The reply to a fill is read with the next command.
    for _ in range(3):
        read()
    assert shape_limit.is_met
    assert is_hit(read)
    change(1, title="u")
    assert is_hit(read), "the conditions are still its own"
    change(8, title="u")
    assert not is_hit(read)
    assert read() == uncached(read)
    shape_limit._until.clear()
