"""Reads of the journal, by the class of query that they belong to; each returns plain values."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db.models import Avg, Count, Exists, Max, OuterRef, Prefetch, Q, QuerySet, Sum

from tests.journal.models import Author, Category, Comment, Post, Tag
from tests.property.journal_rows import CITIES, KINDS, START, STATUSES, TITLES, Keys
from tests.property.plain import plain

Read = Callable[[], Any]
# Makes the reads of a class; the first argument chooses their parameters among the keys of present rows.
MakeReads = Callable[[random.Random, Keys], "list[Read]"]

# How many reads of each class a pool has: the shares that they have in ordinary projects, roughly.
SHARES = {
    "get": 12,
    "in_bulk": 3,
    "fk access": 10,
    "equality": 12,
    "ranges": 7,
    "texts": 5,
    "json keys": 3,
    "pk in subquery": 4,
    "m2m to self": 4,
    "first and last": 5,
    "slices": 7,
    "back joins": 5,
    "forward joins": 8,
    "aggregates": 5,
    "prefetches": 6,
    "exists": 5,
    "m2m": 7,
    "negations": 5,
    "values": 5,
    "count": 6,
}


def pool(rng: random.Random, keys: Keys) -> list[tuple[str, Read]]:
    """Return random reads of all classes, each with its class."""
    found = []
    for name, number in SHARES.items():
        choices: list[Read] = []
        while len(choices) < number:
            made = CLASSES[name](rng, keys)
            rng.shuffle(made)
            choices += made
        found += [(name, read) for read in choices[:number]]
    return found


def _rows(queryset: QuerySet[Any]) -> Any:
    """Return the rows; those of an unordered queryset in an order of their own."""
    return plain(queryset)


def _get(rng: random.Random, keys: Keys) -> list[Read]:
    post, author, tag = rng.choice(keys.posts), rng.choice(keys.authors), rng.choice(keys.tags)
    return [
        lambda: plain(Post.objects.get(pk=post)),
        lambda: plain(Post.objects.get(slug=f"p{post % 60}")),
        lambda: plain(Author.objects.get(pk=author)),
        lambda: plain(Author.objects.get(email=f"a{author % 12}@example.com")),
        lambda: plain(Tag.objects.get(pk=tag)),
    ]


def _in_bulk(rng: random.Random, keys: Keys) -> list[Read]:
    posts, authors = rng.sample(keys.posts, 4), rng.sample(keys.authors, 3)
    return [
        lambda: plain(Post.objects.in_bulk(posts)),
        lambda: plain(Author.objects.in_bulk(authors)),
    ]


def _fk_access(rng: random.Random, keys: Keys) -> list[Read]:
    post, author, category = rng.choice(keys.posts), rng.choice(keys.authors), rng.choice(keys.categories)
    return [
        lambda: plain(Comment(post_id=post).post),
        lambda: plain(Post(author_id=author).author),
        lambda: plain(Post(category_id=category).category),
    ]


def _equality(rng: random.Random, keys: Keys) -> list[Read]:
    post, author, category = rng.choice(keys.posts), rng.choice(keys.authors), rng.choice(keys.categories)
    status, city = rng.choice(STATUSES), rng.choice(CITIES)
    return [
        lambda: _rows(Post.objects.filter(author=author)),
        lambda: _rows(Post.objects.filter(status=status, category=category)),
        lambda: _rows(Comment.objects.filter(post=post, approved=True)),
        lambda: _rows(Author.objects.filter(city=city)),
        lambda: _rows(Category.objects.filter(parent=category)),
        lambda: _rows(Author(pk=author).posts.filter(status=status)),
        lambda: _rows(Post(pk=post).comments.all()),
    ]


def _ranges(rng: random.Random, keys: Keys) -> list[Read]:
    moment = START + timedelta(days=rng.randint(10, 390))
    author, rating, price = rng.choice(keys.authors), rng.randint(1, 9), rng.randint(20, 80)
    return [
        lambda: _rows(Post.objects.filter(rating__gte=rating, author=author)),
        lambda: _rows(Post.objects.filter(rating__gt=8)),
        lambda: _rows(Post.objects.filter(price__range=(price, price + 10))),
        lambda: _rows(Post.objects.filter(price__lt=20, status="live")),
        lambda: _rows(Post.objects.filter(published__gte=moment, published__lt=moment + timedelta(days=30))),
        lambda: _rows(Post.objects.filter(published__year=2025, category__isnull=True)),
        lambda: _rows(Comment.objects.filter(score__lte=1)),
    ]


def _texts(rng: random.Random, keys: Keys) -> list[Read]:
    title, author = rng.choice(TITLES), rng.choice(keys.authors)
    return [
        lambda: _rows(Post.objects.filter(title__startswith=title)),
        lambda: _rows(Post.objects.filter(title__icontains=title)),
        lambda: _rows(Post.objects.filter(title__contains=title[1:4], author=author)),
        lambda: _rows(Author.objects.filter(name__istartswith="ann")),
        lambda: _rows(Tag.objects.filter(word__startswith="w1")),
    ]


def _json_keys(rng: random.Random, keys: Keys) -> list[Read]:
    kind, size = rng.choice(KINDS), rng.randint(0, 4)
    return [
        lambda: _rows(Post.objects.filter(meta__kind=kind)),
        lambda: _rows(Post.objects.filter(meta__size=size, status="draft")),
    ]


def _pk_in_subquery(rng: random.Random, keys: Keys) -> list[Read]:
    author, tag, city = rng.choice(keys.authors), rng.choice(keys.tags), rng.choice(CITIES)
    return [
        lambda: _rows(Post.objects.filter(author__in=Author.objects.filter(city=city))),
        lambda: _rows(Post.objects.filter(pk__in=Comment.objects.filter(author=author).values("post"))),
        lambda: _rows(Author.objects.filter(pk__in=Post.objects.filter(tags=tag).values("author"))),
        lambda: _rows(Tag.objects.filter(pk__in=Post.tags.through.objects.filter(tag=tag).values("tag"))),
    ]


def _m2m_to_self(rng: random.Random, keys: Keys) -> list[Read]:
    author, post, city = rng.choice(keys.authors), rng.choice(keys.posts), rng.choice(CITIES)
    return [
        lambda: _rows(Author(pk=author).follows.all()),
        lambda: _rows(Author.objects.filter(followers=author)),
        lambda: _rows(Post(pk=post).related.all()),
        lambda: _rows(Post.objects.filter(related__author=author)),
        lambda: _rows(Author.objects.filter(followers__city=city).distinct()),
        lambda: _rows(Post.objects.filter(related__slug=f"p{post % 60}")),
    ]


def _first_and_last(rng: random.Random, keys: Keys) -> list[Read]:
    post, author, category = rng.choice(keys.posts), rng.choice(keys.authors), rng.choice(keys.categories)
    return [
        lambda: plain(Post.objects.filter(category=category).order_by("-published", "pk").first()),
        lambda: plain(Post.objects.filter(author=author).latest("published", "pk")),
        lambda: plain(Comment.objects.filter(post=post).order_by("created", "pk").last()),
        lambda: plain(Post.objects.order_by("-published", "pk").first()),
        lambda: plain(Post.objects.filter(status="live").earliest("published", "pk")),
    ]


def _slices(rng: random.Random, keys: Keys) -> list[Read]:
    post, author, category = rng.choice(keys.posts), rng.choice(keys.authors), rng.choice(keys.categories)
    return [
        lambda: plain(Post.objects.filter(status="live").order_by("-published", "pk")[:5]),
        lambda: plain(Comment.objects.filter(post=post).order_by("-created", "pk")[:3]),
        lambda: plain(Post.objects.order_by("-rating", "pk")[:10]),
        lambda: plain(Post.objects.filter(category=category).order_by("-published", "pk")[:4]),
        lambda: plain(Post.objects.filter(author=author).select_related("category").order_by("title", "pk")[:20]),
        lambda: plain(Comment.objects.filter(approved=True).order_by("-created", "pk")[:5]),
    ]


def _back_joins(rng: random.Random, keys: Keys) -> list[Read]:
    author, category, post = rng.choice(keys.authors), rng.choice(keys.categories), rng.choice(keys.posts)
    return [
        lambda: _rows(Author.objects.filter(posts__category=category).distinct()),
        lambda: _rows(Post.objects.filter(comments__author=author).distinct()),
        lambda: _rows(Category.objects.filter(posts__author=author).distinct()),
        lambda: _rows(Author.objects.filter(comments__post=post).distinct()),
        lambda: _rows(Author.objects.filter(posts__status="draft").distinct()),
    ]


def _forward_joins(rng: random.Random, keys: Keys) -> list[Read]:
    author, category, city = rng.choice(keys.authors), rng.choice(keys.categories), rng.choice(CITIES)
    return [
        lambda: _rows(Post.objects.filter(author__city=city)),
        lambda: _rows(Comment.objects.filter(post__author=author)),
        lambda: _rows(Comment.objects.filter(post__category=category, approved=False)),
        lambda: _rows(Post.objects.filter(category__slug=f"c{category % 6}")),
        lambda: _rows(Post.objects.filter(category__parent=category)),
        lambda: _rows(Post.objects.filter(author=author).select_related("author", "category")),
        lambda: _rows(Post.objects.filter(category=category).select_related("author")),
    ]


def _aggregates(rng: random.Random, keys: Keys) -> list[Read]:
    author, category, post = rng.choice(keys.authors), rng.choice(keys.categories), rng.choice(keys.posts)
    city = rng.choice(CITIES)
    return [
        lambda: plain(Post.objects.filter(author=author).aggregate(n=Sum("views"))),
        lambda: plain(Post.objects.filter(category=category).aggregate(a=Avg("rating"), m=Max("published"))),
        lambda: plain(Comment.objects.filter(post=post).aggregate(n=Avg("score"))),
        lambda: _rows(Author.objects.filter(pk=author).annotate(n=Count("posts"))),
        lambda: _rows(Post.objects.values("status").annotate(n=Count("pk"))),
        lambda: _rows(Category.objects.annotate(n=Count("posts"))),
        lambda: _rows(Author.objects.filter(city=city).annotate(n=Sum("posts__views"))),
        lambda: plain(Post.objects.filter(category__slug=f"c{category % 6}").aggregate(n=Max("rating"))),
    ]


def _prefetches(rng: random.Random, keys: Keys) -> list[Read]:
    author, category, city = rng.choice(keys.authors), rng.choice(keys.categories), rng.choice(CITIES)
    approved = Comment.objects.filter(approved=True)
    return [
        lambda: _rows(Post.objects.filter(author=author).prefetch_related("tags")),
        lambda: _rows(Author.objects.filter(city=city).prefetch_related("posts")),
        lambda: _rows(Post.objects.filter(category=category).prefetch_related("comments")),
        lambda: _rows(Post.objects.filter(author=author).prefetch_related("comments__author", "category")),
        lambda: _rows(Author.objects.filter(city=city).prefetch_related("follows")),
        lambda: _rows(Post.objects.filter(author=author).prefetch_related(Prefetch("comments", approved))),
    ]


def _exists(rng: random.Random, keys: Keys) -> list[Read]:
    author, post, tag = rng.choice(keys.authors), rng.choice(keys.posts), rng.choice(keys.tags)
    city = rng.choice(CITIES)
    replies = Comment.objects.filter(post=OuterRef("pk"), author=author)
    return [
        lambda: Comment.objects.filter(post=post, approved=False).exists(),
        lambda: Post.objects.filter(author=author, status="draft").exists(),
        lambda: Post(pk=post).tags.filter(pk=tag).exists(),
        lambda: Post(pk=post).comments.exists(),
        lambda: Post.objects.filter(status="live").exists(),
        lambda: Post.objects.filter(tags__word=f"w{tag % 15}").exists(),
        lambda: Post.objects.filter(author__city=city, status="draft").exists(),
        lambda: _rows(Post.objects.filter(Exists(replies))),
    ]


def _m2m(rng: random.Random, keys: Keys) -> list[Read]:
    post, tag, other = rng.choice(keys.posts), rng.choice(keys.tags), rng.choice(keys.tags)
    return [
        lambda: _rows(Post(pk=post).tags.all()),
        lambda: _rows(Tag(pk=tag).posts.all()),
        lambda: _rows(Post.objects.filter(tags__word=f"w{tag % 15}")),
        lambda: _rows(Post.objects.filter(tags__in=[tag, other]).distinct()),
        lambda: _rows(Tag(pk=tag).posts.filter(status="live")),
        lambda: _rows(Tag.objects.filter(posts=post)),
    ]


def _negations(rng: random.Random, keys: Keys) -> list[Read]:
    author, category, tag = rng.choice(keys.authors), rng.choice(keys.categories), rng.choice(keys.tags)
    return [
        lambda: _rows(Post.objects.filter(author=author).exclude(status="draft")),
        lambda: _rows(Post.objects.filter(author=author).exclude(tags=tag)),
        lambda: _rows(Post.objects.filter(~Q(author=author), category=category)),
        lambda: _rows(Post.objects.filter(category__isnull=False, status="draft")),
        lambda: _rows(Post.objects.exclude(status="live")),
        lambda: _rows(Author.objects.exclude(city="Rome")),
    ]


def _values(rng: random.Random, keys: Keys) -> list[Read]:
    author, category, post = rng.choice(keys.authors), rng.choice(keys.categories), rng.choice(keys.posts)
    return [
        lambda: _rows(Post.objects.filter(author=author).values_list("title", flat=True)),
        lambda: _rows(Post.objects.filter(category=category).values("pk", "slug")),
        lambda: _rows(Comment.objects.filter(post=post).values_list("author__name", "text")),
        lambda: _rows(Category.objects.values_list("pk", "name")),
    ]


def _count(rng: random.Random, keys: Keys) -> list[Read]:
    author, post, tag = rng.choice(keys.authors), rng.choice(keys.posts), rng.choice(keys.tags)
    return [
        lambda: Post.objects.filter(status="live").count(),
        lambda: Post(pk=post).comments.count(),
        lambda: Comment.objects.filter(post__author=author).count(),
        lambda: Tag(pk=tag).posts.count(),
        lambda: Post.objects.filter(author=author, status="live").count(),
        lambda: Post.objects.count(),
        lambda: Post.objects.filter(tags__word=f"w{tag % 15}").count(),
        lambda: Post.objects.filter(category__slug=f"c{post % 6}").count(),
    ]


CLASSES: dict[str, MakeReads] = {
    "get": _get,
    "in_bulk": _in_bulk,
    "fk access": _fk_access,
    "equality": _equality,
    "ranges": _ranges,
    "texts": _texts,
    "json keys": _json_keys,
    "pk in subquery": _pk_in_subquery,
    "m2m to self": _m2m_to_self,
    "first and last": _first_and_last,
    "slices": _slices,
    "back joins": _back_joins,
    "forward joins": _forward_joins,
    "aggregates": _aggregates,
    "prefetches": _prefetches,
    "exists": _exists,
    "m2m": _m2m,
    "negations": _negations,
    "values": _values,
    "count": _count,
}
