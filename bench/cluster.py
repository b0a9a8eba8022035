"""Compare hits on a Redis Cluster of three nodes with those on one node: ``python -m bench.cluster``.

Starts the cluster by itself.  The arguments are those of ``python -m bench``.  Ends with status 1 if a hit on the
cluster takes more than its bound.
"""

from __future__ import annotations

import os
import sys

from tests.support import cluster


def main() -> int:
    with cluster.running() as nodes:
        os.environ["BENCH_CLUSTER"] = nodes.url
        # Imported here, because they read the address.
        from . import cli
        from .comparison import CLUSTER_BOUND
        from .output import write
        from .peers import CLUSTER, OURS_INSIDEOUT, chosen

        options = cli.parse(["--peers", OURS_INSIDEOUT.name, CLUSTER.name, *sys.argv[1:]])
        peers, notes = chosen(options.peers)
        results, failed = cli.run(options, peers)
        results["notes"] = notes + results["notes"]
        from .report import text

        printed = text(results)
    print(printed, end="")
    if options.out:
        write(options.out, "bench-cluster", results, printed)
    pair = f"{CLUSTER.name}:{OURS_INSIDEOUT.name}"
    ratios = [each["ratios"][pair] for each in results["operations"] if each["is_hit"] and pair in each["ratios"]]
    return 0 if ratios and max(ratios) <= CLUSTER_BOUND and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
