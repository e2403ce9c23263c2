"""What arrives equals what was sent, as an independent program sees it and as a container sees it."""

import os
import shutil
import subprocess

import pytest
from support import scratch as containers
from support import tree_make, volumes

DATASET_BYTES = int(os.environ.get("FERRY_E2E_DATASET", str(200 << 20)))


def bring(b, scratch, source, deadline=120, **keywords):
    name = scratch.name(b)
    volumes.must_create(b, name, options=[f"from=a/{source}"], **keywords)
    volumes.wait_imported(b, name, deadline)
    return name


def test_every_oddity_from_a_ferry_volume(a, b, scratch, tree_source, twin, assert_arrived):
    name = bring(b, scratch, tree_source)
    entries = assert_arrived(b, name, a.volume_data(tree_source))
    assert entries > 2500
    # The import changed nothing at the source, not even a time.
    assert_arrived(a, tree_source, twin, imported=False)
    warnings = " ".join(map(str, volumes.migration(b, name)["warnings"]))
    assert "socket" in warnings, f"no warning that special/socket was left out: {warnings}"


def test_every_oddity_from_a_local_volume(a, b, scratch, assert_arrived):
    source = scratch.volume(a, driver="local")
    tree_make.make_tree(a.volume_data(source, "local"), seed=4)
    name = bring(b, scratch, source)
    assert_arrived(b, name, a.volume_data(source, "local"))


def test_an_import_of_an_import(a, b, scratch, twin, tree_source, assert_arrived):
    """And back: what the first arrival missed would be missing here too, what it added would be sent."""
    there = bring(b, scratch, tree_source)
    back = scratch.name(a)
    volumes.must_create(a, back, options=[f"from=b/{there}"])
    volumes.wait_imported(a, back)
    assert_arrived(a, back, twin)


@pytest.mark.parametrize("driver", ["ferry", "local"])
def test_an_empty_volume(a, b, scratch, assert_arrived, driver):
    source = scratch.volume(a, driver=driver)
    root = a.volume_data(source, driver)
    os.chmod(root, 0o1710)
    os.chown(root, 33, 34)
    os.setxattr(root, "user.root", b"of an empty volume")
    os.utime(root, ns=(-1, -1))
    name = bring(b, scratch, source)
    assert assert_arrived(b, name, root) == 1


def test_one_file(a, b, scratch, assert_arrived):
    source = scratch.volume(a)
    containers.fill(a.volume_data(source), {"only": b"x"})
    assert assert_arrived(b, bring(b, scratch, source), a.volume_data(source)) == 2


@pytest.mark.slow
def test_many_links_in_a_wide_directory(a, b, scratch, assert_arrived):
    """2.5 MB of names for one inode: a bound on a message or on a directory's listing shows here."""
    source = scratch.volume(a)
    root = a.volume_data(source)
    containers.fill(root, {"first": b"linked"})
    for number in range(20_000):
        os.link(os.path.join(root, "first"), os.path.join(root, f"link-{number:05}-" + "n" * 100))
    assert assert_arrived(b, bring(b, scratch, source), root) == 20_002


@pytest.fixture
def dataset(a, scratch):
    """Part of what this machine has in /usr/share and /usr/lib, up to a number of bytes, with a mode of ro."""
    name = scratch.name(a)
    status, answer = volumes.api_create(a, name, options={"mode": "ro"}, labels={"a,b": "c d", "x": '"y"'})
    assert status == 201, answer
    root, left = a.volume_data(name), DATASET_BYTES
    for top in ("/usr/lib", "/usr/share"):
        share = left // 2 if top == "/usr/lib" else left
        left -= _copy(top, os.path.join(root, os.path.basename(top)), share)
    return name


def _copy(top, destination, budget):
    """Whole entries of top, in order of name, while the budget lasts; returns the bytes copied."""
    os.mkdir(destination)
    copied = 0
    for entry in sorted(os.listdir(top)):
        path = os.path.join(top, entry)
        size = int(subprocess.run(["du", "-sxb", path], capture_output=True, text=True, check=True).stdout.split()[0])
        if copied + size <= budget:
            # As on the source's file system: hard links within one entry, times, xattrs.
            subprocess.run(["cp", "-a", "--", path, destination], check=True)
            copied += size
    shutil.copystat(top, destination)
    return copied


@pytest.mark.slow
def test_a_real_data_set_with_labels_and_mode(a, b, scratch, dataset, assert_arrived):
    name = bring(b, scratch, dataset, deadline=60 + DATASET_BYTES // (5 << 20))
    entries = assert_arrived(b, name, a.volume_data(dataset))
    assert entries > 1000, "the machine's /usr/share has hardly anything"
    volumes.wait_labels(b, name, {"a,b": "c d", "x": '"y"'})
    assert volumes.options(b, name) == {"mode": "ro"}
    refused = containers.run(b, f"{name}:/data", "touch /data/x", check=False)
    assert refused.returncode != 0 and "Read-only file system" in refused.stderr
    assert volumes.migration(b, name)["verified"] is True
