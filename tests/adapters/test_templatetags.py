"""Template tags: fragments that are cached for a time or until their querysets change, and custom tags."""

from functools import wraps
from itertools import count

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.shortcuts import render
from django.template import Context, Engine, TemplateSyntaxError
from django.test import Client, override_settings
from django.urls import path
from django.utils.functional import SimpleLazyObject, lazystr
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy

from cacheops_lite import CacheopsLibrary, cached, cached_as, file_cache, invalidate_fragment
from tests.shop.models import Label, Product, Ticket, Unwatched

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("store")]

register = CacheopsLibrary()
LIBRARIES = {"cacheops": "cacheops_lite.templatetags.cacheops", "mine": __name__}
SOURCES = {
    "base.html": "{% load cacheops %}{% cached 60 'head' %}{{ number }}{% endcached %} {% block body %}{% endblock %}",
    "page.html": """{% extends 'base.html' %}{% load cacheops %}{% block body %}{% cached_as labels None 'labels' %}<ul>

        {% for label in labels %}{% include 'item.html' %}{% endfor %}</ul>{% endcached_as %}{% endblock %}""",
    "item.html": "<li>{{ label.text }}</li>",
}
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {"loaders": [("django.template.loaders.locmem.Loader", SOURCES)]},
    }
]
numbers = count(1)


def page(request):
    return render(request, "page.html", {"labels": Label.objects.order_by("text"), "number": next(numbers)})


urlpatterns = [path("page/", page)]


@register.decorator_tag
def short(name="nobody"):
    return cached(timeout=60, extra=name)


@register.decorator_tag()
def other(name):
    return cached(timeout=60, extra=name)


@register.decorator_tag(takes_context=True)
def for_visitors(context, name, *, timeout=60):
    if context.get("staff"):
        return lambda func: func
    return cached_as(Label, timeout=timeout, extra=name)


def logged(func):
    @wraps(func)
    def wrapper(*args, **kwargs):
        return func(*args, **kwargs)

    return wrapper


@register.decorator_tag
@logged
def wrapped(name, *extra):
    return cached(timeout=60, extra=(name, extra))


@register.decorator_tag
def titled(name):
    def decorate(func):
        return lambda: format_html("<h1>{}</h1>", func())

    return decorate


def render_template(template, **context):
    """Return the output of a template, in which ``{{ n }}`` is 1, 2, 3, ... at each rendering."""
    return Engine(libraries=LIBRARIES, builtins=list(LIBRARIES.values())).from_string(template).render(Context(context))


@pytest.fixture
def n():
    counted = count(1)
    return lambda: next(counted)


def test_a_fragment_is_cached_by_name(n):
    """It is the same in all templates and with any context."""
    assert render_template("<{% cached 60 'a' %}{{ n }}{{ x }}{% endcached %}>", n=n) == "<1>"
    assert render_template("{% cached 5 'a' %}else {{ n }}{% endcached %}", n=n, x=2) == "1"
    assert render_template("{% cached 60 'b' %}{{ n }}{% endcached %}", n=n) == "2"
    assert render_template("{% cached timeout=60 fragment_name='b' %}{{ n }}{% endcached %}", n=n) == "2"


def test_fragments_are_cached_by_extra(n):
    """`extra` is compared by value and type, not by its text."""

    def get(**context):
        return render_template("{% cached 60 'a' x y %}{{ n }}{% endcached %}", n=n, **context)

    seen = [get(x=1, y=2), get(x="1", y=2), get(x=12, y=""), get(x=True, y=2), get(x=None, y=2), get(x=1, y=2)]
    assert seen == ["1", "2", "3", "4", "5", "1"]
    assert render_template("{% cached 60 'a' 1 2 %}{{ n }}{% endcached %}", n=n) == "1"


def test_invalidating_a_fragment_invalidates_no_other(n):
    """Fragments are identified by name and extra."""
    label = Label.objects.create(text="x")

    def get():
        parts = ("'a'", "'a' 1", "'a' '1'", "'a' label", "'b'")
        return [
            render_template(
                f"{{% cached 60 {part} %}}{{{{ n }}}}{{% endcached %}}", n=n, label=SimpleLazyObject(lambda: label)
            )
            for part in parts
        ]

    assert get() == get() == ["1", "2", "3", "4", "5"]
    invalidate_fragment("a")
    assert get() == ["6", "2", "3", "4", "5"]
    invalidate_fragment("a", 1)
    assert get() == ["6", "7", "3", "4", "5"]
    invalidate_fragment("a", "1")
    invalidate_fragment("a", label)
    assert get() == ["6", "7", "8", "9", "5"]


@pytest.mark.parametrize(
    "name",
    [
        mark_safe("Name"),
        gettext_lazy("Name"),
        lazystr(mark_safe("Name")),
        SimpleLazyObject(lambda: "Name"),
        type("Text", (str,), {})("Name"),
    ],
)
def test_safe_and_lazy_text_equal_plain_text_in_keys(n, name):
    """This applies to name and extra, in the tags and in the call."""
    template = "{% cached 60 name name %}{{ n }}{% endcached %}"
    assert render_template(template, n=n, name="Name") == render_template(template, n=n, name=name) == "1"
    invalidate_fragment(name, name)
    assert render_template(template, n=n, name="Name") == "2"
    invalidate_fragment("Name", "Name")
    assert render_template(template, n=n, name=name) == "3"
    template = "{% cached_as labels None name %}{{ n }}{% endcached_as %}"
    assert render_template(template, n=n, name="Name", labels=Label.objects.all()) == "4"
    assert render_template(template, n=n, name=name, labels=Label.objects.all()) == "4"


def test_a_fragment_is_invalidated_by_changes_of_its_queryset(n):
    """No other change invalidates it."""

    def get(queryset, timeout=None):
        template = "{% cached_as queryset timeout 'a' %}{{ n }}{% endcached_as %}"
        return render_template(template, n=n, queryset=queryset, timeout=timeout)

    xs, ys = Label.objects.filter(pk=10001), Label.objects.filter(pk=10002)
    assert (get(xs), get(ys), get(xs), get(ys)) == ("1", "2", "1", "2")
    Label.objects.create(pk=10001, text="x")
    assert (get(xs), get(ys), get(ys, timeout=5)) == ("3", "2", "2")
    named = "{% cached_as queryset fragment_name='a' timeout=60 %}{{ n }}{% endcached_as %}"
    assert render_template(named, n=n, queryset=ys) == "2"
    extra = "{% cached_as queryset None 'a' 1 %}{{ n }}{% endcached_as %}"
    assert (render_template(extra, n=n, queryset=ys), render_template(extra, n=n, queryset=ys)) == ("4", "4")


def test_the_timeout_is_that_of_the_tag_or_of_the_profile(n, store):
    """It is in seconds; with None, `cached` keeps a fragment until it is invalidated."""
    ttls = []
    for tag in ("cached_as labels None", "cached_as labels 50", "cached 40", "cached None"):
        store.flushdb()
        render_template(f"{{% {tag} 'a' %}}{{% end{tag.split()[0]} %}}", labels=Label.objects.all())
        (key,) = store.keys("*cacheops:v:*") + store.keys("*cacheops:s:*")
        ttls.append(store.ttl(key))
    assert [-(-ttl // 10) * 10 if ttl > 0 else ttl for ttl in ttls] == [600, 50, 40, -1]


def test_cached_and_cached_as_with_the_same_name_have_different_keys(n):
    """`invalidate_fragment` invalidates only the former."""
    template = "{% cached 60 'a' %}{{ n }}{% endcached %} {% cached_as labels 60 'a' %}{{ n }}{% endcached_as %}"
    assert render_template(template, n=n, labels=Label.objects.all()) == "1 2"
    invalidate_fragment("a")
    assert render_template(template, n=n, labels=Label.objects.all()) == "3 2"


def test_fragments_of_querysets_bypass_the_cache_in_a_transaction_that_has_written(n):
    """They are neither read from the cache nor stored."""
    template = "{% cached_as labels None 'a' %}{{ n }}{% endcached_as %}"
    assert render_template(template, n=n, labels=Label.objects.all()) == "1"
    with transaction.atomic():
        assert render_template(template, n=n, labels=Label.objects.all()) == "1"
        Product.objects.create(sku="x")
        assert render_template(template, n=n, labels=Label.objects.all()) == "2"
        transaction.set_rollback(True)
    assert render_template(template, n=n, labels=Label.objects.all()) == "1"


def test_fragments_may_be_nested(n):
    """Each is cached by itself."""
    template = "{% cached 60 'a' %}{{ n }}{% cached 60 'b' %}{{ n }}{% endcached %}{% endcached %}"
    assert render_template(template, n=n) == render_template(template, n=n) == "12"
    invalidate_fragment("a")
    assert render_template(template, n=n) == "32"


def test_a_fragment_in_a_loop_is_cached_by_extra(n):
    """Without extra it would be the same in all iterations."""
    template = "{% for x in xs %}{% cached 60 'a' x %}{{ x }}:{{ n }} {% endcached %}{% endfor %}"
    assert render_template(template, n=n, xs="aba") == render_template(template, n=n, xs="aba") == "a:1 b:2 a:1 "


@pytest.mark.parametrize("serializer", ["pickle", "json"])
def test_a_fragment_is_safe_text_and_its_variables_are_escaped_once(n, serializer):
    """This applies to misses and hits, also if the serializer loses the type of safe text."""
    template = "{% cached 60 'a' %}<b>{{ text }}{{ n }}</b>{% endcached %}"

    class Json:
        dumps = staticmethod(lambda data: b"J" + str(data).encode())
        loads = staticmethod(lambda data: data[1:].decode())

    with override_settings(CACHEOPS_SERIALIZER=Json if serializer == "json" else serializer):
        for _ in range(2):
            text = render_template(template, n=n, text="<&>")
            assert text == "<b>&lt;&amp;&gt;1</b>"
            filtered = render_template("{% filter upper %}" + template + "{% endfilter %}", n=n)
            assert filtered.startswith("<B>")
        node = Engine(builtins=list(LIBRARIES.values())).from_string(template).nodelist[0]
        assert isinstance(node.render(Context()), SafeString)


def test_a_fragment_that_raises_is_not_cached():
    """The error is raised at each rendering until the body succeeds."""

    def fail():
        raise ZeroDivisionError

    for tag in ("cached 60 'a'", "cached_as labels 60 'a'"):
        template = f"{{% {tag} %}}{{{{ x }}}}{{% end{tag.split()[0]} %}}"
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                render_template(template, x=fail, labels=Label.objects.all())
        assert render_template(template, x=5, labels=Label.objects.all()) == "5"


def test_with_a_disabled_cache_tags_render_their_body(n, settings):
    template = "{% cached 60 'a' %}<a>  <b>{{ n }}{% endcached %}"
    assert render_template(template, n=n) == "<a> <b>1"
    settings.CACHEOPS_ENABLED = False
    assert render_template(template, n=n) == "<a> <b>2"


def test_whitespace_between_tags_collapses_only_in_fragments(settings):
    """The setting applies to misses and hits."""
    template = "<a>  <b>{% cached 60 name %}<a>  <b>\n\n<pre>  <b>  </b></pre>{% endcached %}"
    for _ in range(2):
        assert render_template(template, name="a") == "<a>  <b><a> <b>\n<pre>  <b>  </b></pre>"
    settings.CACHEOPS_KEEP_WHITESPACE = "all"
    assert render_template(template, name="b") == "<a>  <b><a>  <b>\n\n<pre>  <b>  </b></pre>"
    settings.CACHEOPS_KEEP_WHITESPACE = ()
    assert render_template(template, name="c") == "<a>  <b><a> <b>\n<pre> <b> </b></pre>"


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ("cached", "{% cached %}: missing a required argument: 'timeout'"),
        ("cached 60", "{% cached %}: missing a required argument: 'fragment_name'"),
        ("cached_as labels 60", "{% cached_as %}: missing a required argument: 'fragment_name'"),
        ("cached timeout=60 'a'", "{% cached %} has the positional argument 'a' after a keyword argument"),
        ("cached timeout=60 timeout=5 'a'", "{% cached %} has two values for timeout"),
        ("cached 60 'a' timeout=5", "{% cached %}: multiple values for argument 'timeout'"),
        ("cached 60 'a' nonsense=5", "{% cached %}: got an unexpected keyword argument 'nonsense'"),
        ("for_visitors", "{% for_visitors %}: missing a required argument: 'name'"),
        ("for_visitors 'a' 'b'", "{% for_visitors %}: too many positional arguments"),
        ("for_visitors 'a' context=5", "{% for_visitors %}: multiple values for argument 'context'"),
    ],
)
def test_wrong_arguments_raise_template_syntax_errors(tag, message):
    """They are raised by compilation and have the name of the tag."""
    with pytest.raises(TemplateSyntaxError) as error:
        Engine(builtins=list(LIBRARIES.values())).from_string(f"{{% {tag} %}}{{% end{tag.split()[0]} %}}")
    assert message in str(error.value)


def test_an_unclosed_tag_raises_a_template_syntax_error():
    with pytest.raises(TemplateSyntaxError, match="endcached"):
        render_template("{% cached 60 'a' %}")


@pytest.mark.parametrize(
    ("tag", "error", "message"),
    [
        ("cached '60' 'a'", TypeError, "{% cached %} has timeout '60'"),
        ("cached missing 'a'", TypeError, "{% cached %} has timeout ''"),
        ("cached -1 'a'", ValueError, "{% cached %} has timeout -1"),
        ("cached_as labels '60' 'a'", ImproperlyConfigured, "{% cached_as %} has timeout '60'"),
        ("cached_as labels missing 'a'", ImproperlyConfigured, "{% cached_as %} has timeout ''"),
        ("cached_as missing None 'a'", TypeError, "needs querysets"),
        ("cached_as unwatched None 'a'", ImproperlyConfigured, "shop.unwatched"),
        ("cached 60 'a' unsaved", TypeError, "is not saved"),
    ],
)
def test_wrong_values_raise_errors_that_name_the_tag(tag, error, message):
    """They are raised by rendering, also with a disabled cache."""
    template = f"{{% {tag} %}}{{% end{tag.split()[0]} %}}"
    context = {"labels": Label.objects.all(), "unwatched": Unwatched.objects.all(), "unsaved": Label()}
    with pytest.raises(error) as raised:
        render_template(template, **context)
    assert message in str(raised.value)


def test_custom_tags_apply_the_returned_decorator(n):
    """They may have parentheses, arguments, the context or a wrapped function."""
    for _ in range(2):
        assert render_template("{% short %}{{ n }}{% endshort %}", n=n) == "1"
        assert render_template("{% short 'a' %}{{ n }}{% endshort %}", n=n) == "2"
        assert render_template("{% other name='a' %}{{ n }}{% endother %}", n=n) == "3"
        assert render_template("{% wrapped 'a' 1 %}{{ n }}{% endwrapped %}", n=n) == "4"
        assert render_template("{% for_visitors 'a' %}{{ n }}{% endfor_visitors %}", n=n) == "5"
        assert render_template("{% cached 60 'a' %}{{ n }}{% endcached %}", n=n) == "6"
    assert render_template("{% for_visitors 'a' timeout=5 %}{{ n }}{% endfor_visitors %}", n=n, staff=True) == "7"
    Label.objects.create(text="x")
    assert render_template("{% for_visitors 'a' timeout=5 %}{{ n }}{% endfor_visitors %}", n=n) == "8"
    assert render_template("{% titled 'a' %}<i>  <b>{{ x }}{% endtitled %}", x="<") == "<h1><i> <b>&lt;</h1>"


def test_custom_tags_may_use_any_cache(n, tmp_path):
    """An example is the file cache."""
    library = CacheopsLibrary()
    cache = type(file_cache)(tmp_path)

    @library.decorator_tag
    def filed(name):
        return cache.cached(timeout=60, extra=name)

    engine = Engine()
    engine.template_builtins.append(library)
    template = engine.from_string("{% filed 'a' %}{{ n }}{% endfiled %}")
    assert [template.render(Context({"n": n})) for _ in range(2)] == ["1", "1"]
    assert list(tmp_path.iterdir())


def test_a_decorated_tag_function_remains_callable():
    assert short("a")(lambda: 5)() == 5
    assert wrapped.__name__ == "wrapped"


def test_a_fragment_that_cannot_be_serialized_is_rendered_and_logged(n, caplog, settings):
    """The log names the tag."""

    class Failing:
        dumps = loads = staticmethod(lambda data: 1 / 0)

    settings.CACHEOPS_SERIALIZER = Failing
    assert render_template("{% cached 60 'a' %}{{ n }}{% endcached %}", n=n) == "1"
    assert "{% cached %}" in caplog.text


@override_settings(ROOT_URLCONF=__name__, TEMPLATES=TEMPLATES, MIDDLEWARE=[])
def test_pages_of_cached_fragments_are_never_stale():
    """They use views, inheritance and includes, and the tag library of the app."""
    get = lambda: Client().get("/page/").content.decode()
    head, body = get().split(maxsplit=1)
    assert body == "<ul>\n</ul>"
    label = Label.objects.create(text="<b>")
    fresh = f"{head} <ul>\n<li>&lt;b&gt;</li></ul>"
    assert get() == fresh
    Ticket.objects.create(subject="x")
    assert get() == fresh
    label.delete()
    assert get() == f"{head} {body}"
    invalidate_fragment("head")
    assert get().split()[0] != head
