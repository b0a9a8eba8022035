"""The whitespace rule: whitespace between two tags becomes one newline or space, and nothing else changes."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheops_lite.conf import DEFAULTS
from cacheops_lite.utils.html_whitespace import collapse_whitespace

KEEP = DEFAULTS["CACHEOPS_KEEP_WHITESPACE"]

spaces = st.text(" \t\n\f\r", min_size=1, max_size=4)
# Text that is not only whitespace and cannot become part of a tag or comment.
words = st.text(st.sampled_from("ab>'\"=/-]\xa0 \n"), max_size=8).map(lambda text: f"x{text}x")
values = st.sampled_from(['a="b>  <c"', "a='>\n\n<'", "a", "a=b'c", 'a = "<pre>"', 'a=b="c', "'", "a/", "data-x=''"])
names = st.sampled_from(["a", "p", "DIV", "br", "x-pre", "prelude", "h1"])
tags = st.one_of(
    st.builds(
        lambda name, parts, end: f"<{' '.join([name, *parts])}{end}>", names, st.lists(values, max_size=3), spaces
    ),
    st.builds("<{}/>".format, names),
    st.builds("</{}>".format, names),
)
others = st.sampled_from(
    [
        "<!-- <a>  <b> -->",
        "<!---->",
        "<!-->",
        "<!DOCTYPE html>",
        "<![CDATA[ <a>  <b>  <c> ]] > ]]>",
        "<!--<pre>--!>",
        "</ a>",
    ]
)
kept = st.sampled_from(
    [
        "<pre>  <b>  </b>\n\n</pre>",
        '<PRE class=">">\n\n<i>  <!-- </pre> -->  <a b="</pre>">  <pre>  <a></pre>  <b></Pre >',
        "<script>if (a<b && c>\t\t<d) '<!-- ' + \"<a b='\"</script>",
        "<style>\n<a>  <b></style\n>",
        "<textarea>  <pre>  <a>  <b></textarea>",
        "<title><a>  <b></title>",
    ]
)
pieces = st.one_of(*(st.tuples(st.just(kind), text) for kind, text in (
    ("tag", tags), ("tag", kept), ("other", others), ("space", spaces), ("text", words)
)))  # fmt: skip
markup = st.text("<>/!-[]='\" \nabpre", max_size=60) | st.lists(
    st.sampled_from(["<", ">", "</", "<!--", "-->", "<![CDATA[", "]]>", "pre", "<pre>", "</pre>", "<a", "<script>",
                     "</script>", "=", '"', "'", "  ", "\n", "\t", "b", "/>"])
).map("".join)  # fmt: skip


def expected_by_rule(kinds):
    """Apply the rule to pieces of known kinds without parsing them."""
    merged = [["", ""]]
    for kind, text in kinds:
        if kind == merged[-1][0] == "space":
            merged[-1][1] += text
        else:
            merged.append([kind, text])
    merged.append(["", ""])
    for before, (kind, text), after in zip(merged, merged[1:], merged[2:], strict=False):
        between = before[0] == after[0] == "tag"
        yield ("\n" if {"\n", "\r"} & set(text) else " ") if kind == "space" and between else text


@given(st.lists(pieces, max_size=12))
def test_only_whitespace_between_two_tags_collapses(kinds):
    """Whitespace in or next to text, comments, CDATA, doctypes, attributes and kept elements stays."""
    assert collapse_whitespace("".join(text for _, text in kinds), KEEP) == "".join(expected_by_rule(kinds))


@given(markup)
def test_in_any_text_only_whitespace_between_angle_brackets_changes(text):
    """This includes broken markup; a second application changes nothing."""
    collapsed = collapse_whitespace(text, KEEP)
    assert re.sub(r">[ \n\t]+<", "><", collapsed) == re.sub(r">[ \n\t]+<", "><", text)
    assert collapse_whitespace(collapsed, KEEP) == collapsed
    assert collapse_whitespace(text, "all") == text


@given(markup.map(lambda text: re.sub(r">[ \n\t]+<", "><", text)))
def test_text_without_whitespace_between_tags_is_unchanged(text):
    assert collapse_whitespace(text, KEEP) == collapse_whitespace(text, ()) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<a>  <b>", "<a> <b>"),
        ("<a>\t<b>", "<a> <b>"),
        ("<a> \n\n <b>", "<a>\n<b>"),
        ("<a>\r\n<b>", "<a>\n<b>"),
        ("<a>\xa0\xa0<b>\u3000\u3000<c>", None),
        ("  <a> ", None),
        ("a >  < b", None),
        ("1 <2>  <b>", None),
        ("<a>  <!-- x -->  <b>", None),
        ("<a>  <b", None),
        ('<a>  <b c="  <d>  <e>', None),
        ("<!-- <a>  <b>", None),
        ("<![CDATA[ <a>  <b>", None),
        ("<!-->  <!--  --!>  <a>  <b>", "<!-->  <!--  --!>  <a> <b>"),
        ("<a b=c>  <d>", "<a b=c> <d>"),
        ("<a b=>  <d>", "<a b=> <d>"),
        ("<a b=c\"d>  <e>", "<a b=c\"d> <e>"),
        ('<a =">  <b>', '<a ="> <b>'),
        ("<a it's>  <b it's>", "<a it's> <b it's>"),
        ("<pre>  <b>  <i>", None),
        ("<script>  <b>  <i>", None),
        ("<pre>  <b></pre>  <i>  <b>", "<pre>  <b></pre> <i> <b>"),
        ("<pre>  <pre>  </pre>  <b></pre>  <i>", "<pre>  <pre>  </pre>  <b></pre> <i>"),
        ("<script>'</scripts>  <b>'</script >  <i>", "<script>'</scripts>  <b>'</script > <i>"),
        ("<script>  <b>  </SCRIPT>  <i>", "<script>  <b>  </SCRIPT> <i>"),
        ("<script></scripts a=\"</script>  <i>", "<script></scripts a=\"</script> <i>"),
        ("<script>'<!--' '<a b=\"'</script>  <i>", "<script>'<!--' '<a b=\"'</script> <i>"),
        ("<![CDATA[ <a>  <b>  <c> ]]>  <d>  <e>", "<![CDATA[ <a>  <b>  <c> ]]>  <d> <e>"),
        ("<a b = '>  <c>  <d>'>  <e>", "<a b = '>  <c>  <d>'> <e>"),
        ("</pre>  <b>", "</pre> <b>"),
    ],
)  # fmt: skip
def test_markup_that_a_simpler_rule_would_break_collapses_correctly(text, expected):
    assert collapse_whitespace(text, KEEP) == (text if expected is None else expected)


def test_the_elements_to_keep_are_configurable():
    """They may be any elements, none, or all."""
    text = "<pre>  <b></pre>  <code>  <b></code>"
    assert collapse_whitespace(text, {"code"}) == "<pre> <b></pre> <code>  <b></code>"
    assert collapse_whitespace(text, ()) == "<pre> <b></pre> <code> <b></code>"
    assert collapse_whitespace("<script>  <b></script>", ()) == "<script> <b></script>"
    assert collapse_whitespace(text, "all") == text


def test_the_setting_is_a_list_of_element_names_or_all(settings):
    """The case of names does not matter; a single name is refused."""
    from django.core.exceptions import ImproperlyConfigured

    from cacheops_lite.conf import settings as package_settings

    assert {"pre", "textarea", "script", "style"} == package_settings.CACHEOPS_KEEP_WHITESPACE
    for value, parsed in ((["PRE"], {"pre"}), ((), set()), ("all", "all")):
        settings.CACHEOPS_KEEP_WHITESPACE = value
        assert parsed == package_settings.CACHEOPS_KEEP_WHITESPACE
    for value in ("pre", [5]):
        settings.CACHEOPS_KEEP_WHITESPACE = value
        with pytest.raises(ImproperlyConfigured, match="CACHEOPS_KEEP_WHITESPACE"):
            package_settings.CACHEOPS_KEEP_WHITESPACE  # noqa: B018


@pytest.mark.parametrize(
    "part",
    ["<", ">  <", "<!--", "<!-- >  <", "<a ", '<a b="', "<a b = ", "<a =", "<a\t\t\t\t", "<pre>  ", "<script>",
     "<![CDATA[", "</", "<a>\n", "> ", "<a b", "=", "/ "],
)  # fmt: skip
def test_time_grows_linearly_with_the_length(part):
    """This includes text that is made to be slow."""
    text = "<a>  <b>" + part * (400_000 // len(part))
    start = time.process_time()
    for end in ("", ">  <b>", " " * 100_000):
        collapse_whitespace(text + end, KEEP)
    assert time.process_time() - start < 10
