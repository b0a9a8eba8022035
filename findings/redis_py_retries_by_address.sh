#!/usr/bin/env bash
# redis-py: how often is a command tried on a server that refuses connections, by two ways to name the same server?
# Expected: as often, whether the client is made from arguments or from a URL.
# Seen (redis-py 8.1.0): Redis(host=..., port=...) repeats it 10 times with pauses, for seconds; Redis.from_url(...) fails at
# once.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q redis==8.1.0
"$folder/venv/bin/python" - <<'PY'
import socket

import redis

# A port on which no server listens.
with socket.create_server(("127.0.0.1", 0)) as listener:
    port = listener.getsockname()[1]
attempts = 0
connect = socket.socket.connect


def counted(self, address):
    global attempts
    attempts += 1
    return connect(self, address)


socket.socket.connect = counted
found = {}
clients = {"arguments": redis.Redis(host="127.0.0.1", port=port), "URL": redis.Redis.from_url(f"redis://127.0.0.1:{port}")}
for name, client in clients.items():
    attempts = 0
    try:
        client.get("key")
    except redis.ConnectionError:
        found[name] = attempts
print("redis-py", redis.__version__, "attempts:", found)
assert found["URL"] == 1 and found["arguments"] > 5, "redis-py behaves otherwise by now"
PY
