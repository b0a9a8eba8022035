"""Writes of the rich schema, as source text: of every kind that Django offers."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.property.literals import (
    ANY_MODEL,
    FREQUENT_FIELDS,
    KEYS,
    PRIMARY_KEYS,
    SMALL,
    TEXTS,
    VALUES,
    field_name,
    some_field,
)
from tests.property.reads import querysets

# The fields that a new row requires.
REQUIRED = {
    "Owner": ["code"],
    "Badge": [],
    "Place": ["name"],
    "Venue": ["name"],
    "OpenVenue": ["name"],
    "Hall": ["name"],
    "Tag": ["word"],
    "Help": ["item_id", "owner_id"],
    "Label": ["item_id"],
    "Step": ["item_id"],
    "Event": ["day"],
    "Remark": ["object_id"],
    "Bottle": ["crate_id"],
}
# An update by an expression, for each model.
EXPRESSIONS = {
    "Item": "number=F('number') + 1",
    "NewItem": "title=Concat('title', Value('b'))",
    "Place": "area=F('area') + 1",
    "Venue": "seats=F('area')",
    "OpenVenue": "seats=F('seats') + 1",
    "Hall": "seats=F('seats') + 1",
    "Owner": "name=Upper('name')",
    "Sample": "whole=F('odd')",
    "Help": "level=F('level') + 1",
    "Cell": "text=Upper('text')",
    "Bottle": "text=Upper('text')",
    "Mark": "text=Upper('text')",
    "Marking": "text=Concat('text', Value('b'))",
    "Few": "number=F('number') + 1",
}


@st.composite
def values(draw: st.DrawFn, model: str, required: bool = False) -> dict[str, str]:
    """Draw some fields and their new values.  `required` adds the fields that a new row requires."""
    count = draw(st.integers(1, 3))
    names = list(dict.fromkeys(some_field(draw, model, VALUES[model]) for _ in range(count)))
    names += [name for name in REQUIRED.get(model, ()) if required and name not in names]
    values_by_name = {name: draw(VALUES[model][name]) for name in names}
    if required and model == "Remark":
        values_by_name["content_type"] = "ContentType.objects.get_for_model(Item)"
    return values_by_name


def keywords(values_by_name: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values_by_name.items())


def assignments(name: str, values_by_name: dict[str, str]) -> str:
    return "; ".join(f"{name}.{field} = {value}" for field, value in values_by_name.items())


@st.composite
def saves(draw: st.DrawFn) -> str:
    """Draw a save of an existing row, in one of many forms."""
    model = draw(ANY_MODEL)
    values_by_name, pk = draw(values(model)), draw(PRIMARY_KEYS[model])
    fields = ", ".join(repr(name) for name in values_by_name)
    first, *_ = values_by_name
    form = draw(
        st.sampled_from(
            [
                "o = {get}; {set}; o.save()",
                "o = {get}; {set}; o.save()",
                "o = {get}; {set}; o.save(update_fields=[{fields}])",
                "o = {get}; {set}; o.save(update_fields=[{first!r}])",
                "o = {get}; {set}; o.save(force_update=True)",
                "o = {get}; o.save()",
                "o = {m}.objects.only('pk').get(pk={pk}); {set}; o.save()",
                "o = {m}.objects.defer({first!r}).get(pk={pk}); o.save()",
                "o = {get}; {expression}; o.save()",
                "o = {get}; {expression}; {set}; o.save(); o.refresh_from_db(); {set}; o.save()",
                "o = {get}; {set}; o.save_base(raw=True)",
                "kept[{m!r}] = {get}",
                "o = kept[{m!r}]; {set}; o.save()",
                "o = kept[{m!r}]; o.save(update_fields=[{first!r}])",
                "o = kept[{m!r}]; {set}; o.refresh_from_db(fields=[{first!r}]); o.save()",
                "deserialize({get}, {kw})",
                "o = {get}; o.pk = {other}; o.save()",
                "o = {get}; o.pk = {other}; {set}; o._state.adding = True; o.save()",
                "o = {get}; {set}; o.save(); {set2}; o.save()",
                "{m}.objects.update_or_create(pk={pk}, defaults=dict({kw}))",
            ]
        )
    )
    expression = EXPRESSIONS.get(model, f"{first}={values_by_name[first]}")
    name, _, value = expression.partition("=")
    return form.format(
        m=model,
        pk=pk,
        other=draw(PRIMARY_KEYS[model]),
        get=draw(st.sampled_from([f"{model}.objects.get(pk={pk})", f"{model}.objects.nocache().get(pk={pk})"])),
        set=assignments("o", values_by_name),
        set2=assignments("o", draw(values(model))),
        fields=fields,
        first=field_name(first),
        kw=keywords(values_by_name),
        expression=f"o.{name} = {value}",
    )


@st.composite
def moves(draw: st.DrawFn) -> str:
    """Draw a write that changes only one column, and so the conditions that a row matches."""
    model = draw(st.sampled_from([*sorted(FREQUENT_FIELDS), "Item", "Item"]))
    name = draw(st.sampled_from(FREQUENT_FIELDS[model]))
    form = draw(
        st.sampled_from(
            [
                "o = {m}.objects.get(pk={pk}); o.{name} = {value}; o.save()",
                "o = {m}.objects.get(pk={pk}); o.{name} = {value}; o.save(update_fields=[{field!r}])",
                "{m}.objects.filter(pk={pk}).update({name}={value})",
            ]
        )
    )
    value, pk = draw(VALUES[model][name]), draw(PRIMARY_KEYS[model])
    return form.format(m=model, name=name, field=field_name(name), value=value, pk=pk)


@st.composite
def inserts(draw: st.DrawFn) -> str:
    """Draw an insert of one or more rows, which may already exist."""
    model = draw(ANY_MODEL)
    values_by_name, other = draw(values(model, required=True)), draw(values(model, required=True))
    if model in ("Badge", "Event", "Cell", "Mark"):
        values_by_name["pk"], other["pk"] = draw(PRIMARY_KEYS[model]), draw(PRIMARY_KEYS[model])
    first, *_ = values_by_name
    form = draw(
        st.sampled_from(
            [
                "{m}.objects.create({kw})",
                "{m}(pk={pk}, {kw}).save()",
                "{m}(pk={pk}, {kw}).save(force_insert=True)",
                "{m}({kw}).save()",
                "{m}.objects.get_or_create({kw})",
                "{m}.objects.update_or_create({first}={value}, defaults=dict({kw}))",
                "{m}.objects.bulk_create([{m}({kw}), {m}({kw2})])",
                "{m}.objects.bulk_create([{m}({kw}), {m}({kw2})], ignore_conflicts=True)",
                "{m}.objects.bulk_create([{m}({kw})], batch_size=1)",
                "{m}.objects.bulk_create([{m}({kp})], update_conflicts=True, update_fields=[{field!r}], **unique({u}))",
            ]
        )
    )
    bare = {name: value for name, value in values_by_name.items() if name != "pk"}
    pk = draw(PRIMARY_KEYS[model])
    return form.format(
        m=model,
        kw=keywords(values_by_name if "pk={pk}" not in form else bare),
        kw2=keywords(other),
        kp=keywords({"pk": pk, **bare}),
        pk=pk,
        first=first,
        value=values_by_name[first],
        field=field_name(draw(st.sampled_from(sorted(VALUES[model])))),
        u=repr("row column" if model == "Cell" else "pk"),
    )


@st.composite
def mass_writes(draw: st.DrawFn) -> str:
    """Draw an update of many rows by one statement."""
    model = draw(ANY_MODEL)
    values_by_name = draw(values(model))
    first, *_ = values_by_name
    form = draw(
        st.sampled_from(
            [
                "{q}.update({kw})",
                "{q}.update({e})",
                "{q}.invalidated_update({kw})",
                "{q}.invalidated_update({e})",
                "{m}.objects.order_by('pk').filter(pk={pk}).update({kw})",
                "os = list({q}); [setattr(o, {first!r}, {value}) for o in os]; {m}.objects.bulk_update(os, [{name!r}])",
                "{m}.objects.filter(pk={pk}).invalidated_update({kw})",
            ]
        )
    )
    return form.format(
        q=draw(querysets(model)),
        m=model,
        kw=keywords(values_by_name),
        e=EXPRESSIONS.get(model, keywords(values_by_name)),
        pk=draw(PRIMARY_KEYS[model]),
        first=first,
        name=field_name(first),
        value=values_by_name[first],
    )


@st.composite
def deletes(draw: st.DrawFn) -> str:
    """Draw a delete, with its cascades."""
    model = draw(ANY_MODEL | st.sampled_from(["Owner", "Place", "Item"]))
    form = draw(
        st.sampled_from(
            [
                "{m}.objects.get(pk={pk}).delete()",
                "{m}.objects.get(pk={pk}).delete()",
                "{m}(pk={pk}).delete()",
                "{q}.delete()",
                "kept[{m!r}].delete()",
                "{m}.objects.filter(pk={pk})._raw_delete('default')",
                "Hall.objects.get(pk={pk}).delete(keep_parents=True)",
            ]
        )
    )
    pk = "5" if "keep_parents" in form else draw(PRIMARY_KEYS[model])
    return form.format(m=model, pk=pk, q=draw(querysets(model)))


MANY = {
    "Item.objects.get(pk={k}).tags": "Tag",
    "Tag.objects.get(pk={k}).items": "Item",
    "Item.objects.get(pk={k}).helpers": "Owner",
    "Owner.objects.get(pk={k}).helped": "Item",
    "Owner.objects.get(pk={k}).friends": "Owner",
    "Owner.objects.get(pk={k}).follows": "Owner",
    "Owner.objects.get(pk={k}).followers": "Owner",
    "Owner.objects.get(pk={k}).items": "Item",
    "Owner.objects.get(pk={k}).kept": "Item",
    "Place.objects.get(pk={k}).items": "Item",
    "Place.objects.get(pk={k}).parts": "Place",
    "Venue.objects.get(pk={k}).items": "Item",
    "Item.objects.get(pk={k}).remarks": "Remark",
    "Place.objects.get(pk={k}).remarks": "Remark",
    "Venue.objects.get(pk={k}).remarks": "Remark",
    "Venue.objects.get(pk={k}).events": "Event",
    "Item.objects.get(pk={k}).cells": "Cell",
    "Owner.objects.get(pk={k}).nicked": "Item",
    "NewItem.objects.get(pk={k}).tags": "Tag",
    "Mark.objects.get(pk={k}).markings": "Marking",
}


@st.composite
def links(draw: st.DrawFn) -> str:
    """Draw a change of links of a many-to-many relation."""
    manager = draw(st.sampled_from([name for name in sorted(MANY) if MANY[name] in ("Tag", "Owner")]))
    form = draw(st.sampled_from(["{r}.add({k})", "{r}.remove({k})", "{r}.set([{k}])", "{r}.clear()"]))
    return form.format(r=manager.format(k=draw(SMALL)), k=draw(SMALL))


@st.composite
def related_writes(draw: st.DrawFn) -> str:
    """Draw a write by a related manager, or to the table of a many-to-many relation."""
    manager, model = draw(st.sampled_from(sorted(MANY.items())))
    form = draw(
        st.sampled_from(
            [
                "{r}.add(*{some})",
                "{r}.add(*{some})",
                "{r}.remove(*{some})",
                "{r}.remove(*{some})",
                "{r}.set({some})",
                "{r}.set({some}, clear=True)",
                "{r}.clear()",
                "{r}.add(*{some}, bulk=False)",
                "{r}.create({kw})",
                "{r}.update({kw1})",
                "{r}.filter(pk={pk}).delete()",
                "Item.tags.through.objects.create(item_id={k}, tag_id={k2})",
                "Item.tags.through.objects.filter(item={k}).delete()",
                "Item.tags.through.objects.filter(tag={k}).update(tag={k2})",
                "L = Item.tags.through; L.objects.bulk_create([L(item_id={k}, tag_id={k2})], ignore_conflicts=True)",
                "o = Item.tags.through.objects.order_by('pk').first(); o.tag_id = {k2}; o.save()",
                "Owner.friends.through.objects.filter(from_owner={k}).delete()",
                "Item.objects.get(pk={k}).helpers.add({k2}, through_defaults={{'level': 2}})",
                "Item.objects.get(pk={k}).set_step_order([2, 1])",
                "Item.objects.get(pk={k}).owner.items.add(Item.objects.get(pk={k2}))",
                "o = Item.objects.get(pk={k}); o.place = Venue.objects.get(pk=3); o.place.save(); o.save()",
                "o = Venue.objects.get(pk={k}); o.place_ptr.name = 'c'; o.place_ptr.save(); o.save()",
                "o = Place.objects.get(pk={k}); Venue(place_ptr=o, seats=1).save_base(raw=True)",
                "o = Remark.objects.get(pk={k}); o.target = Place.objects.get(pk={k2}); o.save()",
                "Label.objects.filter(item={k}).delete(); Label.objects.create(item_id={k}, text='a')",
            ]
        )
    )
    picks = draw(st.lists(PRIMARY_KEYS[model], min_size=1, max_size=2, unique=True))
    return form.format(
        r=manager.format(k=draw(KEYS)),
        some=f"{model}.objects.filter(pk__in=[{', '.join(picks)}])",
        kw=keywords(draw(values(model, required=True))),
        kw1=keywords(draw(values(model))),
        pk=draw(PRIMARY_KEYS[model]),
        k=draw(KEYS),
        k2=draw(KEYS),
    )


RAW = [
    "sql('UPDATE rich_item SET number = %s WHERE number = %s', {small}, {small2})",
    "sql('UPDATE \"rich_owner\" SET name = %s', {text})",
    "sql('DELETE FROM rich_label')",
    "sql('DELETE FROM rich_item_tags WHERE tag_id = %s', {key})",
    "sql('INSERT INTO rich_tag (word) VALUES (%s)', {text})",
    "sql('INSERT INTO rich_item_tags (item_id, tag_id) SELECT id, %s FROM rich_item WHERE id = %s', {key}, {key2})",
    "sql('  /* a comment */ update rich_place set area = %s', {small})",
    "sql('-- a comment\\nUPDATE rich_venue SET seats = %s', {small})",
    'sql(\'UPDATE "rich odd:table" SET "odd col: a=b&c,é" = %s WHERE whole = %s\', {small}, {small2})',
    "sql_many('UPDATE rich_item SET title = %s WHERE id = %s', [[{text}, {key}], [{text}, {key2}]])",
    "sql_many('INSERT INTO rich_help (item_id, owner_id, level) VALUES (%s, %s, %s)', [[1, 1, {small}], [2, 1, 1]])",
    "sql('WITH n AS (SELECT 1) UPDATE rich_item SET number = %s', {small})",
    "sql('UPDATE rich_cell SET text = %s', {text}); sql('UPDATE rich_step SET _order = id')",
    "sql('UPDATE rich_badge SET color = (SELECT name FROM rich_owner WHERE id = %s)', {key})",
    "truncate(Label); truncate(Remark)",
    "truncate(Item.tags.through)",
    "sql('UPDATE rich_few SET number = %s WHERE id = %s', {small}, {key})",
    "sql('DELETE FROM rich_few WHERE id = %s', {key})",
    "sql('UPDATE rich_mark SET tidy = %s, word = %s', {text}, {text})",
    "list(Item.objects.raw('UPDATE rich_item SET number = %s RETURNING id, title', [{small}]))",
]


@st.composite
def raw_writes(draw: st.DrawFn) -> str:
    """Draw a write by SQL through a cursor."""
    return draw(st.sampled_from(RAW)).format(
        key=draw(KEYS), key2=draw(KEYS), small=draw(SMALL), small2=draw(SMALL), text=draw(TEXTS)
    )


# Rare writes.  Most of them invalidate whole tables, which hides other defects.
RARE = [
    "sql('UPDATE rich_item SET number = %s', {small}); truncate(Cork)",
    "flush(Label, Cork)",
    "commit()",
    "composed('rich_item', 'number', {small}, {key})",
    "merge('rich_item', 'number', {small}, {key})",
    "copy('rich_help', item_id={key}, owner_id={key2}, level={small})",
    "stream('UPDATE rich_item SET number = {small} WHERE id = {key}')",
    "script('UPDATE rich_item SET number = {small} WHERE id = {key}')",
    "call({small}, by_driver={key} > 2)",
    "sql('DELETE FROM rich_crate WHERE id = %s', {key})",
    "sql('DELETE FROM \"rich_bottle\"')",
    "Crate.objects.filter(pk={key}).delete()",
    "Bottle.objects.get(pk={key}).delete()",
]
RARE_OF_MODELS = [
    "o = awaited({m}.objects.aget, pk={pk}); {set}; awaited(o.asave)",
    "awaited({m}.objects.acreate, {kw})",
    "awaited({m}.objects.filter(pk={pk}).aupdate, {kw})",
    "awaited({m}.objects.filter(pk={pk}).adelete)",
    "o = past({m}).objects.get(pk={pk}); {set}; o.save()",
    "past({m}).objects.create({kw})",
    "past({m}).objects.filter(pk={pk}).update({kw})",
    "past({m}).objects.get(pk={pk}).delete()",
]


@st.composite
def rare_writes(draw: st.DrawFn) -> str:
    """Draw a write by a driver's method, by a statement of one database, by a coroutine or by a migration."""
    model = draw(ANY_MODEL)
    values_by_name = draw(values(model))
    return draw(st.sampled_from([*RARE, *RARE_OF_MODELS])).format(
        m=model,
        pk=draw(PRIMARY_KEYS[model]),
        set=assignments("o", values_by_name),
        kw=keywords(values_by_name),
        key=draw(KEYS),
        key2=draw(KEYS),
        small=draw(SMALL),
    )


WRITES = st.one_of(
    saves(),
    moves(),
    inserts(),
    mass_writes(),
    deletes(),
    links(),
    related_writes(),
    related_writes(),
    raw_writes(),
    rare_writes(),
)
