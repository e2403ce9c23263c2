"""Labels, options, mode, progress and receipt: everything about a volume that is not its files."""

import json
import os
import re

import pytest
from support import scratch as containers
from support import volumes
from support.wait import wait_until

LABELS = {
    "plain": "value", "a,b": "c d", "x": '"y"', "empty": "", "equals": "a=b==c", "newline": "one\ntwo\n",
    "unicode-\u00fc\u4e2d\U0001f6a2": "\u00e9e\u0301\u202e", "space key": " leading",
    "quote'": "back\\slash \\n", "json": '{"a":[1]}',
    "html": "<b>&amp;</b>", "tab": "\t", "long": "l" * 5000, "from": "not an option", "control": "\x01\x1b",
}
ALWAYS = {"id": str, "role": str, "peer": str, "phase": str, "round": int, "bytes_total": int, "bytes_done": int,
          "bytes_sent": int, "files_total": int, "files_done": int}
RFC3339_UTC = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")


def labelled_source(a, scratch, labels, options=None, driver="ferry"):
    name = scratch.name(a)
    status, answer = volumes.api_create(a, name, driver=driver, options=options, labels=labels)
    assert status == 201, answer
    containers.fill(a.volume_data(name, driver), {"file": b"content"})
    return name


@pytest.fixture
def imported(b, scratch):
    def bring(source, **keywords):
        name = scratch.name(b)
        volumes.must_create(b, name, options=[f"from=a/{source}", *keywords.pop("options", [])], **keywords)
        volumes.wait_imported(b, name)
        return name
    return bring


@pytest.mark.parametrize("driver", ["ferry", "local"])
def test_labels_arrive(a, b, scratch, imported, driver):
    name = imported(labelled_source(a, scratch, LABELS, driver=driver))
    volumes.wait_labels(b, name, LABELS)
    assert volumes.status(b, name)["labels"] == LABELS
    wait_until(lambda: not volumes.status(b, name).get("labels_pending"), 10, "labels are not pending")


def test_labels_of_a_plain_volume_show_in_status(a, scratch):
    """They never reach a driver; Ferry has to ask its engine, also after a restart."""
    name = labelled_source(a, scratch, {"x": "1", "a,b": "c d"}, options={"mode": "ro"})

    def shown():
        status = volumes.status(a, name)
        return status.get("labels") == {"x": "1", "a,b": "c d"} and status.get("options") == {"mode": "ro"}
    wait_until(shown, 10, lambda: f"labels in Status: {volumes.status(a, name)}")
    a.kill_plugin()
    wait_until(shown, 10, lambda: f"labels in Status after a restart: {volumes.status(a, name)}")


def test_labels_as_typed_on_a_command_line(a, b, scratch, imported):
    source = scratch.volume(a, labels=["a,b=c d", 'x="y"'])
    assert volumes.labels(a, source) == {"a,b": "c d", "x": '"y"'}
    volumes.wait_labels(b, imported(source), {"a,b": "c d", "x": '"y"'})


def test_no_labels_stay_none(a, b, scratch, imported):
    name = imported(labelled_source(a, scratch, {}))
    wait_until(lambda: not volumes.options(b, name), 20, lambda: f"no options: {volumes.options(b, name)}")
    assert volumes.labels(b, name) == {}


def test_neither_labels_nor_options_are_shown_as_at_the_source(a, b, scratch):
    """The Engine tells none (null) from an empty set. Whoever inspects the volume while it is registered anew makes it
    null, so this looks at Ferry's record only until that is done."""
    source, name = scratch.volume(a), scratch.name(b)
    volumes.must_create(b, name, options=[f"from=a/{source}"])

    def registered():
        with open(b.ferry("volumes", name, "record.json"), encoding="utf-8") as file:
            record = json.load(file)
        return record["state"] == "ready" and not record["labels_pending"] and not record.get("reregistration")
    wait_until(registered, 30, "the volume is registered anew")
    shown, original = volumes.inspect(b, name), volumes.inspect(a, source)
    assert (shown["Labels"], shown["Options"]) == (original["Labels"], original["Options"])


def test_labels_on_the_command_line_win(a, b, scratch, imported):
    name = imported(labelled_source(a, scratch, {"team": "web", "other": "kept"}), labels=["team=db", "new=1"])
    volumes.wait_labels(b, name, {"team": "db", "other": "kept", "new": "1"})
    assert volumes.status(b, name)["labels"] == {"team": "web", "other": "kept"}, "labels as the source had them"


def test_options_and_mode_arrive(a, b, scratch, imported):
    name = imported(labelled_source(a, scratch, {"x": "1"}, options={"mode": "ro"}))
    volumes.wait_labels(b, name, {"x": "1"})
    assert volumes.options(b, name) == {"mode": "ro"}
    status = volumes.status(b, name)
    assert status["mode"] == "ro" and status["options"] == {"mode": "ro"}


def test_mode_given_with_the_import(a, b, scratch, imported):
    name = imported(labelled_source(a, scratch, {}), options=["mode=ro"])
    assert volumes.status(b, name)["mode"] == "ro"
    assert "Read-only" in containers.run(b, f"{name}:/data", "touch /data/x", check=False).stderr


def test_read_only_is_for_every_container(b, scratch):
    """Whatever -v says; also for one that shares it, and in the second mount as in the first."""
    name = scratch.volume(b, options=["mode=ro"])
    containers.fill(b.volume_data(name), {"file": b"kept"})
    first = scratch.container(b, "-v", f"{name}:/data:rw")
    for arguments in (["-v", f"{name}:/data"], ["--mount", f"type=volume,src={name},dst=/data"],
                      ["--volumes-from", first]):
        for script in ("touch /data/new", "echo x > /data/file", "rm /data/file", "chmod 0 /data", "mkdir /data/d"):
            result = b.docker("run", "--rm", "--network", "none", *arguments, containers.IMAGE, "sh", "-c", script,
                              check=False)
            assert result.returncode != 0 and "Read-only file system" in result.stderr, (arguments, script)
    assert b.docker("exec", first, "cat", "/data/file").stdout == "kept"
    assert os.listdir(b.volume_data(name)) == ["file"]


def test_read_write_is_the_default(b, scratch):
    name = scratch.volume(b)
    containers.run(b, f"{name}:/data", "touch /data/x")
    assert "Read-only" in containers.run(b, f"{name}:/data:ro", "touch /data/y", check=False).stderr
    containers.run(b, f"{name}:/data", "touch /data/z")
    assert volumes.status(b, name)["mode"] == "rw"


def test_receipt(a, b, scratch, imported):
    source = labelled_source(a, scratch, {})
    with open(os.path.join(a.volume_data(source), "more"), "wb") as out:
        out.write(os.urandom(1_000_000))
    name = imported(source)
    status = volumes.status(b, name)
    receipt = status["migration"]
    assert receipt["verified"] is True
    assert receipt["consistency"] == "idle"
    assert isinstance(receipt["digest"], str) and len(receipt["digest"]) >= 16
    assert receipt["bytes_done"] == receipt["bytes_total"] >= 1_000_007
    assert receipt["files_done"] == receipt["files_total"] >= 2
    assert not receipt["error"] and receipt["warnings"] == []
    assert RFC3339_UTC.match(receipt["started"]) and RFC3339_UTC.match(receipt["finished"])
    assert receipt["started"][:19] <= receipt["finished"][:19]
    assert status["state"] == "ready" and isinstance(status["epoch"], int)
    assert status["lineage"] == volumes.status(a, source)["lineage"], "a copy keeps its lineage"


def test_equal_content_has_an_equal_digest_and_other_content_another(a, b, scratch, imported):
    source = labelled_source(a, scratch, {})
    first, second = (volumes.migration(b, imported(source))["digest"] for _ in range(2))
    path = os.path.join(a.volume_data(source), "file")
    info = os.stat(path)
    with open(path, "wb") as out:
        out.write(b"CONTENT")
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert first == second != volumes.migration(b, imported(source))["digest"]


@pytest.mark.slow
def test_progress_while_it_runs(b, scratch, big_source):
    """The fields are there and only grow, and at no moment does the volume vanish or lose its name."""
    name = scratch.name(b)
    volumes.must_create(b, name, options=[f"from=a/{big_source}"])
    seen = []

    def observe():
        volume = volumes.inspect(b, name)
        assert volume is not None, "the volume has vanished for a moment"
        assert volume["Name"] == name
        seen.append(volume["Status"])
        done = volume["Status"]["state"] == "ready" and (volume["Labels"] or {}) == {"big": "yes"}
        return done and not volume["Status"].get("labels_pending")
    wait_until(observe, 120, lambda: f"ready: {seen[-1]}", interval=0.005)
    running = [status["migration"] for status in seen if status["state"] == "importing" and "migration" in status]
    assert running, "the import was never seen running"
    for progress in running:
        for key, kind in ALWAYS.items():
            assert isinstance(progress[key], kind), (key, progress)
        assert "rate_bytes_per_s" in progress and "eta_s" in progress and "error" in progress
        assert progress["peer"] and "a" in progress["peer"]
        assert progress["bytes_done"] <= progress["bytes_total"] or progress["bytes_total"] == 0
        assert not progress.get("verified")
    for key in ("bytes_done", "bytes_sent", "files_done"):
        values = [progress[key] for progress in running]
        assert values == sorted(values), f"{key} goes backwards"
    assert any(0 < progress["bytes_done"] < progress["bytes_total"] for progress in running)


def test_mounts_in_status(b, scratch):
    name = scratch.volume(b)
    writer = scratch.container(b, "-v", f"{name}:/data")
    reader = scratch.container(b, "-v", f"{name}:/srv/ro:ro")

    def as_expected():
        mounts = {mount["destination"]: mount for mount in volumes.status(b, name).get("mounts") or []}
        if set(mounts) != {"/data", "/srv/ro"}:
            return False
        assert mounts["/data"]["rw"] is True and mounts["/srv/ro"]["rw"] is False
        for destination, container in (("/data", writer), ("/srv/ro", reader)):
            shown = mounts[destination]["container"]
            assert shown and container.startswith(shown) or shown == containers.name_of(b, container)
        assert mounts["/data"]["mount"] == f"type=volume,src={name},dst=/data"
        assert mounts["/srv/ro"]["mount"] == f"type=volume,src={name},dst=/srv/ro,readonly"
        return True
    wait_until(as_expected, 10, lambda: f"both mounts: {volumes.status(b, name).get('mounts')}")
    # A new process has seen no event, and must find out by asking.
    b.kill_plugin()
    wait_until(as_expected, 20, lambda: f"both mounts after a crash: {volumes.status(b, name).get('mounts')}")
    for container in (writer, reader):
        b.docker("rm", "-f", container)
    wait_until(lambda: not volumes.status(b, name).get("mounts"), 10, "no mounts are left")


def test_labels_arrive_though_a_container_refers_to_the_volume(a, b, scratch):
    """It blocks the re-registration while it exists, and only that long."""
    source = labelled_source(a, scratch, {"late": "yes"})
    name = scratch.name(b)
    volumes.must_create(b, name, options=[f"from=a/{source}"])
    container = scratch.made_container(b, "-v", f"{name}:/data")
    volumes.wait_imported(b, name)
    if volumes.labels(b, name) != {"late": "yes"}:
        wait_until(lambda: volumes.status(b, name).get("labels_pending"), 15, "Status says that labels are pending")
    b.docker("start", container)
    assert b.docker("exec", container, "cat", "/data/file").stdout == "content"
    b.docker("rm", "-f", container)
    volumes.wait_labels(b, name, {"late": "yes"}, deadline=60)
    assert containers.run(b, f"{name}:/data", "cat /data/file").stdout == "content"
