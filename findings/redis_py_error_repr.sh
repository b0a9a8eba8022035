#!/usr/bin/env bash
# redis-py: what does repr() of an error show, for example in a log record with %r?
# Expected: its class and its message, as of every exception.
# Seen (redis-py 8.1.0): "network:ConnectionError" or "server:ResponseError"; the message, which says what happened, is
# missing.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q redis==8.1.0
"$folder/venv/bin/python" - <<'PY'
import redis

found = [repr(redis.ConnectionError("Connection refused")), repr(redis.ResponseError("WRONGTYPE Operation"))]
print("redis-py", redis.__version__, found)
assert not any(text in each for text, each in zip(["refused", "WRONGTYPE"], found)), "redis-py behaves otherwise by now"
PY
