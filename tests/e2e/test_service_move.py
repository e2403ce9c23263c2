"""A service moves from a to b: container=NAME without dry-run, at either of them."""

import json

import pytest
from support import scratch as containers
from support import tickets, volumes

ODD = {"a,b": "c d", "quote": "\"y\"", "line": "1\n2", "equals": "x=y", "empty": ""}


def inspect(host, container):
    """None if there is none."""
    result = host.docker("inspect", "--type", "container", container, check=False)
    if result.returncode != 0:
        return None
    inspected = json.loads(result.stdout)[0]
    inspected["Mounts"].sort(key=lambda mount: mount["Destination"])
    return inspected


def runs(host, container):
    inspected = inspect(host, container)
    return bool(inspected) and inspected["State"]["Running"]


@pytest.fixture
def service(a, b, scratch):
    """service(*arguments) is the name of a container of a that runs; gone from both hosts at the end."""
    made = []

    def make(*arguments, command=("sleep", "1000")):
        name = scratch.name(a, stem="service")
        made.append(name)
        scratch.container(a, "--name", name, "--stop-signal", "SIGKILL", *arguments, command=command)
        return name
    yield make
    for name in made:
        for host in (a, b):
            host.docker("rm", "-f", "-v", name, check=False)
    for name in volumes.names(a):
        if name.startswith("service-elsewhere-"):
            volumes.remove(a, name)


def move(a, b, scratch, container, *options, state="done", way="from=a"):
    home = b if way == "from=a" else a
    ticket = tickets.start(home, scratch, way, f"container={container}", *options)
    status = volumes.wait_state(home, ticket, tickets.ENDED, 90)
    assert status["state"] == state, json.dumps(status, indent=1)
    return ticket, status


def comparable(inspected):
    """Without IDs, times, addresses, drivers, mount sources and anonymous names."""
    config = dict(inspected["Config"])
    if config["Hostname"] == inspected["Id"][:12]:
        config["Hostname"] = "ID"
    host = dict(inspected["HostConfig"])
    host.pop("VolumeDriver")
    host.pop("ContainerIDFile")
    for mount in host.get("Mounts") or []:
        mount.get("VolumeOptions", {}).pop("DriverConfig", None)
    mounts = [{key: mount.get(key) for key in ("Type", "Destination", "Mode", "RW", "Propagation")} |
              {"Name": "ANONYMOUS" if len(mount.get("Name", "")) == 64 else mount.get("Name", "")}
              for mount in inspected["Mounts"]]
    for mount in mounts:  # the Engine says z of volumes of the local driver only
        if mount["Type"] == "volume" and mount["Mode"] == "z":
            mount["Mode"] = ""
    return {"Config": config, "HostConfig": host, "Mounts": mounts, "Name": inspected["Name"],
            "Networks": sorted(inspected["NetworkSettings"]["Networks"])}


@pytest.mark.parametrize("way", ["from=a", "to=b"])
def test_a_service_with_all_that_it_has(a, b, scratch, service, way):
    named, local, ro, empty = (scratch.name(a, stem=stem) for stem in ("named", "local", "ro", "empty"))
    for name, driver, keywords in ((named, "ferry", {"labels": ODD}), (local, "local", {"labels": {"kind": "local"}}),
                                   (ro, "ferry", {"options": {"mode": "ro"}}), (empty, "ferry", {})):
        status, answer = volumes.api_create(a, name, driver=driver, **keywords)
        assert status == 201, answer
        scratch.forget_later(b, name)
    containers.fill(a.volume_data(named), {"file": b"x" * 100_000})
    name = service("-v", f"{named}:/named", "-v", "/anonymous", "-v", f"{ro}:/ro:nocopy", "-v", f"{empty}:/etc",
                   "--mount", f"type=volume,src={local},dst=/local,volume-nocopy", "--env", "A=b c", "--label", "team=a,b",
                   "--restart", "unless-stopped", "--memory", "64m", "--user", "0:0", "--hostname", "its.own")
    a.docker("exec", name, "sh", "-c", "echo live >/local/file; echo anonymous >/anonymous/file; rm -rf /etc/*;"
             "mkdir /new; echo added >/new/file; rm /bin/wget; rm -rf /usr/share; echo file >/usr/share; chmod 4711 /bin/ls")
    a_files = a.docker("exec", name, "ls", "/etc").stdout.split()
    before = inspect(a, name)
    difference = a.docker("diff", name).stdout.split()
    ticket, status = move(a, b, scratch, name, way=way)
    assert status["service"]["step"] == "done" and status["migration"]["verified"], status
    assert status["service"]["container"] == name and status["migration"]["downtime_ms"] > 0, status
    assert len(status["volumes"]) == 5 and {entry["state"] for entry in status["volumes"]} == {"ready"}, status
    after = inspect(b, name)
    assert comparable(after) == comparable(before)
    assert after["State"]["Running"] and not runs(a, name)
    assert inspect(a, name)["HostConfig"]["RestartPolicy"]["Name"] == "no", "nothing brings it back there"
    assert b.docker("exec", name, "cat", "/local/file", "/anonymous/file", "/new/file", "/usr/share").stdout.split() == [
        "live", "anonymous", "added", "file"]
    assert b.docker("exec", name, "sh", "-c", "ls /etc", check=False).stdout.split() == a_files, "nothing of the image"
    assert b.docker("exec", name, "ls", "/bin/wget", check=False).returncode != 0, "it is gone there, too"
    assert sorted(b.docker("diff", name).stdout.split()) == sorted(difference)
    assert volumes.inspect(b, named)["Labels"] == ODD
    assert volumes.inspect(b, local)["Labels"] == {"kind": "local"}
    assert volumes.inspect(b, ro)["Options"] == {"mode": "ro"}
    status, answer = volumes.api_create(a, scratch.name(a), driver="ferry")
    assert status == 201, answer
    assert "handed" in json.dumps(volumes.status(a, named)), "fenced"
    anonymous = [mount["Name"] for mount in after["Mounts"] if mount["Destination"] == "/anonymous"]
    b.docker("rm", "-f", "-v", name)
    assert not set(anonymous) & volumes.names(b), "it was anonymous"


def test_what_is_refused_at_once(a, b, scratch, service):
    name = service("-v", "/srv:/srv")
    for host, way in ((b, "from=a"), (a, "to=b")):
        tickets.refused(host, scratch, [way, f"container={name}"], ["bind mount", "binds=keep"])
        tickets.refused(host, scratch, [way, "container=e2e-none"], ["e2e-none"])
    tickets.refused(a, scratch, ["to=a", f"container={name}"], ["this host"])
    assert runs(a, name)


def test_what_others_have_too_is_copied(a, b, scratch, service):
    shared, own = scratch.volume(a, labels=["kind=shared"]), scratch.volume(a)
    for name in (shared, own):
        scratch.forget_later(b, name)
    containers.fill(a.volume_data(shared), {"file": b"shared"})
    other = scratch.container(a, "-v", f"{shared}:/data")
    name = service("-v", f"{shared}:/shared", "-v", f"{own}:/own")
    tickets.refused(b, scratch, ["from=a", f"container={name}"], [shared, "shared=copy"])
    move(a, b, scratch, name, "shared=copy")
    b.docker("exec", name, "sh", "-c", "cat /shared/file; echo there >/shared/file; echo >/own/file")
    assert volumes.inspect(b, shared)["Labels"] == {"kind": "shared"}
    assert a.docker("exec", other, "sh", "-c", "cat /data/file; echo goes on >>/data/file").stdout.strip() == "shared"
    assert volumes.status(a, shared)["state"] == "ready" and volumes.status(a, own)["state"] == "handed-off"
    assert volumes.status(a, shared)["epoch"] == volumes.status(b, shared)["epoch"] < volumes.status(b, own)["epoch"]
