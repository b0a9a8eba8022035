"""A library: books with 11 columns, the tables that they refer to, and a table that is not cached."""

# ruff: noqa: DJ008

from __future__ import annotations

from django.db import models


class Country(models.Model):
    name = models.CharField(max_length=60)


class Author(models.Model):
    name = models.CharField(max_length=60)
    born = models.DateField()
    country = models.ForeignKey(Country, models.CASCADE)


class Publisher(models.Model):
    name = models.CharField(max_length=60)
    founded = models.IntegerField()


class Tag(models.Model):
    name = models.CharField(max_length=60)


class Book(models.Model):
    title = models.CharField(max_length=120)
    isbn = models.CharField(max_length=13)
    shelf = models.IntegerField(db_index=True)
    genre = models.IntegerField(db_index=True)
    pages = models.IntegerField()
    price = models.DecimalField(max_digits=7, decimal_places=2)
    published = models.DateField()
    in_print = models.BooleanField()
    author = models.ForeignKey(Author, models.CASCADE)
    publisher = models.ForeignKey(Publisher, models.CASCADE)
    tags = models.ManyToManyField(Tag)


class Note(models.Model):
    """A table that the settings of every peer exclude from caching."""

    text = models.CharField(max_length=60)
