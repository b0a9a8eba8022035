"""Reads of the rich schema, as source text: random querysets of every kind."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.property.literals import (
    ANY_MODEL,
    CONDITIONS,
    DAYS,
    FREQUENT_FIELDS,
    KEYS,
    PRIMARY_KEYS,
    SMALL,
    TEXTS,
    VALUES,
    field_name,
    some_field,
)

RELATED = {
    "Owner": ["badge"],
    "Badge": ["owner"],
    "Place": ["inside", "venue", "venue__hall", "inside__inside"],
    "Venue": ["inside", "hall"],
    "OpenVenue": ["inside"],
    "Hall": ["inside__inside"],
    "Item": ["owner", "owner__badge", "place", "label", "nick", "place__venue", "fallback__inside", "keeper"],
    "NewItem": ["owner", "place__inside"],
    "Help": ["item__owner", "owner"],
    "Label": ["item", "item__place"],
    "Step": ["item", "item__owner"],
    "Event": ["venue", "hall", "venue__inside"],
    "Cell": ["item", "item__owner"],
    "Sample": ["item", "item__place__venue"],
    "Bottle": ["crate"],
    "Cork": ["bottle", "bottle__crate"],
    "Marking": ["mark"],
    "Few": ["owner", "owner__badge"],
}
PREFETCHED = {
    "Owner": [
        "'items'",
        "'friends'",
        "'followers__items'",
        "'helped'",
        "Prefetch('items', Item.objects.filter(number=1), 'some')",
    ],
    "Place": ["'items'", "'parts'", "'remarks'", "'items__tags'"],
    "Venue": ["'items'", "'events'", "'remarks'"],
    "Hall": ["'events'", "'parts'"],
    "Item": ["'tags'", "'helpers'", "'steps'", "'remarks'", "'owner__friends'", "'place'", "'label'", "'samples'"],
    "NewItem": ["'tags'", "'owner'"],
    "Remark": ["'target'"],
    "Crate": ["'bottles'", "'bottles__corks'"],
    "Mark": ["'markings'"],
    "Few": ["'owner__items'"],
    "Tag": ["'items'", "Prefetch('items', Item.objects.exclude(title='a').select_related('owner'))"],
}
ANNOTATIONS = {
    "Owner": [
        "n=Count('items')",
        "n=Count('items__tags', distinct=True)",
        "n=Sum('items__number')",
        "n=Exists(Item.objects.filter(owner=OuterRef('pk'), title='a'))",
        "n=Coalesce(Subquery(Item.objects.filter(owner=OuterRef('pk')).values('title').order_by('pk')[:1]), Value(''))",
        "n=FilteredRelation('items', condition=Q(items__number=1)), m=F('n__title')",
        "n=Count('friends')",
        "n=Case(When(items__title='a', then=Value(1)), default=Value(0))",
    ],
    "Place": [
        "n=Count('items')",
        "n=Max('items__number')",
        "n=Count('parts')",
        "n=F('inside__name')",
        "n=F('venue__seats')",
        "n=Count('remarks')",
        "n=Subquery(Venue.objects.filter(pk=OuterRef('pk')).values('seats'))",
    ],
    "Venue": ["n=Count('events')", "n=F('area') + F('seats')", "n=Concat('name', Value('-'), 'kind')"],
    "Hall": ["n=Count('items')", "n=F('seats') * 2"],
    "Item": [
        "n=Count('tags')",
        "n=F('owner__name')",
        "n=Window(RowNumber(), partition_by='title', order_by='pk')",
        "n=Window(Sum('number'), partition_by='owner')",
        "n=Upper('title')",
        "n=Exists(Tag.objects.filter(items=OuterRef('pk'), word='a'))",
        "n=Subquery(Label.objects.filter(item=OuterRef('pk')).values('text'))",
        "n=Coalesce('owner__badge__color', 'title')",
        "n=Count('steps', filter=Q(steps__text='s'))",
        "n=FilteredRelation('help', condition=Q(help__level=1)), m=F('n__owner__name')",
        "n=Avg('samples__whole')",
        "n=Q(number=1) & Q(owner__name='a')",
    ],
    "Tag": ["n=Count('items')", "n=Max('items__owner__name')"],
    "Sample": ["n=F('whole') + F('odd')", "n=TruncMonth('moment')", "n=Cast('whole', CharField())", "n=F('facts__a')"],
    "Step": ["n=Window(Rank(), partition_by='item', order_by='text')"],
    "Event": ["n=F('venue__seats')", "n=F('hall__heated')"],
    "Cell": ["n=F('item__title')"],
    "Mark": ["n=Count('markings')", "n=Upper('text')"],
    "Marking": ["n=F('mark__word')", "n=F('mark__tidy')", "n=F('mark__ident')"],
    "Few": ["n=Count('owner__items')", "n=F('owner__name')"],
}
ORDERS = {
    "Owner": ["'name', 'pk'", "'-code'", "'badge__color', 'pk'"],
    "Place": ["'inside__name', 'pk'", "'area', '-pk'", "'venue__seats', 'pk'"],
    "Venue": ["'seats', 'pk'", "'name'"],
    "Hall": ["'seats', 'pk'"],
    "Item": ["'owner__name', 'pk'", "'-number', 'pk'", "'place__area', 'pk'", "F('level').desc(nulls_last=True), 'pk'"],
    "Step": ["'item', '_order', 'pk'", "'item__number', 'pk'"],
    "Cell": ["'-row', 'column'"],
}
NAVIGATIONS = [
    "[each.owner and each.owner.name for each in Item.objects.order_by('pk')]",
    "[each.place for each in Item.objects.order_by('pk')]",
    "Item.objects.get(pk={key}).tags.all()",
    "Item.objects.get(pk={key}).tags.filter(word={text}).count()",
    "Item.objects.get(pk={key}).helpers.all()",
    "Item.objects.get(pk={key}).label",
    "Item.objects.get(pk={key}).get_step_order()",
    "Item.objects.get(pk={key}).remarks.all()",
    "Item.objects.get(pk={key}).steps.filter(text={text}).exists()",
    "Step.objects.get(pk={key}).get_next_in_order()",
    "Owner.objects.get(pk={key}).items.filter(number={small})",
    "Owner.objects.get(pk={key}).friends.all()",
    "Owner.objects.get(pk={key}).followers.all()",
    "Owner.objects.get(pk={key}).badge",
    "Owner.objects.get(pk={key}).items.contains(Item(pk={key}))",
    "Tag.objects.get(pk={key}).items.order_by('pk').first()",
    "Place.objects.get(pk={key}).items.all()",
    "Place.objects.get(pk={key}).venue.hall",
    "Place.objects.get(pk={key}).parts.count()",
    "Venue.objects.get(pk={key}).place_ptr",
    "Hall.objects.get(pk={key}).venue_ptr.place_ptr",
    "Hall.objects.get(pk={key}).events.all()",
    "[each.target for each in Remark.objects.order_by('pk')]",
    "Remark.objects.get(pk={key}).target",
    "Event.objects.dates('day', 'month')",
    "Event.objects.filter(day={day}).dates('day', 'day')",
    "Item.objects.datetimes('moment', 'day')",
    "Event.objects.earliest('day', 'pk')",
    "Event.objects.latest('day', 'pk').venue",
    "Item.objects.extra(where=['rich_item.number = %s'], params=[{small}])",
    "Item.objects.extra(select={{'n': 'number + 1'}}).filter(title={text})",
    "Item.objects.extra(tables=['rich_tag'], where=['rich_tag.id = rich_item.id']).values_list('pk')",
    "Item.objects.values('owner').annotate(n=Count('pk'), m=Max('number')).order_by('owner')",
    "Item.objects.values('owner__name').annotate(n=Sum('number')).filter(n__gt={small}).order_by('owner__name')",
    "Item.objects.aggregate(n=Count('pk', filter=Q(title={text})), m=Sum('number'))",
    "Item.objects.filter(title={text}).aggregate(Max('number'), Min('place__area'))",
    "Item.objects.annotate(n=Count('tags')).aggregate(Sum('n'))",
    "Item.objects.order_by('pk')[:{small}].aggregate(Count('owner__name'))",
    "Sample.objects.aggregate(Sum('amount'), Avg('whole'), Max('moment'), Min('ratio'))",
    "Owner.objects.filter(pk__in=Item.objects.filter(number={small}).values('owner'))",
    "Owner.objects.filter(items__in=Item.objects.filter(title={text}))",
    "Owner.objects.exclude(items__title={text})",
    "Item.objects.exclude(tags__word={text}).exclude(owner__name={text})",
    "Item.objects.filter(tags=1).filter(tags=2)",
    "Item.objects.filter(Q(owner__name={text}) | Q(tags__word={text})).distinct().count()",
    "Owner.objects.filter(Exists(Item.objects.filter(owner=OuterRef('pk'), place__area={small})))",
    "Owner.objects.alias(n=Count('items')).filter(n={small}).values_list('name', flat=True)",
    "Item.objects.values_list('title', flat=True).distinct()",
    "Item.objects.filter(place__in=Venue.objects.filter(seats={small}))",
    "Item.objects.filter(place__in=Hall.objects.all()).select_related('place')",
    "Place.objects.filter(venue__in=OpenVenue.objects.filter(kind='k'))",
    "Cell.objects.get(pk=({small}, {small}))",
    "Cell.objects.in_bulk([(1, 1), (2, 1)])",
    "Cell.objects.filter(item__in=Item.objects.filter(title={text})).count()",
    "Owner.objects.in_bulk([{code}], field_name='code')",
    "Sample.objects.filter(nocase={text}).values_list('pk', 'nocase')",
    "Sample.objects.values('flag').annotate(n=Count('pk'))",
    "Item.objects.filter(pk__in=Seen.objects.filter(owner_name={text}).values('pk'))",
    "Owner.objects.filter(few__number={small})",
    "list(Few.objects.raw('SELECT * FROM rich_seen WHERE title = %s ORDER BY id', [{text}]).cache())",
    "list(Item.objects.raw('SELECT * FROM rich_item WHERE number = %s ORDER BY id', [{small}]).cache())",
    "list(Owner.objects.raw('SELECT o.* FROM rich_owner o JOIN rich_item i ON owner_id = o.id ORDER BY i.id').cache())",
    "list(Item.objects.filter(number={small}).order_by('pk').cache(ops='fetch').iterator())",
    "list(Item.objects.order_by('pk').prefetch_related('tags').cache(ops='fetch').iterator(chunk_size=2))",
]
# Joins over an inner table, by which the rows are filtered or sorted.
INNER_TABLES = [
    "Item.objects.filter(place__inside__name={place})",
    "Item.objects.filter(place__inside__area={small}).select_related('place')",
    "Item.objects.select_related('place__inside').order_by('place__inside__name', 'pk')[:{small}]",
    "Item.objects.order_by('place__inside__area', 'pk').values_list('pk', 'place__name')[1:3]",
    "Item.objects.values_list('pk', 'tags__word').order_by('pk', 'tags__word')[1:3]",
    "Step.objects.filter(item__owner__name={text}).select_related('item')",
    "Step.objects.select_related('item__owner').order_by('item__owner__name', 'pk')[:{small}]",
    "Help.objects.filter(item__place__area={small}).select_related('item', 'owner')",
    "Hall.objects.filter(name={place})",
    "Event.objects.filter(hall__name={place}).select_related('hall')",
    "Tag.objects.filter(items__owner__name={text})",
    "Owner.objects.filter(items__place__name={place}).select_related('badge')",
]
# Values outside of conditions.
EXPRESSIONS = [
    "Item.objects.annotate(n=F('number') + {small}).filter(title={text}).order_by('pk').values_list('pk', 'n')",
    "Item.objects.annotate(n=F('number') * {small}).filter(number={small})",
    "Item.objects.filter(title={text}).annotate(n=Value({small}))",
    "Item.objects.annotate(n=Case(When(title={text}, then=Value({small})), default=F('number'))).order_by('pk')",
    "Item.objects.annotate(n=Count('tags', filter=Q(tags__word={text}))).filter(number={small})",
    "Item.objects.annotate(n=Window(Sum(F('number') + {small}), partition_by='owner')).order_by('pk')",
    "Item.objects.annotate(n=Concat('title', Value({text}))).filter(number={small})",
    "Item.objects.values('title').annotate(n=Sum(F('number') * {small})).order_by('title')",
    "Item.objects.filter(title={text}).aggregate(n=Sum(F('number') + {small}))",
    "Item.objects.filter(title={text}).aggregate(n=Count('pk', filter=Q(number={small})))",
    "Item.objects.filter(number__gt=F('level') - {small})",
    "Item.objects.filter(number__in=[{small}, F('level')])",
    "Item.objects.order_by(F('number') * {small}, 'pk')[:2]",
    "Item.objects.filter(Exists(Tag.objects.filter(items=OuterRef('pk'), word={text})), number={small})",
    "Item.objects.annotate(n=Subquery(Tag.objects.filter(items=OuterRef('pk')).order_by('pk').values('word')[{small}:][:1]))",
    "Item.objects.filter(title={text}).datetimes('moment', {part})",
    "Event.objects.dates('day', {part})",
]
# Expressions and lookups with SQL that the application wrote.
APPLICATION_SQL = [
    "Item.objects.annotate(n=Plus('number', {small})).filter(title={text})",
    "Item.objects.annotate(n=Plus('number', by={small})).values_list('n', flat=True)",
    "Item.objects.filter(title={text}).aggregate(n=Sum(Plus('number', {small})))",
    "Item.objects.order_by(Plus('number', {small}).desc(), 'pk')[:2]",
    "Item.objects.annotate(n=Plus(F('number'), {small}, template='(rich_item.level + %(by)s)')).values_list('pk', 'n')",
    "Item.objects.annotate(n=Unsaid({small})).values_list('pk', 'n')",
    "Item.objects.filter(title={text}).annotate(n=Unsaid({small})).values_list('n')",
    "Owner.objects.annotate(n=ItemsOf('pk', number={small})).values_list('pk', 'n')",
    "Owner.objects.filter(name={text}).annotate(n=ItemsOf('pk', number={small})).order_by('n', 'pk')",
    "Item.objects.filter(Loud(F('title'), {text})).count()",
    "Item.objects.filter(Loud(F('owner__name'), {text})).values_list('pk')",
    "Item.objects.filter(Tagged(F('pk'), {text}))",
    "Item.objects.filter(Tagged(F('pk'), {text}), number={small}).exists()",
]
# Results about missing rows, which an insert changes.
ABSENCES = [
    "Owner.objects.filter(items__isnull=True)",
    "Owner.objects.filter(badge__isnull=True).count()",
    "Owner.objects.filter(friends__isnull=True)",
    "Owner.objects.filter(Q(items__isnull=True) | Q(items__title={text}))",
    "Owner.objects.filter(items__place__isnull=True)",
    "Item.objects.filter(tags__isnull=True)",
    "Item.objects.filter(tags__word=None).count()",
    "Item.objects.filter(label__isnull=True)",
    "Item.objects.filter(label=None, title={text})",
    "Item.objects.filter(steps__isnull=True).exists()",
    "Item.objects.filter(owner__badge__isnull=True)",
    "Item.objects.filter(owner__badge__color=None)",
    "Item.objects.filter(remarks__isnull=True)",
    "Item.objects.filter(cells__item_id=None)",
    "Place.objects.filter(venue__isnull=True)",
    "Place.objects.filter(venue__hall=None)",
    "Place.objects.filter(items__number=None).count()",
    "Place.objects.filter(items__code=None)",
    "Tag.objects.filter(items=None)",
    "Tag.objects.exclude(items__isnull=True)",
    "Venue.objects.filter(events__day=None)",
]
# Reads that soon reveal one of the deliberate defects in `test_machine`.
EXCLUSIONS = [
    "Item.objects.exclude(title={text})",
    "Item.objects.exclude(number={small}).count()",
    "Item.objects.filter(~Q(number={small}))",
    "Owner.objects.exclude(name={text})",
    "Place.objects.exclude(area={small})",
]
OF_VIEWS = [
    "Few.objects.order_by('pk')",
    "Few.objects.filter(number={small}).count()",
    "Few.objects.filter(title={text})",
    "Seen.objects.order_by('pk')",
    "Seen.objects.filter(owner_name={text})",
]
JOINED_COLUMNS = [
    "Item.objects.filter(number={small}).select_related('owner')",
    "Item.objects.select_related('owner', 'place').order_by('pk')",
    "Item.objects.order_by('pk').values_list('pk', 'owner__name')",
    "Venue.objects.select_related('inside').order_by('pk')",
    "Owner.objects.prefetch_related('items').order_by('pk')",
]
# Columns in which the database considers different values equal: it may return any of them for a group.
EQUAL_BUT_DIFFERENT = {"Sample": ("nocase", "facts"), "Mark": ("word", "tidy")}
CODE = st.sampled_from(["'x'", "'y'", "'w'"])
PARTS = st.sampled_from(["'year'", "'month'", "'day'"])
PLACES = st.sampled_from(["'park'", "'arena'", "'hall'"])


# Lookups besides equality, and how often each is drawn.
COMPARISONS = [
    *["lt", "lte", "gt", "gte"] * 2,
    "range",
    "in",
    "isnull",
    "startswith",
    "icontains",
    "endswith",
    "iexact",
]


@st.composite
def comparisons(draw: st.DrawFn, model: str) -> str:
    """Draw a condition that compares an own field of the model otherwise than for equality."""
    own = {name: values for name, values in VALUES[model].items() if name not in ("facts", "blob")}
    name = some_field(draw, model, own)
    lookup = draw(st.sampled_from(COMPARISONS))
    if lookup == "isnull":
        return f"{name}__isnull={draw(st.booleans())}"
    value = draw(own[name])
    return f"{name}__{lookup}=" + (f"[{value}, {draw(own[name])}]" if lookup in ("range", "in") else value)


@st.composite
def conditions(draw: st.DrawFn, model: str) -> str:
    """Draw the arguments of a filter: keywords or a combination of Q objects."""

    def one() -> str:
        if draw(st.sampled_from([True, False, False])):
            return draw(comparisons(model))
        name = some_field(draw, model, CONDITIONS[model])
        return f"{name}={draw(CONDITIONS[model][name])}"

    shape = draw(
        st.sampled_from(["{}", "{}", "{}", "{}, {}", "Q({}) | Q({})", "~Q({})", "Q({}) & ~Q({})", "Q({}) ^ Q({})"])
    )
    parts = [one() for _ in range(shape.count("{}"))]
    if len({part.partition("=")[0] for part in parts}) < len(parts):
        parts = parts[:1]
        shape = "{}"
    return shape.format(*parts)


@st.composite
def querysets(draw: st.DrawFn, model: str) -> str:
    """Draw a queryset of `model`, filtered up to two times."""
    text = f"{model}.objects"
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2]))):
        verb = draw(st.sampled_from(["filter", "filter", "filter", "exclude"]))
        text += f".{verb}({draw(conditions(model))})"
    return f"{text}.all()" if text.endswith("objects") else text


@st.composite
def decorated(draw: st.DrawFn, model: str) -> str:
    """Draw a queryset with annotations, related objects, deferred fields or an order."""
    text = draw(querysets(model))
    own = [name for name in VALUES[model] if name in CONDITIONS[model]]
    for kind, options in (("annotate", ANNOTATIONS), ("select_related", RELATED), ("prefetch_related", PREFETCHED)):
        if model in options and draw(st.sampled_from([False, False, True])):
            choice = draw(st.sampled_from(options[model]))
            text += f".{kind}({choice!r})" if kind == "select_related" else f".{kind}({choice})"
    if ".select_related" not in text and own and draw(st.sampled_from([False, False, False, True])):
        name = field_name(draw(st.sampled_from(own)))
        text += draw(st.sampled_from([".only({!r})", ".defer({!r})"])).format(name)
    if draw(st.booleans()) and ORDERS.get(model):
        text += f".order_by({draw(st.sampled_from(ORDERS[model]))})"
        text += draw(st.sampled_from(["", "", "[:2]", "[1:3]", ".reverse()"]))
    return text


@st.composite
def results(draw: st.DrawFn, model: str) -> str:
    """Draw a queryset and a method that returns its result."""
    text = draw(querysets(model))
    own = [field_name(name) for name in VALUES[model]]
    columns = [name for name in own if name not in EQUAL_BUT_DIFFERENT.get(model, ())]
    column = draw(st.sampled_from(columns))
    other = draw(querysets(model))
    end = draw(
        st.sampled_from(
            [
                *(
                    "{q}.count()",
                    "{q}.exists()",
                    "{q}.get()",
                    "{q}.order_by('pk').first()",
                    "{q}.order_by('pk').last()",
                ),
                "{q}.values('{c}')",
                "{q}.values_list('{c}', flat=True)",
                "{q}.values_list('pk', '{c}', named=True)",
                *(
                    "{q}.filter(pk={pk}).exists()",
                    "{q}.contains({m}(pk={pk}))",
                    "{q}.earliest('pk')",
                    "{q}.latest('pk')",
                ),
                "{q}.distinct().count()",
                "{q}.values('{c}').distinct().count()",
                "{q}.order_by('pk')[:2]",
                "{q}.order_by('{c}', 'pk')[:2]",
                "{q}.order_by('-{c}', 'pk')[1:3]",
                "{q}.order_by('-{c}', '-pk').last()",
                "{q}.aggregate(n=Count('{c}'))",
                "{q}.order_by('pk')[1:3].count()",
                "{q}.only('{c}')",
                *(
                    "{m}.objects.filter(pk__in={q}.values('pk')).count()",
                    "{m}.objects.exclude(pk__in={q}.values('pk'))",
                ),
                *(
                    "{q}.values_list('pk').union({o}.values_list('pk'))",
                    "{q}.values_list('pk').intersection({o}.values_list('pk'))",
                ),
                "{q}.values_list('pk').difference({o}.values_list('pk'))",
                "({q} | {o}).distinct().count()",
                *(
                    "{q}.values_list('pk', flat=True).union({o}.values_list('pk', flat=True)).count()",
                    "({q} & {o}).exists()",
                ),
                "{q}.values('{c}').annotate(total=Count('pk'))",
                "{q}.none()",
                "{q}.in_bulk([{pk}])",
                "like({q})",
                "{m}.objects.get(pk={pk})",
                "{m}.objects.filter(pk={pk}).values()",
                "{m}.objects.get({c}={v})",
                "awaited({m}.objects.aget, pk={pk})",
                "awaited({q}.acount)",
                "awaited(listed, {q}.order_by('pk'))",
                "past({m}).objects.get(pk={pk}).pk",
            ]
        )
    )
    name = next(name for name in VALUES[model] if field_name(name) == column)
    value = draw(VALUES[model][name])
    return end.format(q=text, o=other, c=column, m=model, pk=draw(PRIMARY_KEYS[model]), v=value)


@st.composite
def from_templates(draw: st.DrawFn, forms: list[str]) -> str:
    """Draw one of `forms`, and fill in its values."""
    form = draw(st.sampled_from(forms))
    return form.format(
        key=draw(KEYS),
        text=draw(TEXTS),
        small=draw(SMALL),
        day=draw(DAYS),
        code=draw(CODE),
        place=draw(PLACES),
        part=draw(PARTS),
    )


@st.composite
def reads_by_frequent_fields(draw: st.DrawFn) -> str:
    """Draw a read filtered by a column that `writes.moves` changes."""
    model = draw(st.sampled_from([*sorted(FREQUENT_FIELDS), "Item", "Item"]))
    name = draw(st.sampled_from(FREQUENT_FIELDS[model]))
    form = draw(st.sampled_from(["{m}.objects.filter({name}={value})", "{m}.objects.filter({name}={value}).count()"]))
    return form.format(m=model, name=name, value=draw(VALUES[model][name]))


@st.composite
def reads_by_comparison(draw: st.DrawFn) -> str:
    """Draw a read filtered by a comparison of a column that `writes.moves` changes."""
    model = draw(st.sampled_from([*sorted(FREQUENT_FIELDS), "Item", "Item"]))
    name = draw(st.sampled_from(FREQUENT_FIELDS[model]))
    lookup = draw(st.sampled_from(["lt", "lte", "gt", "gte"]))
    form = draw(
        st.sampled_from(
            [
                *("{m}.objects.filter({c})", "{m}.objects.exclude({c})", "{m}.objects.filter(~Q({c})).count()"),
                *("{m}.objects.filter({c}, {name}__isnull=False).exists()", "{m}.objects.filter(Q({c}) | Q(pk=1))"),
            ]
        )
    )
    return form.format(m=model, name=name, c=f"{name}__{lookup}={draw(VALUES[model][name])}")


READS_WITH_INNER_TABLES = from_templates(INNER_TABLES)
READS_BY_AN_INNER_TABLE = from_templates(INNER_TABLES[:2])
READS_BY_EXCLUSION, READS_OF_VIEWS, READS_WITH_JOINED_COLUMNS = map(
    from_templates, (EXCLUSIONS, OF_VIEWS, JOINED_COLUMNS)
)
READS_BY_EXPRESSIONS = from_templates(EXPRESSIONS)
READS_OF_APPLICATION_SQL = from_templates(APPLICATION_SQL)
READS_OF_ABSENCES = from_templates(ABSENCES)
READS_OF_WHOLE_TABLES = ANY_MODEL.map("{}.objects.all()".format)
READS = st.one_of(
    reads_by_frequent_fields(),
    reads_by_comparison(),
    ANY_MODEL.flatmap(decorated),
    ANY_MODEL.flatmap(results),
    ANY_MODEL.flatmap(results),
    from_templates(NAVIGATIONS + APPLICATION_SQL),
    READS_BY_EXPRESSIONS,
    READS_OF_ABSENCES,
    READS_WITH_INNER_TABLES,
)
