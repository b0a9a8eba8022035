"""The extension for Jinja2 environments: ``{% cached %}`` and ``{% cached_as %}``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from jinja2 import Undefined, nodes, pass_eval_context
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from jinja2.nodes import EvalContext
from jinja2.parser import Parser

from .conf import parse_timeout, settings
from .functions import Function, checked_timeout, decorators, redis_cache
from .store import digest
from .utils import collapse_whitespace

__all__ = ["cache"]


class CacheopsExtension(Extension):
    """``{% cached [timeout] [, extra] %}`` and ``{% cached_as <sample>, ... [, timeout=...] [, extra=...] %}``.

    They work like the decorators.  A fragment is told from others by the name and the text of its template, its place
    there, whether text is escaped, and `extra`.  Language and time zone are not part of the key: put them in `extra`.
    """

    tags = {"cached", "cached_as"}

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        """Put the place of each tag after its name, as a string: `parse` can't know the text of the template.

        The name of a template does not tell it from others: templates made of strings have none.
        """
        tokens = list(stream)
        places = [
            index
            for index, (before, token) in enumerate(pairwise(tokens), 1)
            if before.type == "block_begin" and token.type == "name" and token.value in self.tags
        ]
        text = digest(*(f"{token.type}:{token.value}" for token in tokens)) if places else ""
        ordinals = {index: ordinal for ordinal, index in enumerate(places)}
        for index, token in enumerate(tokens):
            yield token
            if index in ordinals:
                yield Token(token.lineno, "string", f"{text}:{ordinals[index]}")

    def parse(self, parser: Parser) -> nodes.Node:
        tag = next(parser.stream)
        place = parser.name, tag.lineno, parser.stream.expect("string").value
        args, kwargs = _arguments(parser, tag.value)
        if tag.value == "cached_as" and not args:
            parser.fail("{% cached_as %} needs a queryset, a model or an object to cache like", tag.lineno)
        call = self.call_method("_render", [nodes.Const(tag.value), nodes.Const(place), *args], kwargs)
        body = parser.parse_statements((f"name:end{tag.value}",), drop_needle=True)
        return nodes.CallBlock(call, [], [], body).set_lineno(tag.lineno)

    @pass_eval_context
    def _render(
        self, context: EvalContext, tag: str, place: tuple[Any, ...], /, *args: Any, caller: Function, **kwargs: Any
    ) -> Any:
        decorate = DECORATORS[tag]((*place, bool(context.autoescape)), *args, **kwargs)

        def fragment() -> Any:
            return _tidied(caller())

        async def async_fragment() -> Any:
            return _tidied(await caller())

        return decorate(async_fragment if self.environment.is_async else fragment)()


cache = CacheopsExtension


def _arguments(parser: Parser, tag: str) -> tuple[list[nodes.Expr], list[nodes.Keyword]]:
    args: list[nodes.Expr] = []
    kwargs: list[nodes.Keyword] = []
    stream = parser.stream
    while stream.current.type != "block_end":
        if args or kwargs:
            stream.expect("comma")
        line = stream.current.lineno
        if stream.current.type == "name" and stream.look().type == "assign":
            name = next(stream).value
            next(stream)
            kwargs.append(nodes.Keyword(name, parser.parse_expression(), lineno=line))
        elif kwargs:
            parser.fail(f"{{% {tag} %}} has a positional argument after one with a name", line)
        else:
            args.append(parser.parse_expression())
    return args, kwargs


def _cached(place: Any, /, timeout: Any = None, extra: Any = None) -> Any:
    return redis_cache.cached(checked_timeout(timeout, "{% cached %}"), extra=(place, _said(extra)))


def _cached_as(place: Any, /, *samples: Any, timeout: Any = None, extra: Any = None, **options: Any) -> Any:
    if timeout is not None:
        parse_timeout(timeout, "{% cached_as %}")
    return decorators.cached_as(*samples, timeout=timeout, extra=(place, _said(extra)), **options)


DECORATORS = {"cached": _cached, "cached_as": _cached_as}


def _said(extra: Any) -> Any:
    # An undefined variable can be called, to fail; as text it is what the environment makes of it.
    if isinstance(extra, Undefined):
        return str(extra)
    return extra() if callable(extra) else extra


def _tidied(body: Any) -> Any:
    # In environments of native types it may be anything.
    if not isinstance(body, str):
        return body
    return type(body)(collapse_whitespace(body, settings.CACHEOPS_KEEP_WHITESPACE))
