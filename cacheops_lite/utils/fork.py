"""After a fork: in the child nobody is left to let go of the locks that the parent's other threads held."""

from __future__ import annotations

import os
from collections.abc import Callable


def in_children(renew: Callable[[], None]) -> Callable[[], None]:
    """Have `renew` called first of all in each child that this process forks, where it can fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=renew)
    return renew
