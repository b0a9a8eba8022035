"""A proxy before a server, by which a test cuts some of its clients off while others reach it, or slows them down."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

CHUNK = 65536
TRICKLE_SECONDS = 0.05


class Proxy:
    """Forward connections to the port `target` of this machine, until `cut`; from `restore` on again."""

    def __init__(self, target, port=0):
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        self._lock = threading.Lock()
        self._sockets = set()
        self._is_cut = False
        # Requests arrive, but no reply comes back: the connection is closed instead.
        self.loses_replies = False
        # Each byte of a reply comes after a pause, so that each wait for the next bytes is short.
        self.is_trickling = False
        # How often replies were cut; each connection observes one that comes after its beginning.
        self._cuts = 0
        self.replies_cut = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def close(self):
        """Close all connections, in the middle of a reply as well, and release the port."""
        self.cut()
        _close(self.listener)

    def cut(self):
        """Close all connections, and each new one at once."""
        self._is_cut = True
        self.reset()

    def reset(self):
        """Close the connections that exist now."""
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for each in sockets:
            _close(each)

    def cut_next_replies(self):
        """Close each connection that exists now after the first half of its next reply."""
        self._cuts += 1

    def restore(self):
        self._is_cut = self.loses_replies = False

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                if self._is_cut:
                    _close(client)
                    continue
                try:
                    server = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    _close(client)
                    continue
                with self._lock:
                    self._sockets |= {client, server}
                if self._is_cut:
                    # Meanwhile; `cut` may have come before they were there.
                    self.reset()
                    continue
                for source, target, is_reply in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self._pump, args=(source, target, is_reply), daemon=True).start()

    def _pump(self, source, target, is_reply):
        cuts = self._cuts
        with suppress(OSError):
            while data := source.recv(CHUNK):
                if is_reply and self.loses_replies:
                    break
                if is_reply and self._cuts != cuts:
                    self.replies_cut += 1
                    target.sendall(data[: len(data) // 2])
                    break
                if is_reply and self.is_trickling:
                    _trickle(target, data)
                else:
                    target.sendall(data)
        for each in (source, target):
            _close(each)
        with self._lock:
            self._sockets -= {source, target}


def _trickle(target, data):
    for byte in data:
        time.sleep(TRICKLE_SECONDS)
        target.sendall(bytes([byte]))


def _close(connection):
    # A thread that waits for it would keep it open.
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
