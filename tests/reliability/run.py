"""One run of a scenario: rows, a site, an oracle and the load; then the fault."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass

from tests.concurrency import rows
from tests.reliability import outcome
from tests.reliability.load import Load
from tests.support import servers


@dataclass(frozen=True)
class Lengths:
    """How long, in seconds, parts of a run take.

    `before` is the time before the fault and that at the end; `after` the time without writes in between, from the
    moment on at which all must be delivered. `fence` is how long fences of killed writers last; None for as long as
    they do in production.
    """

    before: float
    fault: float
    after: float
    fence: float | None = None


def run(scenario, lengths, is_strict=False, breakage=""):
    """Run a scenario, and return its row. `breakage` is the name of a defect to make (see `breakages`)."""
    rows.create(0)
    with tempfile.TemporaryDirectory() as spool, scenario.topology() as site, servers.running() as oracle:
        settings = {
            **{"CACHEOPS_DEGRADE_ON_FAILURE": True, "CACHEOPS_STRICT": is_strict, "CACHEOPS_SPOOL_DIR": spool},
            **{"CACHEOPS_REDIS_TIMEOUT": outcome.TIMEOUT_SECONDS, **site.settings},
        }
        fence_seconds = lengths.fence if scenario.kills_writers else None
        with Load(oracle.url, settings, site.writer_settings, fence_seconds, breakage) as load:
            load.begin(spare=scenario.spare)
            time.sleep(lengths.before)
            scenario.prepare(site, load)
            began = time.monotonic()
            with scenario.fault(site, load):
                time.sleep(scenario.seconds or lengths.fault)
            healed = time.monotonic()
            # Writers would hide what is stale by writing the same rows again.
            load.oracle.quiet(True)
            load.wait_for_hits(healed)
            time.sleep(max(0, healed + outcome.DELIVERY_SECONDS + lengths.after - time.monotonic()))
            load.oracle.quiet(False)
            time.sleep(lengths.before)
            return outcome.row(scenario, is_strict, began, healed, load.end())
