"""Peers behind an sshd: Ferry's own port is closed by a firewall, or nobody listens on it."""

import os
import re
import stat

import pytest
from support import scratch as containers
from support import sshd, tickets, traffic, tree_compare, volumes
from support.host import PEER_PORT
from support.wait import wait_until

LEAD = "the sshd of a:22"


@pytest.fixture
def behind(lab, a, b):
    """a's port is not to be reached from b, which has what ssh needs."""
    sshd.ready(b)
    with sshd.port_closed(a, PEER_PORT):
        assert not b.can_connect(a)
        yield


@pytest.fixture
def source(a, scratch):
    name = scratch.volume(a, labels=["x=1"])
    containers.fill(a.volume_data(name), {"file": b"content"})
    return name


@pytest.fixture
def works(b, scratch, source):
    def check(peer="ssh://root@a", taken=None):
        name = scratch.name(b)
        volumes.must_create(b, name, options=[f"from={peer}/{taken or source}"])
        volumes.wait_imported(b, name)
        assert containers.run(b, f"{name}:/data", "cat /data/file").stdout == "content"
        return name
    return check


@pytest.fixture
def refused(b, scratch, source):
    """create fails at once, with one line that has the fragments."""
    def check(fragments, peer="ssh://root@a", volume=None):
        return tickets.refused(b, scratch, [f"from={peer}/{volume or source}"], fragments)
    return check


# --- what works ------------------------------------------------------------------------------------


def test_the_image_has_the_fast_libssh2(b):
    """Debian's own crypts 16 bytes at a time, which makes an import slower than tar over ssh (docs/benchmarks.md)."""
    with open(f"/proc/{b.plugin_pids()[0]}/root/var/lib/dpkg/status", encoding="utf-8") as file:
        version = re.search(r"^Package: libssh2-1t64\n(?:.+\n)*?Version: (.+)$", file.read(), re.MULTILINE)
    assert version and "+0ferry" in version[1]


def test_a_tree_with_everything_arrives(behind, a, b, scratch, tree_source, twin, assert_arrived):
    name = scratch.name(b)
    volumes.must_create(b, name, options=[f"from=ssh://root@a:22/{tree_source}"])
    migration = volumes.wait_imported(b, name)["migration"]
    assert migration["verified"] is True and migration["consistency"] == "idle"
    assert migration["peer"] == "ssh://root@a:22"
    assert_arrived(b, name, twin)


def test_the_peer_listens_on_no_port(a, b, works):
    sshd.ready(b)
    try:
        a.set_plugin("PORT=0")
        assert not b.can_connect(a)
        works()
        works("ssh://a")
    finally:
        a.set_plugin(f"PORT={PEER_PORT}")
        wait_until(lambda: b.can_connect(a), 10, "a listens again")


def test_labels_options_and_mode_arrive(behind, a, b, scratch):
    source = scratch.volume(a, labels=["team=web"], options=["mode=ro"])
    name = scratch.name(b)
    volumes.must_create(b, name, options=[f"from=ssh://root@a/{source}"])
    status = volumes.wait_imported(b, name)
    assert status["mode"] == "ro"
    volumes.wait_labels(b, name, {"team": "web"})
    assert volumes.options(b, name) == {"mode": "ro"}


def test_a_ticket_imports_and_updates(behind, a, b, scratch):
    sources = [tickets.source(a, b, scratch, files={"one": b"1" * 10_000, "two": b"2"}) for _ in range(5)]
    options = ["from=ssh://root@a", f"volume={','.join(sources)}"]
    status = tickets.run(b, scratch, *options)
    assert status["migration"]["peer"] == "ssh://root@a:22"
    assert {entry["action"] for entry in tickets.entries(status).values()} == {"create"}
    containers.fill(a.volume_data(sources[0]), {"two": b"changed", "three": b"new"})
    status = tickets.run(b, scratch, *options)
    assert {entry["action"] for entry in tickets.entries(status).values()} == {"update"}
    for name in sources:
        tickets.holds(b, name, a.volume_data(name))


@pytest.mark.parametrize("options,consistency", [([], "frozen"), (["freeze=none"], "live")])
def test_a_source_in_use(behind, a, b, scratch, source, options, consistency):
    scratch.container(a, "-v", f"{source}:/data")
    name = scratch.name(b)
    volumes.must_create(b, name, options=[f"from=ssh://root@a/{source}", *options])
    assert volumes.wait_imported(b, name)["migration"]["consistency"] == consistency


# --- errors of create ------------------------------------------------------------------------------


def test_nobody_answers(behind, refused):
    refused(["nothing listens on a:1", "is that where its sshd is"], peer="ssh://root@a:1")
    refused(["10.98.0.99:22"], peer="ssh://root@10.98.0.99")
    refused(['"no-such-host.invalid"', "host name"], peer="ssh://root@no-such-host.invalid")


def test_an_sshd_that_swallows_everything(behind, a, refused):
    with sshd.port_closed(a, 22):
        refused(["a:22", "does not answer"])


def test_an_unknown_host_key_is_not_taken(behind, a, b, refused, works):
    with sshd.replaced(b, "known_hosts", b""):
        refused([sshd.fingerprint(a), "is not known here", "ssh-keygen -lf", "ssh-keyscan -t ed25519 -p 22 a"])
        with open(sshd.path(b, "known_hosts"), "rb") as file:
            assert file.read() == b""
        b.exec("sh", "-c", "ssh-keyscan -H -t ed25519 a > /root/.ssh/known_hosts")  # hashed
        works()


def test_a_changed_host_key_is_refused(behind, a, b, disk_directory, refused):
    public = sshd.make_key(disk_directory)[1].split()[:2]
    with sshd.replaced(b, "known_hosts", b"# who\na " + b" ".join(public) + b"\n"):
        refused([sshd.fingerprint(a), "HAS CHANGED", "line 2 of known_hosts"])


def test_wrong_user_and_wrong_key(behind, b, disk_directory, refused):
    refused([LEAD, "does not let user nobody-here in with id_ed25519"], peer="ssh://nobody-here@a")
    with sshd.replaced(b, "id_ed25519", sshd.make_key(disk_directory)[0]):
        refused([LEAD, "does not let user root in with id_ed25519", "authorized_keys"])


def test_keys_that_may_not_be_used(behind, b, disk_directory, refused):
    with sshd.replaced(b, "id_ed25519", sshd.make_key(disk_directory, "secret")[0]):
        refused(["id_ed25519", "has a passphrase"])
    with sshd.replaced(b, "id_ed25519", mode=0o644):
        refused(["id_ed25519", "may be read by others", "0644", "chmod 600"])
    with sshd.replaced(b, "id_ed25519", b"no key at all\n"):
        refused(["id_ed25519", "cannot use"])


def test_every_kind_of_key(behind, a, b, disk_directory, works):
    for kind in ("ecdsa", "rsa"):
        private, public = sshd.make_key(disk_directory, kind=kind)
        with open(sshd.path(a, "authorized_keys"), "rb") as file:
            known = file.read()
        with sshd.replaced(a, "authorized_keys", known + public), sshd.replaced(b, "id_ed25519", private):
            works()


def test_forwarding_is_refused(behind, a, b, refused):
    with sshd.another(a, b, 2201, "AllowStreamLocalForwarding=no", "AllowTcpForwarding=no"):
        refused(["the sshd of a:2201", "/run/ferry/peer.sock", "forbidden by AllowStreamLocalForwarding"],
                peer="ssh://root@a:2201")


def test_ferry_does_not_run_there(behind, a, b, refused):
    a.plugin("disable")
    refused(["Ferry does not run on a", LEAD, "finds no /run/ferry/peer.sock"])


def test_another_key(behind, b, refused):
    b.set_key(os.urandom(32).hex())
    refused(["the keys of this host and ssh://root@a:22 differ"])


def test_no_such_volume(behind, refused):
    refused(["ssh://root@a:22", "e2e-never-made"], volume="e2e-never-made")


def test_no_directory_was_given(a, b, refused):
    b.set_plugin("ssh.source=/run")
    try:
        refused(["docker plugin set ferry ssh.source=/root/.ssh"])
    finally:
        sshd.ready(b)


# --- who may ---------------------------------------------------------------------------------------


def test_who_may_use_the_engine_may_be_the_user(behind, a, b, works, refused):
    a.exec("sh", "-c", "useradd -m ops && mkdir -p ~ops/.ssh && "
           "cp /root/.ssh/authorized_keys ~ops/.ssh/ && chown -R ops ~ops/.ssh")
    try:
        refused(["user ops may not connect to /run/ferry/peer.sock", "group"], peer="ssh://ops@a")
        a.exec("usermod", "-aG", "docker", "ops")
        works("ssh://ops@a")
    finally:
        a.exec("sh", "-c", "userdel -r ops", check=False)


def test_the_socket_is_for_those_who_may_use_the_engine(a):
    engine = os.stat(a.path("run/docker.sock"))
    socket, directory = os.lstat(a.path("run/ferry/peer.sock")), os.lstat(a.path("run/ferry"))
    assert stat.S_ISSOCK(socket.st_mode)
    assert (socket.st_uid, socket.st_gid) == (0, engine.st_gid) and socket.st_mode & 0o7777 == 0o660
    assert (directory.st_uid, directory.st_gid) == (0, engine.st_gid) and directory.st_mode & 0o7777 == 0o710


def test_the_socket_is_back_after_whatever_happens_to_it(behind, a, works):
    a.kill_plugin()
    works()
    a.plugin("disable")
    assert not os.path.exists(a.path("run/ferry/peer.sock"))
    a.exec("rm", "-rf", "/run/ferry")
    a.plugin("enable")
    a.wait_served()
    works()
    a.exec("rm", "-rf", "/run/ferry")
    wait_until(lambda: os.path.exists(a.path("run/ferry/peer.sock")), 15, "the socket is back while Ferry runs")
    works()


def test_the_private_key_is_nowhere_shown(behind, a, b, works, refused):
    name = works()
    refused(["does not let user nobody-here in"], peer="ssh://nobody-here@a")
    with open(sshd.path(b, "id_ed25519"), encoding="ascii") as file:
        lines = file.read().splitlines()[1:-1]
    shown = b.logs() + b.docker("plugin", "inspect", "ferry").stdout + str(volumes.inspect(b, name))
    assert lines and not [line for line in lines if line[:24] in shown]


# --- interruptions ---------------------------------------------------------------------------------


def cut_and_heal(lab, name):
    lab.cut()
    wait_until(lambda: volumes.migration(lab.b, name).get("error"), 60, "the import waits", interval=0.2)
    lab.heal(port=22)


INTERRUPTIONS = {
    "network cut": cut_and_heal,
    "ssh sessions killed": lambda lab, name: sshd.end_sessions(lab.a),
    "plugin of a killed": lambda lab, name: lab.a.kill_plugin(),
    "plugin of b killed": lambda lab, name: lab.b.kill_plugin(),
}


@pytest.mark.slow
@pytest.mark.parametrize("event", INTERRUPTIONS)
def test_an_interrupted_import_completes_by_itself(behind, lab, a, b, scratch, big_source, event):
    name, before = scratch.name(b), traffic.received(b)
    volumes.must_create(b, name, options=[f"from=ssh://root@a/{big_source}"])
    volumes.wait_in_the_middle(b, name, share=0.3)
    INTERRUPTIONS[event](lab, name)
    b.wait_served()
    receipt = volumes.wait_imported(b, name, 150)["migration"]
    assert receipt["verified"] is True
    result = tree_compare.compare(a.volume_data(big_source), b.volume_data(name))
    assert not result.differences, result.differences
    assert traffic.received(b) - before < 850_000_000, "completed data was sent again"


def test_cancelled_in_the_middle(behind, b, scratch, big_source):
    before, name = b.traces(), scratch.name(b)
    volumes.must_create(b, name, options=[f"from=ssh://root@a/{big_source}"])
    volumes.wait_in_the_middle(b, name)
    seconds, (status, _) = tickets.timed(volumes.remove, b, name)
    assert status == 204 and seconds < 6
    # Not at once: Ferry may have been having the Engine register the labels, and taken the removal for its own.
    wait_until(lambda: b.traces() <= before, 20, lambda: f"nothing is left: {b.traces() - before}")
