"""The Jinja2 extension: fragments that are cached for a time or until their querysets change."""

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


def render_source(source, env=None, **context):
    return (env or environment()).from_string(source).render(context)


@pytest.fixture
def n():
    """A counter: ``{{ n() }}`` is 1, 2, 3, ... at each rendering."""
    counted = count(1)
    return lambda: next(counted)


@pytest.mark.parametrize(
    "arguments",
    ["", "60", "timeout=60", "60, 'x'", "60, extra='x'", "timeout=60, extra=('x', 5)", "extra=(1, [2, {'a': 3}])"],
)
def test_a_fragment_is_cached_by_time(n, arguments):
    """The tag takes positional and keyword arguments."""
    source = f"<{{% cached {arguments} %}}{{{{ n() }}}}{{% endcached %}}>"
    assert [render_source(source, n=n), render_source(source, n=n, other=5)] == ["<1>", "<1>"]


def test_the_timeout_is_that_of_the_tag_or_of_the_profile(n, store):
    """It is in seconds."""
    ttls = []
    for tag in ("cached_as labels", "cached_as labels, timeout=50", "cached 40", "cached"):
        store.flushdb()
        render_source(f"{{% {tag} %}}{{% end{tag.split()[0]} %}}", labels=Label.objects.all())
        (key,) = store.keys("*cacheops:v:*") + store.keys("*cacheops:s:*")
        ttls.append(store.ttl(key))
    assert [-(-ttl // 10) * 10 if ttl > 0 else ttl for ttl in ttls] == [600, 50, 40, -1]


def test_a_fragment_is_invalidated_by_changes_of_its_querysets(n):
    """A change of any of several samples counts."""
    source = "{% cached_as queryset, products, timeout=60, extra=5, lock=true %}{{ n() }}{% endcached_as %}"

    def get():
        return render_source(source, n=n, queryset=Label.objects.filter(pk=10001), products=Product)

    assert (get(), get()) == ("1", "1")
    Label.objects.create(pk=10002, text="y")
    assert get() == "1"
    Label.objects.create(pk=10001, text="x")
    assert get() == "2"
    Product.objects.create(sku="x")
    assert get() == "3"


def test_fragments_are_cached_by_extra(n):
    """`extra` is a value or the result of a callable, and is compared by value and type."""
    for tag in ("cached 60,", "cached_as labels,"):
        source = f"{{% {tag} extra=extra %}}{{{{ n() }}}}{{% end{tag.split()[0].strip(',')} %}}"
        extras = [1, "1", (1,), None, True, lambda: 2, lambda: 3]
        first = [render_source(source, n=n, extra=extra, labels=Label.objects.all()) for extra in extras]
        assert len(set(first)) == len(extras)
        assert [render_source(source, n=n, extra=extra, labels=Label.objects.all()) for extra in extras] == first


def test_a_callable_extra_is_called(n):
    """An example is the language, which is not a part of the key by itself."""
    source = "{% cached 60, extra=get_language %}{{ n() }}{% endcached %}"

    def get(language):
        with translation.override(language):
            return render_source(source, n=n, get_language=translation.get_language)

    assert [get("en"), get("de"), get("en")] == ["1", "2", "1"]


def test_the_environment_determines_the_meaning_of_an_undefined_extra(n):
    """It is an empty value or an error."""
    source = "{% cached 60, extra=nothing %}{{ n() }}{% endcached %}"
    assert render_source(source, n=n) == render_source(source, n=n, nothing="") == "1"
    with pytest.raises(UndefinedError, match="nothing"):
        render_source(source, environment(undefined=StrictUndefined), n=n)


def test_fragments_on_one_line_have_different_keys(n):
    """This applies even if their text is equal."""
    source = "{% cached 60 %}{{ n() }}{% endcached %}" * 2 + "{% cached_as labels %}{{ n() }}{% endcached_as %}" * 2
    for _ in range(2):
        assert render_source(source, n=n, labels=Label.objects.all()) == "1234"


def test_fragments_of_unnamed_templates_have_different_keys(n):
    """The key has the whole text of the template."""
    sources = ["{% cached 60 %}{{ n() }}{% endcached %}", "{% cached 60 %}a{{ n() }}{% endcached %}"]
    macros = "{{% macro m() %}}{}{{% endmacro %}}{{% cached 60 %}}{{{{ m() }}}}{{% endcached %}}"
    for _ in range(2):
        assert [render_source(source, n=n) for source in sources] == ["1", "a2"]
        assert [render_source(macros.format(text)) for text in "ab"] == ["a", "b"]


def test_fragments_of_templates_with_different_names_have_different_keys(n):
    """This applies even if their text is equal."""
    env = environment({"a": "{% cached 60 %}{{ n() }}{% endcached %}", "b": "{% cached 60 %}{{ n() }}{% endcached %}"})
    for _ in range(2):
        assert [env.get_template(name).render(n=n) for name in "ab"] == ["1", "2"]


def test_an_edited_template_is_a_miss(n):
    """This applies even if the tag stays in its place."""
    for text in "ab":
        env = environment({"page": "{% cached 60 %}" + text + "{% endcached %}"})
        assert env.get_template("page").render() == text


@pytest.mark.parametrize("serializer", ["pickle", "plain"])
def test_under_autoescape_a_fragment_is_escaped_once(n, serializer, settings):
    """This applies to misses and hits, also if the serializer turns markup into text."""

    class Plain:
        dumps = staticmethod(lambda data: str(data).encode())
        loads = staticmethod(bytes.decode)

    settings.CACHEOPS_SERIALIZER = Plain if serializer == "plain" else serializer
    env = environment(autoescape=True)
    source = "{% cached 60 %}<b>{{ text }}{{ safe }}</b>  <i>{{ n() }}</i>{% endcached %}"
    escaped = "<b>&lt;&amp;<br></b> <i>1</i>"
    for _ in range(2):
        assert render_source(source, env, n=n, text="<&", safe=Markup("<br>")) == escaped
    for form in (
        "{% set x %}" + source + "{% endset %}{{ x }}",
        "{% macro m() %}" + source + "{% endmacro %}{{ m() }}",
    ):
        first = render_source(form, env, n=n, text="<&", safe=Markup("<br>"))
        assert first.startswith("<b>&lt;&amp;<br></b>")
        assert render_source(form, env, n=n, text="<&", safe=Markup("<br>")) == first


def test_in_native_environments_a_fragment_has_the_type_of_its_body(n):
    """It is a value or markup."""
    for _ in range(2):
        assert render_source("{% cached 60 %}{{ n() }}{% endcached %}", environment(kind=NativeEnvironment), n=n) == 1
        env = environment(kind=NativeEnvironment, autoescape=True)
        assert isinstance(render_source("{% cached 60 %}<a>  <b>{% endcached %}", env), Markup)


def test_escaped_and_unescaped_fragments_have_different_keys():
    """They come from two environments, or from a block without escaping."""
    templates = {"page": "{% cached 60 %}{{ x }}{% endcached %}"}
    for _ in range(2):
        for autoescape, text in ((False, "<"), (True, "&lt;")):
            assert environment(templates, autoescape=autoescape).get_template("page").render(x="<") == text
    off = "{% autoescape escape %}{% cached 60 %}{{ x }}{% endcached %}{% endautoescape %}"
    env = environment(autoescape=True)
    assert [render_source(off, env, x="<", escape=escape) for escape in (True, False, True)] == ["&lt;", "<", "&lt;"]


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
def test_fragments_may_be_in_any_place_of_a_template(n, name, kind):
    """Places are macros, loops, includes, blocks and other fragments."""
    template = environment(TEMPLATES_OF_ALL_KINDS, kind).get_template(name)
    assert [template.render(n=n), template.render(n=n)] == [EXPECTED[name]] * 2


@pytest.mark.parametrize("name", EXPECTED)
def test_fragments_work_in_asynchronous_environments(n, name):
    """The output is the same with and without `render_async()`."""
    template = environment(TEMPLATES_OF_ALL_KINDS, enable_async=True).get_template(name)

    async def render_twice():
        return [await template.render_async(n=n), await template.render_async(n=n)]

    assert run_async(render_twice()) == [EXPECTED[name]] * 2
    assert template.render(n=n) == EXPECTED[name]


def test_asynchronous_fragments_are_invalidated_by_changes_of_their_querysets():
    """Awaitables within a fragment are awaited."""
    source = "{% cached_as labels %}{% for label in labels %}{{ label.text }}{{ n() }} {% endfor %}{% endcached_as %}"
    template = environment(enable_async=True).from_string(source)

    async def render_repeatedly():
        counted = count(1)
        seen = []
        for text in "xy":
            await Label.objects.acreate(text=text)
            for _ in range(2):
                labels = Label.objects.order_by("text")
                seen.append(await template.render_async(labels=labels, n=lambda: asyncio.sleep(0, next(counted))))
        await sync_to_async(connections.close_all)()
        return seen

    assert run_async(render_repeatedly()) == ["x1 ", "x1 ", "x2 y3 ", "x2 y3 "]


def test_line_statements_may_be_tags(n):
    """The environment must have a prefix for them."""
    env = environment(line_statement_prefix="%")
    for _ in range(2):
        assert render_source("% cached 60\n{{ n() }}\n% endcached\n", env, n=n).strip() == "1"


def test_fragments_of_querysets_bypass_the_cache_in_a_transaction_that_has_written(n):
    """They are neither read from the cache nor stored."""
    source = "{% cached_as labels %}{{ n() }}{% endcached_as %}"
    assert render_source(source, n=n, labels=Label.objects.all()) == "1"
    with transaction.atomic():
        Product.objects.create(sku="x")
        assert render_source(source, n=n, labels=Label.objects.all()) == "2"
        transaction.set_rollback(True)
    assert render_source(source, n=n, labels=Label.objects.all()) == "1"


def test_a_fragment_that_raises_is_not_cached():
    """The error is raised at each rendering until the body succeeds."""
    source = "{% cached 60 %}{{ 1 // x }}{% endcached %}"
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            render_source(source, x=0)
    assert render_source(source, x=1) == "1"


def test_with_a_disabled_cache_tags_render_their_body(n, settings):
    source = "<a>  <b>{% cached 60 %}<a>  <b>{{ n() }}{% endcached %}"
    assert render_source(source, n=n) == "<a>  <b><a> <b>1"
    settings.CACHEOPS_ENABLED = False
    assert render_source(source, n=n) == "<a>  <b><a> <b>2"
    settings.CACHEOPS_KEEP_WHITESPACE = "all"
    assert render_source(source, n=n) == "<a>  <b><a>  <b>3"


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ("cached_as", "{% cached_as %} needs at least one queryset"),
        ("cached_as timeout=5", "{% cached_as %} needs at least one queryset"),
        ("cached timeout=60, 'x'", "{% cached %} has a positional argument after a keyword argument"),
        ("cached 60 extra=5", "expected token ','"),
    ],
)
def test_wrong_arguments_raise_template_syntax_errors(tag, message):
    """They are raised by compilation and have the line."""
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
def test_wrong_values_raise_errors_that_name_the_tag(tag, error, message, is_async):
    """They are raised by rendering."""
    source = f"{{% {tag} %}}{{% end{tag.split()[0]} %}}"
    with pytest.raises(error) as raised:
        render_source(source, environment(enable_async=is_async), labels=Label, unwatched=Unwatched)
    assert message in str(raised.value)


@override_settings(ROOT_URLCONF=__name__, TEMPLATES=TEMPLATES, MIDDLEWARE=[])
def test_pages_of_django_s_backend_are_never_stale(n):
    """They use inheritance and includes, and are escaped once."""
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
    """All other modules are imported without it."""
    import subprocess
    import sys

    code = "import sys, cacheops_lite, cacheops_lite.templatetags.cacheops; print('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
