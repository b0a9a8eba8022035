#!/usr/bin/env python3
"""An executable specification of the protocol in `cacheops_lite.store.protocol` and `.invalidator`.

It walks every interleaving of the steps of several processes.

The world: one table with one row, whose column c is 1, 2 or 3; cached queries Q[c] = "is the row in c"; and a joined
result J = "where is the row", which depends on the version of the c that came back, a row-level dependency created at
its fill.  Processes: readers of Q[c]; readers of J; writers that move the row and lock it from their before-image read
to their commit; coarse writers, that read no before image and drop the table version; and an adversary that evicts
any one Redis key at any moment, or kills a writer at any step.

The call that fences a table before a commit may be interrupted, or its reply may be lost.  Then it was executed, or
not, or only its first half was (the fence exists, but nothing is invalidated yet, because the dependency index was
another one), or it is executed later.  An interrupted writer rolls back and releases its fence.  A writer whose reply
is lost commits, invalidates everything again and releases its fence.

The server may be restored: a snapshot of Redis is taken at some moment, and later the server restarts from it, or a
replica that has seen no more is promoted.  That begins another epoch.  Table versions, the index and fences of an
earlier epoch count as missing, and a reader that creates versions removes such fences.

A write that meets many dependencies invalidates them by two calls.  Only the first one fences: if its fence is lost
before the second one, the release finds that.  The first one also drops the version of "any row": under that of before,
a reader of J creates a version at its fill, whether there is a fence or not.

In the variant "overlap" the call that fences and invalidates is sent right after the before-image read, and its reply is
read after the statement, which may fail.  The after image has to be known before the statement.

On a cluster, the keys of the table share a slot, and values may lie elsewhere.  The slot may move to another node, key
by key.  Meanwhile a command runs where its keys are: with one key it always does, with several only if all of them
exist on one side, else it is refused (TRYAGAIN).  So readers read past the cache, and a writer fences the table and then
drops its version, by a command each.  The other node is another epoch, but fences that came along count.

Safety: in each state, every cached value that a reader would accept equals what is committed.  Writers between their
commit and their release are excused only where keys were evicted, where the server was restored, or where a reply was
lost.

Redis contains
    table_version   the table version, (epoch, fresh token), or nothing
    index           the epoch of the dependency index, which has the shape c, or nothing
    versions[c]     (table version that it was created under, token): under another table version it counts as absent;
                    the last one is the version of "any row", the coarse dependency that protects a read of J until
                    versions[c] is created
    values[c]       (table version, version, result); the last one is J's
    fences          for each writer about to commit the epoch of its fence: while there is one, no version is created
    epoch           of the server, from 1
    snapshot        all of these but the epoch, as they were at some moment, or nothing
    moved           while the slot moves, the names of the keys that have moved; else nothing

    protocol.py                                        # two readers, two writers, one eviction: a few seconds
    protocol.py --evictions 0 --kills 1                # a writer that is killed at any step; no writer is excused
    protocol.py --writers 2,3,2                        # some minutes
    protocol.py --variant cluster                      # values lie elsewhere than versions: no atomicity across them
    protocol.py --variant parts                        # the images are invalidated by two calls before the commit
    protocol.py --variant cluster --evictions 0 --moves 1
                                                       # the slot of the table moves to another node
    protocol.py --variant overlap                      # the call before the commit is sent before the statement
    protocol.py --writers 2 --coarse 3                 # one writer with before images, one without
    protocol.py --joined 2 --readers 2                 # two readers of J
    protocol.py --evictions 0 --lost 1                 # a call before a commit is interrupted, or its reply is lost
    protocol.py --evictions 0 --restores 1             # the server restarts from an older snapshot

Each simplification must end in STALE
    protocol.py --break no-lock                        # the row is not locked from the before-image read on
    protocol.py --break same-table-version             # a new dependency index keeps the old table version
    protocol.py --break late-versions                  # versions are read after the data
    protocol.py --break early-drop                     # versions are dropped before the commit, without a fence
    protocol.py --break no-fence --evictions 0         # versions are dropped after the commit only
    protocol.py --joined 2 --break late-row-level      # no coarse version protects the read of J
    protocol.py --evictions 0 --lost 1 --break assume-invalidated
                                                       # after a lost reply: release; drop only if the fence is gone
    protocol.py --evictions 0 --lost 1 --break release-only
                                                       # after a lost reply: release; drop nothing
    protocol.py --evictions 0 --restores 1 --break no-epoch
                                                       # what a snapshot brings back counts
    protocol.py --evictions 0 --restores 1 --break old-fence-kept
                                                       # fences of an earlier epoch are ignored, but not removed
    protocol.py --variant parts --break fence-again    # the second call fences, too
    protocol.py --variant parts --evictions 0 --break unfenced-part
                                                       # the call that does not fence comes first
    protocol.py --variant parts --evictions 0 --joined 2 --break coarse-last
                                                       # the second call drops the version of "any row"
    protocol.py --variant overlap --evictions 0 --break commit-unanswered
                                                       # the reply is read after the commit
    protocol.py --variant overlap --evictions 0 --break sent-unlocked
                                                       # the row is locked by the statement only
    protocol.py --variant overlap --evictions 0 --break before-image-only
                                                       # the after image is not known when the call is sent
    protocol.py --variant overlap --evictions 0 --lost 1 --break assume-sent
                                                       # the connection is lost: what was sent counts as executed
    protocol.py --variant cluster --evictions 0 --moves 1 --break moved-fence-removed
                                                       # a fence that came from another node does not count
    protocol.py --variant cluster --evictions 0 --moves 1 --break fence-last
                                                       # while the slot moves, the version is dropped before the fence
    protocol.py --variant cluster --evictions 0 --moves 1 --break undeclared-keys
                                                       # scripts that name one key only see the others as missing

That a dependency index belongs to its epoch is no part of this model: here it has one shape, so a writer can't take it
for another one.  tests/store/test_server_epoch.py has that case.
"""
import argparse
import sys
from collections import deque

BREAKS = (
    "no-lock", "same-table-version", "late-versions", "early-drop", "no-fence", "late-row-level", "assume-invalidated",
    "release-only", "no-epoch", "old-fence-kept", "moved-fence-removed", "fence-last", "undeclared-keys",
    "fence-again", "unfenced-part", "coarse-last", "commit-unanswered", "sent-unlocked", "before-image-only", "assume-sent",
)
DONE = "done"
ANY_ROW = 3
# Steps between a writer's commit and its release.
AFTER_COMMIT = {"finish"}
# Steps at which a writer has the row's lock.
LOCKING = {"fence", "second-part", "drop-whole", "fence-late", "await", "commit", "commit-unconfirmed"}
# The step after the commit of a writer whose reply was lost: it does not know whether it has a fence.
UNCONFIRMED = {"finish-unconfirmed"}


def tokens_of(items, found):
    """Add the tokens (ints from 1000) within `items` to the list `found`, each at its first appearance."""
    for x in items:
        if x.__class__ is tuple:
            tokens_of(x, found)
        elif x.__class__ is int and x >= 1000 and x not in found:
            found.append(x)
    return found


def renumber(state):
    """Renumber the tokens in order of appearance, so that equivalent situations are one state."""
    tokens = tokens_of(state, [])
    numbers = {token: 1000 + number for number, token in enumerate(tokens)}

    def walk(x):
        return tuple([walk(y) for y in x]) if x.__class__ is tuple else numbers.get(x, x)

    return state if tokens == [*numbers.values()] else walk(state)


def next_token(state):
    """A token that a renumbered state does not have."""
    return 1000 + len(tokens_of(state, []))


def of_epoch(table_version, epoch):
    """The table version, None if it is of another epoch."""
    return table_version if table_version and table_version[0] == epoch else None


def put(items, i, x):
    return (*items[:i], x, *items[i + 1:])


class Successors:
    """All states that one step of one process, or of the adversary, leads to from `state`."""

    def __init__(self, state, variant, broken):
        self.db, self.redis, self.processes, *self.left = state
        self.evictions, self.kills, self.lost, self.restores, self.moves = self.left
        (self.table_version, self.index, self.versions, self.values, self.fences, self.epoch, self.snapshot,
         self.moved) = self.redis
        self.variant, self.broken = variant, broken
        self.existing = self.existing_keys()
        if broken != "no-epoch":                               # what is of another epoch counts as missing
            self.table_version = of_epoch(self.table_version, self.epoch)
            self.index = self.index if self.index == self.epoch else None
        self.token = next_token(state)
        counts_moved = variant == "cluster" and broken != "moved-fence-removed"
        is_fenced = any(self.fences) if counts_moved else self.epoch in self.fences
        self.is_fenced = is_fenced and broken != "early-drop"
        locking = LOCKING - {"fence"} if broken == "sent-unlocked" else LOCKING
        self.is_locked = any(step in locking for _, step, _, _ in self.processes)
        self.found = []

    def all(self):
        steps = {
            "reader": self.reader,
            "joined": self.joined,
            "writer": self.writer,
            "coarse": self.coarse,
            "late": self.late,
            "sent": self.sent,
        }
        for n, process in enumerate(self.processes):
            self.n, (self.kind, self.step, self.arg, self.known) = n, process
            if self.kind not in ("coarse", "writer") or not self.any_writer():
                steps[self.kind]()
            self.kill()
        self.evict()
        self.restore()
        self.move()
        return self.found

    def go(self, to, known=(), db=None, **changes):
        """The process proceeds to the step `to` and remembers `known`; `changes` are those in Redis."""
        processes = put(self.processes, self.n, (self.kind, to, self.arg, known))
        self.add(self.changed(changes), processes, db=db)

    def add(self, redis, processes=None, db=None, **left):
        """Another state; `left` are the numbers of faults left that differ."""
        numbers = {name: getattr(self, name) for name in ("evictions", "kills", "lost", "restores", "moves")} | left
        processes = self.processes if processes is None else processes
        self.found.append((self.db if db is None else db, redis, processes, *numbers.values()))

    def changed(self, changes):
        return (
            changes.get("table_version", self.table_version),
            changes.get("index", self.index),
            changes.get("versions", self.versions),
            changes.get("values", self.values),
            changes.get("fences", self.fences),
            changes.get("epoch", self.epoch),
            self.snapshot,
            changes.get("moved", self.moved),
        )

    # The Redis side.

    def existing_keys(self):
        """The names of the table's keys that exist: table version, index, fence, and the number of each version."""
        found = {"t": self.table_version is not None, "i": self.index is not None, "f": any(self.fences)}
        found |= {c: version is not None for c, version in enumerate(self.versions)}
        return {name for name, exists in found.items() if exists}

    def is_refused(self, *names):
        """Whether a command with these keys is refused, because the slot is moving."""
        if self.moved is None or self.broken == "undeclared-keys":
            return False
        sides = {name in self.moved if name in self.existing else None for name in names}
        return len(sides) > 1 or None in sides

    def exists(self, version):
        return version is not None and self.table_version is not None and version[0] == self.table_version

    def open_index(self):
        """The table version once the index has the shape: a new index starts a new table version."""
        table_version = self.table_version
        if (self.index is None and self.broken != "same-table-version") or table_version is None:
            table_version, self.token = (self.epoch, self.token), self.token + 1
        return table_version

    def created(self, version, table_version):
        return version if version is not None and version[0] == table_version else (table_version, self.token)

    def dropped(self, old, new):
        """The versions without those of the before and the after image, and of any row."""
        return put(put(put(self.versions, old, None), new, None), ANY_ROW, None)

    def fenced(self, is_fenced=True):
        return put(self.fences, self.n, self.epoch if is_fenced else None)

    def present_fences(self):
        """The fences after a reader has removed those of earlier epochs."""
        if self.broken == "old-fence-kept" or (self.variant == "cluster" and self.broken != "moved-fence-removed"):
            return self.fences
        return tuple(fence if fence == self.epoch else None for fence in self.fences)

    # Readers.

    def reader(self):
        c, versions = self.arg - 1, self.versions
        if self.step == "start":                               # MGET value, table version, version
            value = self.values[c]
            if self.exists(versions[c]) and value and value[:2] == (self.table_version, versions[c]):
                self.go(DONE)
            elif self.broken == "late-versions":
                self.go("query")
            elif self.is_refused("t", c):                      # reads without the cache
                self.go(DONE)
            elif self.exists(versions[c]):
                self.go("query", (self.table_version, versions[c]))
            else:
                self.go("create")
        elif self.step == "create" and (self.is_refused("t", "i", "f", c) or self.is_fenced_here()):
            self.go(DONE)                                      # reads without the cache
        elif self.step == "create":                            # one script
            table_version = self.open_index()
            version = self.created(versions[c], table_version)
            self.go("query", (table_version, version), table_version=table_version, index=table_version[0],
                    versions=put(versions, c, version), fences=self.present_fences(), **self.created_on(c))
        elif self.step == "query":                             # the database
            self.go("fill", (*self.known, self.db == self.arg))
        elif self.step == "fill" and self.broken == "late-versions":
            table_version = self.open_index()
            version = self.created(versions[c], table_version)
            self.go(DONE, table_version=table_version, index=self.epoch, versions=put(versions, c, version),
                    values=put(self.values, c, (table_version, version, self.known[-1])))
        elif self.step == "fill":                              # invalid from the start if a version changed meanwhile
            self.go(DONE, values=put(self.values, c, self.known))

    def joined(self):
        versions = self.versions
        if self.step == "start":                               # a script: the value names its own version
            value = self.values[ANY_ROW]
            is_valid = value and value[0] == self.table_version and versions[value[2] - 1] == value[1]
            if is_valid and self.exists(value[1]):
                self.go(DONE)
            elif self.exists(versions[ANY_ROW]) and not self.is_refused("t", ANY_ROW):
                self.go("query", (self.table_version, versions[ANY_ROW]))
            elif self.is_refused("t", "i", "f", ANY_ROW) or self.is_fenced:
                self.go(DONE)
            else:
                table_version = self.open_index()
                version = self.created(versions[ANY_ROW], table_version)
                self.go("query", (table_version, version), table_version=table_version, index=self.epoch,
                        versions=put(versions, ANY_ROW, version), fences=self.present_fences())
        elif self.step == "query":
            self.go("fill", (*self.known, self.db))
        elif self.step == "fill":
            table_version, coarse, at = self.known
            is_unchanged = self.table_version == table_version and versions[ANY_ROW] == coarse
            is_unprotected = self.broken == "late-row-level" and self.table_version is not None
            if self.is_refused("t", "i", ANY_ROW, at - 1):
                self.go(DONE)
            elif (is_unchanged and self.index is not None) or is_unprotected:
                version = self.created(versions[at - 1], self.table_version)
                value = self.table_version, version, at
                if self.variant == "cluster":                  # the value has a slot of its own
                    self.go("store", value, versions=put(versions, at - 1, version))
                else:
                    self.go(DONE, versions=put(versions, at - 1, version), values=put(self.values, ANY_ROW, value))
            else:
                self.go(DONE)
        elif self.step == "store":
            self.go(DONE, values=put(self.values, ANY_ROW, self.known))

    def is_fenced_here(self):
        """Whether the script that creates versions sees a fence."""
        if self.broken == "undeclared-keys" and self.moved is not None:
            return self.is_fenced and ("f" in self.moved) == ("t" in self.moved or "t" not in self.existing)
        return self.is_fenced

    def created_on(self, c):
        """The names of moved keys after a script has created versions."""
        return {} if self.moved is None else {"moved": self.moved | {"t", "i", c}}

    # Writers.

    def coarse(self):
        if self.step == "lock" and not self.is_locked:         # UPDATE
            self.go("fence")
        elif self.step == "fence":
            if self.broken == "no-fence":
                self.go("commit")
            elif self.broken == "early-drop":
                self.go("commit", table_version=None)
            elif self.is_refused("t", "i", "f"):
                self.fence_by_itself()
            else:
                self.fence_and({"table_version": None})
        elif self.step == "finish" and self.is_refused("t", "f"):
            self.go("release", table_version=None)
        elif self.step == "finish":                            # without its fence, it is unknown what was created
            self.go(DONE, table_version=self.table_version if self.fences[self.n] else None, fences=self.fenced(False))

    def writer(self):
        new, old = self.arg - 1, self.known[0] - 1 if self.known else None
        if self.step == "lock" and (self.broken in ("no-lock", "sent-unlocked") or not self.is_locked):   # before-image read, UPDATE
            self.go("fence", (self.db,))
        elif self.step == "fence":                             # one script, before the commit
            if self.broken == "no-fence":
                self.go("commit", self.known)
            elif self.variant == "overlap":
                self.send()
            elif self.is_refused("t", "i", "f", old, new, ANY_ROW):
                self.fence_by_itself()
            elif self.index is None:
                kept = self.table_version if self.broken == "same-table-version" else None
                self.fence_and({"table_version": kept})
            elif self.variant == "parts":
                coarse = new if self.broken == "coarse-last" else ANY_ROW
                first = {"versions": put(put(self.versions, old, None), coarse, None)}
                self.fence_and(first, "second-part", self.broken != "unfenced-part")
            else:
                self.fence_and({"versions": self.dropped(old, new)})
        elif self.step == "statement" and not self.is_locked:  # only with sent-unlocked
            self.go("await", self.known)
        elif self.step == "await":                             # the statement was executed, or it failed
            self.read_reply()
        elif self.step == "second-part":
            rest = {"versions": put(put(self.versions, new, None), ANY_ROW, None)}
            fences = self.broken in ("fence-again", "unfenced-part")
            self.fence_and({"table_version": None} if self.index is None else rest, is_fencing=fences)
        elif self.step == "finish":
            if self.is_refused("t", "f"):
                self.go("release", self.known, table_version=None)
            elif self.fences[self.n] or self.broken == "early-drop":   # no version was created meanwhile
                self.go(DONE, fences=self.fenced(False))
            elif self.broken == "no-fence":
                self.go(DONE, versions=self.dropped(old, new))
            else:                                              # it is unknown which versions were created
                self.go(DONE, table_version=None)

    def send(self):
        """Send the call that fences and invalidates, as a process of its own: it is executed at any time."""
        after = "statement" if self.broken == "sent-unlocked" else "await"
        processes = put(self.processes, self.n, (self.kind, after, self.arg, self.known))
        self.add(self.redis, (*processes, ("sent", "pending", self.arg, (self.n, *self.known))))

    def sent(self):
        """The call that a writer has sent."""
        if self.step == DONE:
            return
        n, old = self.known
        if self.step == "pending":
            new = old if self.broken == "before-image-only" else self.arg
            dropped = {"table_version": None}
            if self.index is not None:
                dropped = {"versions": self.dropped(old - 1, new - 1)}
            self.go("executed", self.known, fences=put(self.fences, n, self.epoch), **dropped)
        elif self.step == "executed" and self.processes[n][1] in (DONE, "dead"):   # its fence has been released, or expires
            self.go(DONE, fences=put(self.fences, n, None))

    def read_reply(self):
        """Commit once the call is executed; roll back, whether it is or not, if the statement failed."""
        is_pending = any(each[:2] == ("sent", "pending") and each[3][0] == self.n for each in self.processes)
        if not is_pending or self.broken == "commit-unanswered":
            self.go("commit", self.known)
        self.go("roll-back", self.known)
        if self.lost:
            after = "commit" if self.broken == "assume-sent" else "commit-unconfirmed"
            self.add(self.redis, put(self.processes, self.n, (self.kind, after, self.arg, self.known)), lost=self.lost - 1)

    def fence_by_itself(self):
        """Fence the table, then drop its version, by a command with one key each, because its slot is moving."""
        if self.broken == "fence-last":
            self.go("fence-late", self.known, table_version=None)
        else:
            moved = self.moved if "f" in self.existing else self.moved | {"f"}
            self.go("drop-whole", self.known, fences=self.fenced(), moved=moved)

    def fence_and(self, dropped, to="commit", is_fencing=True):
        """Fence the table and invalidate, in one call before the commit; or it is interrupted, or its reply is lost."""
        fences = self.fenced(self.broken != "early-drop") if is_fencing else self.fences
        self.go(to, self.known, fences=fences, **dropped)
        if not self.lost:
            return
        executed = {"fences": fences, **dropped}
        for changes in ({}, executed, {"fences": fences}):
            for after in ("commit-unconfirmed", "roll-back"):
                processes = put(self.processes, self.n, (self.kind, after, self.arg, self.known))
                self.add(self.changed(changes), processes, lost=self.lost - 1)
        processes = put(self.processes, self.n, (self.kind, "commit-unconfirmed", self.arg, self.known))
        processes += (("late", "pending", self.arg, (self.n, *self.known)),)
        self.add(self.redis, processes, lost=self.lost - 1)

    def any_writer(self):
        """The steps that both kinds of writers take; False if this is none of them."""
        if self.step == "commit":
            self.go("finish", self.known, db=self.arg)
        elif self.step == "commit-unconfirmed":
            self.go("finish-unconfirmed", self.known, db=self.arg)
        elif self.step == "finish-unconfirmed" and self.broken == "assume-invalidated":   # as if the reply had come
            self.go(DONE, table_version=self.table_version if self.fences[self.n] else None, fences=self.fenced(False))
        elif self.step == "finish-unconfirmed" and self.broken == "release-only":
            self.go(DONE, fences=self.fenced(False))
        elif self.step == "drop-whole":
            self.go("commit", self.known, table_version=None)
        elif self.step == "fence-late":
            self.go("commit", self.known, fences=self.fenced())
        elif self.step == "finish-unconfirmed":                # everything is invalidated again
            if self.kind == "coarse" or self.index is None or self.is_refused(*"tif", *range(4)):
                self.go("release", table_version=None)
            else:
                self.go("release", versions=self.dropped(self.known[0] - 1, self.arg - 1))
        elif self.step in ("release", "roll-back", "dead"):    # a dead writer's fence expires
            self.go(DONE, fences=self.fenced(False))
        else:
            return False
        return True

    def late(self):
        """A call whose reply was lost is executed after all."""
        if self.step == DONE:
            return
        n = self.known[0]
        if self.step == "pending" and len(self.known) > 1 and self.index is not None:
            versions = self.dropped(self.known[1] - 1, self.arg - 1)
            self.go("fenced", self.known[:1], versions=versions, fences=put(self.fences, n, self.epoch))
        elif self.step == "pending":
            self.go("fenced", self.known[:1], table_version=None, fences=put(self.fences, n, self.epoch))
        elif self.step == "fenced":                            # its fence expires
            self.go(DONE, fences=put(self.fences, n, None))

    # The adversary.

    def kill(self):
        if self.kills and self.kind in ("writer", "coarse") and self.step not in (DONE, "dead", "lock"):
            processes = put(self.processes, self.n, (self.kind, "dead", self.arg, ()))
            self.add(self.redis, processes, kills=self.kills - 1)

    def evict(self):
        if self.evictions:
            fewer = [self.changed({"table_version": None}), self.changed({"index": None})]
            fewer += [self.changed({"versions": put(self.versions, i, None)}) for i in range(4)]
            fewer += [self.changed({"fences": (None,) * len(self.fences)})]
            for redis in fewer:
                if redis != self.redis:
                    self.add(redis, evictions=self.evictions - 1)

    def restore(self):
        """A snapshot is taken, or the server begins another epoch with what the snapshot has."""
        *data, epoch, snapshot, moved = self.redis
        if self.restores and snapshot is None:
            self.add((*data, epoch, tuple(data), moved))
        elif snapshot is not None:
            self.add((*snapshot, epoch + 1, None, moved), restores=self.restores - 1)

    def move(self):
        """The slot begins to move, a key moves, or all have moved: then the table is on a node of another epoch."""
        if self.moved is None:
            if self.moves:
                self.add(self.changed({"moved": frozenset()}), moves=self.moves - 1)
            return
        for name in self.existing - self.moved:
            self.add(self.changed({"moved": self.moved | {name}}))
        if not self.existing - self.moved:
            *data, epoch, snapshot, _ = self.redis
            self.add((*data, epoch + 1, snapshot, None))


def is_stale(state, is_lenient, broken):
    """Whether a reader would accept a value that differs from what is committed, and no writer is excused."""
    db, (table_version, _, versions, values, _, epoch, *_), processes, *_ = state
    if broken != "no-epoch":
        table_version = of_epoch(table_version, epoch)
    if any(step in UNCONFIRMED for _, step, _, _ in processes):
        return False
    if is_lenient and any(step in AFTER_COMMIT for _, step, _, _ in processes):
        return False
    if table_version is None:
        return False
    joined = values[ANY_ROW]
    if joined and joined[0] == table_version and versions[joined[2] - 1] == joined[1] and joined[2] != db:
        return True
    return any(value and value[0] == table_version and value[1] == versions[c] and value[2] != (db == c + 1)
               for c, value in enumerate(values[:ANY_ROW]))


def walk(start, is_lenient, variant, broken):
    """All states that can be reached, each with the one that it was reached from; and the first stale one, if any."""
    came_from, todo = {start: None}, deque([start])
    while todo:
        state = todo.popleft()
        if is_stale(state, is_lenient, broken):
            return came_from, state
        for after in map(renumber, Successors(state, variant, broken).all()):
            if after not in came_from:
                came_from[after] = state
                todo.append(after)
    return came_from, None


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", default="2,2", help="the c that each reader asks for")
    parser.add_argument("--joined", type=int, default=0, help="number of readers of the joined result")
    parser.add_argument("--writers", default="2,3", help="the c that each writer sets")
    parser.add_argument("--coarse", default="", help="the c that each writer without before images sets")
    parser.add_argument("--evictions", type=int, default=1)
    parser.add_argument("--kills", type=int, default=0, help="number of writers that are killed; not with evictions")
    parser.add_argument("--lost", type=int, default=0,
                        help="number of calls before a commit that are interrupted or lose their reply")
    parser.add_argument("--restores", type=int, default=0, help="how often the server restarts from a snapshot")
    parser.add_argument("--moves", type=int, default=0, help="how often the table's slot moves to another node")
    parser.add_argument("--variant", choices=("scripts", "cluster", "parts", "overlap"), default="scripts")
    parser.add_argument("--break", dest="broken", default="", choices=("", *BREAKS), metavar="SIMPLIFICATION")
    return parser.parse_args()


def main():
    a = parse()
    processes = tuple(("reader", "start", int(c), ()) for c in a.readers.split(",") if c)
    processes += (("joined", "start", 0, ()),) * a.joined
    processes += tuple(("writer", "lock", int(c), ()) for c in a.writers.split(",") if c)
    processes += tuple(("coarse", "lock", int(c), ()) for c in a.coarse.split(",") if c)
    redis = (None, None, (None,) * 4, (None,) * 4, (None,) * len(processes), 1, None, None)
    start = renumber((1, redis, processes, a.evictions, a.kills, a.lost, a.restores, a.moves))
    is_lenient = a.evictions > 0 or a.restores > 0
    came_from, state = walk(start, is_lenient, a.variant, a.broken)
    if state is None:
        print(f"safe: {len(came_from)} states; readers {a.readers}, joined {a.joined}, writers {a.writers}, "
              f"coarse {a.coarse}, evictions {a.evictions}, kills {a.kills}, lost {a.lost}, restores {a.restores}, "
              f"moves {a.moves}, {a.variant}")
        return 0
    path = []
    while state:
        path.append(state)
        state = came_from[state]
    print(f"STALE after {len(path) - 1} steps")
    for each in reversed(path):
        print("  ", each)
    return 1


if __name__ == "__main__":
    sys.exit(main())
