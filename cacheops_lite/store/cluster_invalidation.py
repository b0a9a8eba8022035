"""Call ``invalidate.lua`` on a Redis Cluster: for each table by itself, as its keys share a slot, at the same time.

While a slot moves to another node, key by key, no command can use several of its keys unless all of them exist, and a
fence usually does not.  Then the table is invalidated as a whole by commands with one key each, which always reach it:
first its fence, then its table version.  Readers create no version meanwhile, because that takes several keys.
docs/model/protocol.py walks this (``--moves``).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import redis
from redis.exceptions import TryAgainError

from . import keys
from .client import (
    client_for,
    current_epoch,
    execute,
    last_epoch,
    raise_error,
    reset_connections,
    run_script,
    run_scripts,
)
from .epoch_calls import call_in_epoch

# How often a call is tried that gets the reply to another request.
MAX_ATTEMPTS = 3
# The position of the longest lease among the options of `run`.
_LONGEST_LEASE = 3
# Cheaper than a random token for each call, and no value in Redis begins like it.
_NONCE_PREFIX = keys.fresh_token()
_nonces = itertools.count()


def new_nonce() -> str:
    """Return a nonce for invalidate.lua, unique in this process, whose connections no other process reads from."""
    return f"{_NONCE_PREFIX}{next(_nonces)}"


def run(prefix: str, options: Sequence[Any], parts: Sequence[Sequence[Any]]) -> list[tuple[bytes, list[Any]]]:
    """Run invalidate.lua for each part; return the epoch of its node, and the reply without the nonce.

    `options` are the arguments from the token of the fence to the longest lease.  A part has the arguments that
    describe one table; several may describe the same one.  Raises errors of Redis.
    """
    if not options[_LONGEST_LEASE]:
        return _run(prefix, options, parts, requires_epochs=False)
    # The registrations of near caches are those of a node: of another epoch they count for nothing.
    return call_in_epoch(
        lambda epoch: _run(prefix, options, parts, requires_epochs=True), keys.fence_key(prefix, parts[0][0])
    )


def _run(
    prefix: str, options: Sequence[Any], parts: Sequence[Sequence[Any]], requires_epochs: bool
) -> list[tuple[bytes, list[Any]]]:
    root_length = len((prefix + keys.NAMESPACE).encode())
    calls, nonces, epochs = [], [], []
    for part in parts:
        nonces.append(new_nonce())
        key = keys.fence_key(prefix, part[0])
        epochs.append(current_epoch(key) if requires_epochs else last_epoch(key))
        args = [nonces[-1], *options, epochs[-1].decode(), root_length, *part]
        calls.append((_keys_of(prefix, part), args, epochs[-1] if requires_epochs else None))
    found = []
    for part, call, nonce, reply in zip(parts, calls, nonces, run_scripts("invalidate", calls), strict=True):
        if isinstance(reply, TryAgainError):
            found.append(_invalidate_moving(prefix, part[0], options))
        elif _is_own(raise_error(reply), nonce):
            found.append(reply[1:])
        else:
            found.append(_run_again(call, nonce))
    return list(zip(epochs, found, strict=True))


def _keys_of(prefix: str, part: Sequence[Any]) -> list[str]:
    """Return all keys that the script uses.  The first one has to begin like all others."""
    table = part[0]
    own = [
        key(prefix, table) for key in (keys.table_version_key, keys.index_key, keys.fence_key, keys.registration_key)
    ]
    return own + [keys.version_key(prefix, f"{table}:{dependency}") for dependency in part[4:]]


def _is_own(reply: Any, nonce: str) -> bool:
    return type(reply) is list and reply[:1] == [nonce.encode()]


def _run_again(call: Any, nonce: str) -> list[Any]:
    names, args, epoch = call
    for _ in range(MAX_ATTEMPTS):
        reset_connections()
        reply = run_script("invalidate", names, args, epoch)
        if _is_own(reply, nonce):
            return reply[1:]
    raise redis.ConnectionError("Redis keeps sending the replies to other requests")


def _invalidate_moving(prefix: str, table: str, options: Sequence[Any]) -> list[Any]:
    """Fence a table, if there is a fence, and drop its version; return what the script would.

    Its registration has the epoch of the node that it comes from, so it is unknown which near caches there are.
    """
    token, seconds = options[:2]
    fence_error = None
    if token:
        key = keys.fence_key(prefix, table)
        try:
            now = client_for(key).time()[0]
            execute("ZADD", key, now + seconds, token)
            execute("EXPIRE", key, seconds + 1)
        except redis.ResponseError as error:
            # As in the script: what Redis refuses must not keep the version from being dropped.
            fence_error = error
    number = execute("UNLINK", keys.table_version_key(prefix, table))
    if fence_error is not None:
        raise fence_error
    return [[number], [table.encode()] if number else [], [str(options[_LONGEST_LEASE]).encode()]]
