"""What the engine's own tests demand of a driver, on a real engine, counted on the wire."""

import os
import re
import signal
import threading

import pytest
from support import scratch as containers
from support import volumes
from support.recorder import Recorder
from support.scratch import IMAGE
from support.wait import Stopwatch, wait_until

EACH_ONCE = {"Create": 1, "Mount": 1, "Unmount": 1, "Remove": 1}


@pytest.fixture(scope="module")
def module_recorder(running_lab):
    with Recorder(running_lab.b) as recorder:
        yield recorder


@pytest.fixture
def recorder(module_recorder, lab):
    module_recorder.forget()
    yield module_recorder


def test_named_volume(recorder, b, scratch):
    name = scratch.volume(b)
    containers.run(b, f"{name}:/data", "echo 1 > /data/x")
    assert volumes.remove(b, name)[0] == 204
    assert recorder.counts(name) == EACH_ONCE


def test_anonymous_volume_with_rm(recorder, b):
    before = volumes.names(b)
    b.docker("run", "--rm", "--network", "none", "--volume-driver", "ferry", "-v", "/data", IMAGE, "true")
    assert recorder.counts() == EACH_ONCE
    assert volumes.names(b) == before


def test_run_makes_a_named_volume_without_options(recorder, b, scratch):
    name = scratch.name(b)
    b.docker("run", "--rm", "--network", "none", "--volume-driver", "ferry", "-v", f"{name}:/data", IMAGE, "true")
    assert not recorder.calls("Create", name)[0].body.get("Opts")
    assert volumes.inspect(b, name)["Driver"].startswith("ferry")


def test_volumes_from(recorder, b, scratch):
    first = scratch.container(b, "--volume-driver", "ferry", "-v", "/data", command=("true",))
    wait_until(lambda: recorder.calls("Unmount"), 20, "the first container has ended")
    b.docker("run", "--rm", "--network", "none", "--volumes-from", first, IMAGE, "true")
    b.docker("rm", "-fv", first)
    assert recorder.counts() == {"Create": 1, "Mount": 2, "Unmount": 2, "Remove": 1}


def test_cp_on_a_running_container(recorder, b, scratch):
    name = scratch.volume(b)
    container = scratch.container(b, "-v", f"{name}:/data")
    b.exec("sh", "-c", "echo copied > /tmp/e2e-file")
    b.docker("cp", "/tmp/e2e-file", f"{container}:/data/file")
    # How often docker cp has the volume mounted differs between engines; each Mount but the container's is undone.
    counts = recorder.counts(name)
    assert counts["Create"] == 1 and counts["Mount"] == counts["Unmount"] + 1 >= 2, counts
    seen = b.docker("exec", container, "sh", "-c", "cat /data/file; echo after > /data/after").stdout
    assert seen == "copied\n", "the container lost its volume to the Unmount of docker cp"
    b.docker("rm", "-f", container)
    counts = recorder.counts(name)
    assert counts["Mount"] == counts["Unmount"], counts
    assert sorted(os.listdir(b.volume_data(name))) == ["after", "file"]


def test_image_content_is_copied_into_an_empty_volume(recorder, b, scratch):
    name = scratch.volume(b)
    scratch.made_container(b, "-v", f"{name}:/bin")
    assert recorder.counts(name) == {"Create": 1, "Mount": 1, "Unmount": 1}
    assert os.listdir(b.volume_data(name)), "the image's /bin was not copied into the volume"


def test_ls_is_one_list_and_inspect_one_get(recorder, b, scratch):
    name = scratch.volume(b)

    def cost(*arguments):
        recorder.forget()
        b.docker("volume", *arguments)
        return tuple(len(recorder.calls(method)) for method in ("List", "Get", "Path"))
    # Ferry's own reconciliation also makes the engine ask; the cheapest of three is the command alone.
    assert min(cost("ls") for _ in range(3)) == (1, 0, 0)
    lists, gets, paths = min(cost("inspect", name) for _ in range(3))
    assert (lists, paths) == (0, 0) and gets >= 1


def test_missing_volume(b):
    result = b.docker("volume", "inspect", "e2e-never-made", check=False)
    assert result.returncode != 0
    assert re.search("no such volume", result.stderr, re.I) and "e2e-never-made" in result.stderr, result.stderr


def test_repeated_create_is_a_no_op(recorder, b, scratch):
    name = scratch.volume(b, labels=["first=1"])
    volumes.must_create(b, name, labels=["second=2"])
    assert len(recorder.calls("Create", name)) == 1
    assert volumes.labels(b, name) == {"first": "1"}


def test_name_conflicts_with_another_driver(b, scratch):
    local, ferry = scratch.volume(b, driver="local"), scratch.volume(b)
    before = b.traces()
    assert not volumes.create(b, local, driver="ferry").ok
    assert not volumes.create(b, ferry, driver="local").ok
    assert b.traces() <= before
    assert volumes.inspect(b, local)["Driver"] == "local"
    assert volumes.inspect(b, ferry)["Driver"].startswith("ferry")


@pytest.mark.parametrize("driver", ["ferry", "local"])
def test_deleted_out_of_band_and_made_again(b, scratch, driver):
    name = scratch.volume(b)
    assert b.socket().call("Remove", {"Name": name}).error is None
    volumes.must_create(b, name, driver=driver)
    assert volumes.inspect(b, name)["Driver"].split(":")[0] == driver
    containers.run(b, f"{name}:/data", "touch /data/x")


def test_two_containers_share_a_volume(b, scratch):
    name = scratch.volume(b)
    first, second = (scratch.container(b, "-v", f"{name}:/data") for _ in range(2))
    b.docker("exec", first, "sh", "-c", "echo shared > /data/x")
    b.docker("rm", "-f", first)
    assert b.docker("exec", second, "sh", "-c", "cat /data/x; echo more > /data/y").stdout == "shared\n"
    assert os.path.exists(os.path.join(b.volume_data(name), "y"))


def test_data_persists_across_two_runs(b, scratch):
    name = scratch.volume(b)
    containers.run(b, f"{name}:/data", "echo kept > /data/x")
    assert containers.run(b, f"{name}:/data", "cat /data/x").stdout == "kept\n"


def test_a_volume_in_use_is_not_removed(b, scratch):
    name = scratch.volume(b)
    container = scratch.container(b, "-v", f"{name}:/data")
    assert volumes.remove(b, name)[0] == 409
    assert volumes.remove(b, name, force=True)[0] == 409
    b.docker("exec", container, "touch", "/data/x")
    b.docker("rm", "-f", container)
    assert volumes.remove(b, name)[0] == 204
    wait_until(lambda: not os.path.lexists(b.ferry("volumes", name)), 5, "the volume's directory is gone")


def test_a_stopped_driver_blocks_nobody_else(b, scratch):
    """The plugin hangs (SIGSTOP); volumes of other drivers and containers go on."""
    name, local = scratch.name(b), scratch.name(b)
    pids = b.plugin_pids()
    answers = []
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        waiting = threading.Thread(target=lambda: answers.append(volumes.api_create(b, name)[0]))
        waiting.start()
        watch = Stopwatch()
        volumes.must_create(b, local, driver="local")
        containers.run(b, f"{local}:/data", "touch /data/x")
        assert watch.seconds < 15
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    waiting.join(60)
    assert answers == [201]
    assert volumes.inspect(b, name)["Driver"].startswith("ferry")
