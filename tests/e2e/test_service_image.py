"""The image of a service that moves to a host that does not have it: pulled from its registry, else sent."""

import json

import pytest
from support import scratch as containers
from support import service, tickets, traffic, volumes


def commit(a, base, name, *arguments, script):
    a.docker("rm", "-f", "ferry-e2e-image", check=False)
    a.docker("run", "--name", "ferry-e2e-image", base, "sh", "-c", script)
    a.docker("commit", *arguments, "ferry-e2e-image", name)
    a.docker("rm", "ferry-e2e-image")


@pytest.fixture(scope="module")
def base(running_lab):
    """An image of 20 MB that both hosts have."""
    a, b = running_lab.hosts
    name = "ferry-e2e-base-of-image"
    commit(a, "busybox", name, script="head -c 20000000 /dev/urandom >/base")
    containers.copy_image(a, b, name)
    yield name
    for host in (a, b):
        host.docker("rmi", "-f", name, check=False)


@pytest.fixture
def image(a, b, scratch, base):
    """An image of two more layers, which only a has."""
    name = scratch.name(stem="ferry-e2e-image") + ":3"
    commit(a, base, name, script="head -c 3000000 /dev/urandom >/much")
    commit(a, name, name, "--change", "ENV OF=image", script=f"echo {name} >/which")
    yield name
    for host in (a, b):
        for container in host.docker("ps", "-aq", "--filter", f"ancestor={name}").stdout.split():
            host.docker("rm", "-f", container)
        for known in host.docker("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split():
            if known.endswith(name):
                host.docker("rmi", "-f", known, check=False)


def inspect(host, image):
    return json.loads(host.docker("image", "inspect", image).stdout)[0]


def started(a, b, scratch, image):
    name = scratch.name(a, stem="imaged")
    scratch.container(a, "--name", name, "--stop-signal", "KILL", image=image)
    for host in (a, b):
        scratch.at_end(lambda host=host: host.docker("rm", "-f", name, check=False))
    scratch.at_end(lambda: [volumes.remove(a, one) for one in volumes.names(a) if one.startswith("service-elsewhere-")])
    return name


def move(a, b, scratch, name, image):
    status = volumes.wait_state(b, tickets.start(b, scratch, "from=a", f"container={name}"), tickets.ENDED, 90)
    assert status["state"] == "done", status["migration"]["error"]
    assert service.runs(b, name)
    assert b.docker("exec", name, "cat", "/which").stdout.strip() in image
    assert json.loads(b.docker("inspect", name).stdout)[0]["Config"]["Image"] == image


def test_it_is_sent(a, b, scratch, image):
    name, before = started(a, b, scratch, image), traffic.received(b)
    move(a, b, scratch, name, image)
    assert 3_000_000 < traffic.received(b) - before < 6_000_000, "but for the layers that are there"
    here, there = inspect(a, image), inspect(b, image)
    assert here["RootFS"] == there["RootFS"] and here["Id"] == there["Id"]
    assert "OF=image" in there["Config"]["Env"]


def test_it_is_pulled(a, b, scratch, image):
    there = f"registry:5000/{image}"
    a.docker("tag", image, there)
    a.docker("push", there, timeout=120)
    move(a, b, scratch, started(a, b, scratch, there), there)
    assert inspect(b, there)["RepoDigests"] == [one for one in inspect(a, there)["RepoDigests"] if one.startswith("registry:")]


def test_another_one_of_its_name_is_in_the_way(a, b, scratch, image):
    b.docker("tag", "busybox", image)
    name = started(a, b, scratch, image)
    tickets.refused(b, scratch, ["from=a", f"container={name}"], ["another image"])
    assert service.runs(a, name)
