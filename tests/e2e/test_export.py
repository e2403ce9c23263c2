"""Exports: a ticket of the host that has the volumes. Here a sends to b, which mostly cannot connect back."""

import os
import secrets

import pytest
from support import scratch as containers
from support import network, sshd, tickets, traffic, volumes
from support.data_source import on_a_small_disk
from support.host import PEER_PORT
from support.wait import wait_until

LABELS = {"team": "web", "a,b": "c d", "x": '"y"'}
MIB = 1 << 20


@pytest.fixture
def no_way_back(lab, a, b):
    with network.one_way(a, b):
        yield


@pytest.fixture
def source(a, b, scratch):
    def make(**keywords):
        return tickets.source(a, b, scratch, **keywords)
    return make


def done(home, away, ticket, deadline=60):
    """The ticket's Status at home once it is done; its volumes are at the other host then."""
    status = volumes.wait_state(home, ticket, tickets.ENDED, deadline)
    assert status["state"] == "done", status
    for name in tickets.entries(status):
        assert volumes.status(away, name).get("state") == "ready", f"{name}: {volumes.status(away, name)}"
    return status


def export(home, away, scratch, *options):
    return done(home, away, tickets.start(home, scratch, f"to={away.name}", *options))


def under_way(home, ticket, sent=1_000_000):
    def begun():
        now = volumes.status(home, ticket)
        assert now.get("state") == "exporting", f"not caught in the middle: {now}"
        return any((entry.get("bytes_sent") or 0) >= sent for entry in now["volumes"])
    wait_until(begun, 30, lambda: f"content of {ticket} leaves: {volumes.status(home, ticket)}", interval=0.01)


def nothing_left(host, before):
    wait_until(lambda: volumes.names(host) == before, 20, lambda: f"nothing is left: {volumes.names(host) ^ before}")


def nameless(host):
    """Volumes that the Engine has noted without a name, because it was asked for one that it had not made."""
    with open(host.path("var/lib/docker/volumes/metadata.db"), "rb") as file:
        return file.read().count(b'"Name":""')


# --- what works ------------------------------------------------------------------------------------


def test_several_volumes_arrive_with_all_that_they_have(no_way_back, a, b, scratch, source):
    first = source(labels=LABELS, options={"mode": "ro"})
    second, other = source(files={"file": os.urandom(3 * MIB)}), scratch.name(b)
    before, noted = volumes.names(b), nameless(b)
    status = export(a, b, scratch, f"volume={first},{second}", f"rename={second}:{other}")
    assert nameless(b) == noted
    assert set(tickets.entries(status)) == {first, other}
    assert volumes.names(b) == before | {first, other}, "the destination's own ticket is forgotten"
    assert volumes.labels(b, first) == LABELS and volumes.options(b, first) == {"mode": "ro"}
    assert volumes.status(b, first)["lineage"] == volumes.status(a, first)["lineage"]
    assert "Read-only" in containers.run(b, f"{first}:/data", "touch /data/x", check=False).stderr
    tickets.holds(b, first, a.volume_data(first))
    tickets.holds(b, other, a.volume_data(second))
    migration = status["migration"]
    assert migration["role"] == "export" and migration["peer"] == f"b:{PEER_PORT}"
    assert migration["verified"] is True and migration["error"] is None and migration["finished"]
    for entry in status["volumes"]:
        assert entry["action"] == "create" and entry["digest"] and entry["verified"] is True


def test_more_volumes_than_connections(no_way_back, a, b, scratch, source):
    names = [source() for _ in range(8)]
    export(a, b, scratch, f"volume={','.join(names)}")
    for name in names:
        tickets.holds(b, name, a.volume_data(name))


def test_a_tree_with_everything_arrives(no_way_back, a, b, scratch, tree_source, twin, assert_arrived):
    name = scratch.name(b)
    export(a, b, scratch, f"volume={tree_source}", f"as={name}")
    assert_arrived(b, name, twin)


def test_a_local_volume(no_way_back, a, b, scratch, source):
    name = source(driver="local", labels=LABELS)
    export(a, b, scratch, f"volume={name}")
    assert volumes.labels(b, name) == LABELS
    tickets.holds(b, name, a.volume_data(name, "local"))


def test_an_update_moves_only_what_differs_and_comes_back(a, b, scratch, source):
    name = source(files={"large": os.urandom(16 * MIB), "small": b"1"})
    export(a, b, scratch, f"volume={name}")
    containers.fill(a.volume_data(name), {"small": b"2"})
    before = traffic.received(b)
    status = export(a, b, scratch, f"volume={name}")
    assert tickets.entries(status)[name]["action"] == "update"
    assert traffic.received(b) - before < MIB
    tickets.holds(b, name, a.volume_data(name))
    containers.fill(b.volume_data(name), {"small": b"3"})
    export(b, a, scratch, f"volume={name}")
    tickets.holds(a, name, b.volume_data(name))


def test_a_dry_run_changes_nothing(no_way_back, a, b, scratch, source):
    name, before = source(files={"file": os.urandom(2 * MIB)}), volumes.names(b)
    ticket = tickets.start(a, scratch, "to=b", f"volume={name}", "dry-run=true")
    status = volumes.wait_state(a, ticket, tickets.ENDED)
    assert status["state"] == "done", status
    assert tickets.entries(status)[name]["bytes_to_send"] == 2 * MIB
    nothing_left(b, before)


def test_through_an_sshd(lab, a, b, scratch, source):
    sshd.ready(a)
    name = source(labels=LABELS)
    with sshd.port_closed(b, PEER_PORT):
        status = done(a, b, tickets.start(a, scratch, "to=ssh://root@b", f"volume={name}"))
    assert status["migration"]["peer"] == "ssh://root@b:22"
    assert volumes.labels(b, name) == LABELS
    tickets.holds(b, name, a.volume_data(name))


def test_a_tree_with_everything_through_an_sshd(a, b, scratch, tree_source, twin, assert_arrived):
    sshd.ready(a)
    name = scratch.name(b)
    with sshd.port_closed(b, PEER_PORT):
        done(a, b, tickets.start(a, scratch, "to=ssh://root@b", f"volume={tree_source}", f"as={name}"))
    assert_arrived(b, name, twin)


def test_to_itself_under_another_name(a, scratch, source):
    name, copy = source(), scratch.name(a)
    done(a, a, tickets.start(a, scratch, "to=a", f"volume={name}", f"as={copy}"))
    tickets.holds(a, copy, a.volume_data(name))


# --- while it runs ---------------------------------------------------------------------------------


def test_a_ticket_cannot_be_mounted(a, b, scratch, source):
    ticket = tickets.start(a, scratch, "to=b", f"volume={source(files={'file': os.urandom(8 * MIB)})}", "limit=2M")
    reply = a.socket().call("Mount", {"Name": ticket, "ID": secrets.token_hex(32)})
    tickets.check_line(reply.error, [tickets.SAYS_TICKET])


def test_removing_the_ticket_cancels_it_at_both_ends(no_way_back, a, b, scratch, source):
    name, before, traces = source(files={"file": os.urandom(20 * MIB)}), volumes.names(b), b.traces()
    ticket = tickets.start(a, scratch, "to=b", f"volume={name}", "limit=3M")
    under_way(a, ticket)
    assert name in volumes.names(b)
    seconds, (status, answer) = tickets.timed(volumes.remove, a, ticket)
    assert status == 204, answer
    assert seconds < 10
    nothing_left(b, before)
    wait_until(lambda: b.traces() <= traces, 20, lambda: f"no trace: {b.traces() - traces}")
    export(a, b, scratch, f"volume={name}")


def test_the_destination_can_cancel_it_too(a, b, scratch, source):
    name, before = source(files={"file": os.urandom(20 * MIB)}), volumes.names(b)
    ticket = tickets.start(a, scratch, "to=b", f"volume={name}", "limit=3M")
    under_way(a, ticket)
    there = next(iter(volumes.names(b) - before - {name}))
    assert volumes.remove(b, there)[0] == 204
    status = volumes.wait_state(a, ticket, tickets.ENDED, 30)
    assert status["state"] == "failed"
    tickets.check_line(status["migration"]["error"], ["cancelled"])
    nothing_left(b, before)


def test_removing_it_does_not_wait_for_a_destination_that_is_away(lab, a, b, scratch, source):
    name, before = source(files={"file": os.urandom(20 * MIB)}), volumes.names(b)
    ticket = tickets.start(a, scratch, "to=b", f"volume={name}", "limit=3M")
    under_way(a, ticket)
    there = next(iter(volumes.names(b) - before - {name}))
    lab.cut()
    try:
        seconds, (status, answer) = tickets.timed(volumes.remove, a, ticket)
    finally:
        lab.heal()
    assert status == 204, answer
    assert seconds < 20
    assert volumes.remove(b, there)[0] == 204, "the destination's own ticket cancels it there"
    nothing_left(b, before)


def cut_and_heal(lab, ticket):
    lab.cut()
    wait_until(lambda: volumes.migration(lab.a, ticket).get("error"), 90, "the export waits", interval=0.2)
    lab.heal(port=22)


EVENTS = {
    "plugin of a killed": ("to=b", lambda lab, ticket: lab.a.kill_plugin()),
    "plugin of b killed": ("to=b", lambda lab, ticket: lab.b.kill_plugin()),
    "network cut": ("to=b", cut_and_heal),
    "network cut, through ssh": ("to=ssh://root@b", cut_and_heal),
    "ssh sessions killed": ("to=ssh://root@b", lambda lab, ticket: sshd.end_sessions(lab.b)),
}


@pytest.mark.slow
@pytest.mark.parametrize("event", EVENTS)
def test_an_interrupted_export_completes_by_itself(lab, a, b, scratch, source, event):
    way, interrupt = EVENTS[event]
    sshd.ready(a)
    name = source(files={str(number): os.urandom(MIB) for number in range(30)})
    before = traffic.received(b)
    ticket = tickets.start(a, scratch, way, f"volume={name}", "limit=6M")
    under_way(a, ticket, sent=18 * MIB)
    interrupt(lab, ticket)
    a.wait_served()
    b.wait_served()
    done(a, b, ticket, 120)
    tickets.holds(b, name, a.volume_data(name))
    assert traffic.received(b) - before < 1.5 * 30 * MIB, "much was sent again"


@pytest.mark.slow
@pytest.mark.parametrize("way", ["to=b", "to=ssh://root@b"])
def test_a_full_disk_at_the_destination(a, b, scratch, source, way):
    sshd.ready(a)
    name = source(files={f"part-{number:02}": os.urandom(MIB) for number in range(40)})
    with on_a_small_disk(b, a.read_key()) as small:
        before = volumes.names(b)
        ticket = tickets.start(a, scratch, way, f"volume={name}", "limit=10M")
        under_way(a, ticket)
        b.exec("sh", "-c", f"cat /dev/zero >{small}/filler", check=False)
        status = volumes.wait_state(a, ticket, tickets.ENDED, 60)
        assert status["state"] == "failed", status
        tickets.check_line(status["migration"]["error"], ["space"])
        b.exec("rm", f"{small}/filler")
        nothing_left(b, before)


def test_new_keys_under_way_through_ssh(a, b, scratch, source):
    """To and fro, because the image's libssh2 has patches of Ferry's for either direction."""
    sshd.ready(a)
    content = {str(number): os.urandom(MIB + number) for number in range(12)}
    name, other = source(files=content), tickets.source(b, a, scratch, files=content)
    with sshd.another(b, a, 2202, "RekeyLimit=2M"):
        way = "ssh://root@b:2202"
        done(a, b, tickets.start(a, scratch, f"to={way}", f"volume={name}", "compress=none"))
        tickets.finish(a, tickets.start(a, scratch, f"from={way}", f"volume={other}", "compress=none"))
    tickets.holds(b, name, a.volume_data(name))
    tickets.holds(a, other, b.volume_data(other))


# --- what is refused -------------------------------------------------------------------------------


def test_what_an_sshd_or_its_key_stands_in_the_way_of(a, b, scratch, source, disk_directory):
    """As for imports, test_ssh.py, which has more of it."""
    sshd.ready(a)
    name, before = source(), volumes.names(b)

    def refused(fragments, way="ssh://root@b"):
        tickets.refused(a, scratch, [f"to={way}", f"volume={name}"], fragments)
    public = b" ".join(sshd.make_key(disk_directory)[1].split()[:2])
    with sshd.replaced(a, "known_hosts", b"b " + public + b"\n"):
        refused([sshd.fingerprint(b), "HAS CHANGED", "line 1 of known_hosts"])
    with sshd.replaced(a, "known_hosts", b""):
        refused([sshd.fingerprint(b), "is not known here"])
    refused(["the sshd of b:22", "does not let user nobody-here in"], "ssh://nobody-here@b")
    with sshd.replaced(a, "id_ed25519", sshd.make_key(disk_directory)[0]):
        refused(["the sshd of b:22", "does not let user root in with id_ed25519"])
    with sshd.another(b, a, 2201, "AllowStreamLocalForwarding=no", "AllowTcpForwarding=no"):
        refused(["the sshd of b:2201", "forbidden by AllowStreamLocalForwarding"], "ssh://root@b:2201")
    assert volumes.names(b) == before


@pytest.mark.parametrize("options,fragments", [
    (["to=b"], [tickets.option("to"), tickets.option("volume")]),
    (["to=b", "from=b", "volume=x"], [tickets.option("from"), tickets.option("to")]),
    (["to=b/x", "volume=x"], [tickets.option("to")]),
    (["to=", "volume=x"], [tickets.option("to")]),
    (["to=ftp://b", "volume=x"], [tickets.option("to")]),
    (["to=b", "volume=x", "mode=ro"], [tickets.option("mode")]),
    (["to=b", "volume=x,x"], [tickets.option("volume")]),
    (["to=b", "volume=no-such-volume"], ["no-such-volume"]),
    (["to=b", "volume=x1", "as=from-elsewhere-x"], ["from-elsewhere-"]),
])
def test_bad_input_gets_one_line(a, scratch, options, fragments):
    tickets.refused(a, scratch, options, fragments)


def test_a_name_that_is_taken_at_the_destination(a, b, scratch, source):
    name = source()
    volumes.must_create(b, name)
    before = volumes.names(b)
    tickets.refused(a, scratch, ["to=b", f"volume={name}"], [name, tickets.option("replace")])
    assert volumes.names(b) == before


def test_a_destination_that_is_not_there(a, scratch, source):
    tickets.refused(a, scratch, ["to=b:1", f"volume={source()}"], [tickets.word("b:1")])


def test_a_volume_in_use(a, b, scratch, source):
    name = source()
    scratch.container(a, "-v", f"{name}:/data")
    status = export(a, b, scratch, f"volume={name}")
    assert status["migration"]["consistency"] == "frozen", status


def test_a_destination_that_allows_no_writes(a, b, scratch, source):
    name = source()
    with b.allowing("read"):
        tickets.refused(a, scratch, ["to=b", f"volume={name}"], ["ALLOW"])
