"""To which kind each failure of Redis belongs: by its class, and by the code in its text."""

import pytest
import redis
from redis import exceptions

from cacheops_lite.store.failure_kinds import (
    DeliveryInProgressError,
    FailureKind,
    is_outage,
    is_temporary,
    kind_of,
)

AWAY, REFUSES, MISCONFIGURED, OURSELVES, DEFECT = FailureKind
CLASSES = [
    (redis.ConnectionError("Error 111 connecting to localhost:1. Connection refused."), AWAY),
    (redis.ConnectionError("max number of clients reached"), AWAY),
    (redis.TimeoutError("Timeout reading from socket"), AWAY),
    (exceptions.BusyLoadingError("Redis is loading the dataset in memory"), AWAY),
    (exceptions.ClusterDownError("CLUSTERDOWN Hash slot not served"), AWAY),
    (exceptions.TryAgainError("Multiple keys request during rehashing of slot"), AWAY),
    (exceptions.MasterDownError("MASTERDOWN Link with MASTER is down"), AWAY),
    (exceptions.ReadOnlyError("You can't write against a read only replica."), REFUSES),
    (exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), REFUSES),
    (exceptions.AuthenticationError("invalid username-password pair"), MISCONFIGURED),
    (exceptions.AuthenticationWrongNumberOfArgsError("wrong number of arguments"), MISCONFIGURED),
    (exceptions.NoPermissionError("this user has no permissions to run the 'mget' command"), MISCONFIGURED),
    (exceptions.ClusterCrossSlotError("Keys in request don't hash to the same slot"), MISCONFIGURED),
    (exceptions.MovedError("1 127.0.0.1:1"), MISCONFIGURED),
    (redis.ConnectionError("Too many connections"), OURSELVES),
    (redis.ConnectionError("No connection available."), OURSELVES),
    (DeliveryInProgressError("by another thread"), OURSELVES),
    (redis.InvalidResponse("Protocol Error"), DEFECT),
    (redis.DataError("Invalid input of type"), DEFECT),
]
# As Redis 7 and Redis 6.2 send them, alone and from scripts.
TEXTS = [
    ("MISCONF Redis is configured to save RDB snapshots", REFUSES),
    ("NOREPLICAS Not enough good replicas to write.", REFUSES),
    ("BUSY Redis is busy running a script. You can only call SCRIPT KILL", REFUSES),
    ("OOM command not allowed when used memory > 'maxmemory'. script: 83ab, on @user_script:14.", REFUSES),
    ("READONLY You can't write against a read only replica. script: 83ab, on @user_script:1.", REFUSES),
    ("Error running script (call to f_83ab): @user_script:1: @user_script: 1: -OOM command not allowed", REFUSES),
    ("Error running script (call to f_83ab): @user_script:7: @user_script: 7: -READONLY You can't write", REFUSES),
    ("Error running script (call to f_83ab): @user_script:7: -MISCONF Redis is configured to save", REFUSES),
    ("Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'.", REFUSES),
    ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", AWAY),
    ("TRYAGAIN Multiple keys request during rehashing of slot", AWAY),
    ("ACL failure in script: User default has no permissions to run the 'time' command", MISCONFIGURED),
    ("Error running script (call to f_8): @user_script:1: The user executing the script can't run this command or "
     "subcommand", MISCONFIGURED),
    ("unknown command 'EVALSHA', with args beginning with: ", MISCONFIGURED),
    ("Unknown Redis command called from script script: 83ab, on @user_script:1.", MISCONFIGURED),
    ("Script attempted to access a non local key in a cluster node script: 83ab", MISCONFIGURED),
    ("DB index is out of range", MISCONFIGURED),
    ("WRONGTYPE Operation against a key holding the wrong kind of value", DEFECT),
    ("WRONGTYPE Operation against a key holding the wrong kind of value script: 83ab, on @user_script:1.", DEFECT),
    ("user_script:3: attempt to index a nil value script: 83ab, on @user_script:3.", DEFECT),
    ("something that no version of Redis has sent so far", DEFECT),
]  # fmt: skip


def test_a_full_pool_is_a_limit_of_this_process():
    pool = redis.ConnectionPool(max_connections=1)
    pool.make_connection()
    with pytest.raises(redis.ConnectionError) as raised:
        pool.make_connection()
    assert kind_of(raised.value) is OURSELVES


@pytest.mark.skipif(not hasattr(exceptions, "MaxConnectionsError"), reason="an older redis-py")
def test_a_full_pool_is_recognized_by_its_class():
    assert kind_of(exceptions.MaxConnectionsError("in other words")) is OURSELVES


@pytest.mark.parametrize(("error", "kind"), CLASSES, ids=lambda value: type(value).__name__)
def test_a_class_of_redis_py_has_a_kind(error, kind):
    assert kind_of(error) is kind


@pytest.mark.parametrize(("text", "kind"), TEXTS)
def test_a_reply_without_a_class_of_its_own_has_the_kind_of_its_code(text, kind):
    assert kind_of(redis.ResponseError(text)) is kind


def test_only_outages_let_reads_degrade_and_only_mistakes_and_defects_last():
    outages, temporary = set(), set()
    for error, kind in CLASSES:
        outages |= {kind} if is_outage(error) else set()
        temporary |= {kind} if is_temporary(error) else set()
    assert outages == {AWAY, REFUSES}
    assert temporary == {AWAY, REFUSES, OURSELVES}
