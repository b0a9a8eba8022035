"""The proxy of the benchmark over a network forwards all bytes in order, each round trip later than without it."""

import os
import socket
import threading
import time

import pytest

from bench.latency import Latency

SECONDS = 0.02


@pytest.fixture
def echo():
    """The port of a server that returns what it gets."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=reply, args=(connection,), daemon=True).start()

    def reply(connection):
        with connection:
            while data := connection.recv(1 << 16):
                connection.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.close()


def received(connection, length):
    found = b""
    while len(found) < length and (data := connection.recv(1 << 16)):
        found += data
    return found


def test_all_bytes_arrive_in_order_and_later(echo):
    with Latency("127.0.0.1", echo, SECONDS) as latency:
        connections = [socket.create_connection(("127.0.0.1", latency.port), 20) for _ in range(3)]
        for connection in connections:
            data = os.urandom(300_000)
            started = time.monotonic()
            threading.Thread(target=connection.sendall, args=(data,)).start()
            assert received(connection, len(data)) == data
            assert time.monotonic() - started >= SECONDS
        connections[0].shutdown(socket.SHUT_WR)
        assert connections[0].recv(1) == b""
        for connection in connections:
            connection.close()
