"""All operations, in the order of the table."""

from __future__ import annotations

from .counting import COUNTING
from .off import OFF
from .operations import Operation
from .reads import READS
from .resources import RESOURCES
from .signed_hits import SIGNING
from .writes import WRITES

OPERATIONS: dict[str, type[Operation]] = {
    each.name: each for each in (*READS, *OFF, *COUNTING, *SIGNING, *WRITES, *RESOURCES)
}
