#!/usr/bin/env python3
"""An executable specification of the near cache (`cacheops_lite.store.near_cache`, `near_node`): its leases, registrations and writers' wait.

It walks every interleaving of the steps of a reader, two writers and an adversary; time passes in ticks.

The world: one row, whose committed value is the number of commits, and one version that a result depends on.  The
reader obtains a value under a version as `protocol.py` has it, then asks on its tracking connection whether that
version is still there: the server tracks what it replies, and pushes the first change after it.  Replies and pushes
come on that connection in the order in which the server made them.

A renewal is a request on the tracking connection that reads the table's registration.  When its reply has been read,
the reader has seen all changes before the request was sent, and may answer from its near cache until one lease after
that.  Until it has registered the table, it keeps the lease for other tables.  A writer drops the version and fences the table; the registration that it finds tells how long it waits before
it commits.  If it finds none, it is unknown who reads: the writer waits for the longest lease.  It also puts a token of
its own there, with the fence, and after its commit replaces that by "none": a token that is still there proves that
no process has registered since.  A writer that finds the token of another one waits as well.  The two writers change
different rows, so neither waits for the other.

The adversary evicts the registration or the version, refreshes a time to live, which ends the tracking, and breaks the
tracking connection.

Safety: when a read has found a lease that lasts, the entry that it takes then is at least as new as what was committed
when it began.

    near.py                         # a lease of 2 ticks, one eviction, one broken connection: safe
    near.py --lease 3 --evictions 0

Each simplification must end in STALE
    near.py --break no-wait         # writers do not wait
    near.py --break short-wait      # they wait one tick less than the lease
    near.py --break from-reply      # a lease counts from the reply to the renewal
    near.py --break bcast           # pushes come at the end of the server's turn, as with CLIENT TRACKING ... BCAST
    near.py --break unchecked       # a value is kept without asking for its version on the tracking connection
    near.py --break no-fence        # versions may be made between the drop and the commit
    near.py --registration none --break unregistered
                                    # a table is registered after its first entry was kept
    near.py --break absent-is-none  # a writer that finds no registration does not wait
    near.py --break early-none      # it leaves the registration "none" before it has waited
    near.py --break no-token        # it leaves "none" after its wait, if there is no registration then
    near.py --break blind-renewal   # a renewal does not look at the registration
    near.py --break late-reply      # replies that come after a registration was found lost are trusted
    near.py --break entry-first     # a read takes the entry before it looks at the lease
    near.py --break kept            # entries outlive the tracking connection
"""
import argparse
import sys

from walking import number_of_states

BREAKS = (
    "no-wait", "short-wait", "from-reply", "bcast", "unchecked", "no-fence", "unregistered", "absent-is-none",
    "early-none", "no-token", "blind-renewal", "late-reply", "entry-first", "kept",
)
ABSENT, TOKEN, NONE, REGISTERED = "absent", "token", "none", "registered"
MAX_REQUESTS = 3
MAX_MESSAGES = 4

# The parts of a state, and where each is.
REDIS = ("db", "version", "registration", "fences", "is_tracked", "late")
READER = ("fill", "near", "left", "knows", "look", "requests", "channel")
PARTS = (*REDIS, *READER, "writers", "evictions", "losses")
AT = {name: i for i, name in enumerate(PARTS)}


def canonical(parts):
    """The state with versions renamed (0 missing, 1 the present one, 2 an earlier one) and with the writers sorted."""
    version, fill = parts[AT["version"]], parts[AT["fill"]]

    def renamed(x):
        return 1 if x == version else 2

    if fill:
        parts[AT["fill"]] = renamed(fill[0]), fill[1]
    parts[AT["requests"]] = tuple(
        (kind, (renamed(x[0]), x[1])) if kind == "track" else (kind, x) for kind, x in parts[AT["requests"]]
    )
    parts[AT["version"]] = int(version > 0)
    parts[AT["writers"]] = tuple(sorted(parts[AT["writers"]]))
    return tuple(parts)


class Successors:
    """All states that one step of one process, or of the adversary, leads to from `state`."""

    def __init__(self, state, lease, broken):
        self.state, self.lease, self.broken = state, lease, broken
        self.found = []

    def __getattr__(self, name):
        return self.state[AT[name]]

    def go(self, what, **changes):
        parts = list(self.state)
        for name, value in changes.items():
            parts[AT[name]] = value
        if len(parts[AT["channel"]]) <= MAX_MESSAGES:
            self.found.append((what, canonical(parts)))

    def all(self):
        self.tick()
        self.read()
        self.fill_near()
        self.renew()
        self.server()
        self.hear()
        for n in range(len(self.writers)):
            self.writer(n)
        self.adversary()
        return self.found

    def pushed(self):
        """The changes that a change of the version makes: the first one after it was read is pushed."""
        if not self.is_tracked:
            return {}
        if self.broken == "bcast":
            return {"is_tracked": False, "late": True}
        return {"is_tracked": False, "channel": (*self.channel, "push")}

    def tick(self):
        """Leases run down, renewals grow old, and writers wait."""
        older = tuple(
            (kind, (min(x[0] + 1, self.lease), x[1])) if kind == "renew" else (kind, x) for kind, x in self.requests
        )
        aged = tuple(
            ("renewed", min(m[1] + 1, self.lease), m[2]) if m[0] == "renewed" else m for m in self.channel
        )
        waited = tuple((step, min(x + 1, self.lease), *r) if step == "wait" else (step, x, *r)
                       for step, x, *r in self.writers)
        self.go("tick", left=max(self.left - 1, 0), requests=older, channel=aged, writers=waited)

    # The reader.

    def read(self):
        """A near read: look at the lease, then take the entry."""
        if self.look is None:
            if self.broken == "entry-first" and self.near is not None:
                self.go("take the entry", look=(self.near, self.db))
            elif self.broken != "entry-first" and self.left and self.near is not None:
                self.go("look at the lease", look=(None, self.db))
        elif self.broken == "entry-first":
            self.go("look at the lease", look=("stale",) if self.left and self.look[0] < self.look[1] else None)
        else:
            is_stale = self.near is not None and self.near < self.look[1]
            self.go("take the entry", look=("stale",) if is_stale else None)

    def fill_near(self):
        """Obtain a value under a version; then ask for the version on the tracking connection."""
        if self.fill is None and self.near is None:
            if self.version:
                self.go("take the version", fill=(self.version, None))
            elif not self.fences or self.broken == "no-fence":
                self.go("make a version", version=3, fill=(3, None))
        elif self.fill and self.fill[1] is None:
            self.go("query", fill=(self.fill[0], self.db))
        elif self.fill and len(self.requests) + 2 <= MAX_REQUESTS:
            asked = ("track", self.fill)
            if self.knows:
                requests = (asked,)
            elif self.broken == "unregistered":
                requests = asked, ("register", 0)
            else:
                requests = ("register", 0), asked
            self.go("ask for the version", fill=None, knows=True, requests=(*self.requests, *requests))
        if self.fill:
            self.go("keep nothing", fill=None)

    def renew(self):
        renewals = [each for each in self.requests if each[0] == "renew"]
        renewals += [each for each in self.channel if each[0] == "renewed"]
        if not renewals and len(self.requests) < MAX_REQUESTS:
            self.go("renew", requests=(*self.requests, ("renew", (0, self.knows and self.broken != "blind-renewal"))))

    def server(self):
        """The server runs the next request of the tracking connection."""
        if self.late:
            self.go("push late", late=False, channel=(*self.channel, "push"))
        if not self.requests:
            return
        (kind, x), *rest = self.requests
        rest = tuple(rest)
        if kind == "register":
            self.go("register", requests=rest, registration=REGISTERED)
        elif kind == "renew":
            age, looks = x
            is_registered = self.registration == REGISTERED or not looks
            self.go("run the renewal", requests=rest, channel=(*self.channel, ("renewed", age, is_registered)))
        else:
            version, data = x
            is_same = version == self.version or self.broken == "unchecked"
            self.go("reply", requests=rest, is_tracked=self.is_tracked or self.version is not None,
                    channel=(*self.channel, ("kept", data) if is_same else ("changed",)))

    def hear(self):
        """The reader reads the next message of the tracking connection."""
        if not self.channel:
            return
        message, *rest = self.channel
        rest = tuple(rest)
        if message == "push":
            self.go("hear a push", channel=rest, near=None)
        elif message[0] == "kept":
            self.go("keep", channel=rest, near=message[1])
        elif message[0] == "changed":
            self.go("keep nothing", channel=rest)
        elif message[2]:
            age = 0 if self.broken == "from-reply" else message[1]
            self.go("lease", channel=rest, left=max(self.left, self.lease - age))
        else:
            # What was asked for meanwhile is not kept either.
            requests = tuple(each for each in self.requests if each[0] != "track")
            channel = tuple(m for m in rest if m[0] != "kept")
            if self.broken == "late-reply":
                requests, channel = self.requests, rest
            self.go("lose the registration", channel=channel, requests=requests, near=None, knows=False)

    # The writers.

    def writer(self, n):
        step, waited, needed, has_token = self.writers[n]

        def become(*writer, others=None, **changes):
            rest = [*self.writers[:n], *self.writers[n + 1:]] if others is None else others
            self.go(f"{writer[0]} {n}", writers=(writer, *rest), **changes)

        if step == "write":
            is_unknown = self.registration in (ABSENT, TOKEN)
            needed = self.lease if self.registration == REGISTERED or is_unknown else 0
            if self.broken == "no-wait" or (is_unknown and self.broken == "absent-is-none"):
                needed = 0
            needed = max(needed - (self.broken == "short-wait"), 0)
            registration, others = self.registration, None
            if self.registration == ABSENT and self.broken == "early-none":
                registration = NONE
            elif self.registration == ABSENT and self.broken != "no-token":
                registration = TOKEN
                # An earlier token is gone.
                others = [(*each[:3], False) for i, each in enumerate(self.writers) if i != n]
            has_token = registration != self.registration or (is_unknown and self.broken == "no-token")
            pushed = self.pushed() if self.version else {}
            become("wait", 0, needed, has_token, others=others, version=0, fences=self.fences + 1,
                   registration=registration, **pushed)
        elif step == "wait" and waited >= needed:
            become("release", 0, 0, has_token, db=self.db + 1)
        elif step == "release":
            expected = ABSENT if self.broken == "no-token" else TOKEN
            registration = NONE if has_token and self.registration == expected else self.registration
            become("done", 0, 0, False, fences=self.fences - 1, registration=registration)

    def adversary(self):
        if self.evictions:
            if self.registration != ABSENT:
                self.go("evict the registration", registration=ABSENT, evictions=self.evictions - 1)
            if self.version:
                self.go("evict the version", version=0, evictions=self.evictions - 1, **self.pushed())
                self.go("refresh", evictions=self.evictions - 1, **self.pushed())
        if self.losses:
            kept = {"near": self.near} if self.broken == "kept" else {"near": None, "left": 0}
            self.go("lose the connection", losses=self.losses - 1, requests=(), channel=(), late=False,
                    is_tracked=False, knows=False, **kept)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lease", type=int, default=2, help="in ticks")
    parser.add_argument("--writers", type=int, default=2)
    parser.add_argument("--registration", default=ABSENT, choices=(ABSENT, NONE), help="that there is at first")
    parser.add_argument("--evictions", type=int, default=1)
    parser.add_argument("--losses", type=int, default=1, help="how often the tracking connection breaks")
    parser.add_argument("--break", dest="broken", default="", choices=("", *BREAKS), metavar="SIMPLIFICATION")
    a = parser.parse_args()
    redis = (0, 0, a.registration, 0, False, False)
    reader = (None, None, 0, False, None, (), ())
    start = (*redis, *reader, (("write", 0, 0, False),) * a.writers, a.evictions, a.losses)
    number = number_of_states(
        start, lambda state: Successors(state, a.lease, a.broken).all(), lambda state: state[AT["look"]] == ("stale",)
    )
    if number is None:
        return 1
    print(f"safe: {number} states; lease {a.lease}, writers {a.writers}, evictions {a.evictions}, "
          f"losses {a.losses}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
