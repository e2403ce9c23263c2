"""A customised data source, and records on disk that cannot be read: loud, and nothing is lost."""

import os
import shutil

import pytest
from support import scratch as containers
from support import volumes
from support.data_source import customised_source, set_source, source
from support.wait import wait_until

ELSEWHERE = "/srv/elsewhere"
LABELS = {"team": "web", "a,b": "c d"}


@pytest.fixture
def elsewhere(b):
    b.exec("mkdir", "-p", ELSEWHERE)
    yield
    b.exec("rm", "-rf", ELSEWHERE)


@pytest.mark.slow
def test_upgrade_that_reverts_the_source_does_not_start_empty(b, scratch, elsewhere):
    name = scratch.name(b)
    default_before = b.traces()
    with customised_source(b, ELSEWHERE):
        assert volumes.api_create(b, name, labels=LABELS)[0] == 201
        containers.run(b, f"{name}:/data", "echo precious > /data/x")
        assert b.exec("find", ELSEWHERE, "-path", f"*/{name}/data/x").stdout.strip(), "the data is not elsewhere"
        assert b.traces() <= default_before

        b.docker("plugin", "disable", "-f", "ferry")
        reference = b.plugin_inspect()["PluginReference"]
        b.docker("plugin", "upgrade", "--grant-all-permissions", "--skip-remote-check", "ferry", reference)
        if source(b) == ELSEWHERE:  # not every engine reverts it, not to the same image: then by hand
            set_source(b, "/var/lib/docker")
        log_before = len(b.logs())
        b.docker("plugin", "enable", "ferry", check=False)
        inspected = b.plugin_inspect()
        assert not inspected["Enabled"] or not _serves(b), "it serves an empty catalogue"
        line = f"docker plugin set ferry data.source={ELSEWHERE}"
        wait_until(lambda: line in b.logs()[log_before:], 10, f"the log says: {line}")
        assert b.traces() <= default_before, "it made something in the default place"

        b.docker("plugin", "disable", "-f", "ferry", check=False)
        wait_until(lambda: not b.plugin_inspect()["Enabled"], 30, "the plugin is disabled")
        set_source(b, ELSEWHERE)
        b.docker("plugin", "enable", "ferry")
        b.wait_served()
        assert name in volumes.names(b)
        assert volumes.labels(b, name) == LABELS
        assert containers.run(b, f"{name}:/data", "cat /data/x").stdout == "precious\n"
        assert volumes.remove(b, name)[0] == 204


def _serves(b):
    try:
        return b.socket().answers()
    except OSError:
        return False


def write(text):
    def damage(path):
        with open(path, "wb") as out:
            out.write(text)
    return damage


def cut_in_half(path):
    os.truncate(path, os.path.getsize(path) // 2)


def make_directory(path):
    os.unlink(path)
    os.mkdir(path)


DAMAGE = {
    "garbage": write(os.urandom(500)), "empty": write(b""), "half": cut_in_half, "list": write(b"[]"),
    "object": write(b"{}"), "zeros": write(bytes(4096)), "deep": write(b"[" * 100_000), "missing": os.unlink,
    "directory": make_directory,
}


@pytest.fixture
def damaged(b, scratch):
    """{kind of damage: volume}, each with a file of its own; removed from disk at the end by hand."""
    made = {}
    for kind in DAMAGE:
        name = scratch.volume(b, stem=f"damaged-{kind}")
        containers.fill(b.volume_data(name), {f"marker-{name}": name.encode()})
        made[kind] = name
    yield made
    for name in made.values():
        # What the plugin still serves is removed as any volume is.
        for path in _find(b, f"marker-{name}") if volumes.inspect(b, name) is None else []:
            place = os.path.relpath(path, b.ferry()).split(os.sep)
            shutil.rmtree(b.ferry(*place[:2]))


def _find(b, file_name):
    return [os.path.join(directory, file_name) for directory, _, files in os.walk(b.ferry()) if file_name in files]


def test_damaged_records_are_quarantined_loudly_and_the_rest_is_served(b, scratch, damaged):
    good = scratch.volume(b, labels=["good=1"])
    containers.fill(b.volume_data(good), {"x": b"good"})
    for kind, name in damaged.items():
        DAMAGE[kind](b.ferry("volumes", name, "record.json"))
    log_before = len(b.logs())
    b.kill_plugin()

    assert volumes.labels(b, good) == {"good": "1"}
    assert containers.run(b, f"{good}:/data", "cat /data/x").stdout == "good"
    plugin, log = b.socket(), b.logs()[log_before:]
    listed = {entry["Name"] for entry in plugin.call("List", {}).json["Volumes"]}
    for kind, name in damaged.items():
        # Listed, so that the engine keeps its labels, but never mounted.
        assert name in listed, f"{kind}: the engine forgets its labels"
        refused = plugin.call("Mount", {"Name": name, "ID": "0" * 64}).error
        assert refused and name in refused and "cannot be served" in refused, f"{kind}: {refused}"
        assert volumes.status(b, name)["state"] == "failed", kind
        assert name in log, f"{kind}: the log does not tell"
        assert len(_find(b, f"marker-{name}")) == 1, f"{kind}: the data is gone"

    # The next one who asks for the name must not pay for it with the old data.
    for kind, name in damaged.items():
        plugin.call("Create", {"Name": name, "Opts": None})
        plugin.call("Remove", {"Name": name})
    b.kill_plugin()
    for kind, name in damaged.items():
        assert len(_find(b, f"marker-{name}")) == 1, f"{kind}: the data is gone after another create"


def test_a_record_in_the_wrong_place_does_not_hide_its_owner(b, scratch, damaged):
    """A directory copied by hand: two records of one name."""
    owner, other = damaged["garbage"], damaged["half"]
    shutil.copy(b.ferry("volumes", owner, "record.json"), b.ferry("volumes", other, "record.json"))
    b.kill_plugin()
    assert containers.run(b, f"{owner}:/data", "ls /data").stdout == f"marker-{owner}\n"
    names = [entry["Name"] for entry in b.socket().call("List", {}).json["Volumes"]]
    assert names.count(owner) == 1
    assert b.socket().call("Mount", {"Name": other, "ID": "0" * 64}).error
    assert _find(b, f"marker-{other}")
