"""Counts what the engine really asks: a proxy put in place of the plugin's socket.

The plugin is killed first, so that the engine holds no connection that would bypass the proxy, and
is renamed away from its address as soon as it listens again. The wire is the only witness; the
plugin's own log would be its own testimony.
"""

import contextlib
import json
import os
import socket
import threading
import time
from dataclasses import dataclass

from support import unixhttp
from support.wait import wait_until

_HIDDEN = "behind-recorder"


@dataclass
class Call:
    method: str
    body: dict
    answer: dict
    started: float
    seconds: float


class Recorder:
    def __init__(self, host):
        self._host = host
        self._directory = host.path("run/docker/plugins", host.plugin_id)
        self._hidden = os.path.join(self._directory, _HIDDEN)
        self._lock = threading.Lock()
        self._calls = []

    def __enter__(self):
        kill = self._host.killer()
        with self._engine_out_of_reach():
            stale = self._socket_inode()
            kill()
            wait_until(lambda: self._fresh_socket(stale), 30, "the plugin listens again")
            self.address = self._socket_path()
            os.rename(self.address, self._hidden)
            self._listener = socket.socket(socket.AF_UNIX)
            with unixhttp.short_path(self.address) as short:
                self._listener.bind(short)
            self._listener.listen(128)
            threading.Thread(target=self._accept, daemon=True).start()
        return self

    @contextlib.contextmanager
    def _engine_out_of_reach(self):
        """A plugin that reaches its engine makes it list volumes, and the connection on which the engine asks the
        plugin for that would be used for everything that follows."""
        reachable = self._host.path("run/docker.sock")
        os.rename(reachable, reachable + ".away")
        try:
            yield
        finally:
            os.rename(reachable + ".away", reachable)

    def __exit__(self, *_):
        # shutdown, because close alone does not wake the thread that waits in accept
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if os.path.exists(self._hidden):
            os.rename(self._hidden, self.address)

    def calls(self, method=None, name=None):
        with self._lock:
            return [call for call in self._calls
                    if method in (None, call.method) and name in (None, call.body.get("Name"))]

    def counts(self, name=None):
        """{method: number} of the methods that change or use a volume."""
        methods = ("Create", "Mount", "Unmount", "Remove", "Path")
        return {method: len(self.calls(method, name)) for method in methods if self.calls(method, name)}

    def forget(self):
        with self._lock:
            self._calls.clear()

    def _socket_path(self):
        names = [name for name in os.listdir(self._directory) if name.endswith(".sock")]
        return os.path.join(self._directory, names[0]) if names else None

    def _socket_inode(self):
        path = self._socket_path()
        return os.lstat(path).st_ctime_ns if path else None

    def _fresh_socket(self, stale):
        try:
            if self._socket_inode() in (None, stale):
                return False
            unixhttp.connect(self._socket_path(), 5).close()
            return True
        except OSError:
            return False

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, client):
        upstream = unixhttp.UnixConnection(self._hidden, 130)
        with client, client.makefile("rb") as reader, contextlib.suppress(OSError):
            while request := _read_request(reader):
                path, headers, body = request
                started = time.monotonic()
                upstream.request("POST", path, body, headers)
                response = upstream.getresponse()
                answer = response.read()
                self._note(path, body, answer, started)
                client.sendall(b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                               % (response.status, response.reason.encode(), len(answer)) + answer)
        upstream.close()

    def _note(self, path, body, answer, started):
        call = Call(path.rpartition(".")[2], _object(body), _object(answer), started, time.monotonic() - started)
        with self._lock:
            self._calls.append(call)


def _read_request(reader):
    """One request with a Content-Length, which is what Go sends for a body of known size."""
    line = reader.readline().decode()
    if not line:
        return None
    headers = {}
    while (header := reader.readline().decode().strip()):
        name, _, value = header.partition(":")
        headers[name.strip()] = value.strip()
    length = int(next((value for name, value in headers.items() if name.lower() == "content-length"), "0"))
    return line.split()[1], headers, reader.read(length)


def _object(raw):
    with contextlib.suppress(ValueError):
        decoded = json.loads(raw)
        if isinstance(decoded, dict):
            return decoded
    return {}
