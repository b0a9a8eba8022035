"""Reversible monkeypatches, for parts of Django that offer no hook."""

from __future__ import annotations

from inspect import isfunction
from types import SimpleNamespace
from typing import Any

_ABSENT = object()


class Patches:
    """The attributes of Django that one module replaces, with their originals."""

    def __init__(self) -> None:
        self._originals: dict[tuple[Any, str], Any] = {}
        self._by_owner: dict[Any, SimpleNamespace] = {}

    def __bool__(self) -> bool:
        return bool(self._originals)

    def replace(self, owner: Any, name: str, replacement: Any) -> None:
        """Replace an attribute of a class or module, or set it on an object.  Nothing is replaced twice."""
        if (owner, name) not in self._originals:
            found = self._originals[owner, name] = vars(owner).get(name, _ABSENT)
            if isfunction(found) and found.__doc__ and isfunction(replacement):
                replacement.__doc__ = found.__doc__
            setattr(self.originals(owner), name, found)
            setattr(owner, name, replacement)

    def mix_in(self, owner: type, mixin: type) -> None:
        """Replace attributes of `owner` by all methods of `mixin` and its ``_cacheops_*`` attributes."""
        for name, method in vars(mixin).items():
            if name.startswith("_cacheops_"):
                self.replace(owner, name, method)
            elif callable(method):
                # Templates do not call what alters data; managers do not get what is for querysets only.
                for flag in ("alters_data", "queryset_only"):
                    if hasattr(getattr(owner, name, None), flag):
                        setattr(method, flag, getattr(getattr(owner, name), flag))
                self.replace(owner, name, method)

    def original(self, owner: Any, name: str) -> Any:
        """Return Django's own attribute, which the replacement may call."""
        return self._originals[owner, name]

    def originals(self, owner: Any) -> Any:
        """Return an object whose attributes are the originals of a class or module.  It is always the same object."""
        return self._by_owner.setdefault(owner, SimpleNamespace())

    def replaced_names(self, owner: type) -> set[str]:
        """Return the names of the attributes of a class that are replaced."""
        return {name for each, name in self._originals if each is owner}

    def undo(self) -> None:
        """Restore all originals."""
        for (owner, name), original in self._originals.items():
            if original is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, original)
        self._originals.clear()
