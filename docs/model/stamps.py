#!/usr/bin/env python3
"""The protocol of `cacheops_lite.store` and `.outbox` as an executable specification: every interleaving is walked.

The world: one table with one row whose column c is 1, 2 or 3; cached queries Q[c] = "is the row in c".
Processes: readers of Q[c]; autocommit writers that move the row; lockers, writers that move it in a transaction and hold
its lock from their look to their commit; coarse writers, that look at nothing and drop the generation; an adversary that evicts any one Redis key at any moment.  Safety: in each state
where no writer stands between its commit and the end of its flush, every cached value that a reader would accept equals
the database.

Redis holds
    gen         the table's generation, a fresh token, or nothing
    registry    whether the scheme c is known, or nothing
    stamp[c]    (generation it was made under, token): of another generation it counts as absent
    mark        a token that the first of some writers who look at the row leaves, and any flush ends
    value[c]    (gen, stamp, result)

    stamps.py                                        # two readers, two writers, one eviction: a few seconds
    stamps.py --writers 2,3,2                        # about a minute
    stamps.py --writers 2 --lockers 3                # one in autocommit, one in a transaction
    stamps.py --variant cluster                      # no atomicity across keys: as on several nodes
    stamps.py --writers 2 --coarse 3                 # one in autocommit, one that describes nothing
    stamps.py --break no-mark | no-registry-gen | late-stamps                      # each must end in STALE
    stamps.py --readers 3,3 --writers 2 --lockers 3 --break locker-keeps-mark      # these, too
    stamps.py --readers 3,3 --writers 2 --coarse 3 --break no-gen-look
"""
import argparse
import sys
from collections import deque

DONE = "done"
FLUSHING = {"flush", "drop-old", "drop-new", "drop-mark", "drop-gen"}


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
    gen, registry, stamps, mark, values = redis
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
        def go(to, known=(), db=db, gen=gen, registry=registry, stamps=stamps, mark=mark, values=values):
            found.append((db, (gen, registry, stamps, mark, values), put(procs, n, (kind, to, arg, known)), evictions))

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
        elif kind == "coarse":
            if step == "lock":                                     # update and commit
                go("flush", db=arg)
            elif step == "flush":
                go(DONE, gen=None)
        elif kind in ("writer", "locker"):
            undisturbed = kind == "locker" or not known or (
                known[0] == (mark, gen) or broken == "no-gen-look" and known[0][0] == mark)
            old = known[1] - 1 if len(known) > 1 else None
            if step == "start":                                    # take the row's mark, or leave one
                s = token if mark is None else mark
                go("look", ((s, gen),), mark=s)
            elif step == "lock":                                   # look, update and commit while others wait
                go("flush", (None, db), db=arg)
            elif step == "look":                                   # read the old row
                go("update", known + (db,))
            elif step == "update":                                 # and commit
                go("flush", known, db=arg)
            elif step == "flush":
                if variant == "cluster":                           # piece by piece
                    if registry is None:
                        go("drop-mark", known, gen=None)
                    else:
                        go("drop-old", known)
                else:                                              # one script
                    g, ss = gen, stamps
                    if registry is None:
                        g = None if broken != "no-registry-gen" else gen
                    else:
                        ss = put(put(stamps, old, None), c, None)
                    if not undisturbed and broken != "no-mark":
                        g = None                                   # another writer came between: unknown states
                    kept = mark if kind == "locker" and broken == "locker-keeps-mark" else None
                    go(DONE, gen=g, stamps=ss, mark=kept)
            elif step == "drop-old":
                go("drop-new", known, stamps=put(stamps, old, None))
            elif step == "drop-new":
                go("drop-mark", known, stamps=put(stamps, c, None))
            elif step == "drop-mark":
                go(DONE if undisturbed else "drop-gen", known, mark=None)
            elif step == "drop-gen":
                go(DONE, gen=None)
    if evictions:
        lost = [(None, registry, stamps, mark, values), (gen, None, stamps, mark, values), (gen, registry, stamps, None, values)]
        lost += [(gen, registry, put(stamps, j, None), mark, values) for j in range(3)]
        found += [(db, r, procs, evictions - 1) for r in lost if r != redis]
    return found


def stale(state):
    db, (gen, _, stamps, _, values), procs, _ = state
    if any(kind != "reader" and step in FLUSHING for kind, step, _, _ in procs):
        return False
    return any(v and gen is not None and v[0] == gen and v[1] == stamps[c] and v[2] != (db == c + 1)
               for c, v in enumerate(values))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--readers", default="2,2", help="the c that each reader asks for")
    ap.add_argument("--writers", default="2,3", help="the c that each writer sets")
    ap.add_argument("--lockers", default="", help="the c that each writer in a transaction sets")
    ap.add_argument("--coarse", default="", help="the c that each writer that describes nothing sets")
    ap.add_argument("--evictions", type=int, default=1)
    ap.add_argument("--variant", choices=("scripts", "cluster"), default="scripts")
    ap.add_argument("--break", dest="broken", default="")
    a = ap.parse_args()
    procs = tuple(("reader", "start", int(c), ()) for c in a.readers.split(",") if c)
    procs += tuple(("writer", "start", int(c), ()) for c in a.writers.split(",") if c)
    procs += tuple(("locker", "lock", int(c), ()) for c in a.lockers.split(",") if c)
    procs += tuple(("coarse", "lock", int(c), ()) for c in a.coarse.split(",") if c)
    start = rename((1, (None, None, (None,) * 3, None, (None,) * 3), procs, a.evictions))
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
    print(f"safe: {len(came_from)} states; readers {a.readers}, writers {a.writers}, lockers {a.lockers}, coarse {a.coarse}, evictions {a.evictions}, {a.variant}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
