"""What the user of the connection may do: commands, keys and scripts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

import redis

from ...store import keys, required_commands, run_script, uses_cluster
from .findings import Finding
from .session import Refused, Session, known_prefixes

MAX_PREFIXES = 20
_DENIED = ("no permission", "unknown command", "not found", "ACL failure", "NOPERM")
# Words of a reply of ACL DRYRUN, or of an error, that is about the key instead of the command.
_ABOUT_KEY = ("access the", "access a key", "access one of the keys")


def examine_permissions(session: Session) -> Iterator[Finding]:
    """Report which commands the user lacks that this package needs."""
    user, denied = _user(session), _denied_commands(session)
    missing = denied & set(_required())
    missing_optional = denied & set(required_commands.OPTIONAL)
    who = f"User {user!r}" if user else "The user of the connection"
    if missing:
        yield Finding(
            "permissions",
            "error",
            f"{who} can't run {', '.join(sorted(missing))}.",
            "Without them results are not cached, or writes do not invalidate them.",
            _grant(user, missing | missing_optional),
        )
    elif missing_optional:
        yield Finding(
            "permissions",
            "warning",
            f"{who} can't run {', '.join(sorted(missing_optional))}.",
            "Querysets are cached and invalidated; the simple cache, counters or subcommands of cacheops may fail.",
            _grant(user, missing_optional),
        )
    else:
        number = len(_required()) + len(required_commands.OPTIONAL)
        yield Finding("permissions", "ok", f"{who} can run all {number} commands that are needed.")


def _grant(user: str | None, commands: Iterable[str]) -> str:
    rules = " ".join(f"+{name.lower()}" for name in sorted(commands))
    return f"If they are not renamed: ACL SETUSER {user or '<user>'} {rules}"


def _user(session: Session) -> str | None:
    with suppress(Refused):
        return str(session.ask("ACL", "WHOAMI"))
    return None


def _dry_run_user(session: Session) -> str | None:
    """Return the user if ACL DRYRUN (Redis 7.0) tells what it may do; it needs a permission itself."""
    user = _user(session)
    with suppress(Refused):
        if user is not None:
            session.ask("ACL", "DRYRUN", user, "PING")
            return user
    return None


def _required() -> dict[str, tuple[object, ...]]:
    return required_commands.required(uses_cluster())


def _denied_commands(session: Session) -> set[str]:
    commands = {**_required(), **required_commands.OPTIONAL}
    user = _dry_run_user(session)
    if user is None:
        return _denied_by_trial(session)
    return {name for name, arguments in commands.items() if _is_denied(_dry_run(session, user, name, arguments))}


def _dry_run(session: Session, user: str, name: str, arguments: tuple[object, ...]) -> str:
    try:
        return str(session.ask("ACL", "DRYRUN", user, name, *_with_key(session, arguments)))
    except Refused as refusal:
        return str(refusal)


def _is_denied(text: str) -> bool:
    return any(words in text for words in _DENIED) and not any(words in text for words in _ABOUT_KEY)


def _denied_by_trial(session: Session) -> set[str]:
    """Return the commands that are refused when they are run on a key that holds a text, which is removed at the end.

    Those that would create the key are not tried if the text can't be stored; commands of other types fail on a text
    without a change, but only after the permission was checked.
    """
    commands = {**_required(), **required_commands.OPTIONAL}
    removing, transactional = ("UNLINK", "DEL"), ("WATCH", "MULTI", "EXEC", "UNWATCH")
    creating = {"SADD", "ZADD", "HINCRBY"}
    denied: set[str] = set()
    is_stored = not _is_refused(session, "SET", commands["SET"], denied)
    try:
        for name, arguments in commands.items():
            if name in ("SET", *removing, *transactional) or (name in creating and not is_stored):
                continue
            _is_refused(session, name, arguments, denied)
    finally:
        for name in removing:
            _is_refused(session, name, commands[name], denied)
    for name in transactional:
        _is_refused(session, name, commands[name], denied)
    return denied


def _is_refused(session: Session, name: str, arguments: tuple[object, ...], denied: set[str]) -> bool:
    """Run a command and return whether it failed; note it in `denied` if it is not permitted."""
    try:
        session.ask(name, *_with_key(session, arguments))
    except Refused as refusal:
        if _is_denied(str(refusal)):
            denied.add(name)
        return True
    return False


def _with_key(session: Session, arguments: tuple[object, ...]) -> list[object]:
    return [session.key if each is required_commands.KEY else each for each in arguments]


def examine_keys(session: Session) -> Iterator[Finding]:
    """Report keys of this package that the user may not use."""
    prefixes = known_prefixes()
    if prefixes is None:
        yield Finding("keys", "unknown", "CACHEOPS_PREFIX can't be asked for all prefixes outside of a query.")
        return
    tester, user = _dry_run_user(session), _user(session) or "<user>"
    wanted = [f"{prefix}{keys.NAMESPACE}{kind}:doctor" for prefix in prefixes[:MAX_PREFIXES] for kind in keys.KINDS]
    denied = [key for key in wanted if _is_forbidden(session, tester, key)]
    if not denied:
        yield Finding("keys", "ok", "No key of this package is forbidden.")
        return
    patterns = " ".join(f"~{prefix}{keys.NAMESPACE}*" for prefix in prefixes[:MAX_PREFIXES])
    yield Finding(
        "keys",
        "error",
        f"{len(denied)} of {len(wanted)} kinds of keys are forbidden to user {user!r}, such as {denied[0]}.",
        "Results are not cached, or writes do not invalidate them.",
        f"ACL SETUSER {user} {patterns}",
    )


def _is_forbidden(session: Session, tester: str | None, key: str) -> bool:
    """Return whether reading or writing a key is refused.  There is no such key, so a trial changes nothing."""
    for command in (("GET", key), ("EXPIRE", key, 1)):
        try:
            text = session.ask(*command) if tester is None else _dry_run(session, tester, command[0], command[1:])
        except Refused as refusal:
            text = str(refusal)
        if any(words in str(text) for words in _ABOUT_KEY):
            return True
    return False


def examine_scripts(session: Session) -> Iterator[Finding]:
    """Report whether scripts run, and may use keys that only they know."""
    try:
        run_script("release", [session.key], ["doctor"])
        session.ask("EVAL", "return redis.call('exists', ARGV[1])", 0, session.key)
    except (Refused, redis.ResponseError) as error:
        undeclared = "undeclared" in str(error)
        yield Finding(
            "scripts",
            "error",
            f"Lua scripts can't be run: {str(error).partition(' Redis at ')[0]}",
            "All invalidations are scripts, so what is written is invalidated late or not at all.",
            "Start the server with --default_lua_flags=allow-undeclared-keys."
            if undeclared
            else "Allow EVAL and EVALSHA, and turn scripting on.",
        )
    else:
        yield Finding("scripts", "ok", "Lua scripts can be run.")
