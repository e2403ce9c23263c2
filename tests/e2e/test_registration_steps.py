"""The registration of labels, stopped exactly at each of its steps: DELETE sent, DELETE answered, POST sent, POST answered.

Beside test_registration.py, whose moments are left to chance.
"""

import json

import pytest
from support import processes
from support import scratch as containers
from support import tree_compare, volumes
from support.engine_gate import EngineGate
from support.wait import wait_until

SOURCE_LABELS = {"team": "web", "a,b": "c d", "x": '"y"'}
OWN_LABELS = {"team": "mine", "own": "1"}
EXPECTED = {**SOURCE_LABELS, **OWN_LABELS}  # those of the command line win
STEPS = [("DELETE", "sent"), ("DELETE", "answered"), ("POST", "sent"), ("POST", "answered")]


@pytest.fixture(scope="module")
def module_gate(running_lab):
    with EngineGate(running_lab.b) as gate:
        yield gate


@pytest.fixture
def gate(module_gate, lab):
    module_gate.ensure()
    yield module_gate


@pytest.fixture
def source(a, scratch):
    name = scratch.name(a, stem="labelled")
    status, answer = volumes.api_create(a, name, options={"mode": "ro"}, labels=SOURCE_LABELS)
    assert status == 201, answer
    containers.fill(a.volume_data(name), {"file": b"content", "empty": b""})
    return name


@pytest.fixture
def held(b, scratch, gate, source):
    """An import whose registration is held at a step: (name, the held call)."""
    def begin(method, when):
        name = scratch.name(b)
        call = gate.hold(method, name, when)
        status, answer = volumes.api_create(b, name, options={"from": f"a/{source}"}, labels=OWN_LABELS)
        assert status == 201, answer
        call.wait()
        return name, call
    return begin


@pytest.fixture
def settled(a, b, source):
    def check(name):
        assert name in {entry["Name"] for entry in b.socket().call("List", {}).json["Volumes"]}, "Ferry forgot it"
        volumes.wait_labels(b, name, EXPECTED, deadline=90)
        assert volumes.options(b, name) == {"mode": "ro"}
        wait_until(lambda: not volumes.status(b, name).get("labels_pending"), 20, "nothing is pending")
        volumes.wait_imported(b, name, 60)
        result = tree_compare.compare(a.volume_data(source), b.volume_data(name))
        assert not result.differences and result.entries == 3
    return check


@pytest.mark.parametrize("step", STEPS, ids=" ".join)
def test_plugin_killed(b, held, settled, step):
    name, call = held(*step)
    b.kill_plugin()
    call.release()
    settled(name)


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS, ids=" ".join)
def test_engine_killed(b, held, settled, step):
    name, call = held(*step)
    b.engine("kill")
    call.release()
    b.engine("start")
    b.wait_served()
    settled(name)


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS[1:3], ids=" ".join)
def test_both_killed(b, held, settled, step):
    name, call = held(*step)
    pids = b.plugin_pids()
    b.engine("kill")
    for pid in pids:
        processes.kill(pid)
    call.release()
    b.engine("start")
    b.wait_served()
    settled(name)


@pytest.mark.parametrize("step", STEPS, ids=" ".join)
def test_connection_broken(held, settled, step):
    name, call = held(*step)
    call.release()
    settled(name)


def test_an_engine_that_removes_after_the_connection_has_broken(held, settled):
    """As a DELETE that takes longer than Ferry waits: the Remove that it leads to is Ferry's own all the same."""
    name, call = held("DELETE", "late")
    call.release()
    call.wait_over()
    settled(name)


@pytest.mark.parametrize("step", STEPS, ids=" ".join)
def test_removed_by_its_user(b, held, step):
    """A Remove at such a moment may be taken for Ferry's own; but it can be removed, and then nothing is left."""
    before = b.traces()
    name, call = held(*step)
    assert volumes.remove(b, name)[0] in (204, 404)
    call.release()

    def removed():
        volumes.remove(b, name)
        return name not in {entry["Name"] for entry in b.socket().call("List", {}).json["Volumes"]}
    wait_until(removed, 30, "it can be removed")
    wait_until(lambda: b.traces() <= before, 30, lambda: f"left: {b.traces() - before}")


def test_an_anonymous_volume_that_goes_with_its_container(b, scratch, gate, source):
    """As with `docker run --rm`: the engine has refused Ferry's DELETE because of the container, and removes both before
    Ferry learns that."""
    before = b.traces()
    mount = f"type=volume,volume-driver=ferry,volume-opt=from=a/{source},dst=/data"
    container = scratch.made_container(b, "--mount", mount, command=("true",))
    name = json.loads(b.docker("inspect", container).stdout)[0]["Mounts"][0]["Name"]
    volumes.wait_imported(b, name, 60)
    call = gate.hold("DELETE", name, "delayed")
    b.docker("start", "-a", container)
    call.wait()
    b.docker("rm", "-v", container)
    call.release()
    wait_until(lambda: b.traces() <= before, 30, lambda: f"left: {b.traces() - before}")
    assert name not in volumes.names(b)


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS[1:3], ids=" ".join)
def test_a_local_volume_made_meanwhile_is_left_alone(b, gate, held, settled, step):
    """The engine has forgotten Ferry's volume, and while Ferry is away a container gets a local one of that name."""
    name, call = held(*step)
    b.plugin("disable")
    call.release()
    containers.run(b, f"{name}:/data", "echo precious > /data/mine")
    assert volumes.inspect(b, name)["Driver"] == "local"
    looks, deletes = gate.methods(name).count("GET"), gate.methods(name).count("DELETE")
    b.plugin("enable")
    b.wait_served()
    wait_until(lambda: gate.methods(name).count("GET") >= looks + 2, 30, lambda: f"looks: {gate.methods(name)}")
    assert gate.methods(name).count("DELETE") == deletes
    assert volumes.inspect(b, name)["Driver"] == "local"
    assert containers.run(b, f"{name}:/data", "cat /data/mine").stdout == "precious\n"
    assert volumes.remove(b, name)[0] == 204
    settled(name)


def test_a_container_that_comes_between_delete_and_post_takes_no_labels_away(b, scratch, held, settled):
    """The engine then refuses the next DELETE, as long as the container is there."""
    name, call = held("POST", "sent")
    container = scratch.made_container(b, "-v", f"{name}:/data")
    call.release()
    wait_until(lambda: volumes.status(b, name).get("labels_pending"), 20, "the labels are pending")
    b.kill_plugin()  # it has to be on disk
    assert volumes.status(b, name)["labels_pending"]
    b.docker("rm", "-f", container)
    settled(name)
