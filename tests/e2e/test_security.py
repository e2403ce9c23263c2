"""Nothing for those without the key, and the key for nobody."""

import base64
import contextlib
import json
import os
import re

import pytest
from support import scratch as containers
from support import volumes
from support.host import PEER_PORT
from support.wait import Stopwatch, wait_until

PROBE = os.path.join(os.path.dirname(__file__), "support", "wire_probe.py")
PYTHON = "/usr/bin/python3"


@pytest.fixture
def source(a, scratch):
    name = scratch.volume(a, labels=["x=1"])
    containers.fill(a.volume_data(name), {"file": b"content"})
    return name


@pytest.fixture
def works(b, scratch, source):
    """The positive control: who has the key gets everything, also after what a stranger did."""
    def check():
        name = scratch.name(b)
        volumes.must_create(b, name, options=[f"from=a/{source}"])
        volumes.wait_imported(b, name)
        assert containers.run(b, f"{name}:/data", "cat /data/file").stdout == "content"
    return check


@pytest.mark.parametrize("kind", ["plain", "junk", "tls12", "tls13"])
def test_a_stranger_gets_nothing(a, b, works, kind):
    before = a.plugin_pids()
    answer = json.loads(b.in_network(PYTHON, PROBE, kind, a.address, str(PEER_PORT)).stdout)
    received = bytes.fromhex(answer["received"])
    assert not answer["handshake"]
    # At most a TLS alert: record type 21, two bytes.
    assert len(received) <= 7 and (not received or received[0] == 21), received
    assert a.plugin_pids() == before
    works()


@pytest.mark.parametrize("identity", ["ferry", "Client_identity"])
def test_a_wrong_key_gets_nothing(a, b, works, identity):
    words = ["openssl", "s_client", "-connect", f"{a.address}:{PEER_PORT}", "-tls1_3", "-psk", "0f" * 32,
             "-psk_identity", identity, "-ign_eof"]
    result = b.in_network(*words, stdin=b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"CONNECTED" in result.stdout, "the probe did not even connect"
    # What s_client prints for a session that did not come about; one by a key would be "Reused, TLSv1.3".
    assert b"New, (NONE), Cipher is (NONE)" in result.stdout and b"HTTP/1" not in result.stdout, result.stdout
    works()


def test_strangers_who_stay_do_not_keep_others_out(a, b, works):
    """Two hundred connections that say nothing, made from here in b's network."""
    script = ("import socket, sys\n"
              f"kept = [socket.create_connection(('{a.address}', {PEER_PORT}), 5) for _ in range(200)]\n"
              "print('connected', flush=True)\nsys.stdin.read()")
    stranger = b.start_in_network(PYTHON, "-c", script)
    try:
        assert stranger.stdout.readline() == "connected\n"
        works()
    finally:
        stranger.stdin.close()
        stranger.wait(10)


@pytest.mark.parametrize("kind", ["tls", "http", "silent"])
def test_a_rogue_peer_is_not_believed(a, b, scratch, source, certificate, kind):
    key = b.read_key()
    a.plugin("disable")
    rogue = a.start_in_network(PYTHON, PROBE, "rogue", kind, str(PEER_PORT), *certificate)
    try:
        assert rogue.stdout.readline() == "listening\n"
        name, before = scratch.name(b), b.traces()
        watch = Stopwatch()
        created = volumes.create(b, name, options=[f"from=a/{source}"])
        assert not created.ok and watch.seconds < 7, created
        assert "\n" not in created.error and f"a:{PEER_PORT}" in created.error, created.error
        assert volumes.inspect(b, name) is None and b.traces() <= before
    finally:
        seen = json.loads(rogue.communicate("", timeout=20)[0])
    assert not seen["handshake"], "the importer took a certificate for the key"
    received = bytes.fromhex(seen["received"])
    if kind != "tls":
        assert received[:1] == b"\x16", f"not a TLS handshake: {received[:60]!r}"
    for secret in (key.encode(), key.upper().encode(), bytes.fromhex(key), source.encode(), b"HTTP/1"):
        assert secret not in received


def test_only_the_peer_port_listens(a):
    listening = set()
    for pid in a.plugin_pids():
        own = set()
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                own.add(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
        for table in ("tcp", "tcp6", "udp", "udp6"):
            with open(f"/proc/{pid}/net/{table}", encoding="ascii") as file:
                for fields in map(str.split, list(file)[1:]):
                    is_listening = fields[3] == "0A" or table.startswith("udp")
                    if is_listening and f"socket:[{fields[9]}]" in own:
                        listening.add((table[:3], int(fields[1].rpartition(":")[2], 16)))
    assert listening == {("tcp", PEER_PORT)}


def test_the_key_is_private(a, b):
    for host in (a, b):
        info = os.lstat(host.key_path())
        assert (info.st_mode & 0o7777, info.st_uid) == (0o600, 0)


def test_an_absent_key_is_made(b, works):
    old = b.read_key()
    os.unlink(b.key_path())
    b.kill_plugin()
    wait_until(lambda: os.path.exists(b.key_path()), 10, "a key is made")
    assert re.fullmatch("[0-9a-f]{64}", b.read_key()) and b.read_key() != old
    assert os.lstat(b.key_path()).st_mode & 0o7777 == 0o600
    b.restore()
    works()


def test_no_secret_is_shown(a, b, works, scratch, source):
    """After imports that worked and one that failed for another key, with plugin restarts between."""
    works()
    key, other = a.read_key(), os.urandom(32).hex()
    b.set_key(other)
    failed = volumes.create(b, scratch.name(b), options=[f"from=a/{source}"])
    assert not failed.ok
    b.kill_plugin()
    b.restore()
    works()
    shown = failed.error
    for host in (a, b):
        shown += host.logs()
        shown += host.docker("plugin", "inspect", "ferry").stdout
        shown += json.dumps(host.api.request("GET", "/volumes"))
        shown += "".join(json.dumps(volumes.inspect(host, name)) for name in volumes.names(host))
        for pid in host.plugin_pids():
            with open(f"/proc/{pid}/environ", "rb") as file:
                shown += file.read().decode(errors="replace")
    for secret in (key, other):
        raw = bytes.fromhex(secret)
        for form in (secret[:16], secret[-16:], secret[:16].upper(), base64.b64encode(raw).decode()[:16]):
            assert form not in shown
    assert "ferry" in shown


def test_the_plugin_socket_is_for_root(a):
    """Whoever may connect to it can read and remove every volume."""
    directory = a.path("run/docker/plugins", a.plugin_id)
    guards = [os.lstat(path).st_mode & 0o077 for path in (os.path.dirname(directory), directory, a.socket().path)]
    assert 0 in guards, [oct(guard) for guard in guards]
