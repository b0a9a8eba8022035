"""The Jinja2 extension with the tags ``{% cached %}`` and ``{% cached_as %}``."""

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

    They work like the decorators.  The key of a fragment is made of the name and the text of its template, its position
    in the template, the autoescape mode, and `extra`.  Language and time zone are not part of it: put them in `extra`.
    """

    tags = {"cached", "cached_as"}

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        """Insert a string after the name of each tag: the digest of the template's text, and the tag's ordinal number.

        `parse` has no access to the text.  The name of the template does not identify it: templates made from strings
        have none.
        """
        tokens = list(stream)
        tag_indexes = [
            index
            for index, (before, token) in enumerate(pairwise(tokens), 1)
            if before.type == "block_begin" and token.type == "name" and token.value in self.tags
        ]
        text = digest(*(f"{token.type}:{token.value}" for token in tokens)) if tag_indexes else ""
        ordinals = {index: ordinal for ordinal, index in enumerate(tag_indexes)}
        for index, token in enumerate(tokens):
            yield token
            if index in ordinals:
                yield Token(token.lineno, "string", f"{text}:{ordinals[index]}")

    def parse(self, parser: Parser) -> nodes.Node:
        tag = next(parser.stream)
        position = parser.name, tag.lineno, parser.stream.expect("string").value
        args, kwargs = _arguments(parser, tag.value)
        if tag.value == "cached_as" and not args:
            parser.fail(
                "{% cached_as %} needs at least one queryset, model or instance whose changes invalidate the fragment",
                tag.lineno,
            )
        call = self.call_method("_render", [nodes.Const(tag.value), nodes.Const(position), *args], kwargs)
        body = parser.parse_statements((f"name:end{tag.value}",), drop_needle=True)
        return nodes.CallBlock(call, [], [], body).set_lineno(tag.lineno)

    @pass_eval_context
    def _render(
        self, context: EvalContext, tag: str, position: tuple[Any, ...], /, *args: Any, caller: Function, **kwargs: Any
    ) -> Any:
        decorate = DECORATORS[tag]((*position, bool(context.autoescape)), *args, **kwargs)

        def fragment() -> Any:
            return _without_whitespace(caller())

        async def async_fragment() -> Any:
            return _without_whitespace(await caller())

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
            parser.fail(f"{{% {tag} %}} has a positional argument after a keyword argument", line)
        else:
            args.append(parser.parse_expression())
    return args, kwargs


def _cached(position: Any, /, timeout: Any = None, extra: Any = None) -> Any:
    return redis_cache.cached(checked_timeout(timeout, "{% cached %}"), extra=(position, _extra_value(extra)))


def _cached_as(position: Any, /, *samples: Any, timeout: Any = None, extra: Any = None, **options: Any) -> Any:
    if timeout is not None:
        parse_timeout(timeout, "{% cached_as %}")
    return decorators.cached_as(*samples, timeout=timeout, extra=(position, _extra_value(extra)), **options)


DECORATORS = {"cached": _cached, "cached_as": _cached_as}


def _extra_value(extra: Any) -> Any:
    # Undefined is callable, and the call raises.  Its text is what the environment prints for undefined variables.
    if isinstance(extra, Undefined):
        return str(extra)
    return extra() if callable(extra) else extra


def _without_whitespace(body: Any) -> Any:
    # In a NativeEnvironment the content may be of any type.
    if not isinstance(body, str):
        return body
    return type(body)(collapse_whitespace(body, settings.CACHEOPS_KEEP_WHITESPACE))
