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
    """How long, in seconds, the load runs before the fault, how long the fault lasts, and the least time afterwards.

    `fence` is how long fences of killed writers last; None for as long as they do in production.
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
        with Load(oracle.url, settings, site.writer_settings, lengths.fence, breakage) as load:
            load.begin(spare=scenario.spare)
            time.sleep(lengths.before)
            scenario.prepare(site, load)
            began = time.monotonic()
            with scenario.fault(site, load):
                time.sleep(scenario.seconds or lengths.fault)
            healed = time.monotonic()
            load.wait_for_hits(healed)
            time.sleep(max(0, healed + lengths.after - time.monotonic()))
            return outcome.row(scenario, is_strict, began, healed, load.end())
