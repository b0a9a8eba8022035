"""Fork handling: a lock that another thread of the parent has acquired is never released in the child."""

from __future__ import annotations

import os
from collections.abc import Callable


def after_fork_in_child(reset: Callable[[], None]) -> Callable[[], None]:
    """Call `reset` in each child process, before anything else runs there.  Does nothing where forks do not exist."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=reset)
    return reset
