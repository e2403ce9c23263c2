"""Tickets that are interrupted go on by themselves, and at no moment does anybody see a mixture of two versions."""

import os
import shutil
import threading
import time

import pytest
from support import scratch as containers
from support import tickets, tree_make, volumes
from support.onlooker import Onlooker, first_version, moments, next_version, prepared_kill
from support.wait import wait_until

LABELS = {"team": "web", "a,b": "c d", "x": '"y"'}


class Group:
    """Two volumes that b has from a, and that become the next version together: a large one and a tiny one."""

    def __init__(self, a, b, scratch, disk_directory):
        self._a, self._b, self._scratch, self._disk_directory = a, b, scratch, disk_directory
        self.large, self.tiny = (tickets.source(a, b, scratch, files={}) for _ in range(2))
        first_version(a.volume_data(self.large))
        containers.fill(a.volume_data(self.tiny), {"version": b"0"})
        self._version, self._old = 0, {}
        self.options = ["from=a", f"volume={self.large},{self.tiny}"]
        tickets.run(b, scratch, *self.options)

    def advance(self, pages=400):
        """A new version on a; b still has the old one."""
        for path in self._old.values():
            shutil.rmtree(path)
        self._old = {name: tickets.snapshot(self._disk_directory, self._a.volume_data(name))
                     for name in (self.large, self.tiny)}
        self._version += 1
        next_version(self._a.volume_data(self.large), self._version, pages)
        containers.fill(self._a.volume_data(self.tiny), {"version": b"%d" % self._version})

    def start(self, *options):
        return tickets.start(self._b, self._scratch, *self.options, *options)

    def watched(self):
        return Onlooker(self._b, {name: (old, self._a.volume_data(name)) for name, old in self._old.items()})

    def is_new(self):
        for name in (self.large, self.tiny):
            tickets.holds(self._b, name, self._a.volume_data(name))

    def is_old(self):
        for name, directory in self._old.items():
            tickets.holds(self._b, name, directory)


@pytest.fixture
def group(a, b, scratch, disk_directory):
    return Group(a, b, scratch, disk_directory)


@pytest.mark.slow
def test_killed_at_any_moment_of_an_update(b, group):
    """The delays sweep over manifest, content, apply and commit of a short update."""
    for delay in moments(6, 700, seed=11):
        group.advance()
        strike = prepared_kill(b)
        ticket = group.start()
        with group.watched():
            time.sleep(delay)  # not a wait: the moment is what is tested
            strike()
            tickets.finish(b, ticket, 90)
        group.is_new()
        assert volumes.remove(b, ticket)[0] == 204


@pytest.mark.slow
def test_killed_again_and_again_during_one_update(b, group):
    group.advance(pages=4000)
    ticket, kills = group.start("limit=4M"), 0
    with group.watched():
        while kills < 4 and volumes.status(b, ticket)["state"] == "importing":
            strike = prepared_kill(b)
            time.sleep(0.7)  # not a wait, but long enough that the engine does not take the plugin for broken
            strike()
            kills += 1
        tickets.finish(b, ticket, 120)
    assert kills > 1, "the update was over too soon to be killed in its middle"
    group.is_new()


@pytest.mark.slow
def test_killed_during_create(b, scratch, group):
    """Before it has answered: then the ticket either is there, and goes on, or is not, and nothing has happened."""
    for delay in moments(3, 150, seed=12):
        group.advance()
        ticket, answers, strike = tickets.new_name(b, scratch), [], prepared_kill(b)
        options = dict(option.split("=", 1) for option in group.options)

        def ask(wanted=ticket, into=answers, given=options):
            into.append(volumes.api_create(b, wanted, options=given))
        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(delay)
        strike()
        asking.join(120)
        assert answers, "create does not return"
        if volumes.inspect(b, ticket) is None:
            assert answers[0][0] != 201, "created, and gone"
            group.is_old()
            ticket = group.start()
        tickets.finish(b, ticket, 90)
        group.is_new()
        assert volumes.remove(b, ticket)[0] == 204


def cut_for_a_while(lab, ticket):
    """Until nothing has come for two seconds."""
    lab.cut()
    last = [None, time.monotonic()]

    def stalled():
        sent = volumes.migration(lab.b, ticket).get("bytes_sent")
        if sent != last[0]:
            last[:] = [sent, time.monotonic()]
        return time.monotonic() - last[1] > 2
    wait_until(stalled, 30, "the update stalls", interval=0.1)
    assert volumes.status(lab.b, ticket)["state"] == "importing", "over before the network was cut"
    lab.heal()


EVENTS = {"plugin of a killed": lambda lab, _: lab.a.kill_plugin(), "network cut": cut_for_a_while}


@pytest.mark.slow
@pytest.mark.parametrize("event", EVENTS)
def test_an_interrupted_update_completes_by_itself(lab, b, group, event):
    group.advance(pages=3000)
    ticket = group.start("limit=4M")
    with group.watched():
        tickets.under_way(b, ticket)
        EVENTS[event](lab, ticket)
        status = tickets.finish(b, ticket, 120)
    assert status["migration"]["verified"] is True
    group.is_new()


@pytest.mark.slow
def test_killed_while_it_makes_volumes(a, b, scratch):
    """At moments of manifest, content, seal, commit and registration: it goes on, and the labels are right."""
    large = tickets.source(a, b, scratch, files={"file": os.urandom(20_000_000)})
    tree = tickets.source(a, b, scratch, files={}, labels=LABELS, options={"mode": "ro"})
    tree_make.make_tree(a.volume_data(tree), seed=5, small=True)
    for delay in moments(3, 500, seed=4):
        strike = prepared_kill(b)
        ticket = tickets.start(b, scratch, "from=a", f"volume={tree},{large}")
        time.sleep(delay)  # not a wait: the moment is what is tested
        strike()
        status = tickets.finish(b, ticket, 90)
        assert status["migration"]["verified"] is True
        for name, labels, options in ((tree, LABELS, {"mode": "ro"}), (large, {}, {})):
            volumes.wait_labels(b, name, labels)
            assert volumes.options(b, name) == options
            tickets.holds(b, name, a.volume_data(name))
        for name in (ticket, tree, large):
            assert volumes.remove(b, name)[0] == 204
