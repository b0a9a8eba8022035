"""Compare this library with its peers."""

from __future__ import annotations

import sys

# Worker processes import this module, too, before they have settings.
if __name__ == "__main__":
    from .cli import main

    sys.exit(main())
