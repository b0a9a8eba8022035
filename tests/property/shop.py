"""Random reads and writes of the shop.  Each read returns plain values."""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable
from decimal import Decimal

from django.db import IntegrityError, connection, transaction
from django.db.models import Avg, Count, Exists, F, Max, OuterRef, Q, Subquery, Sum

from tests.shop.models import (
    Category,
    Club,
    Customer,
    Label,
    Membership,
    Person,
    Product,
    Ticket,
    VisibleProduct,
    Warranty,
)

NAMES = ["pen", "Pen", "ink & co", "a=b", "50%", "", "née", "x" * 80]
INSTANT = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


def populate(rng: random.Random) -> None:
    """Create the rows of a small shop."""
    categories = [Category.objects.create(name=f"c{i}") for i in range(3)]
    categories.append(Category.objects.create(name="sub", parent=categories[0]))
    labels = [Label.objects.create(text=text) for text in ("new", "old", "sale")]
    for i in range(8):
        product = Product.objects.create(sku=f"sku{i}", **product_values(rng, categories))
        product.labels.set(rng.sample(labels, rng.randint(0, 2)))
    for i in range(3):
        Customer.objects.create(name=f"n{i}", city=rng.choice(["Rome", "Oslo"]))
    Person.objects.create(name="p")
    Club.objects.create(name="chess")


def product_values(rng: random.Random, categories: list[Category]) -> dict:
    return {
        "name": rng.choice(NAMES),
        "category": rng.choice([*categories, None]),
        "visible": rng.random() < 0.5,
        "views": rng.randint(0, 3),
        "price": rng.choice([Decimal("1"), Decimal("1.00"), Decimal("2.5"), 3]),
        "weight": rng.choice([None, 0.0, -0.0, 1.5]),
        "day": rng.choice([None, datetime.date(2026, 1, 1), datetime.date(2026, 1, 2)]),
        "added": rng.choice([None, INSTANT, INSTANT.astimezone(datetime.timezone(datetime.timedelta(hours=5)))]),
        "text": rng.choice(["", "long"]),
        "facts": rng.choice([{}, {"a": 1}, {"a": True}]),
    }


def rows(queryset) -> list:
    """Return instances as comparable values."""
    return [
        (type(obj).__name__, *sorted((k, repr(v)) for k, v in vars(obj).items() if k[0] != "_")) for obj in queryset
    ]


def reads(rng: random.Random) -> list[Callable[[], object]]:
    """Return one read of each kind, with random parameters."""
    category = rng.choice(list(Category.objects.nocache().values_list("pk", flat=True)) or [0])
    product = rng.choice(list(Product.objects.nocache().values_list("pk", flat=True)) or [0])
    label = rng.choice(["new", "old", "sale"])
    name, views = rng.choice(NAMES), rng.randint(0, 3)
    day = rng.choice([datetime.date(2026, 1, 1), datetime.date(2026, 1, 2)])
    objects = Product.objects
    return [
        lambda: rows(objects.filter(pk=product)),
        lambda: rows(objects.filter(name=name).order_by("pk")),
        lambda: rows(objects.filter(category=category).order_by("pk")),
        lambda: rows(objects.filter(category__isnull=True).order_by("pk")),
        lambda: rows(objects.filter(category_id__in=[category, None, 0]).order_by("pk")),
        lambda: rows(objects.filter(Q(views=views) | Q(visible=True, name=name)).order_by("pk")),
        lambda: rows(objects.exclude(views=views).order_by("pk")),
        lambda: rows(objects.exclude(category__isnull=False).order_by("pk")),
        lambda: rows(objects.filter(~Q(Q(views=views) & ~Q(visible=True))).order_by("pk")),
        lambda: rows(objects.filter(price=Decimal("1.0")).order_by("pk")),
        lambda: rows(objects.filter(weight=0).order_by("pk")),
        lambda: rows(objects.filter(day=day).order_by("pk")),
        lambda: rows(objects.filter(added=INSTANT).order_by("pk")),
        lambda: rows(objects.filter(views__gt=views).order_by("pk")),
        lambda: rows(objects.filter(visible=True).order_by("-views", "pk")[:3]),
        lambda: rows(objects.filter(category__name="c0").order_by("pk")),
        lambda: rows(objects.filter(category__parent__name="c0").order_by("pk")),
        lambda: rows(objects.filter(labels__text=label).order_by("pk")),
        lambda: rows(objects.filter(labels__isnull=True).order_by("pk")),
        lambda: rows(objects.exclude(labels__text=label).order_by("pk")),
        lambda: rows(objects.order_by("category__name", "pk")),
        lambda: rows(Label.objects.filter(products=product).order_by("pk")),
        lambda: rows(Label.objects.filter(products__category=category).distinct().order_by("pk")),
        lambda: [(p.pk, p.category and p.category.name) for p in objects.select_related("category").order_by("pk")],
        lambda: [
            (p.pk, p.category and p.category.parent and p.category.parent.name)
            for p in objects.select_related("category__parent").order_by("pk")
        ],
        lambda: [
            (p.pk, sorted(x.text for x in p.labels.all())) for p in objects.prefetch_related("labels").order_by("pk")
        ],
        lambda: [(c.pk, rows(c.products.order_by("pk"))) for c in Category.objects.order_by("pk")],
        lambda: list(objects.values_list("name", flat=True).order_by("pk")),
        lambda: list(objects.filter(visible=True).values("name", "category__name").order_by("pk")),
        lambda: list(objects.values("category").annotate(n=Count("pk"), v=Sum("views")).order_by("category")),
        lambda: list(objects.annotate(n=Count("labels")).filter(n__gt=0).values_list("pk", "n").order_by("pk")),
        lambda: list(
            objects.annotate(newest=Subquery(Warranty.objects.filter(product=OuterRef("pk")).values("months")[:1]))
            .values_list("pk", "newest")
            .order_by("pk")
        ),
        lambda: rows(
            objects.filter(Exists(Warranty.objects.filter(product=OuterRef("pk"), months=views))).order_by("pk")
        ),
        lambda: rows(objects.filter(category__in=Category.objects.filter(name="c1")).order_by("pk")),
        lambda: rows(objects.filter(views=F("category__pk")).order_by("pk")),
        lambda: rows(VisibleProduct.objects.filter(visible=True).order_by("pk")),
        lambda: objects.filter(category=category).count(),
        lambda: objects.filter(labels__text=label).count(),
        lambda: objects.filter(views=views).exists(),
        lambda: objects.filter(category__name="c0", visible=True).exists(),
        lambda: objects.filter(visible=True).aggregate(Sum("views"), top=Max("price")),
        lambda: objects.aggregate(n=Count("labels"), m=Avg("category__pk")),
        lambda: objects.annotate(n=Count("labels")).aggregate(Avg("n")),
        lambda: objects.order_by("pk")[:4].aggregate(Sum("views")),
        lambda: objects.distinct().values("name").count(),
        lambda: rows([objects.order_by("views", "pk").first()] if objects.exists() else []),
        lambda: rows(filter(None, [objects.filter(category=category).order_by("pk").last()])),
        lambda: sorted(objects.in_bulk([product, 0])),
        lambda: sorted(objects.values_list("name").union(Category.objects.values_list("name"))),
        lambda: rows(objects.filter(pk__in=[product]).union(objects.filter(views=views)).order_by("id")),
        lambda: list(objects.dates("day", "month")),
        lambda: rows(Customer.objects.order_by("pk")),
        lambda: rows(Customer.objects.filter(name="n1").order_by("pk")),
        lambda: rows(Customer.objects.filter(city="Rome").order_by("pk")),
        lambda: rows(Person.objects.order_by("pk")),
        lambda: [
            (t.subject, t.customer and t.customer.name)
            for t in Ticket.objects.select_related("customer").order_by("subject", "pk")
        ],
        lambda: rows(Club.objects.filter(members__name="n1").order_by("pk")),
        lambda: [rows(club.members.order_by("pk")) for club in Club.objects.order_by("pk")],
        lambda: rows(Product.objects.filter(related__name=name).distinct().order_by("pk")),
        lambda: rows(Warranty.objects.filter(product__visible=True).order_by("pk")),
        lambda: rows(objects.filter(warranty__isnull=True).order_by("pk")),
        lambda: rows(objects.only("name").filter(visible=True).order_by("pk")),
        lambda: rows(objects.extra(where=["views > 1"]).order_by("pk")),
    ]


def write(rng: random.Random) -> None:
    """Run one random write."""
    rng.choice(WRITES)(rng)


def _pick(rng: random.Random, queryset):
    found = list(queryset.nocache().order_by("pk"))
    return rng.choice(found) if found else None


def save_product(rng: random.Random) -> None:
    product = _pick(rng, Product.objects)
    if product is not None:
        values = product_values(rng, list(Category.objects.nocache()))
        chosen = rng.sample(sorted(values), rng.randint(1, 3))
        for name in chosen:
            setattr(product, name, values[name])
        product.save(update_fields=chosen if rng.random() < 0.3 else None)


def save_expression(rng: random.Random) -> None:
    product = _pick(rng, Product.objects)
    if product is not None:
        product.views = F("views") + 1
        product.save()


def save_deferred(rng: random.Random) -> None:
    product = _pick(rng, Product.objects.only("name"))
    if product is not None:
        product.name = rng.choice(NAMES)
        product.save()


def save_stale(rng: random.Random) -> None:
    """Save an instance that was fetched before another write of its row."""
    stale = _pick(rng, Product.objects)
    save_product(rng)
    if stale is not None and Product.objects.nocache().filter(pk=stale.pk).exists():
        stale.views = rng.randint(0, 3)
        stale.save()


def save_unfetched(rng: random.Random) -> None:
    product = _pick(rng, Product.objects)
    if product is not None:
        Product(pk=product.pk, sku=product.sku, **product_values(rng, list(Category.objects.nocache()))).save()


def add_product(rng: random.Random) -> None:
    sku = f"new{rng.random()}"[:30]
    Product.objects.create(sku=sku, **product_values(rng, list(Category.objects.nocache())))


def delete_product(rng: random.Random) -> None:
    product = _pick(rng, Product.objects)
    if product is not None and Product.objects.nocache().count() > 3:
        product.delete()


def delete_many(rng: random.Random) -> None:
    if Product.objects.nocache().count() > 5:
        Product.objects.filter(views=rng.randint(0, 3)).delete()


def delete_category(rng: random.Random) -> None:
    category = _pick(rng, Category.objects)
    if category is not None and Category.objects.nocache().count() > 2:
        category.delete()


def save_category(rng: random.Random) -> None:
    category = _pick(rng, Category.objects)
    if category is None or rng.random() < 0.3:
        category = Category(name="c0")
    category.name = rng.choice(["c0", "c1", "c2"])
    category.save()


def change_labels(rng: random.Random) -> None:
    product, label = _pick(rng, Product.objects), _pick(rng, Label.objects)
    if product is None or label is None:
        return
    rng.choice(
        [
            lambda: product.labels.add(label),
            lambda: product.labels.remove(label),
            lambda: product.labels.clear(),
            lambda: product.labels.set([label]),
            lambda: label.products.add(product),
            lambda: label.products.remove(product),
            lambda: label.products.set([product]),
            lambda: label.products.clear(),
        ]
    )()


def change_related(rng: random.Random) -> None:
    one, other = _pick(rng, Product.objects), _pick(rng, Product.objects)
    if one is not None and other is not None and one.pk != other.pk:
        rng.choice([one.related.add, one.related.remove])(other)


def save_warranty(rng: random.Random) -> None:
    product = _pick(rng, Product.objects)
    if product is not None:
        Warranty.objects.update_or_create(product=product, defaults={"months": rng.randint(0, 3)})


def save_person(rng: random.Random) -> None:
    person = _pick(rng, rng.choice([Person, Customer]).objects)
    if person is not None:
        person.name = rng.choice(["n1", "n2"])
        if isinstance(person, Customer):
            person.city = rng.choice(["Rome", "Oslo"])
        person.save()


def delete_customer(rng: random.Random) -> None:
    """Delete a customer; Django sets the foreign keys of its tickets to NULL without a signal."""
    customer = _pick(rng, Customer.objects)
    if customer is not None:
        customer.delete()
        Customer.objects.create(name="n1", city="Rome")


def save_ticket(rng: random.Random) -> None:
    ticket = _pick(rng, Ticket.objects)
    if ticket is None or rng.random() < 0.3:
        ticket = Ticket(subject="s")
    ticket.subject = rng.choice(["s", "t"])
    ticket.customer = _pick(rng, Customer.objects)
    ticket.save()


def change_members(rng: random.Random) -> None:
    club, person = _pick(rng, Club.objects), _pick(rng, Person.objects)
    if club is None or person is None:
        return
    if rng.random() < 0.5:
        club.members.add(person, through_defaults={"level": 2})
    else:
        Membership.objects.create(club=club, person=person)


def update_invalidated(rng: random.Random) -> None:
    queryset = Product.objects.filter(views__lte=rng.randint(0, 3))
    rng.choice(
        [
            lambda: queryset.invalidated_update(name=rng.choice(NAMES)),
            lambda: queryset.invalidated_update(views=F("views") + 1),
            lambda: queryset.filter(category__name="c0").invalidated_update(visible=rng.random() < 0.5),
        ]
    )()


def update_plainly(rng: random.Random) -> None:
    queryset = Product.objects.filter(views__lte=rng.randint(0, 3))
    rng.choice(
        [
            lambda: queryset.update(name=rng.choice(NAMES)),
            lambda: queryset.update(views=F("views") + 1),
            lambda: Product.objects.filter(category__name="c0").update(visible=rng.random() < 0.5),
            lambda: Customer.objects.filter(city="Rome").update(name="n2", city="Oslo"),
            lambda: Label.objects.filter(text="old").update(text="old"),
        ]
    )()


def write_in_bulk(rng: random.Random) -> None:
    categories = list(Category.objects.nocache())
    products = list(Product.objects.nocache().order_by("pk")[:3])
    for product in products:
        product.views = rng.randint(0, 3)
    new = [Product(sku=f"bulk{rng.random()}"[:30], **product_values(rng, categories)) for _ in range(2)]
    rng.choice(
        [
            lambda: Product.objects.bulk_create(new),
            lambda: Product.objects.bulk_create(new, ignore_conflicts=True),
            lambda: Product.objects.bulk_update(products, ["views"]),
            lambda: Category.objects.bulk_create([Category(name="c1")]),
            lambda: Product.labels.through.objects.bulk_create(
                [
                    Product.labels.through(product=product, label=label)
                    for product in products[:1]
                    for label in Label.objects.nocache().exclude(products=product)
                ]
            ),
        ]
    )()


def write_raw(rng: random.Random) -> None:
    with connection.cursor() as cursor:
        if rng.random() < 0.5:
            cursor.execute(
                "UPDATE shop_product SET views = %s WHERE views = %s", [rng.randint(0, 3), rng.randint(0, 3)]
            )
        else:
            cursor.executemany("UPDATE shop_category SET name = %s WHERE name = %s", [["c0", "c2"], ["c1", "c0"]])


def fail(rng: random.Random) -> None:
    """Attempt writes that the database or Django refuses."""
    product = _pick(rng, Product.objects)
    if product is not None:
        for name, value in (("sku", None), ("views", "many")):
            broken = Product.objects.nocache().get(pk=product.pk)
            setattr(broken, name, value)
            try:
                with transaction.atomic():
                    broken.save()
            except (IntegrityError, ValueError):
                pass


def in_transaction(rng: random.Random) -> None:
    """Run some writes in one transaction, and roll some of them back to a savepoint."""
    with transaction.atomic():
        for _ in range(rng.randint(1, 3)):
            try:
                with transaction.atomic():
                    write(rng)
                    if rng.random() < 0.3:
                        raise Undo
            except Undo:
                pass


def rolled_back(rng: random.Random) -> None:
    try:
        with transaction.atomic():
            write(rng)
            rng.choice(reads(rng))()
            raise Undo
    except Undo:
        pass


class Undo(Exception):
    pass


WRITES = [
    *(save_product, save_product, save_product, save_expression, save_deferred, save_stale, save_unfetched),
    *(add_product, delete_product, delete_many, delete_category, save_category, change_labels, change_related),
    *(
        save_warranty,
        save_person,
        delete_customer,
        save_ticket,
        change_members,
        update_invalidated,
        in_transaction,
        rolled_back,
    ),
    *(update_plainly, write_in_bulk, write_raw, fail),
]
