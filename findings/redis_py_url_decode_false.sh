#!/usr/bin/env bash
# redis-py and valkey-py: what does ?decode_responses=false in a URL do?
# Expected: replies are bytes, as by default; other arguments in URLs, such as socket_keepalive=false, are understood as booleans.
# Seen (redis-py 8.1.0, valkey-py 6.2.0): replies are text. The argument arrives as the text "false", which is true.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q redis==8.1.0 valkey==6.2.0
"$folder/venv/bin/python" - <<'PY'
import redis
import valkey

for library, client in ((redis, redis.Redis), (valkey, valkey.Valkey)):
    pool = client.from_url("redis://localhost/0?decode_responses=false&socket_keepalive=false").connection_pool
    # No server is needed: the encoder is what the client decodes replies by.
    decodes = pool.get_encoder().decode(b"reply")
    print(library.__name__, library.__version__, pool.connection_kwargs["decode_responses"], type(decodes).__name__)
    assert pool.connection_kwargs["socket_keepalive"] is False
    assert decodes == "reply", f"{library.__name__} understands it as a boolean by now"
PY
echo "as described"
