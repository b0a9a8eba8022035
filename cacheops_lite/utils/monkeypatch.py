"""Patches of Django, where it offers no hook: each keeps the original, and all of a module have an undo."""

from __future__ import annotations

from inspect import isfunction
from types import SimpleNamespace
from typing import Any

_ABSENT = object()


class Patches:
    """What one module puts in place of Django's own."""

    def __init__(self) -> None:
        self._originals: dict[tuple[Any, str], Any] = {}
        self._by_owner: dict[Any, SimpleNamespace] = {}

    def __bool__(self) -> bool:
        return bool(self._originals)

    def put(self, owner: Any, name: str, replacement: Any) -> None:
        """Replace an attribute of a class, or give an object one of its own; once."""
        if (owner, name) not in self._originals:
            found = self._originals[owner, name] = vars(owner).get(name, _ABSENT)
            if isfunction(found) and found.__doc__ and isfunction(replacement):
                replacement.__doc__ = found.__doc__
            setattr(self.originals(owner), name, found)
            setattr(owner, name, replacement)

    def mix(self, owner: type, mixin: type) -> None:
        """Put all methods of `mixin` into a class, and defaults of ours."""
        for name, method in vars(mixin).items():
            if name.startswith("_cacheops_"):
                self.put(owner, name, method)
            elif callable(method):
                # What keeps templates from calling it, and managers from having it.
                for flag in ("alters_data", "queryset_only"):
                    if hasattr(getattr(owner, name, None), flag):
                        setattr(method, flag, getattr(getattr(owner, name), flag))
                self.put(owner, name, method)

    def original(self, owner: type, name: str) -> Any:
        """Django's own, which ours stands before."""
        return self._originals[owner, name]

    def originals(self, owner: type) -> Any:
        """All originals of a class, as attributes; the object stays the same, so that it can be kept."""
        return self._by_owner.setdefault(owner, SimpleNamespace())

    def names(self, owner: type) -> set[str]:
        """What of a class is replaced."""
        return {name for each, name in self._originals if each is owner}

    def undo(self) -> None:
        """Leave Django as it was."""
        for (owner, name), original in self._originals.items():
            if original is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, original)
        self._originals.clear()
