"""The models that the snippets of the documentation use."""

from django.conf import settings
from django.db import models
from django.utils import timezone


class Tag(models.Model):
    name = models.CharField(max_length=50)


class Author(models.Model):
    name = models.CharField(max_length=100)

    def __str__(self):
        return self.name


class Article(models.Model):
    title = models.CharField(max_length=200)
    slug = models.SlugField(unique=True)
    text = models.TextField(blank=True)
    author = models.ForeignKey(Author, models.CASCADE, related_name="articles")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True)
    tags = models.ManyToManyField(Tag, related_name="articles")
    is_public = models.BooleanField(default=True)
    views = models.IntegerField(default=0)
    published = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-published", "-pk"]

    def __str__(self):
        return self.title

    def get_absolute_url(self):
        return f"/articles/{self.slug}/"


class Comment(models.Model):
    article = models.ForeignKey(Article, models.CASCADE, related_name="comments")
    text = models.TextField()


class MenuItem(models.Model):
    title = models.CharField(max_length=50)
    place = models.CharField(max_length=20)
