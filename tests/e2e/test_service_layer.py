"""The writable layer of a service that moves: changes of each kind, seen from outside of both containers."""

import io
import os
import stat
import subprocess
import tarfile

import pytest
from support import scratch as containers
from support import tickets, tree_compare, volumes

IMAGE = "ferry-e2e-layered"
TIME = 1_600_000_000


@pytest.fixture(scope="module")
def image(running_lab):
    """An image of one layer below /tree for what a container may do to it, the same on both hosts."""
    a, b = running_lab.hosts
    base = subprocess.run([a._lab._tool, "exec", "a", "sh", "-c", "docker rm -f ferry-e2e-base >/dev/null 2>&1; docker create --name ferry-e2e-base busybox >/dev/null;"
                           "docker export ferry-e2e-base; docker rm ferry-e2e-base >/dev/null"], check=True,
                          stdout=subprocess.PIPE).stdout
    packed = io.BytesIO(base)
    with tarfile.open(fileobj=packed, mode="a") as tar:
        for name, mode, content in [
                ("tree", 0o755, None), ("tree/kept", 0o644, b"kept"), ("tree/changed", 0o640, b"old"), ("tree/deleted", 0o644, b"x"),
                ("tree/only-mode", 0o644, b"mode"), ("tree/only-owner", 0o644, b"owner"),
                ("tree/to-file", 0o755, None), ("tree/to-file/child", 0o644, b"c"),
                ("tree/to-directory", 0o644, b"file"), ("tree/to-link", 0o755, None), ("tree/to-link/child", 0o644, b"c"),
                ("tree/opaque", 0o750, None), ("tree/opaque/old", 0o644, b"old"), ("tree/opaque/both", 0o644, b"old"),
                ("tree/gone", 0o755, None), ("tree/gone/child", 0o644, b"c"),
                ("tree/deep", 0o755, None), ("tree/deep/er", 0o711, None), ("tree/deep/er/file", 0o600, b"deep"),
                ("tree/moved", 0o755, None), ("tree/moved/child", 0o644, b"c")]:
            entry = tarfile.TarInfo(name)
            entry.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            entry.mode, entry.mtime, entry.size = mode, TIME, len(content or b"")
            tar.addfile(entry, io.BytesIO(content or b""))
    with open(a.path("root/layered.tar"), "wb") as out:
        out.write(packed.getvalue())
    a.docker("import", "--change", 'CMD ["sh"]', "/root/layered.tar", IMAGE)
    os.unlink(a.path("root/layered.tar"))
    containers.copy_image(a, b, IMAGE)
    yield IMAGE
    for host in (a, b):
        host.docker("rmi", "-f", IMAGE, check=False)


def change(root):
    """As processes of the container could, and some that only its owner could."""
    def at(*names):
        return os.path.join(root, *names)

    def write(name, content):
        with open(at(name), "wb") as out:
            out.write(content)
    write("changed", b"new content")
    os.unlink(at("deleted"))
    os.chmod(at("only-mode"), 0o4711)
    os.chown(at("only-owner"), 1234, 4321)
    subprocess.run(["rm", "-r", at("to-file"), at("to-directory"), at("to-link"), at("opaque"), at("gone")], check=True)
    write("to-file", b"a file")
    os.mkdir(at("to-directory"), 0o700)
    write("to-directory/child", b"x")
    os.symlink("kept", at("to-link"))
    os.mkdir(at("opaque"), 0o711)
    write("opaque/both", b"new")
    write("opaque/new", b"new")
    os.utime(at("opaque"), (TIME, TIME + 1))
    write("deep/er/added", b"added")
    os.makedirs(at("new", "sub"))
    write("new/file", b"y" * 100_000)
    os.link(at("new/file"), at("new/second"))
    os.link(at("new/file"), at("new/sub/third"))
    for name in (b".wh.kept", b".wh..wh..opq", b"not \xff UTF-8\n", b".wh."):
        with open(os.path.join(os.fsencode(root), b"new", name), "wb") as out:
            out.write(name)
    os.mkfifo(at("new/fifo"), 0o622)
    os.mknod(at("new/null"), 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.symlink("/nowhere", at("new/dangling"))
    os.setxattr(at("new/file"), "user.kind", b"of \x00 bytes")
    os.setxattr(at("new/sub"), "user.kind", b"directory")
    os.setxattr(at("kept"), "user.only", b"an xattr")
    subprocess.run(["setcap", "cap_net_raw+ep", at("new/second")], check=True)
    subprocess.run(["setfacl", "-m", "u:1234:rw", at("deep/er/file")], check=True)
    with open(at("new/sparse"), "wb") as out:
        out.seek(50_000_000)
        out.write(b"end")
    os.utime(at("new/file"), ns=(TIME, 1_234_567_890_123_456_789))


def service(a, b, scratch, image, *arguments):
    """The name of a container of a with its layer changed."""
    name = scratch.name(a, stem="layered")
    a.docker("run", "-d", "--network", "none", "--name", name, "--stop-signal", "KILL", *arguments, image, "sleep", "1000")
    for host in (a, b):
        scratch.at_end(remove, host, name)
    change(containers.seen_in(a, name, "/tree"))
    return name


def remove(host, name):
    host.docker("rm", "-f", "-v", name, check=False)
    for ticket in volumes.names(host):
        if ticket.startswith("service-elsewhere-"):
            volumes.remove(host, ticket)


def move(a, b, scratch, name, *options):
    status = volumes.wait_state(b, tickets.start(b, scratch, f"from={a.name}", f"container={name}", *options), tickets.ENDED, 60)
    assert status["state"] == "done", status["migration"]["error"]
    return status


def snapshot(host, name, disk_directory):
    return tickets.snapshot(disk_directory, containers.seen_in(host, name, "/tree"))


def diff(host, name):
    return sorted(host.docker("diff", name).stdout.splitlines())


def lower_directories(host, name):
    return host.docker("inspect", "-f", "{{.GraphDriver.Data.LowerDir}}", name).stdout.count(":")


def same(expected, host, name):
    result = tree_compare.compare(expected, containers.seen_in(host, name, "/tree"))
    assert not result.differences, "\n".join(result.differences)
    assert result.entries > 30


def test_changes_of_each_kind(a, b, scratch, image, disk_directory):
    name = service(a, b, scratch, image)
    before, changes = snapshot(a, name, disk_directory), diff(a, name)
    status = move(a, b, scratch, name)
    same(before, b, name)
    assert diff(b, name) == changes
    assert status["volumes"] == [] and status["migration"]["bytes_done"] > 100_000
    # The second time, back, to where the first one is not any more.
    a.docker("rm", "-f", name)
    layers = lower_directories(b, name)
    move(b, a, scratch, name)
    same(before, a, name)
    assert diff(a, name) == changes
    assert lower_directories(a, name) == layers, "they do not pile up"


def test_without_its_layer(a, b, scratch, image, disk_directory):
    name = service(a, b, scratch, image)
    move(a, b, scratch, name, "layer=false")
    assert diff(b, name) == []


def test_it_is_made_and_not_started(a, b, scratch, image, disk_directory):
    name = service(a, b, scratch, image, "-v", "/tree/deep")
    before = snapshot(a, name, disk_directory)
    move(a, b, scratch, name, "start=false")
    state = b.docker("inspect", "-f", "{{.State.Status}}", name).stdout.strip()
    assert state == "created"
    b.docker("start", name)
    same(before, b, name)


def test_of_a_container_that_is_stopped(a, b, scratch, image, disk_directory):
    name = service(a, b, scratch, image)
    before = snapshot(a, name, disk_directory)
    a.docker("stop", name)
    move(a, b, scratch, name)
    same(before, b, name)


def test_a_paused_one_is_refused(a, b, scratch, image):
    name = service(a, b, scratch, image)
    a.docker("pause", name)
    tickets.refused(b, scratch, ["from=a", f"container={name}"], ["paused", "unpause"])
