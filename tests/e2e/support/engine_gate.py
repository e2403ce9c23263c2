"""Stands between Ferry and its engine, and holds a chosen call at a chosen step.

Ferry is told of another socket (its setting ENGINE_SOCKET); everybody else goes on using the engine's own.
"""

import contextlib
import json
import os
import re
import socket
import threading

from support import unixhttp

_NAME = "e2e-gate.sock"
_SETTING = "ENGINE_SOCKET"


class Held:
    """One call that will be held, once. After its release its connection is broken, as by a death of either side; unless
    it is held as "delayed"."""

    def __init__(self, what, matches, when):
        self.what, self.matches, self.when = what, matches, when
        self._reached, self._released, self._over = threading.Event(), threading.Event(), threading.Event()

    def wait(self, deadline=30):
        assert self._reached.wait(deadline), f"no {self.what} within {deadline} s"

    def release(self):
        self._released.set()

    def wait_over(self, deadline=30):
        assert self._over.wait(deadline), "the engine does not answer the call that was held"

    def pass_through(self, client, upstream, request):
        with contextlib.suppress(OSError):
            if self.when in ("answered", "delayed"):
                upstream.sendall(request)
                threading.Thread(target=_pump, args=(client, upstream), daemon=True).start()  # what is chunked
            if self.when == "delayed":
                answer = upstream.recv(65536)
                self._reached.set()
                self._released.wait(120)
                client.sendall(answer)
                _pump(upstream, client)
                self._over.set()
                return
            if self.when == "answered":
                upstream.recv(1)  # it answers when all is done
            self._reached.set()
            self._released.wait(120)
            client.shutdown(socket.SHUT_RDWR)
            if self.when == "late":
                upstream.sendall(request)
                upstream.recv(1)
        self._over.set()


class EngineGate:
    def __init__(self, host):
        self._host = host
        self._lock = threading.Lock()
        self._held, self._seen = [], []
        self._listener = None

    def __enter__(self):
        path = self._host.path("run", _NAME)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self._listener = socket.socket(socket.AF_UNIX)
        with unixhttp.short_path(path) as short:
            self._listener.bind(short)
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        for held in self._held:
            held.release()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._set("docker.sock")

    def ensure(self):
        """Ferry goes through here, also after a reinstall."""
        if f"{_SETTING}={_NAME}" not in self._host.plugin_inspect()["Settings"]["Env"]:
            self._set(_NAME)

    def hold(self, method, volume, when):
        """The next `method` (DELETE, or POST: create) for the volume. `when`: "sent", before the engine gets it;
        "answered", when the engine has done it and before Ferry learns; "late": as "sent", but the engine gets it after
        the connection to Ferry has broken; "delayed": the engine has done it, and Ferry learns of it after the release."""
        return self._hold(f"{method} of {volume}", lambda call: call[:2] == (method, volume), when)

    def hold_path(self, method, pattern, when):
        """As hold(), of a path with its query, without the API's version, that the pattern is found in."""
        return self._hold(f"{method} {pattern}", lambda call: call[0] == method and re.search(pattern, call[2]), when)

    def _hold(self, what, matches, when):
        held = Held(what, matches, when)
        with self._lock:
            self._held.append(held)
        return held

    def calls(self):
        """How many Ferry has made up to now."""
        with self._lock:
            return len(self._seen)

    def methods(self, volume):
        """Of the calls about the volume up to now."""
        with self._lock:
            return [method for method, name, _ in self._seen if name == volume]

    def _set(self, value):
        self._host.set_plugin(f"{_SETTING}={value}")

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        """One call a connection, as Ferry makes them."""
        with contextlib.suppress(OSError), client:
            request = _read_request(client)
            with unixhttp.connect(self._host.path("run/docker.sock"), 130) as upstream:
                if held := self._note(request):
                    held.pass_through(client, upstream, request)
                    return
                upstream.sendall(request)
                threading.Thread(target=_pump, args=(client, upstream), daemon=True).start()
                _pump(upstream, client)

    def _note(self, request):
        """Notes the call; the one that it shall be held as, if any."""
        call = _call_of(request)
        with self._lock:
            self._seen.append(call)
            found = next((held for held in self._held if held.matches(call)), None)
            if found:
                self._held.remove(found)
        return found


def _read_request(connection):
    raw = b""
    while b"\r\n\r\n" not in raw or len(raw) < _length(raw):
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError("no request")
        raw += piece
    return raw


def _length(raw):
    head = raw.partition(b"\r\n\r\n")[0]
    announced = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return len(head) + 4 + (int(announced[1]) if announced else 0)


def _call_of(raw):
    """(method, volume, path and query); the volume of a POST is in its body."""
    head, _, body = raw.partition(b"\r\n\r\n")
    method, target = head.decode(errors="replace").split()[:2]
    target = re.sub(r"^/v[\d.]+(?=/)", "", target)
    path = target.partition("?")[0]
    if method == "POST" and path.endswith("/volumes/create"):
        return method, json.loads(body)["Name"], target
    found = re.fullmatch(r"/volumes/([^/]+)", path)
    return method, found[1] if found else None, target


def _pump(source, target):
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
