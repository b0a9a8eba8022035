"""A name server of a test, in place of that of the system: it may not answer, or answer late."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager

PATIENCE = 60


class NameServer:
    """Knows one name.  While it is silent, each lookup waits."""

    def __init__(self, name="cache.example", addresses=("127.0.0.1",)):
        self.name, self.addresses = name, list(addresses)
        self.lookups = 0
        self._look_up = socket.getaddrinfo
        self._speaks = threading.Event()
        self._speaks.set()

    def be_silent(self):
        self._speaks.clear()

    def answer(self):
        """Answer all lookups that wait, and all later ones."""
        self._speaks.set()

    def getaddrinfo(self, host, *args, **options):
        if host != self.name:
            return self._look_up(host, *args, **options)
        self.lookups += 1
        assert self._speaks.wait(PATIENCE)
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [found for address in self.addresses for found in self._look_up(address, *args, **options)]


@contextmanager
def served(monkeypatch, **options):
    """Put a name server in place of that of the system; lookups that still wait at the end are answered."""
    server = NameServer(**options)
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", server.getaddrinfo)
        try:
            yield server
        finally:
            server.answer()
