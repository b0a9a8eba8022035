"""Redis servers that a test can start, stop and interrupt.

``TEST_REDIS_SERVER`` names the program, such as one of another version or of Valkey: ``make servers`` tests each.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from shutil import which

import pytest
import redis

from tests.support import services
from tests.support.waiting import wait_until

PROGRAM = os.environ.get("TEST_REDIS_SERVER", "redis-server")


class Server:
    """A separate Redis server on a free port; it stores nothing on disk unless a test asks for it."""

    def __init__(self, *options):
        self.options = options
        # Its own: a server that finds the snapshot of another one loads it.
        self.folder = tempfile.mkdtemp()
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process = None

    def spawn(self):
        command = [PROGRAM, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command += ["--dir", self.folder, *self.options]
        # Ctrl-C in a terminal is for the program that started the server, which still needs it to clean up.
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        return self.process

    def start(self):
        self.spawn()
        # Older versions of redis-py do not retry refused connections by default.
        errors = (redis.ConnectionError, redis.TimeoutError, OSError)
        patience = redis.retry.Retry(redis.backoff.ConstantBackoff(0.02), 250, supported_errors=errors)
        with redis.Redis(port=self.port, retry=patience) as client:
            client.ping()

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def remove(self):
        """Stop the server, and remove what it has stored."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def hang(self, seconds):
        """Stop the process for a while: connections and commands are accepted, and answered afterwards."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            self.process.send_signal(signal.SIGCONT)

    def client(self):
        return redis.Redis(port=self.port)


def need_program():
    """Skip the test on a laptop, and fail it in CI, if there is no program of a server."""
    if shutil.which(PROGRAM) is None:
        (pytest.fail if services.IN_CI else pytest.skip)(f"{PROGRAM} is not installed")


@contextmanager
def running(*options):
    """Start a server; without its program this skips the test on a laptop and fails in CI."""
    need_program()
    server = Server(*options)
    try:
        server.start()
        yield server
    finally:
        server.remove()


def accepts(options):
    """Return whether a server starts with these options, which its build may not know."""
    need_program()
    server = Server(*options)
    process = server.spawn()
    try:
        assert wait_until(lambda: process.poll() is not None or services.answers("127.0.0.1", server.port))
        return process.poll() is None
    finally:
        server.remove()


def certificate(folder):
    """Make a certificate for this machine, which signs itself; return its file and that of its key."""
    names = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command, "-out", names[0], "-keyout", names[1]], check=True, capture_output=True)
    return names


def tls_options(port, pem, key):
    """Return the options of a server that also listens on a port with TLS."""
    files = ["--tls-cert-file", str(pem), "--tls-key-file", str(key), "--tls-ca-cert-file", str(pem)]
    return ["--tls-port", str(port), *files, "--tls-auth-clients", "no"]


def known(*options):
    """Return the options if a server knows them, else none: Redis 6 lacks some that later versions need."""
    return options if accepts(options) else ()


@contextmanager
def sentinel(folder, master):
    """Start a Sentinel that watches a master, and yield the settings that name it."""
    port, config = free_port(), folder / "sentinel.conf"
    lines = ["port {port}", "bind 127.0.0.1", "sentinel monitor mymaster 127.0.0.1 {master} 1"]
    lines += ["sentinel down-after-milliseconds mymaster 1000", "sentinel failover-timeout mymaster 5000"]
    config.write_text("\n".join(lines).format(port=port, master=master.port) + "\n")
    process = subprocess.Popen([PROGRAM, str(config), "--sentinel"], stdout=subprocess.DEVNULL)
    try:
        assert listens(port)
        yield {"locations": [("127.0.0.1", port)], "service_name": "mymaster"}
    finally:
        process.kill()
        process.wait()


@contextmanager
def postgresql():
    """Start a PostgreSQL server on a free port; yield the settings of its databases.

    Without its programs this skips the test on a laptop and fails in CI.
    """
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [*map(Path, filter(None, [which("initdb")]))]
    if not programs:
        (pytest.fail if services.IN_CI else pytest.skip)("PostgreSQL's initdb is not installed")
    folder, port = tempfile.mkdtemp(), free_port()
    # Its programs refuse to be run by root.
    by = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    if by:
        shutil.chown(folder, "postgres", "postgres")
    run = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    control = [*by, programs[-1].with_name("pg_ctl"), "-D", f"{folder}/data", "-w", "-s"]
    try:
        run([*by, programs[-1], "-D", f"{folder}/data", "-U", "root", "-A", "trust", "-N", "-E", "UTF8"])
        run([*control, "-l", f"{folder}/log", "-o", f"-p {port} -k {folder} -c fsync=off", "start"])
        settings = {"HOST": "127.0.0.1", "PORT": str(port), "USER": "root", "PASSWORD": ""}
        yield {**services.database_settings("postgresql"), **settings}
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], cwd=folder)
        shutil.rmtree(folder, ignore_errors=True)


class Silence:
    """A server that accepts connections and never answers."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.accepted = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                self.accepted.append(self.listener.accept())

    def close(self):
        self.listener.close()
        for connection, _ in self.accepted:
            connection.close()


class DeafPort:
    """A port that answers no attempt to connect: the kernel accepts no more connections, and refuses none."""

    def __init__(self, host="127.0.0.1", port=0):
        self._listener = socket.create_server((host, port), backlog=0)
        self.number = self._listener.getsockname()[1]
        self._waiting = [socket.socket() for _ in range(4)]
        for each in self._waiting:
            each.setblocking(False)
            each.connect_ex(self._listener.getsockname())

    def close(self):
        for each in (*self._waiting, self._listener):
            each.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def listens(port, seconds=60):
    """Wait until a server listens on a port of this machine; return False if none does."""
    until = time.monotonic() + seconds
    while not services.answers("127.0.0.1", port):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True
