"""The page about servers says what the last run of ``make servers`` found."""

import json
import subprocess

import pytest

from tests import server_tables, servers
from tests.support.ways import WAYS


def results():
    return json.loads(servers.RESULTS.read_text("utf-8"))


def test_the_tables_are_those_of_the_result():
    assert servers.TABLES.read_text("utf-8") == server_tables.tables(results())


def test_each_server_and_each_connection_was_tested():
    """What is added has to be run before the page can speak of it."""
    assert [row["name"] for row in results()["servers"]] == [each.name for each in servers.PROGRAMS]
    assert [row["connection"] for row in results()["connections"]] == list(servers.CONNECTIONS)
    ways = {*WAYS, *server_tables.OTHER_WAYS.values()}
    for row in results()["servers"]:
        assert set(row["ways"]) == ways, row["name"]


CASES = {
    "TLS": "tests.store.test_ways_to_connect::test_reads_hit_until_a_write_invalidates_them[TLS]",
    "URL": "tests.store.test_ways_to_connect::test_with_degrade_an_outage_leaves_nothing_stale[False-URL]",
    "valkey-py, RESP3": "tests.store.test_ways_to_connect::test_each_call_has_a_time_limit[True-valkey-py, RESP3]",
    "RESP3": "tests.store.test_ways_to_connect::test_each_call_has_a_time_limit[RESP3]",
    "Sentinel, forced failover": "tests.store.test_failover::test_a_forced_failover_leaves_nothing_stale[redis-py]",
    "cluster": "tests.store.test_ways_to_connect::test_reads_hit_until_a_write_invalidates_them[cluster]",
    "cluster of three nodes": "tests.store.test_cluster::test_a_client_with_an_old_map_of_slots_follows",
    None: "tests.store.test_protocol::test_a_value_is_valid[TLS]",
}


@pytest.mark.parametrize("way", CASES)
def test_a_test_counts_for_the_way_that_it_is_about(way):
    assert server_tables.way_of(CASES[way]) == way


def test_failures_are_shown_and_named(tmp_path):
    """A way with one failed test is no way that works."""
    report = tmp_path / "report.xml"
    report.write_text(
        """<testsuites><testsuite>
        <testcase classname="tests.store.test_ways_to_connect" name="test_a[TLS]"/>
        <testcase classname="tests.store.test_ways_to_connect" name="test_b[TLS]"><failure/></testcase>
        <testcase classname="tests.store.test_ways_to_connect" name="test_c[TLS]"><skipped/></testcase>
        <testcase classname="tests.store.test_ways_to_connect" name="test_a[URL]"><error/></testcase>
        <testcase classname="tests.store.test_ways_to_connect" name="test_a[dict]"><skipped/></testcase>
        </testsuite></testsuites>"""
    )
    row = server_tables.counted(server_tables.read_report(report))
    assert (row["passed"], row["failed"], row["skipped"]) == (1, 2, 2)
    assert row["failures"] == [
        "tests.store.test_ways_to_connect::test_a[URL]",
        "tests.store.test_ways_to_connect::test_b[TLS]",
    ]
    row |= {"has_tls": True}
    cells = [server_tables._cell(row, way) for way in ("TLS", "URL", "dict", "RESP3")]
    assert cells == ["1 failed", "1 failed", "not tested", "not tested"]
    assert server_tables._cell({**row, "ways": {}, "has_tls": False}, "TLS") == "built without TLS"


def test_a_package_that_this_machine_cannot_use_is_left_out(tmp_path, monkeypatch):
    """Wheels have programs for some kinds of machines only."""
    monkeypatch.setattr(servers, "FOLDER", tmp_path)
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: subprocess.CompletedProcess(args, 1))
    program = servers.Program("Redis 0", "no-such-redis==0")
    assert servers.found(program) is None
    assert list(tmp_path.iterdir()) == []


def test_the_program_in_a_package_is_made_executable(tmp_path, monkeypatch):
    """A script of the same name is not taken for it."""
    monkeypatch.setattr(servers, "FOLDER", tmp_path)
    for folder, content in (("bin", b"#!/bin/sh"), ("package", b"\x7fELF...")):
        (tmp_path / "redis-0" / folder).mkdir(parents=True)
        (tmp_path / "redis-0" / folder / "redis-server").write_bytes(content)
    path = servers.found(servers.Program("Redis 0", "redis==0"))
    assert path == tmp_path / "redis-0" / "package" / "redis-server"
    assert path.stat().st_mode & 0o100
