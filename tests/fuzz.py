"""Random histories with new seeds for as long as told; the command behind ``make fuzz``."""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--steps", type=int, default=2000, help="steps of each history")
    arguments = parser.parse_args()
    deadline, histories = time.monotonic() + arguments.seconds, 0
    while time.monotonic() < deadline:
        seed = random.randrange(10**9)
        told = {"TEST_SEED": seed, "TEST_STEPS": arguments.steps, "TEST_EXAMPLES": arguments.steps // 2}
        environment = {**os.environ, **{name: str(value) for name, value in told.items()}}
        command = [sys.executable, "-m", "pytest", "-q", "-s", "-x", "--timeout=0", "-k", "history", "tests/property"]
        if subprocess.run(command, env=environment).returncode:
            print(f"a history with TEST_SEED={seed} TEST_STEPS={arguments.steps} failed")
            return 1
        histories += 1
    print(f"{histories} rounds of histories, none stale")
    return 0


if __name__ == "__main__":
    sys.exit(main())
