"""The Jinja2 extension: fragments that are cached by time or like querysets."""

import asyncio
from itertools import count

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.shortcuts import render
from django.template import engines
from django.test import Client, override_settings
from django.urls import path
from django.utils import translation
from jinja2 import DictLoader, Environment, StrictUndefined, TemplateSyntaxError, UndefinedError
from jinja2.nativetypes import NativeEnvironment
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup

from tests.conftest import run_async
from tests.shop.models import Label, Product, Ticket, Unwatched

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]

EXTENSION = "cacheops_lite.jinja2.cache"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.jinja2.Jinja2",
        "OPTIONS": {
            "extensions": [EXTENSION],
            "loader": DictLoader(
                {
                    "base.html": "{% block body %}{% endblock %}",
                    "page.html": "{% extends 'base.html' %}{% block body %}{% cached_as labels %}"
                    "{% for label in labels %}{% include 'item.html' %}{% endfor %}{% endcached_as %}{% endblock %}",
                    "item.html": "<li>{{ label.text }}</li>",
                }
            ),
        },
    }
]


def page(request):
    return render(request, "page.html", {"labels": Label.objects.order_by("text")})


urlpatterns = [path("page/", page)]


def environment(templates=(), kind=Environment, **options):
    return kind(extensions=[EXTENSION], loader=DictLoader(dict(templates)), **options)


def rendered(source, env=None, **context):
    return (env or environment()).from_string(source).render(context)


@pytest.fixture
def n():
    """Counts: ``{{ n() }}`` is 1, 2, 3, ... with each rendering of it."""
    counted = count(1)
    return lambda: next(counted)


@pytest.mark.parametrize(
    "arguments",
    ["", "60", "timeout=60", "60, 'x'", "60, extra='x'", "timeout=60, extra=('x', 5)", "extra=(1, [2, {'a': 3}])"],
)
def test_a_fragment_is_kept_for_a_time(n, arguments):
    """With positional arguments and with names."""
    source = f"<{{% cached {arguments} %}}{{{{ n() }}}}{{% endcached %}}>"
    assert [rendered(source, n=n), rendered(source, n=n, other=5)] == ["<1>", "<1>"]


def test_timeouts_are_the_tags_or_the_models(n, store):
    """In seconds."""
    ttls = []
    for tag in ("cached_as labels", "cached_as labels, timeout=50", "cached 40", "cached"):
        store.flushdb()
        rendered(f"{{% {tag} %}}{{% end{tag.split()[0]} %}}", labels=Label.objects.all())
        (key,) = store.keys("*cacheops:v:*") + store.keys("*cacheops:s:*")
        ttls.append(store.ttl(key))
    assert [-(-ttl // 10) * 10 if ttl > 0 else ttl for ttl in ttls] == [600, 50, 40, -1]


def test_a_fragment_like_a_queryset_falls_with_it(n):
    """With any one of several samples."""
    source = "{% cached_as queryset, products, timeout=60, extra=5, lock=true %}{{ n() }}{% endcached_as %}"

    def get():
        return rendered(source, n=n, queryset=Label.objects.filter(pk=10001), products=Product)

    assert (get(), get()) == ("1", "1")
    Label.objects.create(pk=10002, text="y")
    assert get() == "1"
    Label.objects.create(pk=10001, text="x")
    assert get() == "2"
    Product.objects.create(sku="x")
    assert get() == "3"


def test_extra_tells_fragments_apart(n):
    """A value or what a callable returns, by value and type."""
    for tag in ("cached 60,", "cached_as labels,"):
        source = f"{{% {tag} extra=extra %}}{{{{ n() }}}}{{% end{tag.split()[0].strip(',')} %}}"
        extras = [1, "1", (1,), None, True, lambda: 2, lambda: 3]
        first = [rendered(source, n=n, extra=extra, labels=Label.objects.all()) for extra in extras]
        assert len(set(first)) == len(extras)
        assert [rendered(source, n=n, extra=extra, labels=Label.objects.all()) for extra in extras] == first


def test_an_extra_that_can_be_called_is_what_it_returns(n):
    """Such as the language, which is not part of the key by itself."""
    source = "{% cached 60, extra=get_language %}{{ n() }}{% endcached %}"

    def get(language):
        with translation.override(language):
            return rendered(source, n=n, get_language=translation.get_language)

    assert [get("en"), get("de"), get("en")] == ["1", "2", "1"]


def test_an_undefined_extra_is_what_the_environment_makes_of_it(n):
    """Nothing, or an error."""
    source = "{% cached 60, extra=nothing %}{{ n() }}{% endcached %}"
    assert rendered(source, n=n) == rendered(source, n=n, nothing="") == "1"
    with pytest.raises(UndefinedError, match="nothing"):
        rendered(source, environment(undefined=StrictUndefined), n=n)


def test_fragments_of_one_line_are_told_apart(n):
    """Even when they look the same."""
    source = "{% cached 60 %}{{ n() }}{% endcached %}" * 2 + "{% cached_as labels %}{{ n() }}{% endcached_as %}" * 2
    for _ in range(2):
        assert rendered(source, n=n, labels=Label.objects.all()) == "1234"


def test_fragments_of_templates_without_a_name_are_told_apart(n):
    """By the whole text of the template."""
    sources = ["{% cached 60 %}{{ n() }}{% endcached %}", "{% cached 60 %}a{{ n() }}{% endcached %}"]
    macros = "{{% macro m() %}}{}{{% endmacro %}}{{% cached 60 %}}{{{{ m() }}}}{{% endcached %}}"
    for _ in range(2):
        assert [rendered(source, n=n) for source in sources] == ["1", "a2"]
        assert [rendered(macros.format(text)) for text in "ab"] == ["a", "b"]


def test_fragments_of_templates_of_other_names_are_told_apart(n):
    """Though they are of the same text."""
    env = environment({"a": "{% cached 60 %}{{ n() }}{% endcached %}", "b": "{% cached 60 %}{{ n() }}{% endcached %}"})
    for _ in range(2):
        assert [env.get_template(name).render(n=n) for name in "ab"] == ["1", "2"]


def test_an_edited_template_does_not_find_what_it_was(n):
    """Nor where the tag stays in its place."""
    for text in "ab":
        env = environment({"page": "{% cached 60 %}" + text + "{% endcached %}"})
        assert env.get_template("page").render() == text


@pytest.mark.parametrize("serializer", ["pickle", "plain"])
def test_under_autoescape_a_fragment_is_escaped_once(n, serializer, settings):
    """What it prints, when computed and when cached, whatever the serializer makes of markup."""

    class Plain:
        dumps = staticmethod(lambda data: str(data).encode())
        loads = staticmethod(bytes.decode)

    settings.CACHEOPS_SERIALIZER = Plain if serializer == "plain" else serializer
    env = environment(autoescape=True)
    source = "{% cached 60 %}<b>{{ text }}{{ safe }}</b>  <i>{{ n() }}</i>{% endcached %}"
    escaped = "<b>&lt;&amp;<br></b> <i>1</i>"
    for _ in range(2):
        assert rendered(source, env, n=n, text="<&", safe=Markup("<br>")) == escaped
    for form in (
        "{% set x %}" + source + "{% endset %}{{ x }}",
        "{% macro m() %}" + source + "{% endmacro %}{{ m() }}",
    ):
        first = rendered(form, env, n=n, text="<&", safe=Markup("<br>"))
        assert first.startswith("<b>&lt;&amp;<br></b>")
        assert rendered(form, env, n=n, text="<&", safe=Markup("<br>")) == first


def test_in_environments_of_native_types_a_fragment_is_what_its_body_is(n):
    """A value, or markup."""
    for _ in range(2):
        assert rendered("{% cached 60 %}{{ n() }}{% endcached %}", environment(kind=NativeEnvironment), n=n) == 1
        env = environment(kind=NativeEnvironment, autoescape=True)
        assert isinstance(rendered("{% cached 60 %}<a>  <b>{% endcached %}", env), Markup)


def test_escaped_and_unescaped_fragments_do_not_meet():
    """Of two environments, or of a block in which escaping is turned off."""
    templates = {"page": "{% cached 60 %}{{ x }}{% endcached %}"}
    for _ in range(2):
        for autoescape, text in ((False, "<"), (True, "&lt;")):
            assert environment(templates, autoescape=autoescape).get_template("page").render(x="<") == text
    off = "{% autoescape escape %}{% cached 60 %}{{ x }}{% endcached %}{% endautoescape %}"
    env = environment(autoescape=True)
    assert [rendered(off, env, x="<", escape=escape) for escape in (True, False, True)] == ["&lt;", "<", "&lt;"]


TEMPLATES_OF_ALL_KINDS = {
    "macros": "{% macro card(x) %}{% cached 60, extra=x %}{{ x }}{{ n() }}{% endcached %}{% endmacro %}",
    "item": "{{ x }}{{ n() }};",
    "base": "{% block body %}{% endblock %}",
    "import": "{% from 'macros' import card with context %}{{ card(1) }} {{ card(2) }} {{ card(1) }}",
    "call": "{% macro box() %}[{{ caller() }}]{% endmacro %}"
    "{% cached 60 %}{% call box() %}{{ n() }}{% endcall %}{% endcached %}",
    "loop": "{% for x in 'aba' %}{% cached 60, extra=x %}{{ loop.index }}{{ x }}{{ n() }};{% endcached %}{% endfor %}",
    "include": "{% set x = 5 %}{% cached 60 %}{% include 'item' %}{% endcached %}",
    "child": "{% extends 'base' %}{% block body %}{{ super() }}{% cached 60 %}{{ n() }}{% endcached %}{% endblock %}",
    "block": "{% cached 60 %}{% block inner %}{{ n() }}{% endblock %}{% endcached %}",
    "nested": "{% cached 60 %}{{ n() }}{% cached 60 %}{{ n() }}{% endcached %}{% endcached %}",
    "scope": "{% set y = 1 %}{% cached 60 %}{% set y = 2 %}{{ y }}{% endcached %}{{ y }}",
    "control": "<  {%- cached 60 -%}  {{ n() }}  {%- endcached -%}  >",
    "names": "{% set cached = 5 %}{% for cached_as in [cached] %}{{ cached_as }}{% endfor %}"
    "{% raw %}{% cached %}{% endraw %}{# {% cached %} #}{{ '{% cached 60 %}' }}",
}
EXPECTED = {
    "import": "11 22 11",
    "call": "[1]",
    "loop": "1a1;2b2;1a1;",
    "include": "51;",
    "child": "1",
    "block": "1",
    "nested": "12",
    "scope": "21",
    "control": "<1>",
    "names": "5{% cached %}{% cached 60 %}",
}


@pytest.mark.parametrize("kind", [Environment, SandboxedEnvironment])
@pytest.mark.parametrize("name", EXPECTED)
def test_fragments_may_be_anywhere(n, name, kind):
    """In macros, loops, includes, blocks and fragments."""
    template = environment(TEMPLATES_OF_ALL_KINDS, kind).get_template(name)
    assert [template.render(n=n), template.render(n=n)] == [EXPECTED[name]] * 2


@pytest.mark.parametrize("name", EXPECTED)
def test_in_asynchronous_environments_too(n, name):
    """The same, when rendered in a task and when not."""
    template = environment(TEMPLATES_OF_ALL_KINDS, enable_async=True).get_template(name)

    async def twice():
        return [await template.render_async(n=n), await template.render_async(n=n)]

    assert run_async(twice()) == [EXPECTED[name]] * 2
    assert template.render(n=n) == EXPECTED[name]


def test_asynchronous_fragments_fall_like_their_querysets():
    """What is read within them is awaited."""
    source = "{% cached_as labels %}{% for label in labels %}{{ label.text }}{{ n() }} {% endfor %}{% endcached_as %}"
    template = environment(enable_async=True).from_string(source)

    async def story():
        counted = count(1)
        seen = []
        for text in "xy":
            await Label.objects.acreate(text=text)
            for _ in range(2):
                labels = Label.objects.order_by("text")
                seen.append(await template.render_async(labels=labels, n=lambda: asyncio.sleep(0, next(counted))))
        await sync_to_async(connections.close_all)()
        return seen

    assert run_async(story()) == ["x1 ", "x1 ", "x2 y3 ", "x2 y3 "]


def test_line_statements_are_tags_too(n):
    """Where an environment has them."""
    env = environment(line_statement_prefix="%")
    for _ in range(2):
        assert rendered("% cached 60\n{{ n() }}\n% endcached\n", env, n=n).strip() == "1"


def test_in_a_transaction_with_changes_fragments_like_querysets_are_not_cached(n):
    """Neither read nor kept."""
    source = "{% cached_as labels %}{{ n() }}{% endcached_as %}"
    assert rendered(source, n=n, labels=Label.objects.all()) == "1"
    with transaction.atomic():
        Product.objects.create(sku="x")
        assert rendered(source, n=n, labels=Label.objects.all()) == "2"
        transaction.set_rollback(True)
    assert rendered(source, n=n, labels=Label.objects.all()) == "1"


def test_a_fragment_whose_body_fails_is_not_cached():
    """The error comes out each time, until there is none."""
    source = "{% cached 60 %}{{ 1 // x }}{% endcached %}"
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            rendered(source, x=0)
    assert rendered(source, x=1) == "1"


def test_without_the_cache_tags_give_the_same(n, settings):
    """Anew each time."""
    source = "<a>  <b>{% cached 60 %}<a>  <b>{{ n() }}{% endcached %}"
    assert rendered(source, n=n) == "<a>  <b><a> <b>1"
    settings.CACHEOPS_ENABLED = False
    assert rendered(source, n=n) == "<a>  <b><a> <b>2"
    settings.CACHEOPS_KEEP_WHITESPACE = "all"
    assert rendered(source, n=n) == "<a>  <b><a>  <b>3"


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ("cached_as", "{% cached_as %} needs at least one queryset"),
        ("cached_as timeout=5", "{% cached_as %} needs at least one queryset"),
        ("cached timeout=60, 'x'", "{% cached %} has a positional argument after a keyword argument"),
        ("cached 60 extra=5", "expected token ','"),
    ],
)
def test_wrong_arguments_are_errors_of_the_template(tag, message):
    """When it is compiled, with the line."""
    with pytest.raises(TemplateSyntaxError) as error:
        environment().from_string(f"\n{{% {tag} %}}{{% end{tag.split()[0]} %}}")
    assert message in str(error.value)
    assert error.value.lineno == 2


@pytest.mark.parametrize(
    ("tag", "error", "message"),
    [
        ("cached '60'", TypeError, "{% cached %} has timeout '60'"),
        ("cached missing", TypeError, "{% cached %} has timeout Undefined"),
        ("cached -1", ValueError, "{% cached %} has timeout -1"),
        ("cached nonsense=5", TypeError, "unexpected keyword argument 'nonsense'"),
        ("cached position=5", TypeError, "passed as keyword arguments: 'position'"),
        ("cached_as labels, timeout='60'", ImproperlyConfigured, "{% cached_as %} has timeout '60'"),
        ("cached_as missing", TypeError, "needs querysets"),
        ("cached_as unwatched", ImproperlyConfigured, "shop.unwatched"),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
def test_wrong_values_are_clear_errors(tag, error, message, is_async):
    """When rendered."""
    source = f"{{% {tag} %}}{{% end{tag.split()[0]} %}}"
    with pytest.raises(error) as raised:
        rendered(source, environment(enable_async=is_async), labels=Label, unwatched=Unwatched)
    assert message in str(raised.value)


@override_settings(ROOT_URLCONF=__name__, TEMPLATES=TEMPLATES, MIDDLEWARE=[])
def test_pages_of_djangos_backend_are_fresh(n):
    """With inheritance and includes, escaped once."""
    get = lambda: Client().get("/page/").content.decode()
    assert get() == ""
    Label.objects.create(text="<b>")
    for _ in range(2):
        assert get() == "<li>&lt;b&gt;</li>"
        Ticket.objects.create(subject="x")
    Label.objects.create(text="c")
    assert get() == "<li>&lt;b&gt;</li><li>c</li>"
    template = engines["jinja2"].from_string("{% cached 60 %}{{ x }}{{ n() }}{% endcached %}")
    assert [template.render({"x": "<", "n": n}) for _ in range(2)] == ["&lt;1", "&lt;1"]


def test_only_the_extension_needs_jinja2():
    """All else is imported without it."""
    import subprocess
    import sys

    code = "import sys, cacheops_lite, cacheops_lite.templatetags.cacheops; print('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
