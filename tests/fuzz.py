"""Random histories and processes at once, with new seeds for as long as told; the command behind ``make fuzz``."""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time

# Of the time, for processes that write and read at once; each of their variants has a like part of it.
SHARE_OF_CONCURRENCY = 0.3
VARIANTS = 10
LEAST_SECONDS = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--steps", type=int, default=2000, help="steps of each history")
    arguments = parser.parse_args()
    began, rounds, at_once = time.monotonic(), 0, 0.0
    while (passed := time.monotonic() - began) < arguments.seconds:
        seed = random.randrange(10**9)
        owed = passed * SHARE_OF_CONCURRENCY - at_once
        if owed >= VARIANTS * LEAST_SECONDS or not rounds:
            seconds = max(LEAST_SECONDS, owed / VARIANTS)
            where, options = "tests/concurrency/test_variants.py", {"TEST_SECONDS": f"{seconds:.0f}"}
        else:
            examples = str(arguments.steps // 2)
            where, options = "tests/property", {"TEST_STEPS": str(arguments.steps), "TEST_EXAMPLES": examples}
        since = time.monotonic()
        if failed(where, {"TEST_SEED": str(seed), **options}):
            return 1
        at_once += (time.monotonic() - since) * where.startswith("tests/concurrency")
        rounds += 1
    print(f"{rounds} rounds of histories and of processes, none stale")
    return 0


def failed(where: str, options: dict[str, str]) -> bool:
    """Run tests; on a failure say how to run them again."""
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-x", "--timeout=0", "-k", "not broken", where]
    if not subprocess.run(command, env={**os.environ, **options}).returncode:
        return False
    print(f"{' '.join(f'{name}={value}' for name, value in options.items())} pytest {where} failed")
    return True


if __name__ == "__main__":
    sys.exit(main())
