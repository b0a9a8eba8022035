"""Random pauses between read and fill, before-image read and write, commit and invalidation.

Other processes run during them.
"""

from __future__ import annotations

import random
import time

from cacheops_lite.orm import save_delete
from cacheops_lite.reads import cached_read
from cacheops_lite.store import invalidator, protocol

SHARE = 0.3


def install(seed, longest):
    """Let a share of these steps wait for up to `longest` seconds."""
    rng = random.Random(seed)

    def pause():
        if rng.random() < SHARE:
            time.sleep(rng.uniform(0, longest))

    for owner, name in ((cached_read.CachedRead, "fill"), (invalidator, "invalidate"), (protocol, "read")):
        setattr(owner, name, _pausing_before(pause, getattr(owner, name)))
    save_delete.read_before_image = _pausing_after(pause, save_delete.read_before_image)


def _pausing_before(pause, function):
    def wrapped(*args, **kwargs):
        pause()
        return function(*args, **kwargs)

    return wrapped


def _pausing_after(pause, function):
    def wrapped(*args, **kwargs):
        result = function(*args, **kwargs)
        pause()
        return result

    return wrapped
