#!/usr/bin/env python3
"""The protocol of `cacheops_lite.store.protocol` and `.outbox` as an executable specification: every interleaving is walked.

The world: one table with one row whose column c is 1, 2 or 3; cached queries Q[c] = "is the row in c".
A joined result J = "where is the row" is kept under the stamp of the c that came back, made when it is filled.
Processes: readers of Q[c]; readers of J; writers that move the row, whose lock they hold from their look to their
commit; coarse writers, that look at nothing and drop the generation; an adversary that evicts any one Redis key at any
moment, or kills a writer wherever it is.

The call that holds tables before a commit may be interrupted, or its reply be lost: then it was executed, or not, or only
its first half was (the hold is there, but nothing fell yet, as the registry was another one), or it is executed later.  An
interrupted writer rolls back and releases its hold.  One whose reply is lost commits, drops everything again and releases.

Safety: in each state, every cached value that a reader would accept equals what is committed.  Only where keys were
evicted, or without holds (cluster), or with a reply that is lost, writers between their commit and the end of their flush are excused.

Redis holds
    gen         the table's generation, a fresh token, or nothing
    registry    whether the scheme c is known, or nothing
    stamp[c]    (generation it was made under, token): of another generation it counts as absent; the last one is that
                of "any row", which watches over a read of J until stamp[c] is made
    value[c]    (gen, stamp, result); the last one is J's
    holds       the writers about to commit: while there is one, no stamp is made

    stamps.py                                        # two readers, two writers, one eviction: a few seconds
    stamps.py --evictions 0 --kills 1                # a writer that dies, at any moment; nobody is excused
    stamps.py --writers 2,3,2                        # some minutes
    stamps.py --variant cluster                      # no atomicity across keys: as on several nodes
    stamps.py --writers 2 --coarse 3                 # one that looks, one that describes nothing
    stamps.py --joined 2 --readers 2             # two readers of J
    stamps.py --joined 2 --break late-narrow     # whose stamps nothing watched over: STALE
    stamps.py --evictions 0 --lost 1             # a call before a commit is interrupted, or its reply is lost
    stamps.py --evictions 0 --lost 1 --break lift-unsure | release-unsure               # each must end in STALE
    stamps.py --break no-lock | no-registry-gen | late-stamps | no-hold | early-drop       # each must end in STALE
"""
import argparse
import sys
from collections import deque

DONE = "done"
ANY = 3
FLUSHING = {"flush", "drop-old", "drop-new", "drop-gen"}
# Of writers that have the row's lock.
LOCKING = {"hold", "commit", "commit-unsure"}
# Of writers that are excused where a reply was lost: they commit without knowing of a hold.
UNSURE = {"flush-unsure"}


def rename(state):
    """Rename tokens (ints from 1000) in order of appearance, so that equal situations are one state."""
    names = {}

    def walk(x):
        if isinstance(x, tuple):
            return tuple(walk(y) for y in x)
        return names.setdefault(x, 1000 + len(names)) if isinstance(x, int) and x >= 1000 else x

    return walk(state)


def next_token(state):
    def top(x):
        if isinstance(x, tuple):
            return max(map(top, x), default=999)
        return x if isinstance(x, int) and x >= 1000 else 999

    return top(state) + 1


def put(items, i, x):
    return items[:i] + (x,) + items[i + 1:]


def successors(state, variant, broken):
    db, redis, procs, evictions, kills, lost = state
    gen, registry, stamps, values, holds = redis
    token = next_token(state)
    found = []
    # A writer that is about to commit has told so; what it will change must not be read into the cache.
    may_make = not any(holds) or broken == "early-drop"
    is_locked = any(step in LOCKING for _, step, _, _ in procs)

    def live(stamp):
        return stamp is not None and gen is not None and stamp[0] == gen

    def open_registry():
        """The registry with the scheme in it and the generation; a registry made anew starts a new generation."""
        nonlocal token
        g, r = gen, registry
        if r is None:
            if broken != "no-registry-gen":
                g, token = token, token + 1
        if g is None:
            g, token = token, token + 1
        return g, True

    def renew(stamp, g):
        return stamp if stamp is not None and stamp[0] == g else (g, token)

    for n, (kind, step, arg, known) in enumerate(procs):
        def go(to, known=(), db=db, gen=gen, registry=registry, stamps=stamps, values=values, holds=holds):
            redis = (gen, registry, stamps, values, holds)
            found.append((db, redis, put(procs, n, (kind, to, arg, known)), evictions, kills, lost))

        def lose(known, dropped):
            """The call before the commit is interrupted, or its reply is lost; `dropped` is what it does besides holding."""
            executed = {"holds": put(holds, n, True), **dropped}
            for effect in ({}, executed, {"holds": put(holds, n, True)}):
                for to in ("commit-unsure", "undo"):
                    r = {"gen": gen, "registry": registry, "stamps": stamps, "values": values, "holds": holds, **effect}
                    after = put(procs, n, (kind, to, arg, known))
                    found.append((db, tuple(r.values()), after, evictions, kills, lost - 1))
            late = (*put(procs, n, (kind, "commit-unsure", arg, known)), ("late", "pending", arg, (n, *known)))
            found.append((db, redis, late, evictions, kills, lost - 1))

        c = arg - 1
        if kind == "reader":
            if step == "start":                                    # MGET value, generation, stamp
                if live(stamps[c]) and values[c] and values[c][:2] == (gen, stamps[c]):
                    go(DONE)
                elif broken == "late-stamps":
                    go("query")
                elif live(stamps[c]):
                    go("query", (gen, stamps[c]))
                else:
                    go("register")
            elif step == "register" and not may_make:              # reads without the cache
                go(DONE)
            elif step == "register":                               # one script, or its first half
                g, r = open_registry()
                if variant == "cluster":
                    go("stamp", (g,), gen=g, registry=r)
                else:
                    s = renew(stamps[c], g)
                    go("query", (g, s), gen=g, registry=r, stamps=put(stamps, c, s))
            elif step == "stamp":                                  # its second half, in the stamp's own slot
                s = renew(stamps[c], known[0])
                go("query", (known[0], s), stamps=put(stamps, c, s))
            elif step == "query":                                  # the database
                go("fill", known + (db == arg,))
            elif step == "fill":
                if broken == "late-stamps":
                    g, r = open_registry()
                    s = renew(stamps[c], g)
                    go(DONE, gen=g, registry=r, stamps=put(stamps, c, s), values=put(values, c, (g, s, known[-1])))
                else:
                    go(DONE, values=put(values, c, known))         # dead on arrival if a stamp fell meanwhile
        elif kind == "joiner":
            if step == "start":                                    # a script: the value tells its own stamp
                j = values[ANY]
                if j and j[0] == gen and live(j[1]) and stamps[j[2] - 1] == j[1]:
                    go(DONE)
                elif live(stamps[ANY]):
                    go("query", (gen, stamps[ANY]))
                elif not may_make:
                    go(DONE)
                else:
                    g, r = open_registry()
                    s = renew(stamps[ANY], g)
                    go("query", (g, s), gen=g, registry=r, stamps=put(stamps, ANY, s))
            elif step == "query":
                go("fill", known + (db,))
            elif step == "fill":
                g, wide, at = known
                stands = gen == g and registry is not None and stamps[ANY] == wide
                if stands or (broken == "late-narrow" and gen is not None):
                    s = renew(stamps[at - 1], gen)
                    go(DONE, stamps=put(stamps, at - 1, s), values=put(values, ANY, (gen, s, at)))
                else:
                    go(DONE)
        elif kind == "late":                                       # the call is executed after all
            if step == "pending" and len(known) > 1 and registry is not None:
                fallen = put(put(put(stamps, known[1] - 1, None), c, None), ANY, None)
                go("held", known[:1], stamps=fallen, holds=put(holds, known[0], True))
            elif step == "pending":
                go("held", known[:1], gen=None, holds=put(holds, known[0], True))
            elif step == "held":                                   # its hold comes to an end
                go(DONE, holds=put(holds, known[0], False))
        elif step == "undo":                                       # rolled back
            go(DONE, holds=put(holds, n, False))
        elif step == "commit-unsure":
            go("flush-unsure", known, db=arg)
        elif step == "flush-unsure" and broken == "lift-unsure":   # as one whose call was answered
            go(DONE, gen=gen if holds[n] else None, holds=put(holds, n, False))
        elif step == "flush-unsure" and broken == "release-unsure":
            go(DONE, holds=put(holds, n, False))
        elif step == "flush-unsure":                               # everything falls again
            if kind == "coarse" or registry is None:
                go("release", gen=None)
            else:
                go("release", stamps=put(put(put(stamps, known[0] - 1, None), c, None), ANY, None))
        elif step == "release":
            go(DONE, holds=put(holds, n, False))
        elif step == "dead":                                       # whatever became of it, its hold comes to an end
            go(DONE, holds=put(holds, n, False))
        elif step == "commit":
            go("flush", known, db=arg)
        elif kind == "coarse":
            if step == "lock" and not is_locked:                   # update
                go("hold")
            elif step == "hold":
                if broken in ("no-hold", "early-drop"):
                    go("commit", gen=gen if broken == "no-hold" else None)
                else:
                    go("commit", gen=None, holds=put(holds, n, True))
                    if lost:
                        lose((), {"gen": None})
            elif step == "flush":                                  # who lost his hold does not know what was made
                go(DONE, gen=gen if holds[n] else None, holds=put(holds, n, False))
        elif kind == "writer":
            old = known[0] - 1 if known else None
            dropped = stamps if old is None else put(put(put(stamps, old, None), c, None), ANY, None)
            if step == "lock" and broken == "no-lock":             # look, while others go on
                go("hold", (db,))
            elif step == "lock" and not is_locked:                 # look and update while others wait
                go("hold", (db,))
            elif step == "hold":                                   # one script, before the commit
                if broken == "no-hold" or variant == "cluster":
                    go("commit", known)
                elif registry is None:
                    g = gen if broken == "no-registry-gen" else None
                    go("commit", known, gen=g, holds=put(holds, n, broken != "early-drop"))
                    if lost:
                        lose(known, {"gen": g})
                else:
                    go("commit", known, stamps=dropped, holds=put(holds, n, broken != "early-drop"))
                    if lost:
                        lose(known, {"stamps": dropped})
            elif step == "flush":
                if variant == "cluster":                           # piece by piece
                    go("drop-gen" if registry is None else "drop-old", known)
                elif holds[n] or broken == "early-drop":           # nothing was made meanwhile
                    go(DONE, holds=put(holds, n, False))
                elif broken == "no-hold":
                    go(DONE, stamps=dropped)
                else:                                              # what was is not known any more
                    go(DONE, gen=None)
            elif step == "drop-old":
                go("drop-new", known, stamps=put(put(stamps, old, None), ANY, None))
            elif step == "drop-new":
                go(DONE, known, stamps=put(stamps, c, None))
            elif step == "drop-gen":
                go(DONE, gen=None)
        if kills and kind in ("writer", "coarse") and step not in (DONE, "dead", "lock"):
            dead = (kind, "dead", arg, ())
            found.append((db, redis, put(procs, n, dead), evictions, kills - 1, lost))
    if evictions:
        fewer = [(None, registry, stamps, values, holds), (gen, None, stamps, values, holds)]
        fewer += [(gen, registry, put(stamps, j, None), values, holds) for j in range(4)]
        fewer += [(gen, registry, stamps, values, (False,) * len(holds))]
        found += [(db, r, procs, evictions - 1, kills, lost) for r in fewer if r != redis]
    return found


def stale(state, lenient):
    db, (gen, _, stamps, values, _), procs, _, _, _ = state
    if any(step in UNSURE for _, step, _, _ in procs):
        return False
    if lenient and any(kind not in ("reader", "joiner") and step in FLUSHING for kind, step, _, _ in procs):
        return False
    joined = values[ANY]
    if joined and gen is not None and joined[0] == gen and stamps[joined[2] - 1] == joined[1] and joined[2] != db:
        return True
    return any(v and gen is not None and v[0] == gen and v[1] == stamps[c] and v[2] != (db == c + 1)
               for c, v in enumerate(values[:ANY]))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--readers", default="2,2", help="the c that each reader asks for")
    ap.add_argument("--joined", type=int, default=0, help="readers of the joined result")
    ap.add_argument("--writers", default="2,3", help="the c that each writer sets")
    ap.add_argument("--coarse", default="", help="the c that each writer that describes nothing sets")
    ap.add_argument("--evictions", type=int, default=1)
    ap.add_argument("--kills", type=int, default=0, help="how many writers die; not with evictions")
    ap.add_argument("--lost", type=int, default=0, help="how many calls before a commit are interrupted or lose their reply")
    ap.add_argument("--variant", choices=("scripts", "cluster"), default="scripts")
    ap.add_argument("--break", dest="broken", default="")
    a = ap.parse_args()
    procs = tuple(("reader", "start", int(c), ()) for c in a.readers.split(",") if c)
    procs += (("joiner", "start", 0, ()),) * a.joined
    procs += tuple(("writer", "lock", int(c), ()) for c in a.writers.split(",") if c)
    procs += tuple(("coarse", "lock", int(c), ()) for c in a.coarse.split(",") if c)
    redis = (None, None, (None,) * 4, (None,) * 4, (False,) * len(procs))
    start = rename((1, redis, procs, a.evictions, a.kills, a.lost))
    lenient = a.evictions > 0 or a.variant == "cluster"
    came_from, todo = {start: None}, deque([start])
    while todo:
        state = todo.popleft()
        if stale(state, lenient):
            path = []
            while state:
                path.append(state)
                state = came_from[state]
            print(f"STALE after {len(path) - 1} steps")
            for s in reversed(path):
                print("  ", s)
            return 1
        for s in successors(state, a.variant, a.broken):
            s = rename(s)
            if s not in came_from:
                came_from[s] = state
                todo.append(s)
    print(f"safe: {len(came_from)} states; readers {a.readers}, joined {a.joined}, writers {a.writers}, coarse {a.coarse}, evictions {a.evictions}, kills {a.kills}, lost {a.lost}, {a.variant}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
