"""Tags that cache fragments of templates, and the means to make more of them: ``{% load cacheops %}``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import Signature, signature
from typing import Any, TypeAlias

from django.template import Context, Library, Node, NodeList, TemplateSyntaxError
from django.template.base import FilterExpression, Parser, Token, token_kwargs
from django.utils.functional import Promise
from django.utils.safestring import SafeString

from ..conf import parse_timeout, settings
from ..functions import Function, checked_timeout, decorators, redis_cache
from ..utils import collapse_whitespace

__all__ = ["CacheopsLibrary", "invalidate_fragment"]


Arguments: TypeAlias = tuple[list[FilterExpression], dict[str, FilterExpression]]


class CacheopsLibrary(Library):
    """A library of template tags that may have block tags which cache what they enclose."""

    def decorator_tag(self, func: Any = None, takes_context: bool = False) -> Any:
        """Make a block tag of a function that returns a decorator, with or without parentheses.

        The tag is named like the function, and its arguments are the function's, after the context if it
        `takes_context`.  What it encloses is rendered by a function without arguments, and the tag gives what that
        function returns when decorated.  For ``cached`` and ``cached_as`` this function is told from others by the name
        of the tag alone: whatever else a fragment depends on should be in their ``extra``.
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
    """Compiled arguments of a tag.  Raises TemplateSyntaxError for those that its function does not take."""
    args: list[FilterExpression] = []
    kwargs: dict[str, FilterExpression] = {}
    tag, *bits = token.split_contents()
    for bit in bits:
        named = token_kwargs([bit], parser)
        if named.keys() & kwargs.keys():
            raise TemplateSyntaxError(f"{{% {tag} %}} has two values for {', '.join(named)}")
        if kwargs and not named:
            raise TemplateSyntaxError(f"{{% {tag} %}} has the positional argument {bit} after one with a name")
        kwargs |= named
        args += [] if named else [parser.compile_filter(bit)]
    try:
        called.bind(*[None] * takes_context, *args, **kwargs)
    except TypeError as error:
        raise TemplateSyntaxError(f"{{% {tag} %}}: {error}") from error
    return args, kwargs


class FragmentNode(Node):
    """What a tag encloses, rendered through the decorator that its function returns."""

    def __init__(self, func: Function, takes_context: bool, arguments: Arguments, nodelist: NodeList):
        self.func, self.takes_context, self.nodelist = func, takes_context, nodelist
        self.args, self.kwargs = arguments

    def render(self, context: Context) -> SafeString:
        args = [context] if self.takes_context else []
        args += [value.resolve(context) for value in self.args]
        kwargs = {name: value.resolve(context) for name, value in self.kwargs.items()}
        decorate = self.func(*args, **kwargs)
        # A serializer may make plain text of safe text.
        return SafeString(decorate(_fragment(self.func, lambda: self.nodelist.render(context)))())


def _fragment(tag: Function, render: Callable[[], str]) -> Callable[[], SafeString]:
    def fragment() -> SafeString:
        return SafeString(collapse_whitespace(render(), settings.CACHEOPS_KEEP_WHITESPACE))

    # What names it in keys and in the log.
    fragment.__module__, fragment.__qualname__ = tag.__module__, f"{{% {tag.__name__} %}}"
    return fragment


register = CacheopsLibrary()


@register.decorator_tag
def cached(timeout: Any, fragment_name: Any, *extra: Any) -> Any:
    """Cache what the tag encloses for `timeout` seconds, with None until it is invalidated.

    All of that name and `extra` are one, whatever template they are in.  Language and time zone are not part of the
    key: put them in `extra`.
    """
    return redis_cache.cached(checked_timeout(timeout, "{% cached %}"), extra=_name(fragment_name, *extra))


@register.decorator_tag
def cached_as(queryset: Any, timeout: Any, fragment_name: Any, *extra: Any) -> Any:
    """Cache what the tag encloses and invalidate it like `queryset`, with a `timeout` of None for the model's own.

    All of that name, `extra` and queryset are one, whatever template they are in.  Language and time zone are not part
    of the key: put them in `extra`.
    """
    if timeout is not None:
        parse_timeout(timeout, "{% cached_as %}")
    return decorators.cached_as(queryset, timeout=timeout, extra=_name(fragment_name, *extra))


def invalidate_fragment(fragment_name: Any, *extra: Any) -> None:
    """Forget what ``{% cached %}`` keeps under that name and `extra`."""
    cached(None, fragment_name, *extra)(_fragment(cached, str)).invalidate()


def _name(*parts: Any) -> tuple[Any, ...]:
    return tuple(_plain(part) if isinstance(part, (str, Promise)) else part for part in parts)


def _plain(text: Any) -> str:
    # A literal in a template is safe text, which is told from the plain text that it equals, as lazy text is.
    return str.__str__(text if issubclass(type(text), str) else str(text))
