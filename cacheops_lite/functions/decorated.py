"""The types of decorated functions and views: their own signatures, and what the decorators add to them.

These are protocols for type checkers.  At runtime a decorated function is an ordinary function with attributes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar, overload

from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager
from django.http import HttpRequest

from ..observe import CacheReport
from .cache_key import CacheKey

if TYPE_CHECKING:
    from typing_extensions import Self

# What `cached_as` takes.  An empty page of a paginator is a list.
Sample: TypeAlias = "QuerySet[Any, Any] | BaseManager[Any] | Model | type[Model] | list[Any]"

P = ParamSpec("P")
# The parameters of a method without ``self``.
B = ParamSpec("B")
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")
Request_contra = TypeVar("Request_contra", bound=HttpRequest, contravariant=True)
Request = TypeVar("Request", bound=HttpRequest)


class CachedFunction(Protocol[P, R_co]):
    """A function that ``cached`` decorates."""

    __name__: str
    __qualname__: str

    @property
    def __wrapped__(self) -> Callable[P, R_co]: ...
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    def key(self, *args: P.args, **kwargs: P.kwargs) -> CacheKey: ...
    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None: ...
    async def ainvalidate(self, *args: P.args, **kwargs: P.kwargs) -> None: ...
    @overload
    def __get__(
        self: CachedFunction[Concatenate[Any, B], R], instance: None, owner: type[Any] | None = None, /
    ) -> CachedMethodOfClass[P, B, R]: ...
    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None, /) -> Self: ...
    @overload
    def __get__(
        self: CachedFunction[Concatenate[Any, B], R], instance: object, owner: type[Any] | None = None, /
    ) -> CachedMethod[P, B, R]: ...


class CachedMethod(Protocol[P, B, R_co]):
    """A method that ``cached`` decorates, of an instance.  Its attributes take the instance as first argument."""

    def __call__(self, *args: B.args, **kwargs: B.kwargs) -> R_co: ...
    def key(self, *args: P.args, **kwargs: P.kwargs) -> CacheKey: ...
    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None: ...
    async def ainvalidate(self, *args: P.args, **kwargs: P.kwargs) -> None: ...


class CachedMethodOfClass(CachedMethod[P, B, R_co], Protocol):
    """A method of a class: takes the instance, unless it is a class method, which checkers do not tell apart here."""

    @overload
    def __call__(self, *args: B.args, **kwargs: B.kwargs) -> R_co: ...
    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class CachedDecorator(Protocol):
    """What ``cached(...)`` returns."""

    def __call__(self, func: Callable[P, R], /) -> CachedFunction[P, R]: ...


class CachedAsFunction(Protocol[P, R_co]):
    """A function that ``cached_as`` decorates."""

    __name__: str
    __qualname__: str

    @property
    def __wrapped__(self) -> Callable[P, R_co]: ...
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    def explain_cache(self, *args: P.args, **kwargs: P.kwargs) -> CacheReport: ...
    @overload
    def __get__(
        self: CachedAsFunction[Concatenate[Any, B], R], instance: None, owner: type[Any] | None = None, /
    ) -> CachedAsMethodOfClass[P, B, R]: ...
    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None, /) -> Self: ...
    @overload
    def __get__(
        self: CachedAsFunction[Concatenate[Any, B], R], instance: object, owner: type[Any] | None = None, /
    ) -> CachedAsMethod[P, B, R]: ...


class CachedAsMethod(Protocol[P, B, R_co]):
    """A method that ``cached_as`` decorates, of an instance.  `explain_cache` takes the instance as first argument."""

    def __call__(self, *args: B.args, **kwargs: B.kwargs) -> R_co: ...
    def explain_cache(self, *args: P.args, **kwargs: P.kwargs) -> CacheReport: ...


class CachedAsMethodOfClass(CachedAsMethod[P, B, R_co], Protocol):
    """A method of a class, as `CachedMethodOfClass`."""

    @overload
    def __call__(self, *args: B.args, **kwargs: B.kwargs) -> R_co: ...
    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class CachedAsDecorator(Protocol):
    """What ``cached_as(...)`` returns."""

    def __call__(self, func: Callable[P, R], /) -> CachedAsFunction[P, R]: ...


class CachedAsView(Protocol[Request_contra, P, R_co]):
    """A view that ``cached_view_as`` decorates."""

    __name__: str
    __qualname__: str

    def __call__(self, request: Request_contra, /, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    def invalidate(self, request: HttpRequest | str, /, *args: Any, **kwargs: Any) -> None: ...
    async def ainvalidate(self, request: HttpRequest | str, /, *args: Any, **kwargs: Any) -> None: ...


class CachedView(CachedAsView[Request_contra, P, R_co], Protocol):
    """A view that ``cached_view`` decorates."""

    def key(self, request: HttpRequest | str, /, *args: P.args, **kwargs: P.kwargs) -> CacheKey: ...


class CachedViewDecorator(Protocol):
    """What ``cached_view(...)`` returns."""

    def __call__(self, view: Callable[Concatenate[Request, P], R], /) -> CachedView[Request, P, R]: ...


class CachedAsViewDecorator(Protocol):
    """What ``cached_view_as(...)`` returns."""

    def __call__(self, view: Callable[Concatenate[Request, P], R], /) -> CachedAsView[Request, P, R]: ...
