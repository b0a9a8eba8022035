"""Compare this library with its peers."""

from __future__ import annotations

import sys

# Workers import this module too, and have no settings then.
if __name__ == "__main__":
    from .cli import main

    sys.exit(main())
