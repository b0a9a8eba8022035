"""Compare hits on a Redis Cluster of three nodes with those on one node: ``python -m bench.cluster``.

Starts the cluster by itself.  The arguments are those of ``python -m bench``.
"""

from __future__ import annotations

import os
import sys

from tests.support import cluster


def main() -> int:
    with cluster.running() as nodes:
        os.environ["BENCH_CLUSTER"] = nodes.url
        # Imported here, because it reads the address.
        from .cli import main as compare

        return compare(["--peers", "ours-insideout", "cluster", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
