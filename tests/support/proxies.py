"""A proxy between the cache and Redis that a test can cut, stop or slow down."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

TRICKLE_SECONDS = 0.05


class Proxy:
    """Forward connections to a port of this machine.

    While `is_trickling`, each byte of a reply comes after a pause, so that each wait for the next bytes is short.
    """

    def __init__(self, target, port=0):
        self._target = target
        self._pairs = []
        self._lock = threading.Lock()
        self.is_trickling = False
        self.port = port
        self._listener = None
        self.heal()

    def heal(self):
        """Accept connections."""
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self.port = self._listener.getsockname()[1]
            threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def cut(self):
        """Close all connections, in the middle of a reply as well, and refuse further ones."""
        listener, self._listener = self._listener, None
        if listener is not None:
            # A thread that accepts keeps the socket open.
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.reset()

    def reset(self):
        """Close the connections that exist now."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for each in pair:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    close = cut

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            with self._lock:
                self._pairs.append((client, server))
            threading.Thread(target=self._forward, args=[client, server, False], daemon=True).start()
            threading.Thread(target=self._forward, args=[server, client, True], daemon=True).start()

    def _forward(self, source, destination, is_reply):
        with suppress(OSError):
            while data := source.recv(65536):
                if not (is_reply and self.is_trickling):
                    destination.sendall(data)
                    continue
                for byte in data:
                    time.sleep(TRICKLE_SECONDS)
                    destination.sendall(bytes([byte]))
        for each in (source, destination):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
