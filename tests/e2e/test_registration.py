"""Labels and options reach the engine by removing and creating the volume there, and that may be interrupted.

Whatever is killed at whatever moment: in the end the labels are right, and the data was never at risk. Here the moments
are left to chance; test_registration_steps.py stops exactly at each step.
"""

import random
import threading
import time

import pytest
from support import processes
from support import scratch as containers
from support import tree_compare, volumes
from support.wait import wait_until

LABELS = {"team": "web", "a,b": "c d", "x": '"y"'}
OPTIONS = {"mode": "ro"}


@pytest.fixture
def source(a, scratch):
    name = scratch.name(a, stem="labelled")
    status, answer = volumes.api_create(a, name, options=OPTIONS, labels=LABELS)
    assert status == 201, answer
    containers.fill(a.volume_data(name), {"file": b"content", "empty": b""})
    return name


@pytest.fixture
def settled(a, b, source):
    """The import of source is complete and shows what the source shows, and is what the source is."""
    def check(name):
        volumes.wait_imported(b, name, 60)
        volumes.wait_labels(b, name, LABELS, deadline=60)
        assert volumes.options(b, name) == OPTIONS
        wait_until(lambda: not volumes.status(b, name).get("labels_pending"), 20, "nothing is pending")
        result = tree_compare.compare(a.volume_data(source), b.volume_data(name))
        assert not result.differences and result.entries == 3
    return check


def moments(count, longest_ms, seed):
    """Spread over the span, each a little off, so that repeated runs with other seeds see other moments."""
    chance = random.Random(seed)
    return [(number + chance.random()) * longest_ms / count / 1000 for number in range(count)]


def kill_engine(host):
    host.engine("kill")
    host.engine("start")
    host.wait_served()


@pytest.mark.slow
def test_killed_after_create(b, scratch, source, settled):
    """Plugin and engine in turn, 0 to 300 ms after create has returned."""
    for number, delay in enumerate(moments(6, 300, seed=1)):
        name = scratch.name(b)
        status, answer = volumes.api_create(b, name, options={"from": f"a/{source}"})
        assert status == 201, answer
        time.sleep(delay)  # not a wait: the moment is what is tested
        if number % 2:
            kill_engine(b)
        else:
            b.kill_plugin()
        settled(name)


@pytest.mark.slow
def test_killed_again_while_it_recovers(b, scratch, source, settled):
    name = scratch.name(b)
    assert volumes.api_create(b, name, options={"from": f"a/{source}"})[0] == 201
    for delay in moments(3, 300, seed=2):
        b.kill_plugin()
        time.sleep(delay)
        listed = [entry["Name"] for entry in b.socket().call("List", {}).json["Volumes"]]
        assert name in listed, "the plugin forgot the volume"
    settled(name)


@pytest.mark.slow
def test_killed_during_create(b, scratch, source, settled):
    """Before it has returned: then it either took place, all of it, or it did not."""
    for delay in moments(4, 60, seed=3):
        name, before, answers = scratch.name(b), b.traces(), []

        def ask(wanted=name, into=answers):
            into.append(volumes.api_create(b, wanted, options={"from": f"a/{source}"}))
        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(delay)
        b.kill_plugin()
        asking.join(90)
        assert answers, "create does not return"
        if volumes.inspect(b, name) is not None:
            settled(name)
            assert volumes.remove(b, name)[0] == 204
        else:
            assert answers[0][0] != 201, "created, and gone"
            wait_until(lambda kept=before: b.traces() <= kept, 20, "a create that failed leaves nothing")


@pytest.mark.slow
def test_killed_with_the_engine_away(b, scratch, source, settled):
    """The engine dies right after create and comes back seconds later with a new plugin process."""
    name = scratch.name(b)
    assert volumes.api_create(b, name, options={"from": f"a/{source}"})[0] == 201
    pids = b.plugin_pids()
    b.engine("kill")
    for pid in pids:
        processes.kill(pid)
    b.engine("start")
    b.wait_served()
    settled(name)


def test_remove_and_create_again_at_once(b, scratch, source, settled):
    """The registration of the first must not touch the second."""
    name = scratch.name(b)
    for _ in range(5):
        assert volumes.api_create(b, name, options={"from": f"a/{source}"})[0] == 201
        assert volumes.remove(b, name)[0] == 204
        assert volumes.inspect(b, name) is None
    assert volumes.api_create(b, name, labels={"plain": "1"})[0] == 201
    assert volumes.labels(b, name) == {"plain": "1"}
    again = scratch.name(b)
    assert volumes.api_create(b, again, options={"from": f"a/{source}"})[0] == 201
    settled(again)
    # By now a late registration of the first would have happened, too.
    assert volumes.labels(b, name) == {"plain": "1"} and not volumes.options(b, name)
    assert volumes.status(b, name)["mode"] == "rw"


def test_many_imports_at_once(b, scratch, source, settled):
    names = [scratch.name(b) for _ in range(12)]
    for name in names:
        assert volumes.api_create(b, name, options={"from": f"a/{source}"})[0] == 201
    for name in names:
        settled(name)


@pytest.mark.slow
def test_engine_restart_keeps_labels_of_imports(b, scratch, source, settled):
    name = scratch.name(b)
    assert volumes.api_create(b, name, options={"from": f"a/{source}"})[0] == 201
    settled(name)
    b.engine("restart")
    b.wait_served()
    settled(name)
    b.plugin("reinstall")
    b.wait_served()
    settled(name)
