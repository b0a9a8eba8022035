"""A proxy before a server, by which a test cuts some of its clients off while others reach it."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

CHUNK = 65536


class Proxy:
    """Forward connections to a port of this machine, until `cut`; from `restore` on again."""

    def __init__(self, port):
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self._lock = threading.Lock()
        self._sockets = set()
        self._is_cut = False
        # Requests arrive, but no reply comes back: the connection is closed instead.
        self.loses_replies = False
        # How often replies were cut; each connection observes one that comes after its beginning.
        self._cuts = 0
        self.replies_cut = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.cut()
        self.listener.close()

    def cut(self, for_good=True):
        """Close all connections; with `for_good`, also each new one at once."""
        with self._lock:
            self._is_cut = for_good
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
                target.sendall(data)
        for each in (source, target):
            _close(each)
        with self._lock:
            self._sockets -= {source, target}


def _close(connection):
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
