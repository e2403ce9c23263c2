"""Copies of volumes in use: of one instant, and what writes to them goes on, whatever breaks."""

import contextlib
import os

import pytest
from support import scratch as containers
from support import tickets, volumes
from support.wait import wait_until

# Writes each number into one volume and then into the other: of one instant, they differ by one at most.
_PAIR = """
n=0
while :; do n=$((n + 1)); echo $n >>/one/log; echo $n >>/two/log; done
"""
# The same, but what is left for the last round is always 3 MB. Not truncated: it would be empty for a moment.
_CHURN = """
n=$(tail -n1 /one/log 2>/dev/null) n=${n:-0}
[ $n = 0 ] || [ "$(tail -n1 /two/log)" = $n ] || echo $n >>/two/log
while :; do
    n=$((n + 1)); echo $n >>/one/log; echo $n >>/two/log
    dd if=/dev/urandom of=/one/much bs=1M count=3 conv=notrunc 2>/dev/null; sleep 0.1
done
"""


class Writer:
    def __init__(self, a, scratch, script, *arguments):
        self.one, self.two = scratch.volume(a), scratch.volume(a)
        # The shell does not listen when it is asked to end.
        self.container = scratch.container(a, "--stop-timeout", "2", "-v", f"{self.one}:/one", "-v", f"{self.two}:/two", *arguments,
                                           command=("sh", "-c", script))

    def state(self, a):
        status, answer = a.api.request("GET", f"/containers/{self.container}/json")
        assert status == 200, answer
        return answer["State"]

    def count(self, a):
        lines = a.docker("exec", self.container, "wc", "-l", "/one/log").stdout
        return int(lines.split()[0])

    def check_goes_on(self, a):
        wait_until(lambda: self.state(a)["Status"] == "running", 10, lambda: f"it runs: {self.state(a)}")
        before = self.state(a)["StartedAt"]
        count = self.count(a)
        wait_until(lambda: self.count(a) > count, 10, "it writes")
        return before


def last_number(host, volume):
    lines = containers.run(host, f"{volume}:/data", "cat /data/log").stdout.split()
    assert lines == [str(n) for n in range(1, len(lines) + 1)]
    return len(lines)


@pytest.mark.parametrize("freeze", ["pause", "stop"])
@pytest.mark.parametrize("way", ["from=a", "to=b"])
def test_two_volumes_of_one_instant(a, b, scratch, way, freeze):
    writer = Writer(a, scratch, _PAIR)
    started = writer.check_goes_on(a)
    for name in (writer.one, writer.two):
        scratch.forget_later(b, name)
    home = b if way == "from=a" else a
    status = volumes.wait_state(home, tickets.start(home, scratch, way, f"volume={writer.one},{writer.two}", f"freeze={freeze}"), tickets.ENDED, 60)
    assert status["state"] == "done", status
    assert status["migration"]["consistency"] == "frozen", status
    assert 0 <= last_number(b, writer.one) - last_number(b, writer.two) <= 1
    if freeze == "pause":
        assert status["migration"]["downtime_ms"] is not None
        assert writer.check_goes_on(a) == started, "it was started anew"
    else:
        wait_until(lambda: writer.state(a)["Running"] and writer.state(a)["StartedAt"] != started, 20, "it was started anew")


def test_one_volume_by_its_own_create(a, b, scratch):
    writer = Writer(a, scratch, _PAIR)
    started = writer.check_goes_on(a)
    name = scratch.name(b)
    volumes.must_create(b, name, options=[f"from=a/{writer.one}"])
    receipt = volumes.wait_imported(b, name)["migration"]
    assert receipt["consistency"] == "frozen" and receipt["verified"] is True, receipt
    assert [entry["frozen"] for entry in receipt["rounds"]][-2:] == [False, True], receipt
    assert last_number(b, name) > 0
    assert writer.check_goes_on(a) == started


def test_an_update_while_they_are_in_use(a, b, scratch):
    writer = Writer(a, scratch, _PAIR)
    for name in (writer.one, writer.two):
        scratch.forget_later(b, name)
    before = 0
    for action in ("create", "update"):
        writer.check_goes_on(a)
        status = tickets.run(b, scratch, "from=a", f"volume={writer.one},{writer.two}")
        assert status["migration"]["consistency"] == "frozen", status
        assert {entry["action"] for entry in tickets.entries(status).values()} == {action}
        now = last_number(b, writer.one)
        assert now > before and 0 <= now - last_number(b, writer.two) <= 1
        before = now


@contextlib.contextmanager
def frozen(a, b, scratch, *options):
    """A ticket whose last round is under way, for some seconds."""
    writer = Writer(a, scratch, _CHURN, "--restart", "always")
    for name in (writer.one, writer.two):
        scratch.forget_later(b, name)
    ticket = tickets.start(b, scratch, "from=a", f"volume={writer.one},{writer.two}", "freeze=pause", "limit=1500K", *options)
    wait_until(lambda: writer.state(a)["Paused"], 60, lambda: f"it stands still: {volumes.status(b, ticket)}", interval=0.01)
    yield writer, ticket
    wait_until(lambda: writer.state(a)["Status"] == "running", 10, lambda: f"it runs again: {writer.state(a)}")


def check_thawed(a, writer):
    wait_until(lambda: not writer.state(a)["Paused"], 5.5, "it goes on within 5 s")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["kill a", "kill b", "cut"])
def test_whatever_breaks_it_goes_on(lab, a, b, scratch, what):
    with frozen(a, b, scratch) as (writer, ticket):
        started = writer.state(a)["StartedAt"]
        killed = {"kill a": a, "kill b": b}.get(what)
        lab.cut() if killed is None else killed.killer()()
        check_thawed(a, writer)
        assert writer.check_goes_on(a) == started, "it was started anew"
        lab.heal()
        if killed is not None:
            killed.wait_served()
        check_end(b, writer, volumes.wait_state(b, ticket, tickets.ENDED, 120))


def check_end(b, writer, status):
    """The copy is of one instant, or there is none."""
    if status["state"] == "failed":
        tickets.check_line(status["migration"]["error"], ["max-freeze"])
        assert volumes.inspect(b, writer.one) is None and volumes.inspect(b, writer.two) is None
        return
    assert status["state"] == "done" and status["migration"]["consistency"] == "frozen", status
    assert 0 <= last_number(b, writer.one) - last_number(b, writer.two) <= 1


@pytest.mark.slow
def test_its_engine_dies(a, b, scratch):
    """With what runs there, at its return; so what stood still is started anew."""
    with frozen(a, b, scratch) as (writer, ticket):
        a.engine("kill")
        a.engine("start")
        wait_until(lambda: writer.state(a)["Status"] == "running", 6, lambda: f"it runs again: {writer.state(a)}")
        check_end(b, writer, volumes.wait_state(b, ticket, tickets.ENDED, 120))


@pytest.fixture
def live_restore(a):
    """The Engine leaves what runs alone when it returns: also what stands still."""
    path = a.path("etc/docker/daemon.json")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as out:
        out.write('{"live-restore": true}')
    a.engine("restart")
    a.wait_served()
    yield
    os.unlink(a.path("etc/docker/daemon.json"))
    a.engine("restart")


@pytest.mark.slow
def test_its_engine_dies_without_what_runs_there(a, b, live_restore, scratch):
    with frozen(a, b, scratch) as (writer, ticket):
        started = writer.state(a)["StartedAt"]
        a.engine("kill")
        a.engine("start")
        check_thawed(a, writer)
        assert writer.check_goes_on(a) == started, "it was started anew"
        check_end(b, writer, volumes.wait_state(b, ticket, tickets.ENDED, 120))


def test_its_ticket_is_removed(a, b, scratch):
    with frozen(a, b, scratch) as (writer, ticket):
        wait_until(lambda: volumes.remove(b, ticket)[0] in (204, 404), 20, "the ticket goes")
        check_thawed(a, writer)
        assert volumes.inspect(b, writer.one) is None


@pytest.mark.slow
def test_not_longer_than_its_user_allows(a, b, scratch):
    with frozen(a, b, scratch, "max-freeze=1s") as (writer, ticket):
        wait_until(lambda: not writer.state(a)["Paused"], 2.5, "it goes on")
        status = volumes.wait_state(b, ticket, tickets.ENDED, 120)
        assert status["state"] == "failed", status
        tickets.check_line(status["migration"]["error"], ["max-freeze", "goes on as ever"])


def test_one_that_must_not_stand_still_for_so_long_does_not(a, b, scratch):
    writer = Writer(a, scratch, _CHURN)
    scratch.forget_later(b, writer.one)
    ticket = tickets.start(b, scratch, "from=a", f"volume={writer.one}", "limit=1500K", "rounds=2", "max-downtime=200ms", "strict=true")
    wait_until(lambda: volumes.status(b, ticket)["migration"].get("dirty_bytes"), 60, lambda: f"{volumes.status(b, ticket)}")
    predicted = volumes.status(b, ticket)["migration"]["predicted_downtime_ms"]
    assert predicted is None or predicted > 200, predicted
    status = volumes.wait_state(b, ticket, tickets.ENDED, 60)
    assert status["state"] == "failed", status
    tickets.check_line(status["migration"]["error"], ["2 of them", "max-downtime is 200 ms", "was not held"])
    assert not any(entry["frozen"] for entry in status["migration"]["rounds"]), status
    assert volumes.inspect(b, writer.one) is None


@pytest.mark.parametrize("argument, words", [("--rm", ["--rm"]), ("--stop-timeout=90", ["90 s to end", "max-freeze"])],
                         ids=["rm", "stop-timeout"])
def test_none_is_stopped_if_one_must_not_be(a, b, scratch, argument, words):
    writer, other = Writer(a, scratch, _PAIR, argument), Writer(a, scratch, _PAIR)
    before = writer.check_goes_on(a), other.check_goes_on(a)
    for name in (writer.one, other.one):
        scratch.forget_later(b, name)
    status = volumes.wait_state(b, tickets.start(b, scratch, "from=a", f"volume={writer.one},{other.one}", "freeze=stop"), tickets.ENDED, 60)
    assert status["state"] == "failed", status
    tickets.check_line(status["migration"]["error"], ["container", *words])
    assert (writer.check_goes_on(a), other.check_goes_on(a)) == before, "one was started anew"
    assert volumes.inspect(b, writer.one) is None and volumes.inspect(b, other.one) is None


def test_one_that_its_user_has_paused_stays_so(a, b, scratch):
    writer = Writer(a, scratch, _PAIR)
    writer.check_goes_on(a)
    a.docker("pause", writer.container)
    name = scratch.name(b)
    volumes.must_create(b, name, options=[f"from=a/{writer.one}", "freeze=pause"])
    assert volumes.wait_imported(b, name)["migration"]["consistency"] == "frozen"
    assert writer.state(a)["Paused"]
    a.docker("unpause", writer.container)
