"""Tables that conditions reach by joins are tracked by the keys that the result's SELECT returns beside its columns."""

import datetime

import pytest
from django.db import DatabaseError, connection
from django.db.models import Count, Exists, OuterRef, Q, Subquery, Sum, Value
from django.test.utils import CaptureQueriesContext

from cacheops_lite.query import key_columns, row_dependencies
from cacheops_lite.query.compiler import compile_rows
from tests.journal.models import Author, Category, Comment, Post, Tag
from tests.property.plain import plain
from tests.support import fast_paths
from tests.support.uncached import uncached

pytestmark = pytest.mark.django_db(transaction=True)
DAY = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


@pytest.fixture(autouse=True)
def journal(store):
    """Ann in Rome has the posts p0 and p1, Bob in Oslo p2 and p3, Cid in Rome none; p0 has the tag w0, p2 has w1."""
    ann, bob, _ = [
        Author.objects.create(pk=pk, name=name, email=name, city=city)
        for pk, name, city in [(1, "Ann", "Rome"), (2, "Bob", "Oslo"), (3, "Cid", "Rome")]
    ]
    parent = Category.objects.create(pk=1, name="c0", slug="c0")
    Category.objects.create(pk=2, name="c1", slug="c1", parent=parent)
    for pk, author in enumerate([ann, ann, bob], start=1):
        Post.objects.create(
            pk=pk, slug=f"p{pk - 1}", title="t", status="live", published=DAY, author=author, category_id=2
        )
    for pk in (1, 2, 3):
        Tag.objects.create(pk=pk, word=f"w{pk - 1}")
    Post.objects.create(pk=4, slug="p3", title="t", status="old", published=DAY, author=bob)
    Post(pk=1).tags.add(1)
    Post(pk=3).tags.add(2)
    Comment.objects.create(pk=1, post_id=1, author=bob, text="c", created=DAY)
    ann.follows.add(bob)


def posts(queryset):
    return lambda: plain(queryset.order_by("pk").all())


# Each read, with writes that must invalidate it and writes that leave it cached.
LAST_AUTHOR = Subquery(Post.objects.order_by("-author_id").values("author_id")[:1])
LINK = "Post(pk={}).tags.add({})"
READS = {
    "a condition on a foreign row": (
        lambda: plain(Post.objects.filter(author__city="Rome")),
        [
            "Post.objects.create(pk=9, slug='n', published=DAY, author_id=3)",
            "Post.objects.filter(pk=3).update(author_id=3)",
            "Post.objects.filter(pk=1).update(author_id=2)",
            "Post.objects.filter(pk=1).update(title='u')",
            "Author.objects.filter(pk=2).update(city='Rome')",
            "Author.objects.filter(pk=1).update(city='Oslo')",
            "Post.objects.get(pk=2).delete()",
        ],
        [
            "Post.objects.filter(pk=3).update(title='u')",
            "Post.objects.create(pk=9, slug='n', published=DAY, author_id=2)",
            "Author.objects.filter(pk=2).update(city='Bern')",
            "Author.objects.filter(pk=1).update(name='A')",
        ],
    ),
    "a unique condition on a far row": (
        lambda: plain(Post.objects.filter(tags__word="w0")),
        [
            LINK.format(2, 1),
            "Post.tags.through.objects.filter(post=1).delete()",
            "Post.tags.through.objects.filter(post=3).update(tag_id=1)",
            "Post.objects.filter(pk=1).update(title='u')",
            "Tag.objects.filter(pk=1).update(word='x')",
            "Tag.objects.filter(pk=1).delete()",
        ],
        [
            LINK.format(2, 2),
            LINK.format(1, 3),
            "Post.tags.through.objects.filter(post=3).delete()",
            "Post.objects.filter(pk=3).update(title='u')",
            "Tag.objects.filter(pk=2).update(word='x')",
        ],
    ),
    "a condition two joins away, without duplicates": (
        lambda: plain(Post.objects.filter(tags__note="").distinct()),
        [LINK.format(2, 3), "Post.objects.filter(pk=3).update(title='u')", "Tag.objects.filter(pk=1).update(note='x')"],
        ["Post.objects.filter(pk=2).update(title='u')"],
    ),
    "a back join": (
        lambda: plain(Post.objects.filter(comments__author=2).distinct()),
        [
            "Comment.objects.create(pk=9, post_id=2, author_id=2, created=DAY)",
            "Comment.objects.filter(pk=1).update(post_id=3)",
            "Post.objects.filter(pk=1).update(title='u')",
        ],
        [
            "Comment.objects.create(pk=9, post_id=2, author_id=1, created=DAY)",
            "Post.objects.filter(pk=2).update(title='u')",
        ],
    ),
    "many to many of one table": (
        lambda: plain(Author.objects.filter(followers__city="Rome").distinct()),
        [
            "Author(pk=3).follows.add(1)",
            "Author(pk=1).follows.remove(2)",
            "Author.objects.filter(pk=2).update(name='B')",
            "Author.objects.filter(pk=1).update(city='Bern')",
        ],
        ["Author(pk=2).follows.add(1)"],
    ),
    "conditions on both sides": (
        lambda: plain(Post.objects.filter(tags=1, status="live")),
        [
            LINK.format(2, 1),
            "Post.objects.filter(pk=1).update(status='draft')",
            "Post.objects.filter(pk=1).update(title='u')",
        ],
        [
            "Post.objects.filter(pk=2).update(title='u')",
            "Post.objects.filter(pk=3).update(status='draft')",
            LINK.format(2, 2),
        ],
    ),
    "one column, compared with the same value in two tables": (
        lambda: plain(Post.objects.filter(status="live", related__status="live")),
        ["Post(pk=1).related.add(2)", "Post(pk=1).related.add(3); Post.objects.filter(pk=3).update(status='draft')"],
        [],
    ),
    "an inner query": (
        lambda: plain(Post.objects.filter(author__in=Author.objects.filter(city="Rome"))),
        [
            "Post.objects.create(pk=9, slug='n', published=DAY, author_id=3)",
            "Post.objects.filter(pk=3).update(author_id=3)",
            "Author.objects.filter(pk=2).update(city='Rome')",
        ],
        [
            "Post.objects.filter(pk=3).update(title='u')",
            "Author.objects.filter(pk=2).update(city='Bern')",
        ],
    ),
    "an inner query for primary keys": (
        lambda: plain(Post.objects.filter(pk__in=Comment.objects.filter(author=2).values("post"))),
        [
            "Comment.objects.create(pk=9, post_id=2, author_id=2, created=DAY)",
            "Post.objects.filter(pk=1).update(title='u')",
        ],
        ["Post.objects.filter(pk=2).update(title='u')"],
    ),
    "an aggregate over an outer join": (
        lambda: plain(Author.objects.filter(city="Rome").annotate(n=Sum("posts__views"))),
        [
            "Post.objects.filter(pk=1).update(views=9)",
            "Post.objects.create(pk=9, slug='n', published=DAY, author_id=3, views=5)",
            "Post.objects.filter(pk=3).update(author_id=1, views=3)",
        ],
        ["Post.objects.filter(pk=3).update(views=9)", "Post.objects.filter(pk=1).update(title='u')"],
    ),
    "parameters before the keys": (
        lambda: plain(Post.objects.annotate(x=Value("Oslo")).filter(author__city="Rome", title="t")),
        ["Post.objects.filter(pk=3).update(author_id=3)"],
        ["Post.objects.filter(pk=3).update(body='u')"],
    ),
    "either of two conditions": (
        lambda: plain(Post.objects.filter(Q(author__city="Rome") | Q(author__name="Zoe"))),
        ["Author.objects.filter(pk=2).update(name='Zoe')", "Post.objects.filter(pk=3).update(author_id=3)"],
        ["Post.objects.filter(pk=3).update(title='u')"],
    ),
    "a condition on a row that may be missing": (
        lambda: plain(Post.objects.filter(category__parent__isnull=True)),
        ["Post.objects.filter(pk=1).update(category=None)", "Category.objects.filter(pk=2).update(parent=None)"],
        [],
    ),
    "the same table as a whole": (
        lambda: plain(Post.objects.filter(author__city="Rome").values("author_id").annotate(n=LAST_AUTHOR)),
        ["Author.objects.create(pk=4, city='Oslo'); Post.objects.filter(pk=3).update(author_id=4)"],
        ["Post.objects.filter(pk=3).update(title='u')"],
    ),
    "a condition that is met where the joined row is missing": (
        lambda: plain(Post.objects.filter(Q(category__parent__slug="c9") | Q(category__parent__isnull=True))),
        [
            "Category.objects.filter(pk=2).update(parent=None)",
            "Post.objects.filter(pk=1).update(category=None)",
        ],
        [],
    ),
}
CASES = [
    (name, write, is_kept)
    for name, (_, falling, keeping) in READS.items()
    for write, is_kept in [*((each, False) for each in falling), *((each, True) for each in keeping)]
]


@pytest.mark.parametrize(("name", "write", "is_kept"), CASES)
def test_only_rows_that_a_condition_reaches_invalidate(name, write, is_kept, is_hit):
    """A result survives exactly the writes to rows that the joins do not lead to, and is never stale."""
    read = READS[name][0]
    read()
    exec(write, globals())
    true = uncached(read)
    assert is_hit(read) == is_kept
    assert read() == true


def keyed_tables(queryset):
    """Return the tables of which selected keys tell the rows."""
    usable = row_dependencies.usable_for(compile_rows(queryset).row_level, queryset.query.is_sliced)
    return {each.coarse.table for each in usable if each.narrowed}


IN_ROME = Author.objects.filter(city="Rome")
KEYED = {
    "a slice by a column without an index": (Post.objects.filter(author__city="Rome")[:5], set()),
    "a slice by a unique column": (Post.objects.filter(author__email="Ann")[:5], {"journal_post"}),
    "a condition on a row that may be missing": (Post.objects.filter(Q(category__name="a") | Q(views=1)), set()),
    "a correlated inner query": (Post.objects.filter(Exists(Comment.objects.filter(post=OuterRef("pk")))), set()),
    "a correlated inner query of keys": (
        Post.objects.filter(author__in=Author.objects.filter(name=OuterRef("title"))),
        set(),
    ),
    "a cut inner query": (Post.objects.filter(author__in=IN_ROME.order_by("name")[:1]), set()),
    "a negated inner query": (Post.objects.exclude(author__in=IN_ROME), set()),
    "an inner query of texts": (Post.objects.filter(slug__in=Post.objects.filter(views=1).values("title")), set()),
    "an inner query of expressions": (
        Post.objects.filter(views__in=Author.objects.annotate(n=Count("posts")).values("n")),
        set(),
    ),
    "raw SQL": (Post.objects.filter(author__city="Rome").extra(where=["1 = 1"]), set()),
    "a condition on the group": (
        Author.objects.filter(city="Rome").annotate(n=Count("posts")).filter(n__gt=1),
        set(),
    ),
    "the side that fewer rows meet": (Comment.objects.filter(post=1, author__city="Rome"), {"journal_author"}),
    "a union": (Post.objects.filter(author__city="Rome").union(Post.objects.filter(author__city="Oslo")), set()),
}


@pytest.mark.parametrize("name", KEYED)
def test_keys_are_selected_only_where_they_are_certain_and_cheap(name):
    queryset, expected = KEYED[name]
    if name == "a cut inner query" and connection.vendor == "mysql":
        pytest.skip("MariaDB refuses it")
    assert keyed_tables(queryset) == expected


def test_a_miss_executes_one_statement_and_returns_what_the_query_selects():
    """The further column is not in the rows."""
    queryset = Post.objects.filter(author__city="Rome").order_by("pk").values_list("pk", "author__city")
    with CaptureQueriesContext(connection) as captured:
        found = list(queryset)
    assert found == [(1, "Rome"), (2, "Rome")]
    [statement] = captured.captured_queries
    assert "cacheops_keys" in statement["sql"]
    with CaptureQueriesContext(connection) as captured:
        assert list(queryset.all()) == found
    assert not captured.captured_queries


def test_without_a_row_nothing_is_known_of_the_keys(is_hit):
    """Then any row of the table invalidates, or any that meets the table's own conditions."""
    read = lambda: list(Post.objects.filter(tags=3, status="draft"))
    assert read() == []
    Post.objects.filter(pk=1).update(title="u")
    assert is_hit(read)
    Post.objects.filter(pk=1).update(status="draft")
    assert not is_hit(read)


def test_more_keys_than_the_limit_are_tracked_as_a_table(is_hit, monkeypatch):
    """Later misses of the same query do not ask for them again."""
    monkeypatch.setattr(key_columns, "MAX_KEYS", 1)
    read = lambda: list(Post.objects.filter(author__city="Rome"))
    read()
    Post.objects.filter(pk=3).update(title="u")
    with CaptureQueriesContext(connection) as captured:
        assert not is_hit(read)
    if fast_paths.is_on("plans"):
        assert not any("cacheops_keys" in each["sql"] for each in captured.captured_queries)


@pytest.mark.parametrize("text", [None, "", "2:1.", "2:1.2", "1:x.", "x:1.", 7])
def test_a_text_that_was_cut_or_is_none_of_ours_has_no_keys(text):
    assert key_columns.parse(text) is None


def test_a_text_of_keys_is_read():
    assert key_columns.parse("3:1.22.-3.") == {1, 22, -3}
    assert key_columns.parse("0:") == set()


def in_rome():
    return [each.slug for each in Post.objects.filter(author__city="Rome").order_by("pk")]


@pytest.fixture
def refusing(monkeypatch):
    """Let the database refuse each SELECT of keys; yield the statements that were refused."""
    attach, refused = key_columns.KeyColumns.attach, []

    def attach_nonsense(self, compiler, query):
        subqueries = self.subqueries
        self.subqueries = [each._replace(before=f"SELECT no_such_function({each.before[7:]}") for each in subqueries]
        refused.append(self)
        try:
            return attach(self, compiler, query)
        finally:
            self.subqueries = subqueries

    monkeypatch.setattr(key_columns.KeyColumns, "attach", attach_nonsense)
    return refused


def test_a_query_whose_keys_the_database_refuses_is_read_without_them(refusing, is_hit, caplog):
    """Django alone would not have failed.  The process does not try that again."""
    expected = ["p0", "p1"]
    assert in_rome() == expected
    assert refusing
    assert is_hit(in_rome)
    assert "refuses to select the keys" in caplog.text
    Author.objects.filter(pk=2).update(city="Rome")
    with CaptureQueriesContext(connection) as queries:
        assert in_rome() == ["p0", "p1", "p2", "p3"]
    assert len(queries) == 1


def test_an_error_that_has_nothing_to_do_with_the_keys_is_raised_as_ever(monkeypatch):
    queryset = Post.objects.filter(author__city="Rome").extra(where=["no_such_column = 1"])
    with pytest.raises(DatabaseError):
        list(queryset)


def test_a_query_whose_keys_cannot_be_composed_is_read_without_them(monkeypatch, is_hit):
    monkeypatch.setattr(key_columns, "conditions_sql", lambda *args: 1 / 0)
    assert in_rome() == ["p0", "p1"]
    assert is_hit(in_rome)


def test_a_query_whose_joins_cannot_be_analysed_for_keys_is_cached_all_the_same(monkeypatch, is_hit):
    """It depends on more rows."""
    monkeypatch.setattr(row_dependencies, "key_columns_of", lambda *args: 1 / 0)
    assert in_rome() == ["p0", "p1"]
    assert is_hit(in_rome)
