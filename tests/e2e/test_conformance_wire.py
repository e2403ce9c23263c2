"""The wire format of VolumeDriver: what engines send, what they might, and what none should."""

import http.client
import os
import re
import secrets
import select
from datetime import datetime, timedelta, timezone

import pytest
from support.wait import Stopwatch

NAMED = ("Create", "Remove", "Mount", "Unmount", "Path", "Get")
RFC3339 = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")
REFUSED_NAMES = {
    "empty": "", "dot": ".", "dot-dot": "..", "slash": "/", "inner-slash": "a/b", "climbing": "../../e2e-escape",
    "absolute": "/e2e-escape", "trailing-slash": "a/", "nul": "a\0b", "256-bytes": "n" * 256, "5000-bytes": "n" * 5000,
}
# Docker's own rule for local volumes is [a-zA-Z0-9][a-zA-Z0-9_.-]+: all of that has to work.
PLAIN_NAMES = ["e2e-UPPER", "e2e-upper", "0e2e_.-x", "e2e" + "9" * 61, "e2e..x", "e2e-record.json"]
# Beyond that a driver may refuse, but not half accept.
ODD_NAMES = ["e2e space", "e2e-\u00fc\u4e2d", "e2e<a>&b", "e2e%2fx", 'e2e"q"', "e2e\\x", "e2e\nx", ".e2e", "-e2e",
             "e2e,a=b", "e2e:ro", "e2e\x7f", "e2e\u2028", "e2e'"]


@pytest.fixture
def plugin(b):
    return b.socket()


@pytest.fixture
def volume(plugin, scratch, b):
    name = scratch.name(b)
    assert plugin.call("Create", {"Name": name, "Opts": None}).error is None
    return name


def new_id():
    return secrets.token_hex(32)


def listed(plugin):
    return {entry["Name"] for entry in plugin.call("List", {}).json["Volumes"]}


def test_activate(plugin):
    assert plugin.post("/Plugin.Activate", b"").json["Implements"] == ["VolumeDriver"]


def test_capabilities(plugin):
    assert plugin.call("Capabilities", {}).json["Capabilities"]["Scope"] in ("local", "global")


@pytest.mark.parametrize("method", [method for method in NAMED if method != "Get"])
def test_empty_body_is_an_error(plugin, method):
    """A transport retry of the engine sends the body only once."""
    before = listed(plugin)
    assert plugin.call(method, b"").error
    assert listed(plugin) == before


def test_get_with_an_empty_body_does_not_make_the_engine_forget(plugin):
    """An error in answer to a retried Get would purge the volume's labels; a broken connection is retried."""
    before = listed(plugin)
    with pytest.raises(http.client.RemoteDisconnected):
        plugin.call("Get", b"")
    assert listed(plugin) == before


@pytest.mark.parametrize("method", NAMED)
@pytest.mark.parametrize("body", [b"{}\n", b'{"Name":null}', b'{"Name":7}', b"[]", b"null", b"\xff", b'{"Name":"x"',
                                  b'{"Name":"e2e-x","ID":[],"Opts":[1]}', b"[" * 100_000])
def test_body_without_a_usable_name_is_an_error(plugin, method, body):
    if b"e2e-x" in body and method not in ("Create", "Mount"):
        body = b'{"Name":{}}'
    before = listed(plugin)
    reply = plugin.call(method, body)
    assert reply.error
    assert listed(plugin) == before


@pytest.mark.parametrize("method", ["List", "Capabilities"])
def test_empty_object_is_enough_without_a_name(plugin, method):
    assert plugin.call(method, {}).error is None


def test_null_options(plugin, volume):
    assert plugin.call("Get", {"Name": volume}).json["Volume"]["Name"] == volume


def test_answers_are_json_objects(plugin, volume):
    for method, body in (("Get", {"Name": volume}), ("Path", {"Name": volume}), ("List", {}), ("Capabilities", {})):
        reply = plugin.call(method, body)
        assert reply.status == 200 and isinstance(reply.json, dict), (method, reply)
    assert isinstance(plugin.call("List", {}).json["Volumes"], list)


def test_get_describes_the_volume(plugin, volume):
    described = plugin.call("Get", {"Name": volume}).json["Volume"]
    assert described["Name"] == volume
    assert RFC3339.match(described["CreatedAt"]), described
    created = datetime.fromisoformat(re.sub(r"\.\d+", "", described["CreatedAt"]).replace("Z", "+00:00"))
    assert abs(datetime.now(timezone.utc) - created) < timedelta(minutes=5), described
    for key in ("state", "mode", "lineage", "epoch"):
        assert key in described["Status"], described
    assert described["Status"]["state"] == "ready" and described["Status"]["mode"] == "rw"
    assert volume in listed(plugin)


@pytest.mark.parametrize("method", ["Get", "Path", "Mount", "Remove"])
def test_missing_volume_is_an_error(plugin, method):
    reply = plugin.call(method, {"Name": "e2e-never-made", "ID": new_id()})
    assert reply.error and "\n" not in reply.error.strip()


def test_escaped_name(plugin, volume):
    """Go escapes <, > and & only, but any JSON escape means the same name."""
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in volume).encode()
    reply = plugin.call("Get", b'{"Name":"' + escaped + b'"}\n')
    assert reply.json["Volume"]["Name"] == volume


@pytest.mark.parametrize("name", PLAIN_NAMES)
def test_plain_names_are_accepted_and_echoed(plugin, scratch, b, name):
    scratch.forget_later(b, name)
    assert plugin.call("Create", {"Name": name, "Opts": {}}).error is None
    assert plugin.call("Get", {"Name": name}).json["Volume"]["Name"] == name
    assert name in listed(plugin)
    assert plugin.call("Remove", {"Name": name}).error is None
    assert plugin.call("Get", {"Name": name}).error and name not in listed(plugin)


def test_names_that_differ_in_case_are_two(plugin, scratch, b):
    for name in ("e2e-UPPER", "e2e-upper"):
        scratch.forget_later(b, name)
        assert plugin.call("Create", {"Name": name}).error is None
    assert plugin.call("Remove", {"Name": "e2e-UPPER"}).error is None
    assert "e2e-upper" in listed(plugin) and "e2e-UPPER" not in listed(plugin)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_echoed_exactly_or_refused(plugin, name):
    refused = plugin.call("Create", {"Name": name, "Opts": {}}).error
    try:
        if refused:
            assert "\n" not in refused.strip(), "the refusal is not one line"
            assert plugin.call("Get", {"Name": name}).error and name not in listed(plugin)
        else:
            assert plugin.call("Get", {"Name": name}).json["Volume"]["Name"] == name
            assert name in listed(plugin)
    finally:
        removed = plugin.call("Remove", {"Name": name}).error
    assert bool(removed) == bool(refused)
    assert name not in listed(plugin)


@pytest.mark.parametrize("case", REFUSED_NAMES)
def test_dangerous_names_are_refused(plugin, b, case):
    before = b.traces()
    error = plugin.call("Create", {"Name": REFUSED_NAMES[case], "Opts": {}}).error
    assert error and "name" in error.lower(), error
    assert b.traces() <= before
    for method in ("Get", "Mount", "Path", "Remove"):
        assert plugin.call(method, {"Name": REFUSED_NAMES[case], "ID": new_id()}).error
    for place in ("", "var/lib", "var/lib/docker", "var/lib/docker/ferry"):
        assert not os.path.lexists(b.path(place, "e2e-escape"))


def test_repeated_create_keeps_the_data(plugin, volume, b):
    with open(os.path.join(b.volume_data(volume), "kept"), "w", encoding="ascii") as out:
        out.write("x")
    plugin.call("Create", {"Name": volume, "Opts": {}})  # a retry; success or an error, but no harm
    assert os.listdir(b.volume_data(volume)) == ["kept"]


@pytest.mark.parametrize("host", [b"", b" ", b"plugin.moby.localhost", b"%2Frun%2Fdocker%2Fplugins%2Fx.sock",
                                  b"/run/docker/plugins/0/ferry.sock", b"a:b:c", b"[::", b"\xff", b"h" * 3000])
def test_any_host_header(plugin, host):
    request = b"POST /VolumeDriver.List HTTP/1.1\r\nHost: %s\r\nContent-Length: 3\r\nConnection: close\r\n\r\n{}\n"
    answer = plugin.raw(request % host)
    assert answer.startswith(b"HTTP/1.1 200") and b'"Volumes"' in answer, answer[:300]


def test_no_host_header(plugin):
    answer = plugin.raw(b"POST /VolumeDriver.List HTTP/1.1\r\nContent-Length: 3\r\nConnection: close\r\n\r\n{}\n")
    assert answer.startswith(b"HTTP/1.1 200"), answer[:300]


@pytest.mark.parametrize("junk", [b"\0" * 2000, b"GET / HTTP/1.1\r\n\r\n", b"POST /VolumeDriver.Nothing HTTP/1.1\r\n"
                                  b"Host: x\r\nContent-Length: 2\r\n\r\n{}", b"POST /VolumeDriver.Get HTTP/1.1\r\n"
                                  b"Host: x\r\nContent-Length: 99999999999\r\n\r\n{", b"A" * 100_000])
def test_junk_does_no_harm(plugin, b, junk):
    before = b.plugin_pids()
    answer = plugin.raw(junk, timeout=2)
    assert not answer.startswith(b"HTTP/1.1 200"), answer[:300]
    assert plugin.call("List", {}).error is None
    assert b.plugin_pids() == before, "the plugin died of it"


def test_duplicate_mount_of_one_id_counts_twice(plugin, volume):
    """docker cp on a running container mounts again with the same ID and unmounts once."""
    request = {"Name": volume, "ID": new_id()}
    first, second = plugin.call("Mount", request), plugin.call("Mount", request)
    assert first.error is None and second.error is None
    assert first.json["Mountpoint"] and first.json["Mountpoint"] == second.json["Mountpoint"]
    assert plugin.call("Unmount", request).error is None
    assert plugin.call("Path", {"Name": volume}).json["Mountpoint"] == first.json["Mountpoint"]
    assert plugin.call("Unmount", request).error is None


def test_unmount_of_an_unknown_id_is_a_success(plugin, volume):
    """Also of a mount that belongs to a process that is gone; and it takes no other mount away."""
    assert plugin.call("Unmount", {"Name": volume, "ID": new_id()}).error is None
    mine = {"Name": volume, "ID": new_id()}
    mountpoint = plugin.call("Mount", mine).json["Mountpoint"]
    assert plugin.call("Unmount", {"Name": volume, "ID": new_id()}).error is None
    assert plugin.call("Path", {"Name": volume}).json["Mountpoint"] == mountpoint
    assert plugin.call("Unmount", mine).error is None
    assert plugin.call("Unmount", mine).error is None


def exchange(connection, request):
    """The whole answer, which may come in several pieces."""
    connection.sendall(request)
    answer = b""
    while not answer.endswith(b"}\n"):
        piece = connection.recv(65536)
        assert piece, f"closed after {answer!r}"
        answer += piece
    return answer


def test_an_idle_connection_stays_open(plugin):
    """Closed from the plugin's side it costs the engine a retry with an empty body."""
    request = b"POST /VolumeDriver.Capabilities HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n{}\n"
    with plugin.connect() as connection:
        for _ in range(300):
            assert exchange(connection, request).startswith(b"HTTP/1.1 200")
        watch = Stopwatch()
        readable, _, _ = select.select([connection], [], [], 8)
        assert not readable, f"closed after {watch.seconds:.1f} s idle"
        assert exchange(connection, request).startswith(b"HTTP/1.1 200")
