"""All the ways to say it: other names, ports, docker run, Compose, the API."""

import json
import os
import time

import pytest
from support import scratch as containers
from support import volumes
from support.host import PEER_PORT
from support.wait import wait_until

CONTENT = {"file": b"content", "other": b"\0" * 5000}


@pytest.fixture(params=["ferry", "local"])
def source(request, a, scratch):
    name = scratch.volume(a, driver=request.param, labels=["from-source=1"])
    containers.fill(a.volume_data(name, request.param), CONTENT)
    return name


@pytest.fixture
def ferry_source(a, scratch):
    name = scratch.volume(a, labels=["from-source=1"])
    containers.fill(a.volume_data(name), CONTENT)
    return name


def check(b, name):
    volumes.wait_imported(b, name)
    listing = containers.run(b, f"{name}:/data", "cd /data && wc -c * && cat file").stdout.split()
    assert listing == ["7", "file", "5000", "other", "5007", "total", "content"]


def test_same_name(b, scratch, source):
    scratch.forget_later(b, source)
    volumes.must_create(b, source, options=["from=a"])
    check(b, source)
    volumes.wait_labels(b, source, {"from-source": "1"})


@pytest.mark.parametrize("peer", ["a", f"a:{PEER_PORT}"])
def test_other_name(b, scratch, source, peer):
    name = scratch.name(b)
    volumes.must_create(b, name, options=[f"from={peer}/{source}"])
    check(b, name)
    volumes.wait_labels(b, name, {"from-source": "1"})


def test_peer_by_address_and_with_port_and_same_name(a, b, scratch, ferry_source):
    scratch.forget_later(b, ferry_source)
    volumes.must_create(b, ferry_source, options=[f"from={a.address}:{PEER_PORT}"])
    check(b, ferry_source)


def test_an_empty_local_volume_may_be_a_mount_that_ferry_does_not_see(a, b, scratch):
    name = scratch.name(b)
    volumes.must_create(b, name, options=[f"from=a/{scratch.volume(a, driver='local')}"])
    warnings = volumes.wait_imported(b, name)["migration"]["warnings"]
    assert any("empty as far as Ferry can see" in warning for warning in warnings), warnings


def test_freeze_none_on_an_idle_source(b, scratch, ferry_source):
    name = scratch.name(b)
    volumes.must_create(b, name, options=[f"from=a/{ferry_source}", "freeze=none"])
    check(b, name)
    assert volumes.migration(b, name)["consistency"] == "idle"


def test_limit_is_held(b, scratch, big_source):
    """Within 5 % while content comes: before and after it there is work that has nothing to do with the rate."""
    limit = 50_000_000
    name = scratch.name(b)
    volumes.must_create(b, name, options=[f"from=a/{big_source}", "limit=50M"])
    samples = []

    def done():
        asked = time.monotonic()
        now = volumes.migration(b, name)
        assert now.get("phase") != "failed", now
        if now.get("phase") == "content":
            samples.append(((asked + time.monotonic()) / 2, now["bytes_sent"]))
        return now.get("phase") == "done"

    wait_until(done, 60, "the import is done")
    (first, before), (last, after) = samples[0], samples[-1]
    assert last - first > 8, samples
    rate = (after - before) / (last - first)
    assert 0.95 * limit < rate < 1.05 * limit, f"{rate / 1e6:.2f} MB/s"


@pytest.mark.parametrize("compress", ["auto", "zstd", "none"])
def test_compression(a, b, scratch, compress, assert_same_tree):
    source = scratch.volume(a)
    line = b"what is said again and again becomes shorter\n"
    containers.fill(a.volume_data(source), {"text": line * 500_000, "random": os.urandom(500_000), "empty": b""})
    name = scratch.name(b)
    volumes.must_create(b, name, options=[f"from=a/{source}", f"compress={compress}"])
    receipt = volumes.wait_imported(b, name)["migration"]
    assert_same_tree(a.volume_data(source), b.volume_data(name))
    whole = len(line) * 500_000 + 500_000
    assert receipt["bytes_total"] >= whole
    if compress == "zstd":
        assert 500_000 < receipt["bytes_sent"] < whole / 10, receipt
    if compress == "none":
        assert receipt["bytes_sent"] > whole, receipt
    wait_until(lambda: not volumes.options(b, name), 30, "compress, which is Ferry's own, is no option of the volume")


def test_what_another_copy_has_is_not_sent(a, b, scratch, assert_same_tree):
    source = scratch.volume(a)
    size = 30_000_000
    containers.fill(a.volume_data(source), {"file": os.urandom(size), "other": os.urandom(20_000)})
    first, second = scratch.name(b), scratch.name(b)
    volumes.must_create(b, first, options=[f"from=a/{source}"])
    assert volumes.wait_imported(b, first)["migration"]["bytes_sent"] > size
    containers.run(b, f"{first}:/data", "echo changed | dd of=/data/file bs=1 seek=1000000 conv=notrunc")
    volumes.must_create(b, second, options=[f"from=a/{source}"])
    assert volumes.wait_imported(b, second)["migration"]["bytes_sent"] < 20_000
    assert_same_tree(a.volume_data(source), b.volume_data(second))
    wait_until(lambda: not volumes.options(b, second), 30, "its options are registered")


def test_create_answers_at_once(b, scratch, big_source):
    name = scratch.name(b)
    created = volumes.create(b, name, options=[f"from=a/{big_source}"])
    assert created.ok and created.seconds < 5, created


def test_docker_run_with_a_mount(b, scratch, source):
    name = scratch.name(b)
    mount = f"type=volume,volume-driver=ferry,volume-opt=from=a/{source},src={name},dst=/data"
    shown = b.docker("run", "--rm", "--network", "none", "--mount", mount, containers.IMAGE, "cat", "/data/file").stdout
    assert shown == "content"
    check(b, name)


def test_docker_run_with_a_mount_of_the_same_name(b, scratch, ferry_source):
    scratch.forget_later(b, ferry_source)
    mount = f"type=volume,volume-driver=ferry,volume-opt=from=a,src={ferry_source},dst=/data"
    container = scratch.container(b, "--mount", mount)
    assert b.docker("exec", container, "cat", "/data/file").stdout == "content"


def test_docker_run_with_an_anonymous_volume(b, ferry_source):
    before = volumes.names(b)
    mount = f"type=volume,volume-driver=ferry,volume-opt=from=a/{ferry_source},dst=/data"
    for _ in range(2):
        shown = b.docker("run", "--rm", "--network", "none", "--mount", mount, containers.IMAGE, "cat", "/data/file")
        assert shown.stdout == "content"
    assert volumes.names(b) == before


def test_image_content_does_not_mix_with_an_import(b, scratch, ferry_source):
    """The engine copies /bin of the image into a volume that is empty; an import is not, once it is mounted."""
    name = scratch.name(b)
    mount = f"type=volume,volume-driver=ferry,volume-opt=from=a/{ferry_source},src={name},dst=/bin"
    scratch.made_container(b, "--mount", mount)
    assert sorted(os.listdir(b.volume_data(name))) == sorted(CONTENT)


def test_docker_api(b, scratch, ferry_source):
    name = scratch.name(b)
    status, answer = volumes.api_create(b, name, driver="ferry:latest", options={"from": f"a/{ferry_source}"})
    assert status == 201, answer
    check(b, name)


def compose(b):
    """The words that call Compose on this host's generation of Docker; None if it has none."""
    for words in (["docker", "compose"], ["docker-compose"]):
        if b.exec(*words, "version", check=False).returncode == 0:
            return words
    return None


def test_compose(b, scratch, ferry_source):
    volume, project = scratch.name(b), scratch.name(stem="project")
    file = {
        "services": {"web": {"image": containers.IMAGE, "command": "sleep 100000", "network_mode": "none",
                             "volumes": ["content:/data"]}},
        "volumes": {"content": {"name": volume, "driver": "ferry", "labels": {"from-compose": "1"},
                                "driver_opts": {"from": f"a/{ferry_source}"}}},
    }
    words = compose(b)
    if words is None:
        # What Compose would ask of the engine, where the base has no Compose.
        status, answer = volumes.api_create(b, volume, labels={"from-compose": "1"},
                                            options=file["volumes"]["content"]["driver_opts"])
        assert status == 201, answer
        container = scratch.container(b, "-v", f"{volume}:/data")
    else:
        path = f"/tmp/{project}.yml"
        with open(b.path(path), "w", encoding="utf-8") as out:
            json.dump({"version": "3.7", **file} if words == ["docker-compose"] else file, out)
        command = [*words, "-p", project, "-f", path]
        scratch.at_end(lambda: b.exec(*command, "down", "-t", "0", check=False))
        b.exec(*command, "up", "-d")
        container = b.exec(*command, "ps", "-q").stdout.strip()
    assert b.docker("exec", container, "cat", "/data/file").stdout == "content"
    b.docker("rm", "-f", container)
    check(b, volume)
    expected = {"from-source": "1", "from-compose": "1"}
    wait_until(lambda: expected.items() <= volumes.labels(b, volume).items(), 30,
               lambda: f"labels of both: {volumes.labels(b, volume)}")
