"""Hand-offs (move=true): a volume becomes another host's, and only one of them can use it at any time."""

import os
import secrets

import pytest
from support import scratch as containers
from support import network, sshd, tickets, volumes
from support.host import PEER_PORT
from support.wait import wait_until

LABELS = {"team": "web"}
MIB = 1 << 20


@pytest.fixture
def source(a, b, scratch):
    def make(**keywords):
        return tickets.source(a, b, scratch, **keywords)
    return make


def mount_error(host, name):
    return host.socket().call("Mount", {"Name": name, "ID": secrets.token_hex(32)}).error


def owns(host, name):
    """Whether a container can have it."""
    return not containers.run(host, f"{name}:/data", "true", check=False).returncode


def move(home, away, scratch, name, *options, imports=False):
    """A ticket that hands `name` of home off to away, and its Status once it is done."""
    if imports:
        ticket = tickets.start(away, scratch, f"from={home.name}", f"volume={name}", "move=true", *options)
        status = volumes.wait_state(away, ticket, tickets.ENDED, 60)
    else:
        ticket = tickets.start(home, scratch, f"to={away.name}", f"volume={name}", "move=true", *options)
        status = volumes.wait_state(home, ticket, tickets.ENDED, 60)
    assert status["state"] == "done", status["migration"]["error"]
    for host in (home, away):
        wait_until(lambda host=host: not [each for each in volumes.names(host) if "-elsewhere-" in each], 20,
                   lambda: "Ferry's own tickets are gone")
    return status


def handed_off(host, name):
    wait_until(lambda: volumes.status(host, name)["state"] == "handed-off", 10,
               lambda: f"fenced: {volumes.status(host, name)}")
    return volumes.status(host, name)


@pytest.mark.parametrize("imports", [False, True], ids=["exported", "imported"])
def test_one_host_has_it_and_the_other_says_where_it_is(a, b, scratch, source, imports):
    name = source(labels=LABELS)
    move(a, b, scratch, name, imports=imports)
    status = handed_off(a, name)
    assert status["handed_off"]["volume"] == name and status["handed_off"]["epoch"] == 2
    assert volumes.status(b, name)["epoch"] == 2 and volumes.labels(b, name) == LABELS
    assert owns(b, name) and not owns(a, name)
    tickets.check_line(mount_error(a, name), [status["handed_off"]["to"], name, tickets.option("reclaim")])
    tickets.holds(b, name, a.volume_data(name))
    # What is left is the user's to remove.
    assert volumes.remove(a, name)[0] == 204
    assert owns(b, name)


def test_there_and_back_and_there_again(a, b, scratch, source):
    name = source(files={"large": os.urandom(4 * MIB), "small": b"1"})
    move(a, b, scratch, name)
    containers.fill(b.volume_data(name), {"small": b"2"})
    tickets.start(a, scratch, f"reclaim={name}")
    wait_until(lambda: volumes.status(a, name)["state"] == "ready", 60, lambda: volumes.status(a, name))
    handed_off(b, name)
    assert volumes.status(a, name)["epoch"] == 3
    tickets.holds(a, name, b.volume_data(name))
    move(a, b, scratch, name, imports=True)
    assert volumes.status(b, name)["epoch"] == 4 and owns(b, name)
    handed_off(a, name)


def test_a_copy_of_what_was_handed_off_comes_from_who_has_it(a, b, scratch, source):
    name = source()
    move(a, b, scratch, name)
    tickets.refused(b, scratch, ["from=a", f"volume={name}", f"as={scratch.name(b)}"], [name, "handed off"])
    tickets.refused(a, scratch, ["from=b", f"volume={name}"], [name, "handed off", tickets.option("reclaim")])


def test_a_mounted_volume_is_not_handed_off(a, b, scratch, source):
    name = source()
    scratch.container(a, "-v", f"{name}:/data:ro")
    tickets.refused(a, scratch, ["to=b", f"volume={name}", "move=true"], [name, "mounted"])
    tickets.refused(b, scratch, ["from=a", f"volume={name}", "move=true"], [name, "mounted"])


def test_while_it_is_handed_off_it_cannot_be_mounted_and_can_be_cancelled(a, b, scratch, source):
    name, before = source(files={"file": os.urandom(20 * MIB)}), volumes.names(a)
    ticket = tickets.start(b, scratch, "from=a", f"volume={name}", "move=true", "limit=3M")
    wait_until(lambda: volumes.names(a) - before, 10, lambda: "the source has a ticket of its own")
    there = next(iter(volumes.names(a) - before))
    tickets.check_line(mount_error(a, name), [name, there])
    assert volumes.remove(a, name)[0] != 204
    assert volumes.remove(a, there)[0] == 204, "the source's user takes it back"
    assert owns(a, name)
    status = volumes.wait_state(b, ticket, tickets.ENDED, 60)
    assert status["state"] == "failed"
    tickets.check_line(status["migration"]["error"], ["cancelled"])
    assert name not in volumes.names(b)


def test_removing_the_destinations_ticket_gives_it_back(a, b, scratch, source):
    name, before = source(files={"file": os.urandom(20 * MIB)}), volumes.names(a)
    ticket = tickets.start(b, scratch, "from=a", f"volume={name}", "move=true", "limit=3M")
    wait_until(lambda: volumes.names(a) - before, 10, lambda: "the source has a ticket of its own")
    assert volumes.remove(b, ticket)[0] == 204
    wait_until(lambda: volumes.names(a) == before, 10, lambda: volumes.names(a) - before)
    assert owns(a, name)


def test_a_local_volume_cannot_be_fenced_and_that_is_said(a, b, scratch, source):
    name = source(driver="local")
    status = move(a, b, scratch, name)
    assert any("not fenced: local driver" in warning for warning in status["migration"]["warnings"]), status
    assert owns(b, name)


def test_through_an_sshd(lab, a, b, scratch, source):
    sshd.ready(a)
    name = source()
    with sshd.port_closed(b, PEER_PORT):
        ticket = tickets.start(a, scratch, "to=ssh://root@b", f"volume={name}", "move=true")
        assert volumes.wait_state(a, ticket, tickets.ENDED, 60)["state"] == "done"
        assert "ssh://root@b:22" in handed_off(a, name)["handed_off"]["to"]


def test_who_has_it_after_an_import_through_an_sshd_has_a_name(a, b, scratch, source):
    sshd.ready(b)
    name, host = source(), b.exec("uname", "-n").stdout.strip()
    with sshd.port_closed(a, PEER_PORT):
        ticket = tickets.start(b, scratch, "from=ssh://root@a", f"volume={name}", "move=true")
        tickets.finish(b, ticket)
    assert handed_off(a, name)["handed_off"]["to"] == f"{host} (by ssh)"
    tickets.check_line(mount_error(a, name), [tickets.word(host), name])
    tickets.refused(a, scratch, [f"reclaim={name}"], [tickets.word(host), tickets.option("from")])
    tickets.start(a, scratch, f"reclaim={name}", "from=b")
    wait_until(lambda: volumes.status(a, name)["state"] == "ready", 60, lambda: volumes.status(a, name))
    assert owns(a, name) and not owns(b, name)


def test_to_a_host_that_cannot_connect_back(a, b, scratch, source):
    name = source(labels=LABELS)
    with network.one_way(a, b):
        move(a, b, scratch, name)
        handed_off(a, name)
        assert owns(b, name) and volumes.labels(b, name) == LABELS


def test_a_local_volume_that_is_mounted_meanwhile_is_not_given(a, b, scratch, source):
    name, before = source(driver="local", files={"file": os.urandom(20 * MIB)}), volumes.names(a)
    ticket = tickets.start(b, scratch, "from=a", f"volume={name}", "move=true", "limit=4M")
    wait_until(lambda: volumes.names(a) - before, 10, lambda: "it is held")
    assert containers.run(a, f"{name}:/data", "echo new >/data/new").returncode == 0, "nobody can hinder that"
    status = volumes.wait_state(b, ticket, tickets.ENDED, 60)
    assert status["state"] == "failed", "what was written meanwhile would be lost"
    wait_until(lambda: volumes.names(a) == before, 20, lambda: volumes.names(a) - before)
    assert name not in volumes.names(b)
    assert containers.run(a, f"{name}:/data", "cat /data/new").stdout == "new\n"


def test_force_takes_it_back_and_the_other_host_is_fenced_on_contact(lab, a, b, scratch, source):
    name = source(files={"file": b"as it was handed off"})
    move(a, b, scratch, name)
    handed_off(a, name)
    container = scratch.container(b, "-v", f"{name}:/data")
    lab.cut()
    try:
        tickets.refused(a, scratch, [f"reclaim={name}"], ["b"])
        ticket = tickets.start(a, scratch, f"reclaim={name}", "force=true")
        assert owns(a, name)
        assert volumes.status(a, name)["epoch"] == 3
        assert containers.run(a, f"{name}:/data", "cat /data/file").stdout == "as it was handed off"
        wait_until(lambda: volumes.status(a, ticket)["migration"]["error"], 20, lambda: volumes.status(a, ticket))
    finally:
        lab.heal()
    status = volumes.wait_state(a, ticket, tickets.ENDED, 120)
    assert status["state"] == "done", status["migration"]["error"]
    assert any(name in warning and "mounted" in warning for warning in status["migration"]["warnings"]), status
    there = handed_off(b, name)
    assert there["handed_off"]["epoch"] == 3 and there["handed_off"]["volume"] == name
    b.docker("rm", "-f", container)
    assert not owns(b, name) and owns(a, name)
    # And nothing stands in the way of the next one.
    tickets.start(b, scratch, f"reclaim={name}")
    wait_until(lambda: volumes.status(b, name)["state"] == "ready", 60, lambda: volumes.status(b, name))
    assert volumes.status(b, name)["epoch"] == 4 and owns(b, name)
    handed_off(a, name)


def test_force_over_a_network_in_which_only_the_other_host_can_connect(a, b, scratch, source):
    name, other = source(), source()
    move(a, b, scratch, name)
    with network.one_way(b, a):
        ticket = tickets.start(a, scratch, f"reclaim={name}", "force=true")
        assert owns(a, name) and owns(b, name), "it does not know yet"
        # A ticket that is still needed is not removed by who cleans up.
        status, answer = volumes.remove(a, ticket)
        assert status != 204 and "once more" in str(answer), answer
        tickets.run(b, scratch, "from=a", f"volume={other}")
        assert handed_off(b, name)["handed_off"]["epoch"] == 3
        status = volumes.wait_state(a, ticket, tickets.ENDED, 30)
        assert status["state"] == "done", status["migration"]["error"]
        assert owns(a, name) and not owns(b, name)
    assert volumes.remove(a, ticket)[0] == 204


def test_what_has_been_elsewhere_since_is_not_reclaimed(a, b, scratch, source):
    name, other = source(), scratch.name(a)
    move(a, b, scratch, name)
    move(b, a, scratch, name, f"as={other}")
    move(a, b, scratch, other, f"as={name}", "replace=true")
    tickets.refused(a, scratch, [f"reclaim={name}"], [name, "epoch 4", "move=true"])
    assert owns(b, name)


@pytest.mark.parametrize("imports", [False, True], ids=["exported", "imported"])
def test_a_group_with_other_names(a, b, scratch, source, imports):
    first, second, local = source(labels=LABELS), source(), source(driver="local")
    there = [scratch.name(b) for _ in range(2)]
    options = [f"volume={first},{second},{local}", f"rename={first}:{there[0]},{second}:{there[1]}", "move=true"]
    home, way = (b, "from=a") if imports else (a, "to=b")
    ticket = tickets.start(home, scratch, way, *options)
    status = volumes.wait_state(home, ticket, tickets.ENDED, 60)
    assert status["state"] == "done", status["migration"]["error"]
    for name, target in zip((first, second), there):
        assert handed_off(a, name)["handed_off"]["volume"] == target
        assert owns(b, target) and not owns(a, name)
        tickets.holds(b, target, a.volume_data(name))
    assert volumes.labels(b, there[0]) == LABELS
    assert owns(b, local) and owns(a, local), "nobody can fence that"


def test_a_source_that_allows_no_freeze(a, b, scratch, source):
    name = source()
    with a.allowing("read,write"):
        tickets.refused(b, scratch, ["from=a", f"volume={name}", "move=true"], ["ALLOW", "handed off"])
        tickets.finish(b, tickets.start(b, scratch, "from=a", f"volume={name}"))
    assert owns(a, name)


def test_removing_the_exports_ticket_while_the_destination_is_away(lab, a, b, scratch, source):
    name = source(files={"file": os.urandom(20 * MIB)})
    ticket = tickets.start(a, scratch, "to=b", f"volume={name}", "move=true", "limit=3M")
    wait_until(lambda: mount_error(a, name), 10, lambda: "it is held")
    lab.cut()
    try:
        status, message = volumes.remove(a, ticket)
        assert status != 204 and "has not been told yet" in str(message), message
        assert owns(a, name), "at once"
        assert volumes.wait_state(a, ticket, tickets.ENDED, 20)["state"] == "failed"
    finally:
        lab.heal()
    wait_until(lambda: not [each for each in volumes.names(b) if "-elsewhere-" in each], 90,
               lambda: "b has forgotten it")
    assert volumes.remove(a, ticket)[0] == 204
    assert name not in volumes.names(b) and owns(a, name)


EVENTS = {
    "plugin of a killed": lambda lab: lab.a.kill_plugin(),
    "plugin of b killed": lambda lab: lab.b.kill_plugin(),
    "network cut": lambda lab: (lab.cut(), lab.heal()),
}


@pytest.mark.slow
@pytest.mark.parametrize("imports", [False, True], ids=["exported", "imported"])
@pytest.mark.parametrize("event", EVENTS)
def test_whatever_happens_one_host_has_it(lab, a, b, scratch, source, event, imports):
    for moment in range(6):
        name = source(files={str(number): os.urandom(MIB // 4) for number in range(8)})
        options = [f"volume={name}", "move=true", "limit=4M"]
        home, way = (b, "from=a") if imports else (a, "to=b")
        ticket = tickets.start(home, scratch, way, *options)
        wait_until(lambda: 1 << (17 + moment // 2) <= sum(
            entry.get("bytes_sent") or 0 for entry in volumes.status(home, ticket)["volumes"]) or
            volumes.status(home, ticket)["state"] in tickets.ENDED, 30, lambda: volumes.status(home, ticket),
            interval=0.01)
        EVENTS[event](lab)
        a.wait_served()
        b.wait_served()
        assert volumes.wait_state(home, ticket, tickets.ENDED, 120)["state"] == "done"
        handed_off(a, name)
        assert owns(b, name) and not owns(a, name)
        tickets.holds(b, name, a.volume_data(name))


@pytest.mark.parametrize("options,fragments", [
    (["move=true"], [tickets.option("move")]),
    (["from=b", "move=true"], [tickets.option("move"), tickets.option("volume")]),
    (["from=b", "volume=x1", "move=maybe"], [tickets.option("move")]),
    (["from=b", "volume=x1", "move=true", "freeze=none"], [tickets.option("move"), tickets.option("freeze")]),
    (["reclaim=no-such-volume"], ["no-such-volume"]),
    (["reclaim=x1", "volume=x2"], [tickets.option("reclaim"), tickets.option("volume")]),
    (["reclaim=x1", "force=maybe"], [tickets.option("force")]),
    (["reclaim=x1", "force=true", "limit=1M"], [tickets.option("force"), tickets.option("limit")]),
    (["reclaim=no-such-volume", "force=true"], ["no-such-volume"]),
    (["force=true"], [tickets.option("force"), tickets.option("reclaim")]),
])
def test_bad_input_gets_one_line(a, scratch, options, fragments):
    tickets.refused(a, scratch, options, fragments)


def test_what_was_not_handed_off_cannot_be_reclaimed(a, scratch, source):
    name = source()
    for options in (["force=false"], ["force=true"]):
        tickets.refused(a, scratch, [f"reclaim={name}", *options], [name, "not handed off"])
