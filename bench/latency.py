"""A proxy that adds time to each round trip, as a network does."""

from __future__ import annotations

import heapq
import itertools
import selectors
import socket
import time
from multiprocessing import get_context
from typing import Any

# The proxy polls instead of sleeping when the next bytes are due within this time, in seconds: sleeps are not so exact.
SPIN_SECONDS = 0.002
CHUNK_BYTES = 1 << 18


class Latency:
    """A process that forwards connections to a server, each way after half of `seconds`; a context manager."""

    def __init__(self, host: str, port: int, seconds: float):
        self._server = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._server.getsockname()[1]
        arguments = self._server, (host, port), seconds / 2
        self._process = get_context("fork").Process(target=_forward, args=arguments, daemon=True)

    def __enter__(self) -> Latency:
        self._process.start()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._process.kill()
        self._process.join()
        self._server.close()


def _forward(server: socket.socket, address: tuple[str, int], delay: float) -> None:
    """Accept connections and forward what comes, `delay` seconds later."""
    selector = selectors.DefaultSelector()
    selector.register(server, selectors.EVENT_READ)
    # When bytes are due, a number that keeps their order, where to, and the bytes; None to close.
    due: list[tuple[float, int, socket.socket, bytes | None]] = []
    numbers = itertools.count()
    while True:
        now = time.monotonic()
        while due and due[0][0] <= now:
            _, _, target, data = heapq.heappop(due)
            _deliver(selector, target, data)
        left = due[0][0] - now if due else 1.0
        for key, _ in selector.select(0 if left < SPIN_SECONDS else left):
            if key.fileobj is server:
                _accept(selector, server, address)
                continue
            source: Any = key.fileobj
            try:
                data = source.recv(CHUNK_BYTES)
            except OSError:
                data = b""
            if not data:
                selector.unregister(source)
            heapq.heappush(due, (time.monotonic() + delay, next(numbers), key.data, data or None))


def _accept(selector: selectors.BaseSelector, server: socket.socket, address: tuple[str, int]) -> None:
    near, far = server.accept()[0], socket.create_connection(address)
    for one, other in ((near, far), (far, near)):
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(one, selectors.EVENT_READ, other)


def _deliver(selector: selectors.BaseSelector, target: socket.socket, data: bytes | None) -> None:
    try:
        if data is None:
            target.shutdown(socket.SHUT_WR)
        else:
            target.sendall(data)
    except OSError:
        # The other end has gone.
        target.close()
