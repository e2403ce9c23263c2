"""A service comes back: reclaim=TICKET at the host that it had left, of the ticket by which it left."""

import pytest
from support import scratch as containers
from support import service, tickets, volumes
from support.wait import wait_until
from test_service_move import comparable, inspect

MIB = 1 << 20
# Stopping it takes a large last write, so that the last round lasts with a limit.
_SCRIPT = """
trap 'dd if=/dev/urandom of=/data/last bs=1M count=4 2>/dev/null; exit 0' TERM
while :; do sleep 1000 & wait $!; done
"""


class Moved:
    """A service of a that runs at b, with a volume of Ferry's."""

    def __init__(self, a, b, scratch, *arguments, more=0, way="from=a"):
        self.name, self.volume = scratch.name(a, stem="returning"), scratch.volume(a, labels=["kind=own"])
        scratch.forget_later(b, self.volume)
        containers.fill(a.volume_data(self.volume), {"file": b"of a", "much": bytes(more), "gone": b"x"})
        scratch.container(a, "--name", self.name, "--restart", "unless-stopped", "-v", f"{self.volume}:/data", *arguments,
                          command=("sh", "-c", _SCRIPT))
        a.docker("exec", self.name, "sh", "-c", "echo of a >/layer; rm /bin/wget")
        self.before, others = inspect(a, self.name), volumes.names(a)
        home = b if way == "from=a" else a
        self.moved_by = tickets.start(home, scratch, way, f"container={self.name}")
        status = volumes.wait_state(home, self.moved_by, tickets.ENDED, 60)
        assert status["state"] == "done", status
        b.docker("exec", self.name, "sh", "-c", "echo of b >/data/file; rm /data/gone; echo of b >/layer; echo new >/new; rm /bin/vi")
        [self.ticket] = [name for name in volumes.names(a) - others if name.startswith("service-elsewhere-")]

    def check_back(self, a, b):
        wait_until(lambda: service.runs(a, self.name), 30, "it runs where it had left")
        after = inspect(a, self.name)
        assert after["Id"] == self.before["Id"] and comparable(after) == comparable(self.before)
        assert a.docker("exec", self.name, "cat", "/data/file", "/layer", "/new").stdout == "of b\nof b\nnew\n"
        for path in ("/data/gone", "/bin/wget", "/bin/vi"):
            assert a.docker("exec", self.name, "ls", path, check=False).returncode != 0, path
        assert volumes.inspect(a, self.volume)["Labels"] == {"kind": "own"}
        assert not service.runs(b, self.name) and volumes.status(b, self.volume)["state"] == "handed-off"
        wait_until(lambda: self.ticket not in volumes.names(a), 10, "what tells of its departure is gone")

    def check_still_there(self, a, b):
        wait_until(lambda: service.runs(b, self.name), 30, "it runs at b")
        assert not service.runs(a, self.name) and self.ticket in volumes.names(a)
        assert volumes.status(a, self.volume)["state"] == "handed-off"
        assert b.docker("exec", self.name, "cat", "/data/file", "/layer").stdout == "of b\nof b\n"
        wait_until(lambda: not [name for name in volumes.names(b) if "-elsewhere-" in name], 20, "b holds nothing")


@pytest.fixture
def moved(a, b, scratch):
    made = []

    def make(*arguments, **keywords):
        made.append(Moved(a, b, scratch, *arguments, **keywords))
        return made[-1]
    yield make
    for one in made:
        for host in (a, b):
            host.docker("rm", "-f", "-v", one.name, check=False)
    for host in (a, b):
        wait_until(lambda host=host: all(volumes.remove(host, name)[0] == 204 for name in volumes.names(host) if "-elsewhere-" in name), 30,
                   lambda host=host: f"nothing is held at {host.name}: {volumes.names(host)}")


@pytest.mark.parametrize("way", ["from=a", "to=b"])
def test_it_comes_back_with_what_has_become_of_it(a, b, scratch, moved, way):
    one = moved(way=way)
    undo = volumes.status(a, one.ticket)["service"]["undo"]
    assert undo == f"docker volume create -d ferry -o reclaim={one.ticket} NAME"
    status = volumes.wait_state(a, tickets.start(a, scratch, f"reclaim={one.ticket if way == 'from=a' else one.moved_by}"), tickets.ENDED, 60)
    assert status["state"] == "done", status
    assert status["service"]["step"] == "done" and status["migration"]["verified"], status
    one.check_back(a, b)


def test_and_can_leave_again(a, b, scratch, moved):
    one = moved()
    assert volumes.wait_state(a, tickets.start(a, scratch, f"reclaim={one.ticket}"), tickets.ENDED, 60)["state"] == "done"
    one.check_back(a, b)
    b.docker("rm", one.name)
    for name in [one.volume, *(name for name in volumes.names(b) if name.startswith("service-elsewhere-"))]:
        wait_until(lambda name=name: volumes.remove(b, name)[0] == 204, 10, f"{name} goes")
    status = volumes.wait_state(b, tickets.start(b, scratch, "from=a", f"container={one.name}"), tickets.ENDED, 60)
    assert status["state"] == "done", status
    assert b.docker("exec", one.name, "cat", "/data/file", "/new").stdout == "of b\nnew\n"


@pytest.mark.parametrize("step,what", [("bring volumes", "kill a"), ("bring volumes", "kill b"), ("last round", "kill a"),
                                       ("last round", "kill b"), ("last round", "cut")])
def test_it_comes_back_all_the_same(lab, a, b, scratch, moved, step, what):
    one = moved(more=6 * MIB)
    b.docker("exec", one.name, "sh", "-c", "head -c 6000000 /dev/urandom >/data/much; head -c 6000000 /dev/urandom >/big")
    ticket = tickets.start(a, scratch, f"reclaim={one.ticket}", "limit=2M")
    service.wait_step(a, ticket, step)
    if what == "cut":
        lab.cut()
        wait_until(lambda: service.runs(b, one.name), 20, "it runs where it is, which has lost patience")
        lab.heal()
    else:
        (a if what == "kill a" else b).kill_plugin()
    status = volumes.wait_state(a, ticket, tickets.ENDED, 120)
    assert status["state"] == "done", status
    one.check_back(a, b)


@pytest.mark.parametrize("step", ["bring volumes", "last round"])
def test_its_ticket_is_removed(a, b, scratch, moved, step):
    one = moved(more=6 * MIB)
    b.docker("exec", one.name, "sh", "-c", "head -c 6000000 /dev/urandom >/data/much; head -c 6000000 /dev/urandom >/big")
    ticket = tickets.start(a, scratch, f"reclaim={one.ticket}", "limit=2M")
    service.wait_step(a, ticket, step)
    wait_until(lambda: volumes.remove(a, ticket)[0] in (204, 404), 30, "the ticket goes")
    one.check_still_there(a, b)
    assert volumes.wait_state(a, tickets.start(a, scratch, f"reclaim={one.ticket}"), tickets.ENDED, 60)["state"] == "done"
    one.check_back(a, b)


@pytest.fixture
def with_locals(a, scratch, moved):
    """One with a volume of the local driver and an anonymous one, which b has changed."""
    def make(b, **keywords):
        local = scratch.volume(a, driver="local", labels=["kind=local"])
        scratch.forget_later(b, local)
        one = moved("-v", f"{local}:/local", "-v", "/anonymous", **keywords)
        b.docker("exec", one.name, "sh", "-c", "echo of b >/local/file; echo of b >/anonymous/file; chmod 751 /local")
        return one, local
    return make


def check_locals(a, one, local):
    assert a.docker("exec", one.name, "cat", "/local/file", "/anonymous/file").stdout == "of b\nof b\n"
    assert a.docker("exec", one.name, "stat", "-c", "%a", "/local").stdout.strip() == "751"
    volume = volumes.inspect(a, local)
    assert volume["Driver"] == "local" and volume["Labels"] == {"kind": "local"}


def test_its_volumes_of_the_local_driver_come_back_too(a, b, scratch, with_locals):
    one, local = with_locals(b)
    status = volumes.wait_state(a, tickets.start(a, scratch, f"reclaim={one.ticket}"), tickets.ENDED, 60)
    assert status["state"] == "done", status
    listed = {entry["name"]: (entry["state"], entry["consistency"]) for entry in status["volumes"]}
    assert len(listed) == 3 and listed[local] == ("ready", "idle"), status["volumes"]
    one.check_back(a, b)
    check_locals(a, one, local)


def test_what_was_written_meanwhile_to_one_of_the_local_driver_is_not_lost(a, b, scratch, with_locals):
    one, local = with_locals(b)
    containers.run(a, f"{local}:/data", "echo mine >/data/mine")
    status = volumes.wait_state(a, tickets.start(a, scratch, f"reclaim={one.ticket}"), tickets.ENDED, 60)
    assert status["state"] == "failed", status
    tickets.check_line(status["migration"]["error"], [local, "was written to here since the service had left", "replace=true"])
    one.check_still_there(a, b)
    assert containers.run(a, f"{local}:/data", "cat /data/mine").stdout == "mine\n"
    ticket = tickets.start(a, scratch, f"reclaim={one.ticket}", "replace=true")
    assert volumes.wait_state(a, ticket, tickets.ENDED, 60)["state"] == "done"
    one.check_back(a, b)
    check_locals(a, one, local)
    assert a.docker("exec", one.name, "ls", "/local").stdout == "file\n"


def test_what_is_refused(a, b, scratch, moved):
    one = moved()
    started = a.docker("start", one.name, check=False)
    assert started.returncode != 0 and f"-o reclaim={one.ticket}" in started.stderr, started
    tickets.refused(a, scratch, [f"reclaim={one.ticket}", "force=true"], ["reclaim=VOLUME"])
    tickets.refused(a, scratch, [f"reclaim={one.ticket}", "replace=true"], ["local driver", "leave it out"])
    tickets.refused(b, scratch, [f"reclaim={one.moved_by}"], ["no ticket", one.moved_by])
    tickets.refused(b, scratch, ["from=a", f"container={one.name}", "as=other"], ["handed off to", one.ticket])
    a.docker("rm", one.name)
    tickets.refused(a, scratch, [f"reclaim={one.ticket}"], ["was removed here"])
    assert service.runs(b, one.name)


def test_a_port_that_was_taken_meanwhile(a, b, scratch, moved):
    one = moved("-p", "5999:80")
    script = "import socket, sys; s = socket.create_server(('0.0.0.0', 5999)); print('listening', flush=True); sys.stdin.read()"
    other = a.start_in_network("/usr/bin/python3", "-c", script)
    try:
        assert other.stdout.readline() == "listening\n"
        tickets.refused(a, scratch, [f"reclaim={one.ticket}"], ["could not be started here", "port 5999/tcp is taken"])
    finally:
        other.stdin.close()
        other.wait(10)
    one.check_still_there(a, b)
    assert volumes.wait_state(a, tickets.start(a, scratch, f"reclaim={one.ticket}"), tickets.ENDED, 60)["state"] == "done"
    one.check_back(a, b)


def test_another_container_of_its_name_does_not_come(a, b, scratch, moved):
    one = moved()
    b.docker("rename", one.name, one.name + "-kept")
    try:
        scratch.container(b, "--name", one.name)
        tickets.refused(a, scratch, [f"reclaim={one.ticket}"], ["not the one that had left"])
        b.docker("rm", "-f", one.name)
    finally:
        b.docker("rename", one.name + "-kept", one.name)
    assert volumes.wait_state(a, tickets.start(a, scratch, f"reclaim={one.ticket}"), tickets.ENDED, 60)["state"] == "done"
    one.check_back(a, b)


def test_a_layer_that_stayed_stays(a, b, scratch, moved):
    one = moved(more=0)
    # Once more, now without its layer: b has that of the first move.
    assert volumes.wait_state(a, tickets.start(a, scratch, f"reclaim={one.ticket}"), tickets.ENDED, 60)["state"] == "done"
    one.check_back(a, b)
    b.docker("rm", one.name)
    for name in [one.volume, *(name for name in volumes.names(b) if name.startswith("service-elsewhere-"))]:
        wait_until(lambda name=name: volumes.remove(b, name)[0] == 204, 10, f"{name} goes")
    a.docker("exec", one.name, "sh", "-c", "echo stays >/layer")
    others = volumes.names(a)
    status = volumes.wait_state(b, tickets.start(b, scratch, "from=a", f"container={one.name}", "layer=false"), tickets.ENDED, 60)
    assert status["state"] == "done", status
    [departed] = [name for name in volumes.names(a) - others if name.startswith("service-elsewhere-")]
    assert volumes.wait_state(a, tickets.start(a, scratch, f"reclaim={departed}"), tickets.ENDED, 60)["state"] == "done"
    wait_until(lambda: service.runs(a, one.name), 30, "it runs")
    assert a.docker("exec", one.name, "cat", "/layer").stdout == "stays\n"
