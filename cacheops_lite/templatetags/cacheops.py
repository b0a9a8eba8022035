"""Template tags that cache fragments, and a library class to define more of them: ``{% load cacheops %}``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import Signature, signature
from typing import Any, TypeAlias, TypeVar, overload

from django.template import Context, Library, Node, NodeList, TemplateSyntaxError
from django.template.base import FilterExpression, Parser, Token, token_kwargs
from django.utils.functional import Promise
from django.utils.safestring import SafeString

from ..conf import parse_timeout, settings
from ..functions import Function, checked_timeout, decorators, redis_cache
from ..utils import collapse_whitespace

__all__ = ["CacheopsLibrary", "invalidate_fragment"]


F = TypeVar("F", bound=Callable[..., Any])
Arguments: TypeAlias = tuple[list[FilterExpression], dict[str, FilterExpression]]


class CacheopsLibrary(Library):
    """A library of template tags with `decorator_tag`, which defines block tags that cache their content."""

    @overload
    def decorator_tag(self, func: F, takes_context: bool = False) -> F: ...
    @overload
    def decorator_tag(self, func: None = None, takes_context: bool = False) -> Callable[[F], F]: ...
    def decorator_tag(self, func: Any = None, takes_context: bool = False) -> Any:
        """Register a function that returns a decorator as a block tag.  Usable with or without parentheses.

        The tag has the name and the arguments of the function, which gets the context first if it `takes_context`.  The
        decorator is applied to a function without arguments that renders the content of the tag; the tag renders as the
        result.  ``cached`` and ``cached_as`` identify that function by the name of the tag alone, so pass everything
        else that a fragment depends on as their ``extra``.
        """
        if func is None:
            return partial(self.decorator_tag, takes_context=takes_context)
        name, called = func.__name__, signature(func)

        def compile_tag(parser: Parser, token: Token) -> Node:
            arguments = _arguments(parser, token, called, takes_context)
            nodes = parser.parse([f"end{name}"])
            parser.delete_first_token()
            return FragmentNode(func, takes_context, arguments, nodes)

        self.tag(name, compile_tag)
        return func


def _arguments(parser: Parser, token: Token, called: Signature, takes_context: bool) -> Arguments:
    """Return the compiled arguments of a tag.  Raises TemplateSyntaxError if its function does not accept them."""
    args: list[FilterExpression] = []
    kwargs: dict[str, FilterExpression] = {}
    tag, *bits = token.split_contents()
    for bit in bits:
        named = token_kwargs([bit], parser)
        if named.keys() & kwargs.keys():
            raise TemplateSyntaxError(f"{{% {tag} %}} has two values for {', '.join(named)}")
        if kwargs and not named:
            raise TemplateSyntaxError(f"{{% {tag} %}} has the positional argument {bit} after a keyword argument")
        kwargs |= named
        args += [] if named else [parser.compile_filter(bit)]
    try:
        called.bind(*[None] * takes_context, *args, **kwargs)
    except TypeError as error:
        raise TemplateSyntaxError(f"{{% {tag} %}}: {error}") from error
    return args, kwargs


class FragmentNode(Node):
    """The content of a tag, rendered through the decorator that the tag's function returns."""

    def __init__(self, func: Function, takes_context: bool, arguments: Arguments, nodelist: NodeList):
        self.func, self.takes_context, self.nodelist = func, takes_context, nodelist
        self.args, self.kwargs = arguments

    def render(self, context: Context) -> SafeString:
        args = [context] if self.takes_context else []
        args += [value.resolve(context) for value in self.args]
        kwargs = {name: value.resolve(context) for name, value in self.kwargs.items()}
        decorate = self.func(*args, **kwargs)
        # A serializer may return plain text for safe text.
        return SafeString(decorate(_fragment_function(self.func, lambda: self.nodelist.render(context)))())


def _fragment_function(tag: Function, render: Callable[[], str]) -> Callable[[], SafeString]:
    def fragment() -> SafeString:
        return SafeString(collapse_whitespace(render(), settings.CACHEOPS_KEEP_WHITESPACE))

    # Keys and log messages identify the function by these.
    fragment.__module__, fragment.__qualname__ = tag.__module__, f"{{% {tag.__name__} %}}"
    return fragment


register = CacheopsLibrary()


@register.decorator_tag
def cached(timeout: Any, fragment_name: Any, *extra: Any) -> Any:
    """Cache the content of the tag for `timeout` seconds, or with None for those of ``CACHEOPS_SIMPLE_TIMEOUT``.

    Fragments with the same name and `extra` are the same fragment, also in different templates.  Language and time zone
    are not part of the key: put them in `extra`.
    """
    return redis_cache.cached(checked_timeout(timeout, "{% cached %}"), extra=_plain_texts(fragment_name, *extra))


@register.decorator_tag
def cached_as(queryset: Any, timeout: Any, fragment_name: Any, *extra: Any) -> Any:
    """Cache the content of the tag for `timeout` seconds, and invalidate it like `queryset`.

    A `timeout` of None stands for that of the model's profile.  Fragments with the same name, `extra` and queryset are
    the same fragment, also in different templates.  Language and time zone are not part of the key: put them in
    `extra`.
    """
    if timeout is not None:
        parse_timeout(timeout, "{% cached_as %}")
    return decorators.cached_as(queryset, timeout=timeout, extra=_plain_texts(fragment_name, *extra))


def invalidate_fragment(fragment_name: Any, *extra: Any) -> None:
    """Invalidate the fragment of ``{% cached %}`` with this name and `extra`."""
    cached(None, fragment_name, *extra)(_fragment_function(cached, str)).invalidate()


def _plain_texts(*parts: Any) -> tuple[Any, ...]:
    return tuple(_plain_text(part) if isinstance(part, (str, Promise)) else part for part in parts)


def _plain_text(text: Any) -> str:
    # Literals in templates are safe text, and translations may be lazy text.  Keys would distinguish these types from
    # plain text, so that invalidate_fragment() would not find the fragment.
    return str.__str__(text if issubclass(type(text), str) else str(text))
