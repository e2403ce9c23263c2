"""Sources that somebody uses, destinations that somebody wants already, and imports that are called off."""

import os
import re
import secrets

import pytest
from support import processes
from support import scratch as containers
from support import tree_compare, volumes
from support.wait import Stopwatch, wait_until


@pytest.fixture(params=["ferry", "local"])
def source(request, a, scratch):
    name = scratch.volume(a, driver=request.param)
    containers.fill(a.volume_data(name, request.param), {"file": b"content"})
    return name


def test_a_source_mounted_for_writing_is_refused_where_nothing_may_be_held(a, b, scratch, source):
    writer = scratch.container(a, "-v", f"{source}:/data")
    name, before = scratch.name(b), b.traces()
    with a.allowing("read"):
        check_refused(a, b, source, writer, name, before)
    assert volumes.wait_imported(b, name)["migration"]["consistency"] == "idle"


def check_refused(a, b, source, writer, name, before):
    def refused():
        created = volumes.create(b, name, options=[f"from=a/{source}"])
        assert not created.ok and created.seconds < 6.5, created
        assert containers.name_of(a, writer) in created.error or writer[:12] in created.error, created.error
        assert "freeze=none" in created.error and "ALLOW" in created.error and "\n" not in created.error, created.error
        assert volumes.inspect(b, name) is None and b.traces() <= before
    refused()
    # As known to a process that saw no event, too.
    a.kill_plugin()
    refused()
    a.docker("rm", "-f", writer)

    def accepted():
        return volumes.create(b, name, options=[f"from=a/{source}"]).ok
    wait_until(accepted, 10, "the import is accepted once the writer is gone", interval=0.5)


def test_freeze_none_copies_a_source_in_use_and_says_so(a, b, scratch, source):
    scratch.container(a, "-v", f"{source}:/data")
    name = scratch.name(b)
    volumes.must_create(b, name, options=[f"from=a/{source}", "freeze=none"])
    receipt = volumes.wait_imported(b, name)["migration"]
    assert receipt["consistency"] == "live" and receipt["verified"] is True
    assert receipt["warnings"], "no warning that the copy may be torn"
    assert containers.run(b, f"{name}:/data", "cat /data/file").stdout == "content"


def test_a_source_mounted_read_only_is_idle(a, b, scratch, source):
    reader = scratch.container(a, "-v", f"{source}:/data:ro")
    name = scratch.name(b)
    volumes.must_create(b, name, options=[f"from=a/{source}"])
    assert volumes.wait_imported(b, name)["migration"]["consistency"] == "idle"
    assert a.docker("exec", reader, "cat", "/data/file").stdout == "content"


def test_a_stopped_container_does_not_write(a, b, scratch, source):
    writer = scratch.container(a, "-v", f"{source}:/data")
    a.docker("stop", "-t", "0", writer)
    name = scratch.name(b)

    def accepted():
        return volumes.create(b, name, options=[f"from=a/{source}"]).ok
    wait_until(accepted, 10, "the import is accepted", interval=0.5)
    assert volumes.wait_imported(b, name)["migration"]["consistency"] == "idle"


@pytest.mark.slow
def test_a_writer_that_comes_during_the_import_is_not_overlooked(lab, a, b, scratch, big_source):
    """The receipt must not say idle, whether the import goes on over its connection or opens the source anew."""
    name = scratch.name(b)
    volumes.must_create(b, name, options=[f"from=a/{big_source}"])
    volumes.wait_in_the_middle(b, name)
    lab.cut()  # so that the container has time to start
    assert volumes.status(b, name)["state"] == "importing", "the import was over before the writer came"
    writer = scratch.container(a, "-v", f"{big_source}:/data")
    lab.heal()
    status = volumes.wait_state(b, name, ("ready", "failed"), 120)
    a.docker("rm", "-f", writer)
    assert status["state"] == "ready" and status["migration"]["consistency"] == "frozen", status


@pytest.mark.slow
def test_files_that_change_all_the_time_do_not_keep_a_live_import_from_ending(a, b, scratch):
    source = scratch.volume(a)
    containers.fill(a.volume_data(source), {f"still-{n}": os.urandom(3_000_000) for n in range(10)})
    script = ("while :; do date >> /data/log; echo $RANDOM > /data/t-$RANDOM; rm -f /data/t-1*; "
              "mv /data/log /data/log2; tail -n 50 /data/log2 > /data/log; done")
    scratch.container(a, "-v", f"{source}:/data", command=("sh", "-c", script))
    name = scratch.name(b)
    volumes.must_create(b, name, options=[f"from=a/{source}", "freeze=none"])
    status = volumes.wait_imported(b, name)
    assert status["migration"]["consistency"] == "live"
    for number in range(10):
        with open(os.path.join(a.volume_data(source), f"still-{number}"), "rb") as expected:
            with open(os.path.join(b.volume_data(name), f"still-{number}"), "rb") as arrived:
                assert expected.read() == arrived.read()


def test_a_mount_during_a_short_import_waits_for_all_of_it(a, b, scratch, big_source):
    name = scratch.name(b)
    volumes.must_create(b, name, options=[f"from=a/{big_source}"])
    plugin, request = b.socket(), {"Name": name, "ID": secrets.token_hex(32)}
    assert volumes.status(b, name)["state"] == "importing"
    reply = plugin.call("Mount", request)
    if reply.error is not None:  # a slow machine: more than the 20 s that Mount waits
        assert reply.seconds > 15 and "%" in reply.error, reply
        volumes.wait_imported(b, name, 120)
        reply = plugin.call("Mount", request)
    assert reply.error is None, reply.error
    assert volumes.status(b, name)["state"] == "ready", "mounted before it was ready"
    result = tree_compare.compare(a.volume_data(big_source), b.volume_data(name))
    assert not result.differences and result.entries == 25
    assert plugin.call("Unmount", request).error is None


@pytest.mark.slow
@pytest.mark.parametrize("way", ["running", "cut off", "peer stopped"])
def test_rm_cancels_an_import_and_leaves_nothing(lab, a, b, scratch, big_source, way):
    before, at_source = b.traces(), os.stat(a.volume_data(big_source)).st_mtime_ns
    name = scratch.name(b)
    volumes.must_create(b, name, options=[f"from=a/{big_source}"])
    volumes.wait_in_the_middle(b, name)
    if way == "cut off":
        lab.cut()
    elif way == "peer stopped":
        for pid in a.plugin_pids():
            processes.kill(pid)
    watch = Stopwatch()
    status, answer = volumes.remove(b, name)
    assert status == 204, answer
    assert watch.seconds < 10, "rm waits for the import"
    assert volumes.inspect(b, name) is None and name not in volumes.names(b)
    wait_until(lambda: b.traces() <= before, 20, lambda: f"nothing is left: {b.traces() - before}")
    b.kill_plugin()
    assert volumes.inspect(b, name) is None and b.traces() <= before, "it came back with a new process"
    lab.restore()
    assert os.stat(a.volume_data(big_source)).st_mtime_ns == at_source
    assert len(os.listdir(a.volume_data(big_source))) == 24
    # The name is free, and an import under it starts anew.
    volumes.must_create(b, name, options=[f"from=a/{big_source}"])
    volumes.wait_imported(b, name, 120)
    assert not tree_compare.compare(a.volume_data(big_source), b.volume_data(name)).differences


@pytest.mark.slow
def test_an_import_tells_percent_and_eta_to_docker_run(lab, b, scratch, big_source):
    name = scratch.name(b)
    volumes.must_create(b, name, options=[f"from=a/{big_source}"])
    volumes.wait_in_the_middle(b, name)
    lab.cut()
    assert volumes.status(b, name)["state"] == "importing", "the import was over before the network was cut"
    watch = Stopwatch()
    failed = containers.run(b, f"{name}:/data", "ls /data", check=False)
    assert failed.returncode != 0 and 15 < watch.seconds < 28, (watch.seconds, failed)
    assert failed.stdout == "" and re.search(r"\d+(\.\d+)? ?%", failed.stderr), failed.stderr
    assert re.search(r"\beta\b|left|remaining", failed.stderr, re.I), failed.stderr
    lab.heal()
    volumes.wait_imported(b, name, 120)
    assert containers.run(b, f"{name}:/data", "ls /data | wc -l").stdout.strip() == "24"
