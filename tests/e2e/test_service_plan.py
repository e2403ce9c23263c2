"""What would move with a service, and what stands in its way: container=NAME with dry-run=true."""

import json
import os

import pytest
from support import scratch as containers
from support import tickets, volumes

ODD = {"a,b": "c d", "quote": "\"y\"", "line": "1\n2", "equals": "x=y", "empty": ""}
SECRET = "hunter2-of-the-service"
WAYS = ["imports", "exports"]


@pytest.fixture
def made(scratch):
    """made(host, *arguments) is the name of a container that runs there until the test's end."""
    def make(host, *arguments, run=True, command=("sleep", "1000")):
        name = scratch.name(host, stem="service")
        start = scratch.container if run else scratch.made_container
        start(host, "--name", name, *arguments, command=command)
        return name
    return make


def plan(a, b, scratch, container, *options, way="imports"):
    """Of a container of a, for b."""
    there, host = (["from=a"], b) if way == "imports" else (["to=b"], a)
    ticket = tickets.start(host, scratch, *there, f"container={container}", "dry-run=true", *options)
    status = volumes.wait_state(host, ticket, tickets.ENDED, 60)
    assert status["state"] == "done", status["migration"]["error"]
    return status["service"]


def inspect(host, container):
    """The Engine lists mounts in another order each time."""
    inspected = json.loads(host.docker("inspect", "--size", container).stdout)[0]
    inspected["Mounts"].sort(key=lambda mount: mount["Destination"])
    return inspected


def blocking(service):
    return [obstacle["what"] for obstacle in service["obstacles"] if obstacle["blocks"]]


def only_obstacle(service, *fragments):
    [what] = blocking(service)
    for fragment in fragments:
        assert fragment in what, what
    [obstacle] = [one for one in service["obstacles"] if one["blocks"]]
    assert obstacle["do"], "it says what to do"


@pytest.fixture
def service(a, scratch, made):
    """One with a mount and a change of each kind; its name and its volumes."""
    named, local, ro, shared = (scratch.name(a, stem=stem) for stem in ("named", "local", "ro", "shared"))
    for name, driver, keywords in ((named, "ferry", {"labels": ODD, "options": {"mode": "ro"}}), (local, "local", {}),
                                   (ro, "ferry", {}), (shared, "ferry", {})):
        status, answer = volumes.api_create(a, name, driver=driver, **keywords)
        assert status == 201, answer
    containers.fill(a.volume_data(named), {"file": b"x" * 100_000})
    name = made(a, "-v", f"{named}:/named", "-v", "/anonymous", "-v", f"{ro}:/ro:ro,z,nocopy", "-v", f"{shared}:/shared",
                "--mount", f"type=volume,src={local},dst=/local", "--env", f"PASSWORD={SECRET}", "--label", "team=web",
                "--restart", "unless-stopped", "--memory", "64m", "--cap-add", "NET_ADMIN", "--user", "0:0",
                "--log-opt", "max-size=1m")
    made(a, "-v", f"{shared}:/x", run=False)
    a.docker("exec", name, "sh", "-c", "mkdir /new && echo x >/new/file && echo >>/etc/passwd && rm /bin/wget")
    return name, {"named": named, "local": local, "ro": ro, "shared": shared}


@pytest.mark.parametrize("way", WAYS)
def test_it_says_all_that_would_move(a, b, scratch, service, way):
    name, made_of = service
    before = [host.docker("ps", "-aq", "--no-trunc").stdout for host in (a, b)]
    inspected = inspect(a, name)
    found = plan(a, b, scratch, name, way=way)
    assert (found["container"], found["as"], found["status"]) == (name, name, "running")
    configuration = found["configuration"]
    assert configuration["image"] == inspected["Config"]["Image"] and configuration["user"] == "0:0"
    assert configuration["restart"] == "unless-stopped" and configuration["limits"]["Memory"] == 64 << 20
    assert configuration["command"] == inspected["Config"]["Cmd"]
    assert configuration["labels"] == inspected["Config"]["Labels"]
    assert "PASSWORD" in configuration["env_names"] and configuration["log_option_names"] == ["max-size"]
    assert any("NET_ADMIN" in privilege for privilege in configuration["privileges"])
    mounts = {mount["destination"]: mount for mount in found["mounts"]}
    assert set(mounts) == {mount["Destination"] for mount in inspected["Mounts"]}
    for mount in inspected["Mounts"]:
        shown = mounts[mount["Destination"]]
        assert (shown["type"], shown["rw"], shown["source"]) == ("volume", mount["RW"], mount["Name"]), shown
        assert shown["driver"] == mount["Driver"] and shown["action"] == "create"
    named = mounts["/named"]
    assert named["labels"] == ODD and named["options"] == {"mode": "ro"} and named["bytes"] >= 100_000
    assert mounts["/ro"]["nocopy"] is True and mounts["/anonymous"]["anonymous"] is True
    assert mounts["/local"]["driver"] == "local" and mounts["/local"]["anonymous"] is False
    assert mounts["/shared"]["shared_with"] and made_of["shared"] == mounts["/shared"]["source"]
    differences = a.docker("diff", name).stdout.split("\n")
    for letter, member in (("A", "added"), ("C", "changed"), ("D", "deleted")):
        assert found["layer"][member] == sum(line.startswith(letter + " ") for line in differences) > 0, found["layer"]
    assert found["layer"]["bytes"] == inspected["SizeRw"] > 0
    assert found["image"]["id"] == inspected["Image"] and found["image"]["at_destination"] == "same"
    only_obstacle(found, made_of["shared"], "also used by")
    assert plan(a, b, scratch, name, "shared=copy", way=way)["obstacles"] == []
    assert [host.docker("ps", "-aq", "--no-trunc").stdout for host in (a, b)] == before, "nothing was made"
    assert not {made_of[kind] for kind in made_of} & volumes.names(b)
    assert inspect(a, name) == inspected


def test_no_secret_is_shown(a, b, scratch, service):
    found = plan(a, b, scratch, service[0])
    assert SECRET not in json.dumps(found)
    for host in (a, b):
        assert SECRET not in host.logs()
    for ticket in volumes.names(b):
        assert SECRET not in json.dumps(volumes.inspect(b, ticket))


@pytest.mark.parametrize("way", WAYS)
def test_what_stands_in_the_way_at_the_destination(a, b, scratch, made, way):
    volume, taken = scratch.volume(a), scratch.name(b)
    name = made(a, "-v", f"{volume}:/data")
    scratch.made_container(b, "--name", taken)
    volumes.must_create(b, volume)
    scratch.forget_later(b, volume)
    only_obstacle(plan(a, b, scratch, name, way=way), volume, "another volume")
    other = scratch.name(b)
    renamed = plan(a, b, scratch, name, f"rename={volume}:{other}", way=way)
    assert blocking(renamed) == [] and renamed["mounts"][0]["target"] == other
    only_obstacle(plan(a, b, scratch, name, f"rename={volume}:{other}", f"as={taken}", way=way), taken, "already")


@pytest.mark.parametrize("arguments,fragments,lifts", [
    (["-v", "/srv:/etc/app"], ["/srv at /etc/app", "bind mount"], "binds=keep"),
    (["--device", "/dev/null:/dev/x"], ["/dev/null"], None),
    (["--rm"], ["--rm"], None),
])
def test_what_cannot_move(a, b, scratch, made, arguments, fragments, lifts):
    name = made(a, *arguments)
    only_obstacle(plan(a, b, scratch, name), *fragments)
    if lifts:
        assert blocking(plan(a, b, scratch, name, lifts)) == []


def test_a_tmpfs_is_said_to_be_empty_there(a, b, scratch, made):
    found = plan(a, b, scratch, made(a, "--tmpfs", "/run/x"))
    [obstacle, unfenced] = sorted(found["obstacles"], key=lambda one: "tmpfs" not in one["what"])
    assert "tmpfs at /run/x" in obstacle["what"] and not obstacle["blocks"] and not obstacle["do"]
    assert "nothing keeps anybody from starting" in unfenced["what"] and not unfenced["blocks"]
    assert [(mount["type"], mount["destination"]) for mount in found["mounts"]] == [("tmpfs", "/run/x")]


def test_a_paused_one(a, b, scratch, made):
    name = made(a)
    a.docker("pause", name)
    try:
        only_obstacle(plan(a, b, scratch, name), "paused")
    finally:
        a.docker("unpause", name)


def test_namespaces_of_other_containers(a, b, scratch, made):
    first = made(a)
    second = scratch.name(a, stem="service")
    result = a.docker("run", "-d", "--label", "ferry-e2e", "--name", second, "--network", f"container:{first}",
                      containers.IMAGE, "sleep", "1000")
    try:
        only_obstacle(plan(a, b, scratch, first), second, "uses the network of this one")
        only_obstacle(plan(a, b, scratch, second), "network", "container:")
    finally:
        a.docker("rm", "-f", result.stdout.strip())


def test_a_container_that_uses_its_processes_or_is_linked_to_it(a, b, scratch, made):
    first = made(a, "--ipc", "shareable")
    second = made(a, "--pid", f"container:{first}", "--ipc", f"container:{first}")
    whats = blocking(plan(a, b, scratch, first))
    assert len(whats) == 2 and all(second in what and "namespace of this one" in what for what in whats), whats


def test_some_of_its_mounts(a, b, scratch, made):
    first, second = scratch.volume(a), scratch.volume(a)
    name = made(a, "-v", f"{first}:/first", "-v", f"{second}:/second")
    only_obstacle(plan(a, b, scratch, name, f"volume={first}"), "/second", "option volume")
    found = plan(a, b, scratch, name, "volume=/first", "rest=empty")
    assert blocking(found) == []
    assert {mount["destination"]: mount["action"] for mount in found["mounts"]} == {"/first": "create", "/second": "empty"}
    only_obstacle(plan(a, b, scratch, name, f"volume={first},{second},e2e-none"), "e2e-none")


@pytest.mark.parametrize("way,host", [("from=a", "b"), ("to=b", "a")])
def test_a_container_that_is_not_there(request, scratch, way, host):
    tickets.refused(request.getfixturevalue(host), scratch, [way, "container=e2e-none", "dry-run=true"], ["e2e-none"])


def test_a_host_that_does_not_allow_it(a, b, scratch, made):
    name = made(a)
    with a.allowing("read,write,freeze"):
        tickets.refused(b, scratch, ["from=a", f"container={name}", "dry-run=true"], ["ALLOW", "services"])


def test_its_own_host(a, scratch, made):
    tickets.refused(a, scratch, ["from=a", f"container={made(a)}", "dry-run=true"], ["this host"])



def test_a_plan_outlives_the_plugin(a, b, scratch, made):
    name = made(a)
    ticket = tickets.start(b, scratch, "from=a", f"container={name}", "dry-run=true")
    volumes.wait_state(b, ticket, tickets.ENDED, 60)
    b.kill_plugin()
    assert volumes.status(b, ticket)["service"]["container"] == name


@pytest.fixture
def containerds_store(a):
    """The engine of a keeps images and containers in containerd's store, if it knows that (from 24 on)."""
    path, saved = a.path("etc/docker/daemon.json"), a.path("root/busybox.tar")
    assert not os.path.exists(path)
    a.docker("save", "-o", "/root/busybox.tar", containers.IMAGE)
    try:
        a.engine("stop")
        with open(path, "w", encoding="utf-8") as out:
            json.dump({"features": {"containerd-snapshotter": True}}, out)
        a.engine("start")
        a.wait_served()
        a.docker("load", "-i", "/root/busybox.tar")
        yield "io.containerd.snapshotter" in a.docker("info", "-f", "{{.DriverStatus}}").stdout
    finally:
        a.engine("stop")
        os.unlink(path)
        a.engine("start")
        a.wait_served()
        os.unlink(saved)


@pytest.mark.slow
def test_a_layer_in_containerds_store(a, b, scratch, made, containerds_store):
    assert containerds_store == (int(a.docker("version", "-f", "{{.Server.Version}}").stdout.split(".")[0]) >= 24)
    name = made(a)
    a.docker("exec", name, "touch", "/new")
    found = plan(a, b, scratch, name)
    if not containerds_store:
        assert blocking(found) == []
        return
    only_obstacle(found, "containerd's store")
    [obstacle] = [one for one in found["obstacles"] if one["blocks"]]
    assert "layer=false" in obstacle["do"]
    without = plan(a, b, scratch, name, "layer=false")
    assert blocking(without) == [] and without["layer"]["moves"] is False
    assert found["image"]["at_destination"] == "same", "though its ID is another one in each store"
