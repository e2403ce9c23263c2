"""The instruments are tested too, without a lab: a probe that sees nothing proves nothing."""

import json
import os
import socketserver
import subprocess
import threading
from http.server import BaseHTTPRequestHandler
from types import SimpleNamespace

import pytest
from support.host import Host
from support.plugin_socket import PluginSocket
from support.recorder import Recorder
from support.unixhttp import short_path

PROBE = os.path.join(os.path.dirname(__file__), "support", "wire_probe.py")
PYTHON = "/usr/bin/python3"
PORT = "17766"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = json.dumps({"Err": "" if body.strip() else "empty body", "Volumes": []}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass


class FakeHost:
    """As much of a host as the recorder needs; "kill" makes a new server at the same address."""

    def __init__(self, directory):
        self._directory, self.plugin_id, self.server = directory, "0" * 64, None
        os.makedirs(self.path("run/docker/plugins", self.plugin_id))
        open(self.path("run/docker.sock"), "w", encoding="ascii").close()
        self.plugin("kill")

    def killer(self):
        return lambda: self.plugin("kill")

    def path(self, *parts):
        return os.path.join(self._directory, *parts)

    def plugin(self, _action):
        address = self.path("run/docker/plugins", self.plugin_id, "ferry.sock")
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            os.unlink(address)
        with short_path(address) as short:
            self.server = socketserver.ThreadingUnixStreamServer(short, Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def host(tmp_path):
    made = FakeHost(str(tmp_path))
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_recorder_counts_and_goes_away_again(host):
    plugin = PluginSocket(host.path("run/docker/plugins", host.plugin_id))
    with Recorder(host) as recorder:
        assert plugin.call("Mount", {"Name": "x", "ID": "1"}).error is None
        assert plugin.call("Mount", {"Name": "y", "ID": "1"}).error is None
        assert plugin.call("Unmount", {"Name": "x", "ID": "1"}).error is None
        assert plugin.call("Create", b"").error == "empty body"
        assert recorder.counts("x") == {"Mount": 1, "Unmount": 1}
        assert recorder.counts() == {"Create": 1, "Mount": 2, "Unmount": 1}
        assert recorder.calls("Mount", "y")[0].body == {"Name": "y", "ID": "1"}
        recorder.forget()
        assert recorder.counts() == {}
    assert plugin.answers()
    assert recorder.counts() == {}, "it still stands between"


def test_traces_are_seen_wherever_they_lie(tmp_path):
    """Also in places of a later layout, and beside the directories."""
    lab = SimpleNamespace(run=lambda *_: SimpleNamespace(stdout=f"{tmp_path}\n"))
    host = Host(lab, "a")
    assert host.traces() == set()
    places = ["volumes/x/data", "incoming/x", "trash/1-x", "orphans/x", "quarantine/x.record.json", "elsewhere/x"]
    for place in places:
        os.makedirs(host.ferry(place))
    open(host.ferry(".new-0"), "w", encoding="ascii").close()
    assert host.traces() == {"volumes/x", *places[1:], ".new-0"}


def test_plugin_socket_says_what_is_an_error(host):
    plugin = PluginSocket(host.path("run/docker/plugins", host.plugin_id))
    assert plugin.call("List", {}).error is None
    assert plugin.call("Get", b"").error == "empty body"
    raw = plugin.raw(b"POST /VolumeDriver.List HTTP/1.1\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
    assert raw.startswith(b"HTTP/1.1 200") and b"Volumes" in raw


@pytest.mark.parametrize(("rogue", "asked", "handshake"), [
    ("tls", "tls13", True), ("tls", "tls12", True), ("http", "plain", False), ("http", "tls13", False)])
def test_probes_see_a_careless_side(certificate, rogue, asked, handshake):
    """Each side is shown the other at its most careless, and has to notice."""
    words = [PYTHON, PROBE, "rogue", rogue, PORT, *certificate]
    listener = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert listener.stdout.readline() == "listening\n"
        result = subprocess.run([PYTHON, PROBE, asked, "127.0.0.1", PORT], capture_output=True, check=True, timeout=30)
    finally:
        heard = json.loads(listener.communicate("", timeout=20)[0])
    told = json.loads(result.stdout)
    assert told["handshake"] is handshake and heard["handshake"] is handshake
    if asked == "tls13" and rogue == "http":
        assert heard["received"].startswith("16"), "a ClientHello"
    else:
        assert bytes.fromhex(told["received"]).startswith(b"HTTP/1.1 200")
        assert bytes.fromhex(heard["received"]).startswith(b"GET / ")
