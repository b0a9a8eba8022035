#!/usr/bin/env python3
"""What a Redis Cluster adds to `near.py`: a near entry whose versions lie on two nodes, and a slot that moves.

It walks every interleaving of a reader, one writer for each of two tables, and the cluster; time passes in ticks.

The world: two tables, each with a row whose committed value is the number of commits, and a version on a node of its
own.  The reader obtains a value under both versions, then asks for each of them on its tracking connection to that
node, and keeps the value when both answered that the version is unchanged.  It has a lease from each node, renewed as in
`near.py` by a request that reads a key of each slot that entries rely on; it answers while both leases last.  A writer
drops the version and fences its table on that table's node, waits for one lease, and commits.  Which lease it finds
registered is what `near.py` walks; here it always waits for it.

The slot of the first table may move to another node, with its version.  The node that had it makes no further change of
it: it pushes nothing when a writer drops the version where it is now, and what it deletes itself it may delete much
later.  It answers requests for keys of the slot with a redirection; then the reader drops what it has from that node.

Safety: when a read has found both leases, the entry that it takes then is at least as new as what was committed
when it began.

    near_cluster.py                      # a lease of 2 ticks: safe
    near_cluster.py --lease 3

Each simplification must end in STALE
    near_cluster.py --break one-lease    # the lease of the node that has the value is enough
    near_cluster.py --break no-void      # a change is heard of between the answers of two nodes, and the value is kept
    near_cluster.py --break entry-first  # a read takes the entry before it looks at the leases
    near_cluster.py --break ping         # renewals read no key of the slot
    near_cluster.py --break one-answer   # the value is kept when the first node has answered
    near_cluster.py --break mixed        # the answer to an earlier question counts
"""
import argparse
import sys

from walking import number_of_states

BREAKS = ("one-lease", "no-void", "entry-first", "ping", "one-answer", "mixed")
MAX_MESSAGES = 3

# Of a node: the version (0 missing), whether it is tracked, requests, messages, the lease that is left; whether the table
# is fenced, the committed value, and the writer: its step and how long it has waited.
VERSION, TRACKED, REQUESTS, CHANNEL, LEFT, FENCED, DB, WRITER = range(8)
# Of the state: the two nodes, the value that was obtained with its versions, the one that was asked for and which nodes
# have answered, the entry, the read, and whether the slot has moved.
NODES, FILL, ASKED, NEAR, LOOK, MOVED = range(6)


def replaced(sequence, index, value):
    return (*sequence[:index], value, *sequence[index + 1:])


class Successors:
    """All states that one step leads to from `state`."""

    def __init__(self, state, lease, broken):
        self.state, self.lease, self.broken = state, lease, broken
        self.found = []

    def go(self, what, changes, *nodes):
        """Note a step: `changes` are parts of the state by position, `nodes` are (node, parts of it by position)."""
        parts = list(self.state)
        for n, own in nodes:
            node = list(parts[NODES][n])
            for at, value in own.items():
                node[at] = value
            if len(node[CHANNEL]) > MAX_MESSAGES:
                return
            parts[NODES] = replaced(parts[NODES], n, tuple(node))
        for at, value in changes.items():
            parts[at] = value
        self.found.append((what, tuple(parts)))

    def all(self):
        self.tick()
        self.read()
        self.fill()
        for n in (0, 1):
            self.renew(n)
            self.server(n)
            self.hear(n)
            self.writer(n)
        if not self.state[MOVED]:
            self.go("move the slot", {MOVED: True})
        return self.found

    def is_away(self, n):
        """Whether node `n` no longer has the slot of its table."""
        return n == 0 and self.state[MOVED]

    def tick(self):
        nodes = []
        for n, node in enumerate(self.state[NODES]):
            def older(each):
                return (each[0], min(each[1] + 1, self.lease)) if each[0] in ("renew", "renewed") else each

            step, waited = node[WRITER]
            waited = min(waited + 1, self.lease) if step == "wait" else waited
            nodes.append((n, {LEFT: max(node[LEFT] - 1, 0), REQUESTS: tuple(map(older, node[REQUESTS])),
                              CHANNEL: tuple(map(older, node[CHANNEL])), WRITER: (step, waited)}))
        self.go("tick", {}, *nodes)

    # The reader.

    def read(self):
        """Look at each lease, then take the entry: one step each."""
        look, near, nodes = self.state[LOOK], self.state[NEAR], self.state[NODES]
        leases = [node[LEFT] > 0 for node in nodes]
        if look is None:
            if near is not None and (leases[0] or self.broken == "entry-first"):
                taken = near if self.broken == "entry-first" else None
                number = 0 if self.broken == "entry-first" else 1
                self.go("begin to read", {LOOK: (number, taken, tuple(node[DB] for node in nodes))})
            return
        number, taken, committed = look
        if number < 2 and not (number == 1 and self.broken == "one-lease"):
            self.go(f"look at lease {number}", {LOOK: (number + 1, taken, committed) if leases[number] else None})
            return
        entry = taken if self.broken == "entry-first" else near
        is_stale = entry is not None and any(x < y for x, y in zip(entry, committed))
        self.go("take the entry", {LOOK: "stale" if is_stale else None})

    def fill(self):
        fill, nodes = self.state[FILL], self.state[NODES]
        if fill is None:
            if self.state[NEAR] is None and self.state[ASKED] is None:
                made = []
                for n, node in enumerate(nodes):
                    if not node[VERSION] and node[FENCED]:
                        return
                    made.append((n, {VERSION: node[VERSION] or 2}))
                self.go("take the versions", {FILL: (tuple(own[VERSION] for _, own in made), None)}, *made)
        elif fill[1] is None:
            self.go("query", {FILL: (fill[0], tuple(node[DB] for node in nodes))})
        else:
            asked = [(n, {REQUESTS: (*node[REQUESTS], ("track", fill))}) for n, node in enumerate(nodes)]
            if all(len(own[REQUESTS]) <= 2 for _, own in asked):
                self.go("ask for the versions", {FILL: None, ASKED: (fill, (False, False))}, *asked)

    def renew(self, n):
        node = self.state[NODES][n]
        is_renewing = any(each[0] == "renew" for each in node[REQUESTS])
        if not is_renewing and not any(each[0] == "renewed" for each in node[CHANNEL]) and len(node[REQUESTS]) < 2:
            self.go(f"renew {n}", {}, (n, {REQUESTS: (*node[REQUESTS], ("renew", 0))}))

    def server(self, n):
        """Node `n` runs the next request of the tracking connection."""
        node = self.state[NODES][n]
        if not node[REQUESTS]:
            return
        request, *rest = node[REQUESTS]
        if request[0] == "renew":
            is_refused = self.is_away(n) and self.broken != "ping"
            reply, tracked = ("moved",) if is_refused else ("renewed", request[1]), node[TRACKED]
        elif self.is_away(n):
            reply, tracked = ("moved",), node[TRACKED]
        else:
            is_same = request[1][0][n] == node[VERSION]
            reply, tracked = ("same" if is_same else "changed", request[1]), True
        self.go(f"reply {n}", {}, (n, {REQUESTS: tuple(rest), CHANNEL: (*node[CHANNEL], reply), TRACKED: tracked}))

    def hear(self, n):
        """The reader reads the next message from node `n`."""
        node, asked = self.state[NODES][n], self.state[ASKED]
        if not node[CHANNEL]:
            return
        message, *rest = node[CHANNEL]
        own = {CHANNEL: tuple(rest)}
        if message[0] == "push":
            is_void = asked is not None and asked[1][n] and self.broken != "no-void"
            self.go(f"hear a push {n}", {NEAR: None, ASKED: None if is_void else asked}, (n, own))
        elif message[0] == "renewed":
            own[LEFT] = max(node[LEFT], self.lease - message[1])
            self.go(f"lease {n}", {}, (n, own))
        elif message[0] == "moved":
            # The connection is closed: what is on its way is lost.
            own |= {CHANNEL: (), REQUESTS: (), LEFT: 0, TRACKED: False}
            self.go(f"lose node {n}", {NEAR: None, ASKED: None}, (n, own))
        elif asked is None or (message[1] != asked[0] and self.broken != "mixed"):
            self.go("hear nothing new", {}, (n, own))
        elif message[0] == "changed":
            self.go("keep nothing", {ASKED: None}, (n, own))
        else:
            answered = replaced(asked[1], n, True)
            if all(answered) or self.broken == "one-answer":
                self.go("keep", {ASKED: None, NEAR: message[1][1]}, (n, own))
            else:
                self.go(f"hear answer {n}", {ASKED: (asked[0], answered)}, (n, own))

    # The writers.

    def writer(self, n):
        node = self.state[NODES][n]
        step, waited = node[WRITER]
        if step == "write":
            own = {VERSION: 0, FENCED: True, WRITER: ("wait", 0)}
            if node[TRACKED] and node[VERSION] and not self.is_away(n):
                own |= {TRACKED: False, CHANNEL: (*node[CHANNEL], ("push",))}
            self.go(f"write {n}", {}, (n, own))
        elif step == "wait" and waited >= self.lease:
            self.go(f"commit {n}", {}, (n, {DB: node[DB] + 1, FENCED: False, WRITER: ("done", 0)}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lease", type=int, default=2, help="in ticks")
    parser.add_argument("--writers", type=int, default=2, choices=(1, 2), help="one: only of the first table")
    parser.add_argument("--break", dest="broken", default="", choices=("", *BREAKS), metavar="SIMPLIFICATION")
    a = parser.parse_args()
    nodes = tuple((1, False, (), (), 0, False, 0, ("write" if n < a.writers else "done", 0)) for n in (0, 1))
    start = (nodes, None, None, None, None, False)
    number = number_of_states(
        start, lambda state: Successors(state, a.lease, a.broken).all(), lambda state: state[LOOK] == "stale"
    )
    if number is None:
        return 1
    print(f"safe: {number} states; lease {a.lease}, writers {a.writers}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
