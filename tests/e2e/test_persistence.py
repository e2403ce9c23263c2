"""Volumes, labels and data outlive everything that may happen to the plugin and the engine."""

import json
import os
import subprocess
import threading
import time

import pytest
from support import processes
from support import tree_make, volumes
from support.wait import Stopwatch, wait_until

LABELS = {"team": "web", "a,b": "c d", "x": '"y"'}


@pytest.fixture
def kept(b, scratch, twin, assert_arrived):
    """A volume with labels, an option and the whole test tree; the function tells that all is there."""
    name = scratch.name(b, stem="kept")
    status, answer = volumes.api_create(b, name, options={"mode": "rw"}, labels=LABELS)
    assert status == 201, answer
    tree_make.make_tree(b.volume_data(name), seed=3)
    lineage = volumes.status(b, name)["lineage"]
    assert lineage

    def check():
        assert volumes.labels(b, name) == LABELS
        assert volumes.options(b, name) == {"mode": "rw"}
        assert volumes.status(b, name)["lineage"] == lineage
        assert_arrived(b, name, twin, imported=False)
    check.name = name
    return check


@pytest.fixture
def user(b, scratch, kept):
    """A running container that uses the volume; the function tells that it still can read and write."""
    container = scratch.container(b, "-v", f"{kept.name}:/data")

    def check():
        # A change of mode is a write that leaves every time as it was; the last one puts it back.
        path = os.path.join(b.volume_data(kept.name), "files/compressible")
        for mode in ("0600", "0644"):
            b.docker("exec", container, "sh", "-c", f"cat /data/files/compressible >/dev/null && chmod {mode} "
                     "/data/files/compressible")
            assert os.stat(path).st_mode & 0o7777 == int(mode, 8), "the container writes elsewhere"
    check.container = container
    return check


def test_status_knows_the_labels_soon_after_the_plugin_is_enabled(b, kept):
    """The Engine lists a plugin's volumes only once it counts as enabled, which is after it has started."""
    b.plugin("disable")
    b.plugin("enable")
    wait_until(lambda: volumes.status(b, kept.name)["labels"] == LABELS, 5, "Status shows the labels")


@pytest.mark.parametrize("action", ["kill", "disable", "reinstall"])
def test_plugin_goes_and_comes(b, kept, user, action):
    if action == "kill":
        b.kill_plugin()
    elif action == "disable":
        b.plugin("disable")
        user()
        b.plugin("enable")
    else:
        b.plugin("reinstall")
    b.wait_served()
    user()
    kept()


@pytest.mark.slow
@pytest.mark.parametrize("action", ["restart", "kill", "stop"])
def test_engine_goes_and_comes(b, kept, user, action):
    b.engine(action)
    if action != "restart":
        b.engine("start")
    b.wait_served()
    kept()
    b.docker("start", user.container)
    user()


def test_plugin_ends_when_asked(b, kept):
    """Within the ten seconds after which the engine would use SIGKILL."""
    pids = b.plugin_pids()
    watch = Stopwatch()
    b.docker("plugin", "disable", "-f", "ferry")
    assert watch.seconds < 8, f"{watch.seconds} s: SIGTERM is not obeyed"
    assert not any(processes.alive(pid) for pid in pids)
    b.plugin("enable")
    b.wait_served()
    kept()


@pytest.mark.slow
def test_plugin_ends_with_the_engine(b, kept):
    pids = b.plugin_pids()
    b.engine("stop")
    wait_until(lambda: not any(processes.alive(pid) for pid in pids), 10, "the plugin ends with its engine")
    b.engine("start")
    b.wait_served()
    kept()


@pytest.fixture
def live_restore(b):
    """The engine of b keeps containers running without it; switched by its reloadable configuration."""
    path = b.path("etc/docker/daemon.json")
    before = open(path, encoding="utf-8").read() if os.path.exists(path) else None
    os.makedirs(os.path.dirname(path), exist_ok=True)

    def write(text):
        with open(b.path("etc/docker/daemon.json"), "w", encoding="utf-8") as out:
            out.write(text)
        b.exec("kill", "-HUP", str(b.engine_pid()))
    write(json.dumps({**json.loads(before or "{}"), "live-restore": True}))
    enabled = "{{.LiveRestoreEnabled}}"
    wait_until(lambda: b.docker("info", "-f", enabled).stdout.strip() == "true", 10, "live-restore is on")
    yield
    # Without the key a reload would leave it as it is.
    write(before or json.dumps({"live-restore": False}))
    wait_until(lambda: b.docker("info", "-f", enabled).stdout.strip() == "false", 10, "live-restore is off")
    if before is None:
        os.unlink(b.path("etc/docker/daemon.json"))


@pytest.mark.slow
def test_engine_killed_with_live_restore(b, kept, user, live_restore):
    state = "{{.State.Pid}} {{.State.Running}}"
    before = b.docker("inspect", "-f", state, user.container).stdout
    b.engine("kill")
    b.engine("start")
    b.wait_served()
    assert b.docker("inspect", "-f", state, user.container).stdout == before, "the container did not survive"
    user()
    kept()


# --- deleting by accident -------------------------------------------------------------------------


def remove_plugin(b):
    """True if the engine says that it did. Without its containerd it may also say nothing."""
    try:
        return b.docker("plugin", "rm", "-f", "ferry", check=False, timeout=60).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def reinstall(b, orphans=()):
    """After a removal that went wrong: an orphan holds the data directory, rightly, until it is gone."""
    for pid in orphans:
        processes.kill(pid)
    wait_until(lambda: not any(processes.alive(pid) for pid in orphans), 10, "orphans are gone")
    b.plugin("reinstall")
    b.wait_served()


def on_disk(b, kept, twin, assert_same_tree):
    assert_same_tree(twin, b.volume_data(kept.name), imported=False)


def test_removed_while_in_use(b, kept, user, twin, assert_same_tree):
    assert remove_plugin(b)
    user()
    on_disk(b, kept, twin, assert_same_tree)
    reinstall(b)
    user()
    kept()


@pytest.mark.slow
def test_removed_while_crash_looping(b, kept, user, twin, assert_same_tree):
    """The process is killed as soon as it appears, so that the engine restarts it while it removes it."""
    plugin_id = b.plugin_id
    for round_number in range(3):
        stop = threading.Event()

        def crash(identity=plugin_id, ended=stop):
            while not ended.is_set():
                for pid in processes.of_plugin(identity):
                    processes.kill(pid)
                time.sleep(0.02)
        looping = threading.Thread(target=crash)
        looping.start()
        try:
            wait_until(lambda: remove_plugin(b) or b.plugin_inspect() is None, 60, "plugin removed")
        finally:
            stop.set()
            looping.join()
        user()
        on_disk(b, kept, twin, assert_same_tree)
        reinstall(b, processes.of_plugin(plugin_id))
        plugin_id = b.plugin_id
        assert kept.name in volumes.names(b), f"round {round_number}"
    kept()


@pytest.mark.slow
def test_removed_with_containerd_killed(b, kept, user, twin, assert_same_tree):
    """SIGTERM cannot be delivered, and the removal goes on with the plugin alive."""
    plugin_id, pids = b.plugin_id, b.plugin_pids()
    containerd = processes.named("containerd", b.mount_namespace)
    assert containerd, "the engine's containerd was not found"
    for pid in containerd:
        processes.kill(pid)
    directory = b.path("var/lib/docker/plugins", plugin_id)
    wait_until(lambda: remove_plugin(b) or not os.path.isdir(directory), 90, "the engine removes the plugin")
    on_disk(b, kept, twin, assert_same_tree)
    # Also after the engine is well again and may have finished what it began.
    b.engine("restart")
    on_disk(b, kept, twin, assert_same_tree)
    reinstall(b, {pid for pid in pids if processes.alive(pid)} | set(processes.of_plugin(plugin_id)))
    kept()
    b.docker("start", user.container)
    user()
