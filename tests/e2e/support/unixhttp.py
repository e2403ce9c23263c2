"""HTTP over a Unix socket that lies deep in another host's root."""

import contextlib
import http.client
import json
import os
import socket


@contextlib.contextmanager
def short_path(path):
    """A Unix socket's address holds 107 bytes, and /proc/PID/root/run/docker/plugins/<64 hex>/… is longer."""
    directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{os.path.basename(path)}"
    finally:
        os.close(directory)


def connect(path, timeout):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout)
    try:
        with short_path(path) as address:
            connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = connect(self._path, self.timeout)


class EngineApi:
    """The Engine API of one host, in the engine's newest version; one connection for each call."""

    def __init__(self, socket_path):
        self._socket_path = socket_path

    def request(self, method, path, body=None, timeout=60):
        """Returns (status, decoded body)."""
        connection = UnixConnection(self._socket_path(), timeout)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, {"Content-Type": "application/json"} if payload else {})
            response = connection.getresponse()
            raw = response.read()
            with contextlib.suppress(ValueError):
                return response.status, json.loads(raw)
            return response.status, raw.decode(errors="replace")
        finally:
            connection.close()

    def answers(self):
        try:
            return self.request("GET", "/_ping", timeout=5)[0] == 200
        except OSError:
            return False
        except http.client.HTTPException:
            return False
