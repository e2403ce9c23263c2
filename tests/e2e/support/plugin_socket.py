"""The plugin's own socket, spoken to as an engine would, or as none should."""

import json
import os
from dataclasses import dataclass

from support import unixhttp
from support.wait import Stopwatch

# What engines send; see engine-facts: pkg/plugins/client.go in moby.
ENGINE_HEADERS = {"Accept": "application/vnd.docker.plugins.v1.2+json", "User-Agent": "Go-http-client/1.1"}
METHODS = ("Create", "Remove", "Mount", "Unmount", "Path", "Get", "List", "Capabilities")


@dataclass
class Reply:
    status: int
    raw: bytes
    seconds: float

    @property
    def json(self):
        return json.loads(self.raw)

    @property
    def error(self):
        """None for a success, as the engine reads it; a body that is not JSON is always an error."""
        try:
            decoded = json.loads(self.raw)
        except ValueError:
            return f"not JSON: {self.raw[:200]!r}"
        if self.status == 200:
            return decoded.get("Err") or None
        return decoded.get("Err") or f"status {self.status}"


class PluginSocket:
    """Each call has its own connection, so calls may be made from many threads."""

    def __init__(self, directory):
        self._directory = directory

    @property
    def path(self):
        names = [name for name in os.listdir(self._directory) if name.endswith(".sock")]
        if len(names) != 1:
            raise FileNotFoundError(f"{self._directory}: expected one socket, found {names}")
        return os.path.join(self._directory, names[0])

    def answers(self):
        try:
            return self.call("List", {}, timeout=5).error is None
        except OSError:
            return False

    def call(self, method, body, timeout=60):
        """body: an object, sent as Go's encoder would, or bytes, sent as they are."""
        if not isinstance(body, bytes):
            body = json.dumps(body, separators=(",", ":")).encode() + b"\n"
        return self.post(f"/VolumeDriver.{method}", body, timeout)

    def post(self, path, body, timeout=60, headers=None):
        watch = Stopwatch()
        connection = unixhttp.UnixConnection(self.path, timeout)
        try:
            connection.putrequest("POST", path, skip_host=True, skip_accept_encoding=True)
            for name, value in {"Host": "plugin.moby.localhost", **ENGINE_HEADERS, **(headers or {})}.items():
                connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Reply(response.status, response.read(), watch.seconds)
        finally:
            connection.close()

    def raw(self, request, timeout=10):
        """Sends bytes on a connection of their own; returns what comes until the end or the timeout."""
        with unixhttp.connect(self.path, timeout) as connection:
            connection.sendall(request)
            answer = b""
            try:
                while piece := connection.recv(65536):
                    answer += piece
            except (TimeoutError, ConnectionError):
                pass
            return answer

    def connect(self, timeout=10):
        return unixhttp.connect(self.path, timeout)
