#!/usr/bin/env python3
"""The protocol of `cacheops_lite.store` and `.outbox` as an executable specification: every interleaving is walked.

The world: one table with one row whose column c is 1, 2 or 3; cached queries Q[c] = "is the row in c".
A joined result J = "where is the row" is kept under the stamp of the c that came back, made when it is filled.
Processes: readers of Q[c]; readers of J; writers that move the row, whose lock they hold from their look to their commit; coarse writers,
that look at nothing and drop the generation; an adversary that evicts any one Redis key at any moment.  Safety: in each
state where no writer stands between its commit and the end of its flush, every cached value that a reader would accept
equals the database.

Redis holds
    gen         the table's generation, a fresh token, or nothing
    registry    whether the scheme c is known, or nothing
    stamp[c]    (generation it was made under, token): of another generation it counts as absent; the last one is that
                of "any row", which watches over a read of J until stamp[c] is made
    value[c]    (gen, stamp, result); the last one is J's

    stamps.py                                        # two readers, two writers, one eviction: a few seconds
    stamps.py --writers 2,3,2                        # about a minute
    stamps.py --variant cluster                      # no atomicity across keys: as on several nodes
    stamps.py --writers 2 --coarse 3                 # one that looks, one that describes nothing
    stamps.py --joined 2 --readers 2             # two readers of J
    stamps.py --joined 2 --break late-narrow     # whose stamps nothing watched over: STALE
    stamps.py --break no-lock | no-registry-gen | late-stamps        # each must end in STALE
"""
import argparse
import sys
from collections import deque

DONE = "done"
ANY = 3
FLUSHING = {"flush", "drop-old", "drop-new", "drop-gen"}


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
    db, redis, procs, evictions = state
    gen, registry, stamps, values = redis
    token = next_token(state)
    found = []

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
        def go(to, known=(), db=db, gen=gen, registry=registry, stamps=stamps, values=values):
            found.append((db, (gen, registry, stamps, values), put(procs, n, (kind, to, arg, known)), evictions))

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
        elif kind == "coarse":
            if step == "lock":                                     # update and commit
                go("flush", db=arg)
            elif step == "flush":
                go(DONE, gen=None)
        elif kind == "writer":
            old = known[0] - 1 if known else None
            if step == "lock" and broken == "no-lock":             # look, while others go on
                go("update", (db,))
            elif step == "lock":                                   # look, update and commit while others wait
                go("flush", (db,), db=arg)
            elif step == "update":
                go("flush", known, db=arg)
            elif step == "flush":
                if variant == "cluster":                           # piece by piece
                    go("drop-gen" if registry is None else "drop-old", known)
                elif registry is None:                             # one script
                    go(DONE, gen=None if broken != "no-registry-gen" else gen)
                else:
                    go(DONE, stamps=put(put(put(stamps, old, None), c, None), ANY, None))
            elif step == "drop-old":
                go("drop-new", known, stamps=put(put(stamps, old, None), ANY, None))
            elif step == "drop-new":
                go(DONE, known, stamps=put(stamps, c, None))
            elif step == "drop-gen":
                go(DONE, gen=None)
    if evictions:
        lost = [(None, registry, stamps, values), (gen, None, stamps, values)]
        lost += [(gen, registry, put(stamps, j, None), values) for j in range(4)]
        found += [(db, r, procs, evictions - 1) for r in lost if r != redis]
    return found


def stale(state):
    db, (gen, _, stamps, values), procs, _ = state
    if any(kind not in ("reader", "joiner") and step in FLUSHING for kind, step, _, _ in procs):
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
    ap.add_argument("--variant", choices=("scripts", "cluster"), default="scripts")
    ap.add_argument("--break", dest="broken", default="")
    a = ap.parse_args()
    procs = tuple(("reader", "start", int(c), ()) for c in a.readers.split(",") if c)
    procs += (("joiner", "start", 0, ()),) * a.joined
    procs += tuple(("writer", "lock", int(c), ()) for c in a.writers.split(",") if c)
    procs += tuple(("coarse", "lock", int(c), ()) for c in a.coarse.split(",") if c)
    start = rename((1, (None, None, (None,) * 4, (None,) * 4), procs, a.evictions))
    came_from, todo = {start: None}, deque([start])
    while todo:
        state = todo.popleft()
        if stale(state):
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
    print(f"safe: {len(came_from)} states; readers {a.readers}, joined {a.joined}, writers {a.writers}, coarse {a.coarse}, evictions {a.evictions}, {a.variant}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
