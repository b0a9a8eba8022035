"""A shop with relations of every kind."""

import uuid

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models import F
from tree_queries.models import TreeNode
from tree_queries.query import TreeQuerySet

from tests.shop import fields
from tests.support import services

if services.DATABASE == "postgresql":
    from django.contrib.postgres.fields import ArrayField, DecimalRangeField


class Category(models.Model):
    name = models.CharField(max_length=50)
    parent = models.ForeignKey("self", models.CASCADE, null=True, blank=True)


class Label(models.Model):
    text = models.CharField(max_length=50, unique=True)


class Product(models.Model):
    sku = models.CharField(max_length=30, unique=True)
    name = models.CharField(max_length=100)
    category = models.ForeignKey(Category, models.CASCADE, null=True, related_name="products")
    labels = models.ManyToManyField(Label, related_name="products")
    related = models.ManyToManyField("self")
    visible = models.BooleanField(default=True)
    views = models.IntegerField(default=0)
    price = models.DecimalField(max_digits=8, decimal_places=2, default=0)
    weight = models.FloatField(null=True)
    day = models.DateField(null=True)
    added = models.DateTimeField(null=True)
    text = models.TextField(default="")
    facts = models.JSONField(default=dict)
    blob = models.BinaryField(null=True)


class VisibleProduct(Product):
    class Meta:
        proxy = True


class Warranty(models.Model):
    product = models.OneToOneField(Product, models.CASCADE)
    months = models.IntegerField()


class Person(models.Model):
    name = models.CharField(max_length=50)


class Customer(Person):
    city = models.CharField(max_length=50)


class Ticket(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    subject = models.CharField(max_length=50)
    customer = models.ForeignKey(Customer, models.SET_NULL, null=True)


class Membership(models.Model):
    club = models.ForeignKey("Club", models.CASCADE)
    person = models.ForeignKey(Person, models.CASCADE)
    level = models.IntegerField(default=1)


class Club(models.Model):
    name = models.CharField(max_length=50)
    members = models.ManyToManyField(Person, through=Membership)


class Unwatched(models.Model):
    """Has no profile."""

    product = models.ForeignKey(Product, models.CASCADE, null=True)
    name = models.CharField(max_length=50)


class Listed(models.Model):
    """A view, created by tests, of products with the name of their category."""

    name = models.CharField(max_length=100)
    category = models.CharField(max_length=50)

    class Meta:
        managed = False
        db_table = "shop_listed"


class ListedTwice(models.Model):
    """A view of the view of `Listed`."""

    name = models.CharField(max_length=100)

    class Meta:
        managed = False
        db_table = "shop_listedtwice"


class Tag(models.Model):
    """A view of labels, or a table, created by tests."""

    text = models.CharField(max_length=50)

    class Meta:
        managed = False
        db_table = "shop_tag"


if hasattr(models, "DB_CASCADE"):

    class Shelf(models.Model):
        name = models.CharField(max_length=50)

    class Box(models.Model):
        shelf = models.ForeignKey(Shelf, models.DB_CASCADE)
        name = models.CharField(max_length=50)

    class Note(models.Model):
        box = models.ForeignKey(Box, models.DB_SET_NULL, null=True)
        text = models.CharField(max_length=50)


class Odd(models.Model):
    """Fields whose values differ between Python, the database and what is read."""

    number = models.IntegerField(default=0)
    lower = fields.LowerField(max_length=50, default="")
    shown = fields.ShownLowerField(max_length=50, default="")
    hashed = fields.HashedField(max_length=50, default="")
    shouting = fields.ShoutingField(max_length=50, default="")
    note = models.CharField(max_length=50, default="")
    noting = fields.NotingField(default=0)
    attached = GenericRelation("Attached")


class Rough(models.Model):
    """The table of `Odd` by another model, with a field of another type."""

    number = models.FloatField()

    class Meta:
        managed = False
        db_table = "shop_odd"


class Attached(models.Model):
    """A generic relation by a key that is stored as text."""

    text = models.CharField(max_length=50)
    content_type = models.ForeignKey(ContentType, models.CASCADE, db_constraint=False)
    object_id = models.CharField(max_length=40)
    of = GenericForeignKey()


class Every(models.Model):
    """A field of every kind that Django has."""

    note = models.CharField(max_length=20, default="")
    integer = models.IntegerField(null=True)
    big = models.BigIntegerField(null=True)
    positive = models.PositiveSmallIntegerField(null=True)
    decimal = models.DecimalField(max_digits=8, decimal_places=2, null=True)
    long_decimal = models.DecimalField(max_digits=20, decimal_places=10, null=True)
    real = models.FloatField(null=True)
    boolean = models.BooleanField(null=True)
    date = models.DateField(null=True)
    moment = models.DateTimeField(null=True)
    time = models.TimeField(null=True)
    span = models.DurationField(null=True)
    uuid = models.UUIDField(null=True)
    binary = models.BinaryField(null=True)
    json = models.JSONField(null=True)
    coded = models.JSONField(null=True, encoder=fields.TimeEncoder, decoder=fields.FirstDecoder)
    address = models.GenericIPAddressField(null=True)
    file = models.FileField(null=True)
    char = models.CharField(max_length=50, null=True)
    text = models.TextField(null=True)
    tidy = fields.TidyField(max_length=50, null=True)
    salted = fields.SaltedField(max_length=50, null=True)
    generated = models.GeneratedField(
        expression=F("decimal") * 2,
        output_field=models.DecimalField(max_digits=9, decimal_places=2, null=True),
        db_persist=True,
    )
    if services.DATABASE == "postgresql":
        array = ArrayField(models.IntegerField(), null=True)
        range = DecimalRangeField(null=True)


class Known(models.Model):
    """Referred to by a date, or by a duration."""

    day = models.DateField(unique=True)
    span = models.DurationField(unique=True)
    text = models.CharField(max_length=20, default="")


class Knowing(models.Model):
    by_day = models.ForeignKey(Known, models.CASCADE, to_field="day", null=True, related_name="+", db_constraint=False)
    by_span = models.ForeignKey(
        Known, models.CASCADE, to_field="span", null=True, related_name="+", db_constraint=False
    )
    text = models.CharField(max_length=20, default="")


class Page(models.Model):
    """Fields whose values depend on the active language and time zone."""

    title = fields.TranslatedField()
    at = fields.LocalField(null=True)


class Shown(models.Model):
    """A field whose type in Python is chosen by tests."""

    value = fields.ShownByField(max_length=50)
    number = models.IntegerField(default=0)


class Branch(TreeNode):
    """A tree; its queries have a class of django-tree-queries."""

    name = models.CharField(max_length=50)

    objects = TreeQuerySet.as_manager(with_tree_fields=True)


class Document(models.Model):
    """Removes a key from one of its values in ``__init__()``."""

    facts = models.JSONField(default=dict)

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.kind = self.facts.pop("kind", "none")


class Folder(models.Model):
    path = models.CharField(max_length=50)


fields.Above().contribute_to_class(Folder, "above")


class Caption(models.Model):
    folder = models.ForeignKey(Folder, models.CASCADE, related_name="captions")
    language = models.CharField(max_length=5)
    text = models.CharField(max_length=50, null=True)


fields.InLanguage(
    Caption, models.DO_NOTHING, from_fields=["id"], to_fields=["folder"], related_name="+", null=True
).contribute_to_class(Folder, "caption")
