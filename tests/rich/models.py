"""A schema with relations and fields of every kind, for random histories."""

import uuid

from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models import F

from tests.support import services

NOCASE = None if services.DATABASE == "mariadb" else "NOCASE"


class Stamped(models.Model):
    note = models.CharField(max_length=20, default="")
    moment = models.DateTimeField(null=True)

    class Meta:
        abstract = True


class Owner(Stamped):
    name = models.CharField(max_length=30)
    code = models.CharField(max_length=10, unique=True)
    friends = models.ManyToManyField("self")
    follows = models.ManyToManyField("self", symmetrical=False, related_name="followers")


class Badge(models.Model):
    owner = models.OneToOneField(Owner, models.CASCADE, primary_key=True)
    color = models.CharField(max_length=10)


class Place(Stamped):
    name = models.CharField(max_length=30, unique=True)
    area = models.IntegerField(default=0)
    inside = models.ForeignKey("self", models.CASCADE, null=True, related_name="parts")
    remarks = GenericRelation("Remark")


class Venue(Place):
    seats = models.IntegerField(default=0)
    kind = models.CharField(max_length=10, default="")


class Hall(Venue):
    heated = models.BooleanField(default=False)


class OpenVenue(Venue):
    class Meta:
        proxy = True


class Tag(models.Model):
    word = models.CharField(max_length=20, unique=True)


def first_owner():
    return Owner.objects.order_by("pk").first()


class Item(Stamped):
    class Status(models.TextChoices):
        NEW = "new"
        OLD = "old"

    class Level(models.IntegerChoices):
        LOW = 1
        HIGH = 2

    title = models.CharField(max_length=100)
    code = models.SlugField(unique=True, null=True)
    number = models.IntegerField(default=0)
    status = models.CharField(max_length=5, choices=Status, default=Status.NEW)
    level = models.IntegerField(choices=Level, null=True)
    owner = models.ForeignKey(Owner, models.CASCADE, null=True, related_name="items")
    place = models.ForeignKey(Place, models.SET_NULL, null=True, related_name="items")
    fallback = models.ForeignKey(Place, models.SET_DEFAULT, null=True, default=1, related_name="fallen")
    keeper = models.ForeignKey(Owner, models.SET(first_owner), null=True, related_name="kept")
    warden = models.ForeignKey(Owner, models.PROTECT, null=True, related_name="warded")
    nick = models.ForeignKey(Owner, models.CASCADE, null=True, to_field="code", related_name="nicked")
    tags = models.ManyToManyField(Tag, related_name="items")
    helpers = models.ManyToManyField(Owner, through="Help", related_name="helped")
    remarks = GenericRelation("Remark")


class NewItem(Item):
    class Meta:
        proxy = True


class Help(models.Model):
    item = models.ForeignKey(Item, models.CASCADE)
    owner = models.ForeignKey(Owner, models.CASCADE)
    level = models.IntegerField(default=1)


class Label(models.Model):
    item = models.OneToOneField(Item, models.CASCADE)
    text = models.CharField(max_length=20)


class Step(models.Model):
    item = models.ForeignKey(Item, models.CASCADE, related_name="steps")
    text = models.CharField(max_length=20)

    class Meta:
        order_with_respect_to = "item"


class Event(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    day = models.DateField()
    venue = models.ForeignKey(Venue, models.SET_NULL, null=True, related_name="events")
    hall = models.ForeignKey(Hall, models.CASCADE, null=True, related_name="events")


class Remark(models.Model):
    text = models.CharField(max_length=20)
    # Without a constraint, because tables without migrations are created before tables with migrations.
    content_type = models.ForeignKey(ContentType, models.CASCADE, db_constraint=False)
    object_id = models.BigIntegerField()
    target = GenericForeignKey()


class Cell(models.Model):
    pk = models.CompositePrimaryKey("row", "column")
    row = models.IntegerField()
    column = models.IntegerField()
    text = models.CharField(max_length=20)
    item = models.ForeignKey(Item, models.CASCADE, null=True, related_name="cells")


class Crate(models.Model):
    name = models.CharField(max_length=20)


class Bottle(models.Model):
    """Deleted with its crate by the database, if Django supports DB_CASCADE."""

    crate = models.ForeignKey(Crate, getattr(models, "DB_CASCADE", models.CASCADE), related_name="bottles")
    text = models.CharField(max_length=20)


class Cork(models.Model):
    bottle = models.ForeignKey(Bottle, getattr(models, "DB_SET_NULL", models.SET_NULL), null=True, related_name="corks")
    text = models.CharField(max_length=20)


class Secret(str):
    """The type of the values of `SecretField`."""


class SecretField(models.CharField):
    """Stores text reversed."""

    def from_db_value(self, value, expression, connection):
        return None if value is None else Secret(value[::-1])

    def to_python(self, value):
        return None if value is None else Secret(value)

    def get_prep_value(self, value):
        return None if value is None else str(value)[::-1]


class CaselessField(models.CharField):
    """Compares case-insensitively: by citext on PostgreSQL, by a collation on SQLite."""

    def db_type(self, connection):
        return {"postgresql": "citext", "sqlite": "varchar COLLATE NOCASE"}.get(
            connection.vendor, super().db_type(connection)
        )


class BytesField(models.BinaryField):
    """Stores UUIDs as bytes."""

    def from_db_value(self, value, expression, connection):
        return None if value is None else uuid.UUID(bytes=bytes(value))

    def to_python(self, value):
        return value if value is None or isinstance(value, uuid.UUID) else uuid.UUID(str(value))

    def get_prep_value(self, value):
        return None if value is None else self.to_python(value).bytes


class PrefixedField(models.CharField):
    """Adds a prefix to values read; the prefix is not stored."""

    def from_db_value(self, value, expression, connection):
        return None if value is None else f"m-{value}"

    def to_python(self, value):
        return value if value is None else f"m-{self.get_prep_value(value)}"

    def get_prep_value(self, value):
        return None if value is None else str(value).removeprefix("m-")


class TidyField(models.CharField):
    """Strips and lowers text when it is read, but stores text unchanged."""

    def from_db_value(self, value, expression, connection):
        return value and value.strip().lower()


class Mark(models.Model):
    """Its primary key has another value in Python than in the database."""

    code = PrefixedField(max_length=20, primary_key=True)
    word = CaselessField(max_length=20, default="")
    ident = BytesField(null=True, max_length=16)
    tidy = TidyField(max_length=20, default="")
    text = models.CharField(max_length=20, default="")


class Marking(models.Model):
    mark = models.ForeignKey(Mark, models.CASCADE, null=True, related_name="markings")
    text = models.CharField(max_length=20, default="")


class Few(models.Model):
    """A view of some items.  If the database supports it, a write to the view writes to the items."""

    title = models.CharField(max_length=100)
    number = models.IntegerField()
    owner = models.ForeignKey(Owner, models.DO_NOTHING, null=True, related_name="few")

    class Meta:
        managed = False


class Seen(models.Model):
    """A view that reads another view and a table."""

    title = models.CharField(max_length=100)
    owner_name = models.CharField(max_length=30, null=True)

    class Meta:
        managed = False


class Sample(models.Model):
    """Fields of every kind."""

    item = models.ForeignKey(Item, models.CASCADE, null=True, related_name="samples")
    whole = models.IntegerField(null=True)
    big = models.BigIntegerField(null=True)
    amount = models.DecimalField(max_digits=8, decimal_places=2, null=True)
    long_amount = models.DecimalField(max_digits=25, decimal_places=10, null=True)
    ratio = models.FloatField(null=True)
    flag = models.BooleanField(null=True)
    day = models.DateField(null=True)
    moment = models.DateTimeField(null=True)
    clock = models.TimeField(null=True)
    span = models.DurationField(null=True)
    token = models.UUIDField(null=True)
    blob = models.BinaryField(null=True)
    facts = models.JSONField(null=True)
    text = models.TextField(default="")
    short = models.CharField(max_length=80, default="")
    nocase = models.CharField(max_length=20, default="", db_collation=NOCASE)
    secret = SecretField(max_length=20, null=True)
    odd = models.IntegerField(null=True, db_column="odd col: a=b&c,é")
    fresh = models.IntegerField(db_default=5)
    double = models.GeneratedField(
        expression=F("whole") * 2, output_field=models.IntegerField(null=True), db_persist=True
    )

    class Meta:
        db_table = "rich odd:table"
