"""A journal with authors, posts, tags and comments, as many projects have one.  It measures what stays cached."""

from django.db import models


class Author(models.Model):
    name = models.CharField(max_length=50)
    email = models.CharField(max_length=50, unique=True)
    city = models.CharField(max_length=50)
    seen = models.DateTimeField(null=True)
    follows = models.ManyToManyField("self", symmetrical=False, related_name="followers")


class Category(models.Model):
    name = models.CharField(max_length=50)
    slug = models.CharField(max_length=50, unique=True)
    parent = models.ForeignKey("self", models.SET_NULL, null=True, related_name="children")


class Tag(models.Model):
    word = models.CharField(max_length=50, unique=True)
    note = models.CharField(max_length=50, default="")


class Post(models.Model):
    title = models.CharField(max_length=100)
    slug = models.CharField(max_length=100, unique=True)
    body = models.TextField(default="")
    status = models.CharField(max_length=10)
    rating = models.IntegerField(default=0)
    price = models.DecimalField(max_digits=8, decimal_places=2, default=0)
    views = models.IntegerField(default=0)
    published = models.DateTimeField()
    meta = models.JSONField(default=dict)
    author = models.ForeignKey(Author, models.CASCADE, related_name="posts")
    category = models.ForeignKey(Category, models.SET_NULL, null=True, related_name="posts")
    tags = models.ManyToManyField(Tag, related_name="posts")
    related = models.ManyToManyField("self")


class Comment(models.Model):
    post = models.ForeignKey(Post, models.CASCADE, related_name="comments")
    author = models.ForeignKey(Author, models.CASCADE, related_name="comments")
    text = models.CharField(max_length=100)
    approved = models.BooleanField(default=True)
    score = models.IntegerField(default=0)
    created = models.DateTimeField()
