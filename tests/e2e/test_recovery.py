"""Interrupted in the middle: the import goes on by itself, and nobody ever sees half of it."""

import concurrent.futures
import ctypes
import http.client
import os
import random
import secrets
import threading
import time

import pytest
from support import traffic, tree_compare, volumes
from support import scratch as containers
from support.wait import wait_until

SIZE = 600_000_000
# Interrupted when so much of it has arrived. Of the files under way at most the last 16 MiB are sent again, and some is in
# the sockets' buffers; to send all again would be SIZE * 1.3 at least.
SHARE = 0.3
MOST = int(SIZE * 1.15)


def stalled(host, name):
    """True once no content has arrived for two seconds."""
    last = [None, time.monotonic()]

    def check():
        done = volumes.migration(host, name).get("bytes_done")
        if done != last[0]:
            last[:] = [done, time.monotonic()]
        return time.monotonic() - last[1] > 2
    wait_until(check, 30, "the import stalls", interval=0.1)


def cut_and_heal(lab, name):
    lab.cut()
    assert volumes.status(lab.b, name)["state"] == "importing"
    stalled(lab.b, name)
    lab.heal()


def kill_engine(host):
    host.engine("kill")
    host.engine("start")
    host.wait_served()


EVENTS = {
    "plugin of b killed": lambda lab, name: lab.b.kill_plugin(),
    "plugin of a killed": lambda lab, name: lab.a.kill_plugin(),
    "engine of b killed": lambda lab, name: kill_engine(lab.b),
    "engine of a killed": lambda lab, name: kill_engine(lab.a),
    "engine of b restarted": lambda lab, name: lab.b.engine("restart"),
    "network cut": cut_and_heal,
}


def mount_until_whole(host, name, source, deadline=150):
    """Asks for the mount again and again; what is mounted at last has to be all of the source."""
    end = time.monotonic() + deadline
    while True:
        assert time.monotonic() < end, f"not mountable: {volumes.status(host, name)}"
        request = {"Name": name, "ID": secrets.token_hex(32)}
        reply = host.socket().call("Mount", request)
        if reply.error is None:
            break
        assert "%" in reply.error, reply.error
    result = tree_compare.compare(source, host.volume_data(name))
    assert not result.differences, result.differences
    assert volumes.status(host, name)["state"] == "ready"
    assert host.socket().call("Unmount", request).error is None


@pytest.mark.slow
@pytest.mark.parametrize("event", EVENTS)
def test_an_interrupted_import_completes_by_itself(lab, a, b, scratch, big_source, event):
    name, before = scratch.name(b), traffic.received(b)
    volumes.must_create(b, name, options=[f"from=a/{big_source}"])
    volumes.wait_in_the_middle(b, name, share=SHARE)
    EVENTS[event](lab, name)
    b.wait_served()
    mount_until_whole(b, name, a.volume_data(big_source))
    receipt = volumes.wait_imported(b, name)["migration"]
    assert receipt["verified"] is True
    # While its engine is away, the source cannot know who mounts the volume: then it is read once more.
    assert receipt["consistency"] == "idle" or (receipt["consistency"] == "frozen" and event == "engine of a killed"), receipt
    assert not any("Docker Engine could not be asked" in warning for warning in receipt["warnings"]), receipt
    assert sum(entry["bytes_sent"] for entry in receipt["rounds"]) < MOST, "completed data was sent again"
    assert traffic.received(b) - before < MOST, "completed data was sent again"
    volumes.wait_labels(b, name, {"big": "yes"}, deadline=60)
    seen = containers.run(b, f"{name}:/data", "ls /data | wc -l").stdout.strip()
    assert seen == "24"


@pytest.mark.slow
def test_one_interruption_after_the_other(lab, a, b, scratch, big_source):
    name = scratch.name(b)
    volumes.must_create(b, name, options=[f"from=a/{big_source}"])
    chance = random.Random(5)
    for _ in range(4):
        if volumes.status(b, name).get("state") != "importing":
            break
        event = chance.choice(["plugin of b killed", "plugin of a killed", "network cut"])
        if event != "network cut":
            EVENTS[event](lab, name)
        else:
            lab.cut()
            b.kill_plugin()  # the new process finds nobody at the other end
            lab.heal()
    mount_until_whole(b, name, a.volume_data(big_source))
    volumes.wait_labels(b, name, {"big": "yes"}, deadline=60)


@pytest.mark.slow
def test_killed_at_any_moment_of_a_tree_with_everything(b, scratch, tree_source, twin, assert_arrived):
    """The delays sweep over manifest, content, seal, commit and registration of a short import."""
    for delay_ms in (0, 20, 50, 100, 170, 250, 400, 700):
        name = scratch.name(b)
        volumes.must_create(b, name, options=[f"from=a/{tree_source}"])
        time.sleep(delay_ms / 1000)  # not a wait: the moment is what is tested
        b.kill_plugin()
        volumes.wait_imported(b, name, 90)
        assert_arrived(b, name, twin)
        assert volumes.migration(b, name)["verified"] is True
        assert volumes.remove(b, name)[0] == 204


@pytest.mark.slow
def test_staging_of_an_anonymous_volume_is_taken_up_again(lab, b, big_source):
    """docker run gives up after a while, the engine removes the volume, and the next try carries on."""
    mount = f"type=volume,volume-driver=ferry,volume-opt=from=a/{big_source},dst=/data"
    words = ["run", "--rm", "--network", "none", "--mount", mount, containers.IMAGE, "sh", "-c", "ls /data | wc -l"]
    known, before = volumes.names(b), traffic.received(b)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: b.docker(*words, check=False))
        name = wait_until(lambda: volumes.names(b) - known, 20, "the anonymous volume appears", interval=0.01).pop()
        volumes.wait_in_the_middle(b, name, share=SHARE)
        lab.cut()
        failed = first.result()
    assert failed.returncode != 0 and "%" in failed.stderr, failed
    wait_until(lambda: name not in volumes.names(b), 20, "the engine has removed it")
    lab.heal()
    assert b.docker(*words).stdout.strip() == "24"
    assert traffic.received(b) - before < MOST, "the second try did not carry on"
    assert volumes.names(b) == known


def test_a_source_removed_in_the_middle_fails_cleanly(lab, a, b, scratch):
    """Nothing left to resume: it says so, is not mountable, and can be removed and repeated."""
    source = scratch.volume(a)
    with open(a.volume_data(source) + "/big", "wb") as out:
        out.writelines(random.Random(number).randbytes(1_000_000) for number in range(300))
    name, before = scratch.name(b), b.traces()
    volumes.must_create(b, name, options=[f"from=a/{source}"])
    volumes.wait_in_the_middle(b, name)
    lab.cut()
    assert volumes.status(b, name)["state"] == "importing"
    assert volumes.remove(a, source)[0] == 204
    lab.heal()
    status = volumes.wait_state(b, name, ("failed",), 120)
    assert status["migration"]["error"] and "\n" not in status["migration"]["error"]
    assert b.socket().call("Mount", {"Name": name, "ID": secrets.token_hex(32)}).error
    assert b.traces() - before == {f"volumes/{name}"}, "a failed import that one can see is all that is left of it"
    assert volumes.remove(b, name)[0] == 204
    wait_until(lambda: b.traces() <= before, 20, lambda: f"nothing is left: {b.traces() - before}")


def remove_all(host, prefix):
    for name in volumes.names(host):
        if name.startswith(prefix):
            volumes.remove(host, name)


@pytest.mark.slow
def test_acknowledged_creates_and_removes_survive_kill(b, scratch):
    """A client creates and removes while the plugin is killed: what was answered holds, what was not may."""
    present, unsure, stop = set(), set(), threading.Event()
    chance, plugin, done = random.Random(7), b.socket(), [0]
    scratch.at_end(remove_all, b, "ack-")

    def client():
        while not stop.is_set():
            remove = present and (len(present) > 100 or chance.random() < 0.4)
            name = chance.choice(sorted(present)) if remove else f"ack-{secrets.token_hex(8)}"
            present.discard(name)
            unsure.add(name)
            try:
                error = plugin.call("Remove" if remove else "Create", {"Name": name, "Opts": {"mode": "rw"}}).error
            except (OSError, http.client.HTTPException):
                continue  # killed before it answered
            assert error is None, error
            unsure.discard(name)
            if not remove:
                present.add(name)
            done[0] += 1
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        working = pool.submit(client)
        for _ in range(6):
            enough = done[0] + 20
            wait_until(lambda count=enough: done[0] > count or working.done(), 30, "the client gets on")
            b.kill_plugin()
        stop.set()
        working.result()
    b.kill_plugin()
    ours = {entry["Name"] for entry in plugin.call("List", {}).json["Volumes"] if entry["Name"].startswith("ack-")}
    assert present <= ours, "created and lost"
    assert ours <= present | unsure, "removed and back"
    for name in sorted(ours)[:5]:
        containers.run(b, f"{name}:/data", "touch /data/x")
    wait_until(lambda: {t for t in b.traces() if "/ack-" in t} == {f"volumes/{name}" for name in ours}, 20,
               lambda: f"nothing half made is left: {b.traces()}")


def in_mounts_of(host, action):
    """A process that does so in the mount namespace of the host's Engine."""
    namespace = os.open(f"/proc/{host.engine_pid()}/ns/mnt", os.O_RDONLY)
    pid = os.fork()
    if pid == 0:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            ok = libc.setns(namespace, 0) == 0 and action(libc)
        finally:
            os._exit(0 if ok else 1)
    os.close(namespace)
    return pid


def propagated_mount(host):
    return f"/var/lib/docker/plugins/{host.plugin_id}/propagated-mount"


def unmount(path):
    def once_it_is_there(libc):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with open("/proc/thread-self/mountinfo", encoding="utf-8") as table:
                if any(line.split()[4] == path for line in table):
                    return libc.umount2(path.encode(), 2) == 0  # MNT_DETACH
        return False
    return once_it_is_there


def test_an_engine_that_loses_the_propagated_mount_while_it_starts_the_plugin(b, scratch):
    """As it may after a crash; then it would see nothing that Ferry mounts, and give containers empty directories."""
    name, path = scratch.volume(b), propagated_mount(b)
    before = b.logs().count("does not see what this plugin mounts")
    assert os.waitpid(in_mounts_of(b, unmount(path)), 0)[1] == 0
    unmounting = in_mounts_of(b, unmount(path))  # once more, as soon as the next process of the plugin is started
    b.kill_plugin()
    assert os.waitpid(unmounting, 0)[1] == 0
    wait_until(lambda: b.logs().count("does not see what this plugin mounts") > before, 20, "Ferry has found out")
    b.wait_served()
    containers.run(b, f"{name}:/data", "echo x >/data/file")
    with open(os.path.join(b.volume_data(name), "file"), encoding="ascii") as file:
        assert file.read() == "x\n"
