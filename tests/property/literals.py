"""Values of each field of the rich schema, as source text: for conditions and for writes."""

from __future__ import annotations

from hypothesis import strategies as st

# Only a few, so that writes and reads of a history often concern the same rows.
TEXTS = st.sampled_from(["'a'", "'b'", "'A'", "''", "'a '", "'a=b&c'", "'50%'", "'é'"])
LONG = st.sampled_from(["'a'", "'x' * 65", "'x' * 66", "'!'", "'A'"])
SMALL = st.sampled_from(["0", "1", "2", "3"])
KEYS = st.sampled_from(["1", "2", "3", "4", "5", "1000", "1001"])
MAYBE_KEYS = KEYS | st.just("None")
CODES = st.sampled_from(["'x'", "'y'", "'z'", "'w'"])
SLUGS = st.sampled_from(["'i1'", "'i2'", "'i3'", "None"])
DAYS = st.sampled_from(["date1", "date2"])
MOMENTS = st.sampled_from(["moment1", "moment2", "moment3"])
# Keys of `Mark`: as Python sees them, as they are stored, and one that does not exist.
SIGNS = st.sampled_from(["'m-1'", "'1'", "2", "'m-3'"])
TOKENS = st.sampled_from(["uuid1", "uuid2"])
FACTS = st.sampled_from(["{'a': 1}", "{'a': True}", "[1, 'b']", "1", "'a'", "{'a': {'b': None}}"])


TRUE = st.just("True")


def maybe(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.none().map(str) | values


STAMPED = {"note": TEXTS, "moment": maybe(MOMENTS)}
# The values that each field may be set to.
VALUES: dict[str, dict[str, st.SearchStrategy[str]]] = {
    "Owner": {"name": TEXTS, "code": CODES, **STAMPED},
    "Badge": {"color": TEXTS},
    "Place": {"name": TEXTS, "area": SMALL, "inside_id": MAYBE_KEYS, **STAMPED},
    "Tag": {"word": TEXTS},
    "Item": {
        "title": TEXTS,
        "code": SLUGS,
        "number": SMALL,
        "status": st.sampled_from(["'new'", "'old'", "Item.Status.OLD"]),
        "level": st.sampled_from(["1", "2", "Item.Level.LOW", "None"]),
        "owner_id": MAYBE_KEYS,
        "place_id": MAYBE_KEYS,
        "fallback_id": MAYBE_KEYS,
        "keeper_id": MAYBE_KEYS,
        "warden_id": MAYBE_KEYS,
        "nick_id": maybe(CODES),
        **STAMPED,
    },
    "Help": {"item_id": KEYS, "owner_id": KEYS, "level": SMALL},
    "Label": {"item_id": KEYS, "text": TEXTS},
    "Step": {"item_id": KEYS, "text": TEXTS},
    "Event": {"day": DAYS, "venue_id": MAYBE_KEYS, "hall_id": maybe(st.sampled_from(["5", "6"]))},
    "Remark": {"text": TEXTS, "object_id": KEYS},
    "Cell": {"text": TEXTS, "item_id": MAYBE_KEYS},
    "Crate": {"name": TEXTS},
    "Bottle": {"crate_id": KEYS, "text": TEXTS},
    "Cork": {"bottle_id": MAYBE_KEYS, "text": TEXTS},
    "Mark": {
        "word": TEXTS,
        "ident": st.sampled_from(["uuid1", "uuid2", "str(uuid1)", "None"]),
        "tidy": st.sampled_from(["'a'", "' A '", "'b'", "''"]),
        "text": TEXTS,
    },
    "Marking": {"mark_id": maybe(SIGNS), "text": TEXTS},
    "Few": {"title": TEXTS, "number": SMALL, "owner_id": MAYBE_KEYS},
    "Seen": {"title": TEXTS, "owner_name": TEXTS},
    "Sample": {
        "item_id": MAYBE_KEYS,
        "whole": maybe(SMALL),
        "big": st.sampled_from(["2**53", "2**53 + 1", "2**63 - 1", "-1", "None"]),
        "amount": st.sampled_from(["Decimal('1')", "Decimal('1.00')", "Decimal('2.5')", "3", "'1.000'", "None"]),
        "long_amount": st.sampled_from(["Decimal('1')", "Decimal('123456789012345.0000000001')", "None"]),
        "ratio": st.sampled_from(["0.0", "-0.0", "0.5", "1", "1e300", "None"]),
        "flag": st.sampled_from(["True", "False", "1", "0", "None"]),
        "day": maybe(DAYS),
        "moment": maybe(MOMENTS),
        "clock": st.sampled_from(["time1", "time2", "None"]),
        "span": st.sampled_from(["span1", "span2", "None"]),
        "token": st.sampled_from(["uuid1", "uuid2", "str(uuid1)", "uuid1.hex", "None"]),
        "blob": st.sampled_from([r"b'\0'", "b''", r"b'\xff a'", "None"]),
        "facts": maybe(FACTS),
        "text": LONG,
        "short": LONG,
        "nocase": TEXTS,
        "secret": st.sampled_from(["'ab'", "'ba'", "None"]),
        "odd": maybe(SMALL),
        "fresh": SMALL,
    },
}
VENUE = {"seats": SMALL, "kind": st.sampled_from(["'k'", "''"])}
VALUES["Venue"] = VALUES["OpenVenue"] = {**VALUES["Place"], **VENUE}
VALUES["Hall"] = {**VALUES["Venue"], "heated": st.sampled_from(["True", "False"])}
VALUES["NewItem"] = VALUES["Item"]
MODELS = sorted(VALUES)
# Models with many relations are drawn more often, so that writes affect reads.
ANY_MODEL = st.sampled_from([*MODELS, *["Item"] * 5, *["Owner", "Place", "Hall", "Venue", "Tag", "Sample"]])

# Half of all conditions and changes use these fields, so that writes often change which rows match a read.
FREQUENT_FIELDS = {
    "Item": ["number", "title", "owner_id"],
    "Owner": ["name"],
    "Place": ["area", "inside_id"],
    "Venue": ["seats", "area"],
    "Hall": ["seats", "area", "heated"],
    "Sample": ["whole", "flag"],
    "Help": ["level"],
    "Step": ["text"],
    "Cell": ["text"],
    "Mark": ["word", "tidy", "text"],
    "Few": ["number", "title"],
}


def some_field(draw: st.DrawFn, model: str, fields: dict[str, st.SearchStrategy[str]]) -> str:
    """Draw one of `fields`, often a frequent one."""
    frequent = FREQUENT_FIELDS.get(model)
    return draw(st.sampled_from(frequent if frequent and draw(st.booleans()) else sorted(fields)))


# Primary keys of each model.
PRIMARY_KEYS = dict.fromkeys(MODELS, KEYS) | {
    "Event": TOKENS,
    "Cell": st.sampled_from(["(1, 1)", "(1, 2)", "(2, 1)", "(2, 2)"]),
    "Mark": SIGNS,
    "Hall": st.just("5") | KEYS,
    "Venue": st.sampled_from(["3", "4", "5"]),
    "OpenVenue": st.sampled_from(["3", "4", "5"]),
}

# Conditions of each model on other tables; conditions on its own fields are added below.
CONDITIONS: dict[str, dict[str, st.SearchStrategy[str]]] = {
    "Owner": {
        "items__title": TEXTS,
        "items__isnull": st.sampled_from(["True", "False"]),
        "items": KEYS,
        "friends": KEYS,
        "friends__name": TEXTS,
        "followers": KEYS,
        "follows__code": CODES,
        "badge__color": TEXTS,
        "badge__isnull": TRUE,
        "helped": KEYS,
        "help__level": SMALL,
        "nicked__number": SMALL,
        "items__tags__word": TEXTS,
        "kept__isnull": TRUE,
        "warded__place": KEYS,
    },
    "Badge": {"owner__name": TEXTS, "owner": KEYS, "owner__items__number": SMALL},
    "Place": {
        **{
            "inside__name": TEXTS,
            "inside__isnull": TRUE,
            "parts__area": SMALL,
            "parts__isnull": TRUE,
        },
        **{
            "items__title": TEXTS,
            "items__isnull": TRUE,
            "venue__seats": SMALL,
            "venue__isnull": st.just("False"),
        },
        "venue__hall__heated": TRUE,
        "remarks__text": TEXTS,
        "remarks__isnull": TRUE,
        "fallen__number": SMALL,
        "inside__inside__area": SMALL,
        "items__owner__name": TEXTS,
    },
    "Tag": {"items": KEYS, "items__title": TEXTS, "items__owner__code": CODES, "items__isnull": TRUE},
    "Item": {
        "owner__name": TEXTS,
        "owner": KEYS,
        "owner__isnull": TRUE,
        "owner__badge__color": TEXTS,
        "place__name": TEXTS,
        "place__venue__seats": SMALL,
        "place__isnull": st.just("False"),
        "place__area": SMALL,
        "tags": KEYS,
        "tags__word": TEXTS,
        "tags__isnull": TRUE,
        "helpers": KEYS,
        "help__level": SMALL,
        "helpers__name": TEXTS,
        "label__text": TEXTS,
        "label__isnull": TRUE,
        "steps__text": TEXTS,
        "steps__isnull": TRUE,
        "nick__name": TEXTS,
        "nick": CODES,
        "keeper__code": CODES,
        **{
            "remarks__text": TEXTS,
            "remarks__isnull": TRUE,
            "cells__text": TEXTS,
            "samples__flag": TRUE,
        },
        **{
            "title__startswith": TEXTS,
            "number__gt": SMALL,
            "number__in": st.just("[1, 2]"),
            "title__in": st.just("['a', None]"),
        },
        **{
            "code__isnull": st.sampled_from(["True", "False"]),
            "number": st.just("F('level')"),
            "owner__friends__name": TEXTS,
        },
        **{
            "moment__year": st.just("2026"),
            "pk__in": st.just("[1, 2, 1000]"),
            "pk": KEYS,
            "owner__items__number": SMALL,
        },
        "fallback__inside__isnull": TRUE,
        "samples__whole": SMALL,
    },
    "Help": {"item__title": TEXTS, "owner__name": TEXTS},
    "Label": {"item__title": TEXTS, "item__owner__name": TEXTS},
    "Step": {"item__title": TEXTS, "item__number": SMALL},
    "Event": {
        "venue__name": TEXTS,
        "venue__isnull": TRUE,
        "hall__heated": TRUE,
        "hall__name": TEXTS,
        "pk": TOKENS,
    },
    "Remark": {"content_type": st.just("ContentType.objects.get_for_model(Item)")},
    "Cell": {
        "pk": PRIMARY_KEYS["Cell"],
        "row": SMALL,
        "item__title": TEXTS,
        "pk__in": st.just("[(1, 1), (2, 2)]"),
        "item__isnull": TRUE,
    },
    "Crate": {"bottles__text": TEXTS, "bottles__corks__text": TEXTS, "bottles__isnull": TRUE},
    "Bottle": {"crate__name": TEXTS, "corks__text": TEXTS, "corks__isnull": TRUE},
    "Cork": {"bottle__text": TEXTS, "bottle__crate__name": TEXTS, "bottle__isnull": TRUE},
    "Mark": {
        "markings__text": TEXTS,
        "markings__isnull": TRUE,
        "pk__in": st.just("['1', 'm-3']"),
        "word__in": st.just("['a', 'B']"),
        "tidy__startswith": st.just("'a'"),
        "ident__isnull": TRUE,
    },
    "Marking": {"mark__text": TEXTS, "mark__word": TEXTS, "mark__tidy": TEXTS, "mark": SIGNS, "mark__isnull": TRUE},
    "Few": {"owner__name": TEXTS, "owner": KEYS, "owner__items__title": TEXTS, "number__gt": SMALL},
    "Seen": {"owner_name__isnull": TRUE, "title__startswith": TEXTS},
    "Sample": {
        **{
            "whole__isnull": TRUE,
            "double": SMALL,
            "double__gt": SMALL,
            "facts__a": st.sampled_from(["1", "True"]),
        },
        "facts__has_key": st.just("'a'"),
        "item__title": TEXTS,
        "day__year": st.just("2026"),
        "moment__date": DAYS,
        **{
            "short__iexact": TEXTS,
            "odd__in": st.just("[1, None, 2]"),
            "amount__gte": st.just("1"),
            "flag__isnull": TRUE,
        },
        **{
            "secret__in": st.just("['ab']"),
            "span__gt": st.just("span2"),
            "clock__hour": st.just("1"),
            "ratio__lt": st.just("0.5"),
        },
    },
}
CONDITIONS["Venue"] = CONDITIONS["OpenVenue"] = {
    **{name: CONDITIONS["Place"][name] for name in ("inside__name", "items__title", "remarks__text", "parts__area")},
    **{
        "events__day": DAYS,
        "events__isnull": TRUE,
        "hall__heated": TRUE,
        "hall__isnull": TRUE,
    },
}
CONDITIONS["Hall"] = {**CONDITIONS["Venue"], "events__venue": KEYS}
del CONDITIONS["Hall"]["hall__heated"], CONDITIONS["Hall"]["hall__isnull"]
CONDITIONS["NewItem"] = CONDITIONS["Item"]
for name in MODELS:
    own = {key: value for key, value in VALUES[name].items() if key not in ("facts", "blob")}
    CONDITIONS[name] = {**own, "pk": PRIMARY_KEYS[name], **CONDITIONS[name]}


def field_name(attname: str) -> str:
    """Return the name of the field of an attribute: ``owner`` for ``owner_id``."""
    return attname if attname == "object_id" else attname.removesuffix("_id")
