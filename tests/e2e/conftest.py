"""Fixtures. The lab comes up once, and is put right again after each test that needed it."""

import os
import subprocess
import tempfile

import pytest
from support import scratch as scratch_module
from support import tree_compare, tree_make
from support.lab import Lab
from support.scratch import Scratch


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than about ten seconds")


@pytest.fixture(scope="session")
def disk_directory():
    """On a disk, because a tmpfs in /tmp may hold neither user xattrs nor all of the times."""
    path = tempfile.mkdtemp(prefix="ferry-e2e-", dir=os.environ.get("FERRY_E2E_TMP", "/var/tmp"))
    yield path
    # rm, because shutil.rmtree fails on paths longer than PATH_MAX
    subprocess.run(["rm", "-rf", path], check=True)


@pytest.fixture(scope="session")
def certificate(disk_directory):
    """[certificate, key] that anybody could make for the name of a peer."""
    paths = [os.path.join(disk_directory, name) for name in ("rogue.crt", "rogue.key")]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=a", "-out", paths[0], "-keyout", paths[1]], check=True,
                   capture_output=True)
    return paths


@pytest.fixture(scope="session")
def running_lab():
    lab = Lab()
    lab.up()
    yield lab
    reports = sanitizer_reports(lab)
    lab.down()
    assert not reports, "\n".join(reports)


def sanitizer_reports(lab):
    """What a plugin built with FERRY_PLUGIN_PRESET=asan has printed before it ended, with what follows: where it was."""
    marks = ("Sanitizer", "runtime error:")
    reports = []
    for host in lab.hosts:
        lines = host.logs().splitlines()
        for number, line in enumerate(lines):
            if any(mark in line for mark in marks):
                reports += lines[number:number + 80]
    return reports


@pytest.fixture
def lab(running_lab):
    yield running_lab
    running_lab.restore()


@pytest.fixture
def a(lab):
    return lab.a


@pytest.fixture
def b(lab):
    return lab.b


@pytest.fixture
def scratch(lab):
    made = Scratch(lab)
    yield made
    # First the lab, or a dead engine would keep the rest from being removed.
    lab.restore()
    made.finish()


@pytest.fixture(scope="session")
def twin(disk_directory):
    """The whole test tree outside of every volume: what a source filled with the same seed holds."""
    path = os.path.join(disk_directory, "twin-of-sources")
    tree_make.make_tree(path, seed=3)
    return path


@pytest.fixture
def tree_source(a, scratch):
    """A Ferry volume on a that holds the whole test tree."""
    name = scratch.volume(a)
    tree_make.make_tree(a.volume_data(name), seed=3)
    return name


@pytest.fixture(scope="session")
def big_source(running_lab):
    """600 MB in 24 files on a: long enough to be interrupted, and no file is much of the whole."""
    session = Scratch(running_lab)
    name = session.volume(running_lab.a, stem="big", labels=["big=yes"])
    for number in range(24):
        with open(os.path.join(running_lab.a.volume_data(name), f"part-{number:02}"), "wb") as out:
            for _ in range(25):
                out.write(os.urandom(1_000_000))
    yield name
    running_lab.restore()
    session.finish()


@pytest.fixture
def assert_same_tree():
    def check(expected, actual, imported=True):
        # An import leaves sockets out; a volume that was only kept has them still.
        result = tree_compare.compare(expected, actual, ignore_sockets=imported)
        shown = "\n".join(result.differences[:40])
        assert not result.differences, f"{len(result.differences)} differences:\n{shown}"
        return result.entries
    return check


@pytest.fixture
def assert_arrived(scratch, assert_same_tree):
    """The volume, as a container of that host sees it, equals a directory."""
    def check(host, name, expected, imported=True):
        container = scratch.container(host, "-v", f"{name}:/data")
        entries = assert_same_tree(expected, scratch_module.seen_in(host, container), imported)
        host.docker("rm", "-f", container)
        return entries
    return check
