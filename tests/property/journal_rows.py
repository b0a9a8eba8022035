"""The rows of the journal, and random writes to them as ordinary projects make them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any

from django.db.models import F, Model
from django.test import override_settings

from tests.journal.models import Author, Category, Comment, Post, Tag

START = datetime(2025, 1, 1, tzinfo=timezone.utc)
CITIES = ["Rome", "Oslo", "Lima", "Bern"]
STATUSES = ["live", "draft", "hidden"]
TITLES = ["alpha", "beta", "gamma", "delta", "epsilon", "Zeta"]
KINDS = ["news", "essay", "note"]
# New rows get unique texts by it.
_numbers = count(1000)


@dataclass
class Keys:
    """The primary keys of the present rows."""

    authors: list[int]
    categories: list[int]
    tags: list[int]
    posts: list[int]
    comments: list[int]

    @classmethod
    def read(cls) -> Keys:
        """Read them without the cache."""
        with override_settings(CACHEOPS_ENABLED=False):
            models = (Author, Category, Tag, Post, Comment)
            return cls(*(list(each.objects.order_by("pk").values_list("pk", flat=True)) for each in models))


def moment(rng: random.Random) -> datetime:
    return START + timedelta(minutes=rng.randint(0, 400 * 24 * 60))


def post_values(rng: random.Random, keys: Keys) -> dict[str, Any]:
    return {
        "title": f"{rng.choice(TITLES)} {rng.randint(1, 99)}",
        "status": rng.choices(STATUSES, [6, 2, 1])[0],
        "rating": rng.randint(0, 10),
        "price": rng.randint(100, 9999) / 100,
        "views": rng.randint(0, 1000),
        "published": moment(rng),
        "meta": {"kind": rng.choice(KINDS), "size": rng.randint(0, 4)},
        "author_id": rng.choice(keys.authors),
        "category_id": rng.choice([*keys.categories, None]),
    }


def comment_values(rng: random.Random, keys: Keys) -> dict[str, Any]:
    return {
        "post_id": rng.choice(keys.posts),
        "author_id": rng.choice(keys.authors),
        "text": f"text {rng.randint(1, 99)}",
        "approved": rng.random() < 0.8,
        "score": rng.randint(0, 9),
        "created": moment(rng),
    }


def populate(rng: random.Random) -> None:
    """Create the rows: 12 authors, 6 categories, 15 tags, 60 posts, 180 comments."""
    for i in range(12):
        Author.objects.create(
            name=f"{rng.choice(['Ann', 'Bob', 'Cid'])} {i}", email=f"a{i}@example.com", city=CITIES[i % 4]
        )
    categories: list[Category] = []
    for i in range(6):
        parent = categories[i % 2] if i > 1 else None
        categories.append(Category.objects.create(name=f"category {i}", slug=f"c{i}", parent=parent))
    for i in range(15):
        Tag.objects.create(word=f"w{i}")
    keys = Keys.read()
    for i in range(60):
        post = Post.objects.create(slug=f"p{i}", **post_values(rng, keys))
        post.tags.set(rng.sample(keys.tags, rng.randint(0, 3)))
    keys = Keys.read()
    for _ in range(180):
        Comment.objects.create(**comment_values(rng, keys))
    for each in Author.objects.order_by("pk"):
        each.follows.set(rng.sample(keys.authors, rng.randint(0, 3)))
    for each in Post.objects.order_by("pk"):
        each.related.add(*rng.sample(keys.posts, rng.randint(0, 1)))


# Which columns saves change, by how often: what a project counts and edits, rather than what it selects by.
POST_COLUMNS = {"views": 8, "body": 4, "title": 4, "rating": 3, "status": 2, "price": 2, "meta": 1, "published": 1}
COMMENT_COLUMNS = {"score": 4, "text": 3, "approved": 3}
POST_RELATIONS = {"category_id": 3, "author_id": 1}


def _column(rng: random.Random, weights: dict[str, int]) -> str:
    return rng.choices([*weights], [*weights.values()])[0]


def _save(rng: random.Random, instance: Model, values: dict[str, Any]) -> None:
    """Save an instance with other values, as a whole or only these fields."""
    for name, value in values.items():
        setattr(instance, name, value)
    instance.save(update_fields=[name.removesuffix("_id") for name in values] if rng.random() < 0.5 else None)


def _read(model: type[Model], pk: int) -> Any:
    return model._default_manager.nocache().get(pk=pk)  # type: ignore[attr-defined]


def save_post(rng: random.Random, keys: Keys) -> None:
    values = {"body": f"body {rng.randint(1, 99)}", **post_values(rng, keys)}
    names = {_column(rng, POST_COLUMNS | (POST_RELATIONS if rng.random() < 0.3 else {})) for _ in range(2)}
    _save(rng, _read(Post, rng.choice(keys.posts)), {name: values[name] for name in sorted(names)})


def save_comment(rng: random.Random, keys: Keys) -> None:
    name = _column(rng, COMMENT_COLUMNS)
    _save(rng, _read(Comment, rng.choice(keys.comments)), {name: comment_values(rng, keys)[name]})


def save_other(rng: random.Random, keys: Keys) -> None:
    """Save an author, a category or a tag."""
    model, pks, values = rng.choice(
        [
            (Author, keys.authors, {"seen": moment(rng)}),
            (Author, keys.authors, {"seen": moment(rng)}),
            (Author, keys.authors, {"name": f"Ann {rng.randint(1, 99)}"}),
            (Author, keys.authors, {"city": rng.choice(CITIES)}),
            (Category, keys.categories, {"name": f"category {rng.randint(1, 99)}"}),
            (Category, keys.categories, {"parent_id": rng.choice([*keys.categories[:2], None])}),
            (Tag, keys.tags, {"note": f"note {rng.randint(1, 99)}"}),
            (Tag, keys.tags, {"note": f"note {rng.randint(1, 99)}"}),
        ]
    )
    _save(rng, _read(model, rng.choice(pks)), values)


def create(rng: random.Random, keys: Keys) -> None:
    """Insert one row: mostly a comment."""
    kind = rng.choices(["comment", "post", "author", "tag"], [10, 4, 1, 1])[0]
    number = next(_numbers)
    if kind == "comment":
        Comment.objects.create(**comment_values(rng, keys))
    elif kind == "post":
        Post.objects.create(slug=f"p{number}", **post_values(rng, keys))
    elif kind == "author":
        Author.objects.create(name=f"Dan {number}", email=f"a{number}@example.com", city=rng.choice(CITIES))
    else:
        Tag.objects.create(word=f"w{number}")


def delete(rng: random.Random, keys: Keys) -> None:
    """Delete a comment, now and then a post with what belongs to it."""
    model, pks = (Post, keys.posts) if rng.random() < 0.25 else (Comment, keys.comments)
    _read(model, rng.choice(pks)).delete()


def update(rng: random.Random, keys: Keys) -> None:
    """Update rows by a queryset."""
    post, author = rng.choice(keys.posts), rng.choice(keys.authors)
    values = post_values(rng, keys)
    rng.choice(
        [
            lambda: Post.objects.filter(pk=post).update(views=F("views") + 1),
            lambda: Post.objects.filter(pk=post).update(views=F("views") + 1),
            lambda: Post.objects.filter(pk=post).update(rating=values["rating"]),
            lambda: Post.objects.filter(author=author, status="draft").update(status=values["status"]),
            lambda: Author.objects.filter(pk=author).update(seen=moment(rng)),
            lambda: Comment.objects.filter(post=post).update(approved=rng.random() < 0.8),
        ]
    )()


def link(rng: random.Random, keys: Keys) -> None:
    """Add or remove a link of a many-to-many relation."""
    post, other, tag = Post(pk=rng.choice(keys.posts)), rng.choice(keys.posts), rng.choice(keys.tags)
    author, followed = Author(pk=rng.choice(keys.authors)), rng.choice(keys.authors)
    rng.choice(
        [
            lambda: post.tags.add(tag),
            lambda: post.tags.add(tag),
            lambda: post.tags.remove(tag),
            lambda: Tag(pk=tag).posts.add(post.pk),
            lambda: post.tags.set(rng.sample(keys.tags, rng.randint(0, 3))),
            lambda: author.follows.add(followed),
            lambda: author.follows.remove(followed),
            lambda: post.related.add(other),
            lambda: post.related.remove(other),
        ]
    )()


def bulk(rng: random.Random, keys: Keys) -> None:
    """Create or update several rows at once."""
    if rng.random() < 0.5:
        Comment.objects.bulk_create([Comment(**comment_values(rng, keys)) for _ in range(3)])
        return
    posts = list(Post.objects.nocache().filter(pk__in=rng.sample(keys.posts, 3)).order_by("pk"))
    for each in posts:
        each.rating = rng.randint(0, 10)
    Post.objects.bulk_update(posts, ["rating"])


# Kinds of writes, by how often a project makes them.
WRITES: dict[Callable[[random.Random, Keys], None], int] = {
    save_post: 30,
    save_comment: 10,
    save_other: 14,
    create: 16,
    delete: 6,
    update: 8,
    link: 12,
    bulk: 4,
}


def write(rng: random.Random, keys: Keys) -> None:
    """Make one random write."""
    rng.choices([*WRITES], [*WRITES.values()])[0](rng, keys)
