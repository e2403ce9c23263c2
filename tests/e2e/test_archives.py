"""Archives: a volume as one tar file, on a host without Ferry behind an sshd, or in a directory of this host."""

import contextlib
import io
import os
import shutil
import subprocess
import tarfile

import pytest
from support import scratch as containers
from support import sshd, tickets, volumes
from support.host import PEER_PORT
from support.wait import wait_until

LABELS = {"team": "web", "a,b": "c d"}
MIB = 1 << 20
DIRECTORY = "srv/archives"


@pytest.fixture
def store(lab, a, b):
    """b has a directory for archives and no Ferry that could be reached; a has keys to log in there."""
    sshd.ready(a)
    path = b.path(DIRECTORY)
    os.makedirs(path, exist_ok=True)
    with sshd.port_closed(b, PEER_PORT):
        yield path
    subprocess.run(["rm", "-rf", path], check=True)


@contextlib.contextmanager
def archives_in(host, directory):
    """The plugin has that directory for file:///…"""
    host.set_plugin(f"archives.source={directory}")
    try:
        yield
    finally:
        host.set_plugin("archives.source=/run")


@pytest.fixture
def mounted(a):
    """a's plugin has a directory for file:///…"""
    path = a.path(DIRECTORY)
    os.makedirs(path, exist_ok=True)
    with archives_in(a, f"/{DIRECTORY}"):
        yield path
    subprocess.run(["rm", "-rf", path], check=True)


@pytest.fixture
def source(a, scratch):
    def make(files=None, **keywords):
        name = scratch.name(a, stem="src")
        status, answer = volumes.api_create(a, name, **keywords)
        assert status == 201, answer
        containers.fill(a.volume_data(name), files or {"file": b"content"})
        return name
    return make


def there(name):
    return f"sftp://root@b/{DIRECTORY}/{name}"


def write(host, scratch, to, volume, *options):
    ticket = tickets.start(host, scratch, f"to={to}", f"volume={volume}", *options)
    status = volumes.wait_state(host, ticket, tickets.ENDED, 60)
    assert status["state"] == "done", status["migration"]["error"]
    return status


def read(host, scratch, archive):
    name = scratch.name(host)
    volumes.must_create(host, name, options=[f"from={archive}"])
    return name, volumes.wait_imported(host, name)


@pytest.mark.parametrize("ending", ["tar", "tar.zst", "tar.gz"])
def test_there_and_back_and_by_tar(store, a, b, scratch, source, ending):
    volume = source(labels=LABELS, options={"mode": "ro"}, files={"file": b"content", "large": os.urandom(3 * MIB)})
    status = write(a, scratch, there(f"one.{ending}"), volume)
    migration = status["migration"]
    assert migration["role"] == "export" and migration["consistency"] == "idle"
    assert migration["peer"] == f"sftp://root@b:22/{DIRECTORY}/one.{ending}"
    assert migration["files_total"] == migration["files_done"] == 2
    assert migration["bytes_total"] == migration["bytes_done"] == 7 + 3 * MIB
    assert status["volumes"] == [{"name": volume, "source": volume, "state": "done"}]
    assert os.listdir(store) == [f"one.{ending}"], "nothing else is left"
    assert os.stat(os.path.join(store, f"one.{ending}")).st_mode & 0o777 == 0o600
    name, status = read(a, scratch, there(f"one.{ending}"))
    assert status["migration"]["verified"] is True
    assert status["migration"]["files_total"] == status["migration"]["files_done"] == 2
    assert status["lineage"] == volumes.status(a, volume)["lineage"]
    volumes.wait_labels(a, name, LABELS)
    assert volumes.options(a, name) == {"mode": "ro"}
    tickets.holds(a, name, a.volume_data(volume))
    # On the host without Ferry. What plain tar makes of every kind of entry: tests/unit/archive/tools_test.cpp.
    out = os.path.join(store, "out")
    os.mkdir(out)
    b.exec("sh", "-c", f"tar --xattrs --xattrs-include='*' --acls --numeric-owner -xpf /{DIRECTORY}/one.{ending} "
                       f"-C /{DIRECTORY}/out")
    assert tickets.same(a.volume_data(volume), out)


def test_a_tree_with_everything(store, a, scratch, tree_source, twin, assert_arrived):
    write(a, scratch, there("tree.tar.zst"), tree_source)
    name, status = read(a, scratch, there("tree.tar.zst"))
    assert status["migration"]["verified"] is True
    assert_arrived(a, name, twin)


TAR = ["tar", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner"]


def test_plain_tar_makes_the_volume_of_an_archive(store, a, scratch, source, disk_directory):
    """What it makes of every kind of entry: tests/unit/archive/tools_test.cpp."""
    volume = source()
    make_plain_tree(a.volume_data(volume))
    write(a, scratch, there("tree.tar.zst"), volume)
    out = os.path.join(disk_directory, "out-of-tar")
    os.mkdir(out)
    subprocess.run([*TAR, "-xpf", os.path.join(store, "tree.tar.zst"), "-C", out], check=True)
    tickets.same(a.volume_data(volume), out)


@pytest.mark.parametrize("program", [[*TAR, "--sparse"], ["bsdtar", "--format=pax", "--xattrs", "--acls"]],
                         ids=["tar", "bsdtar"])
def test_archives_of_other_programs(store, a, scratch, disk_directory, program):
    directory = os.path.join(disk_directory, f"tree-of-{program[0]}")
    os.mkdir(directory)
    make_plain_tree(directory)
    subprocess.run([*program, "-cf", os.path.join(store, "foreign.tar"), "-C", directory, "."], check=True)
    name, status = read(a, scratch, there("foreign.tar"))
    assert status["migration"]["verified"] is False
    tickets.holds(a, name, directory)


@pytest.mark.parametrize("path,below", [("/data/.", ""), ("/data", "data")])
def test_an_archive_of_docker_cp(store, a, scratch, source, path, below):
    volume = source()
    directory = a.volume_data(volume)
    os.mkdir(os.path.join(directory, "directory"))
    containers.fill(os.path.join(directory, "directory"), {"other": os.urandom(MIB)})
    # docker cp writes full seconds, and no xattrs
    subprocess.run(["find", directory, "-depth", "-exec", "touch", "-h", "-d", "@1234567890", "{}", "+"], check=True)
    container = scratch.container(a, "-v", f"{volume}:/data")
    a.exec("sh", "-c", f"docker cp {container}:{path} - >/root/cp.tar")
    shutil.move(a.path("root/cp.tar"), os.path.join(store, "cp.tar"))
    name, _ = read(a, scratch, there("cp.tar"))
    with tickets.look(a, name) as seen:
        tickets.same(directory, os.path.join(seen, below))


def make_plain_tree(path):
    """What every tar can hold, and the xattrs and ACLs that these can."""
    script = """
        mkdir -p directory/below; echo content >directory/file; ln directory/file link
        ln -s ../nowhere directory/symlink
        chown 12:34 directory/file; chmod 4751 directory/file; mkfifo fifo; mknod device c 1 3; truncate -s 10M holes
        setfattr -n user.label -v value directory/file; setfacl -m u:4711:r directory/file
        setfacl -d -m g:4712:rx directory/below; chmod 2770 directory; touch -d 2001-02-03T04:05:06.789 directory .
    """
    subprocess.run(["bash", "-ec", script], cwd=path, check=True)


def test_a_file_of_this_host(mounted, a, scratch, source):
    volume = source(labels=LABELS)
    write(a, scratch, "file:///pg.tar.zst", volume)
    assert os.listdir(mounted) == ["pg.tar.zst"]
    name, _ = read(a, scratch, "file:///pg.tar.zst")
    volumes.wait_labels(a, name, LABELS)
    tickets.holds(a, name, a.volume_data(volume))


def test_nothing_outside_of_that_directory_is_reached(mounted, a, scratch):
    os.symlink("/etc/passwd", os.path.join(mounted, "link.tar"))
    tickets.refused(a, scratch, ["from=file:///link.tar"], ["link.tar"])


def test_a_foreign_archive(store, a, scratch):
    with tarfile.open(os.path.join(store, "foreign.tar.gz"), "w:gz") as archive:
        for name in ("file", "directory/other"):
            member = tarfile.TarInfo(name)
            member.size = 5
            archive.addfile(member, io.BytesIO(b"12345"))
    name, status = read(a, scratch, there("foreign.tar.gz"))
    assert status["migration"]["verified"] is False
    assert any("not Ferry's" in warning for warning in status["migration"]["warnings"])
    assert containers.run(a, f"{name}:/data", "cat /data/directory/other").stdout == "12345"


def test_one_that_leads_outside_is_refused(store, a, scratch):
    with tarfile.open(os.path.join(store, "evil.tar"), "w") as archive:
        archive.addfile(tarfile.TarInfo("../../escaped"))
    name = scratch.name(a)
    volumes.must_create(a, name, options=[f"from={there('evil.tar')}"])
    status = volumes.wait_state(a, name, ("failed",), 30)
    tickets.check_line(status["migration"]["error"], ["escaped"])
    assert not os.path.exists(os.path.join(os.path.dirname(os.path.dirname(a.volume_data(name))), "escaped"))


def test_one_that_takes_more_than_there_is_room_for_is_refused_before_the_disk_is_full(store, a, scratch):
    with tarfile.open(os.path.join(store, "bomb.tar"), "w") as archive:
        bomb = tarfile.TarInfo("zeros")
        bomb.size = 1 << 50
        archive.addfile(bomb)
    name = scratch.name(a)
    volumes.must_create(a, name, options=[f"from={there('bomb.tar')}"])
    status = volumes.wait_state(a, name, ("failed",), 30)
    tickets.check_line(status["migration"]["error"], ["zeros", "room"])


def test_what_is_mounted_below_the_directory_gets_the_archive(a, scratch, source):
    """As a NAS is."""
    a.exec("mkdir", "-p", "/srv/backups/nas")
    a.exec("mount", "-t", "tmpfs", "e2e-nas", "/srv/backups/nas")
    scratch.at_end(lambda: a.exec("umount", "-l", "/srv/backups/nas", check=False))
    with archives_in(a, "/srv/backups"):
        write(a, scratch, "file:///nas/pg.tar", source())
        assert a.exec("ls", "-A", "/srv/backups/nas").stdout.split() == ["pg.tar"]
    a.exec("umount", "/srv/backups/nas")
    assert a.exec("ls", "-A", "/srv/backups/nas").stdout == ""


def test_a_damaged_one_is_refused(store, a, scratch, source):
    write(a, scratch, there("one.tar"), source(files={"file": os.urandom(MIB)}))
    path = os.path.join(store, "one.tar")
    with open(path, "r+b") as file:
        file.seek(os.path.getsize(path) // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    name = scratch.name(a)
    volumes.must_create(a, name, options=[f"from={there('one.tar')}"])
    assert volumes.wait_state(a, name, ("failed",), 30)["migration"]["error"]


def test_what_is_there_is_replaced_only_if_it_may_be(store, a, scratch, source):
    volume = source()
    write(a, scratch, there("one.tar"), volume)
    tickets.refused(a, scratch, [f"to={there('one.tar')}", f"volume={volume}"], [tickets.option("replace")])
    containers.fill(a.volume_data(volume), {"file": b"newer"})
    write(a, scratch, there("one.tar"), volume, "replace=true")
    name, _ = read(a, scratch, there("one.tar"))
    tickets.holds(a, name, a.volume_data(volume))


def test_removing_the_ticket_leaves_nothing(store, a, scratch, source):
    volume = source(files={"file": os.urandom(20 * MIB)})
    ticket = tickets.start(a, scratch, f"to={there('one.tar')}", f"volume={volume}", "limit=3M")
    wait_until(lambda: (volumes.status(a, ticket)["migration"].get("bytes_sent") or 0) > MIB, 20,
               lambda: volumes.status(a, ticket))
    assert volumes.remove(a, ticket)[0] == 204
    assert os.listdir(store) == []


@pytest.mark.slow
def test_a_killed_plugin_begins_anew(store, a, scratch, source):
    volume = source(files={"file": os.urandom(12 * MIB)})
    ticket = tickets.start(a, scratch, f"to={there('one.tar')}", f"volume={volume}", "limit=4M")
    wait_until(lambda: (volumes.status(a, ticket)["migration"].get("bytes_sent") or 0) > 4 * MIB, 20,
               lambda: volumes.status(a, ticket))
    a.kill_plugin()
    a.wait_served()
    status = volumes.wait_state(a, ticket, tickets.ENDED, 60)
    assert status["state"] == "done", status["migration"]["error"]
    assert os.listdir(store) == ["one.tar"]
    name = scratch.name(a)
    volumes.must_create(a, name, options=[f"from={there('one.tar')}", "limit=4M"])
    wait_until(lambda: (volumes.status(a, name)["migration"].get("bytes_sent") or 0) > 4 * MIB, 20,
               lambda: volumes.status(a, name))
    a.kill_plugin()
    a.wait_served()
    volumes.wait_imported(a, name)
    tickets.holds(a, name, a.volume_data(volume))


def test_when_its_session_ends_it_goes_on(store, a, b, scratch, source):
    volume = source(files={"file": os.urandom(12 * MIB)})
    ticket = tickets.start(a, scratch, f"to={there('one.tar')}", f"volume={volume}", "limit=4M")
    wait_until(lambda: (volumes.status(a, ticket)["migration"].get("bytes_sent") or 0) > 4 * MIB, 20,
               lambda: volumes.status(a, ticket))
    [part] = os.listdir(store)
    began = os.stat(os.path.join(store, part)).st_ino
    sshd.end_sessions(b)
    status = volumes.wait_state(a, ticket, tickets.ENDED, 60)
    assert status["state"] == "done", status["migration"]["error"]
    assert os.stat(os.path.join(store, "one.tar")).st_ino == began, "it did not begin anew"
    name = scratch.name(a)
    volumes.must_create(a, name, options=[f"from={there('one.tar')}", "limit=4M"])
    wait_until(lambda: (volumes.status(a, name)["migration"].get("bytes_sent") or 0) > 4 * MIB, 20,
               lambda: volumes.status(a, name))
    sshd.end_sessions(b)
    status = volumes.wait_imported(a, name, 60)
    assert status["migration"]["bytes_sent"] < 14 * MIB, "it was not read twice"
    tickets.holds(a, name, a.volume_data(volume))


@pytest.mark.slow
def test_over_a_cut_network_it_goes_on(lab, store, a, scratch, source):
    volume = source(files={"file": os.urandom(12 * MIB)})

    def cut_in_the_middle(name):
        wait_until(lambda: (volumes.status(a, name)["migration"].get("bytes_sent") or 0) > 4 * MIB, 20,
                   lambda: volumes.status(a, name))
        lab.cut()
        wait_until(lambda: volumes.status(a, name)["migration"]["error"], 120, lambda: volumes.status(a, name))
        return os.listdir(store)

    ticket = tickets.start(a, scratch, f"to={there('one.tar')}", f"volume={volume}", "limit=4M")
    [part] = cut_in_the_middle(ticket)
    assert part.endswith(".part"), "it is not taken for a whole one"
    began = os.stat(os.path.join(store, part)).st_ino
    lab.heal(22)
    status = volumes.wait_state(a, ticket, tickets.ENDED, 120)
    assert status["state"] == "done", status["migration"]["error"]
    assert os.stat(os.path.join(store, "one.tar")).st_ino == began, "it did not begin anew"
    name = scratch.name(a)
    volumes.must_create(a, name, options=[f"from={there('one.tar')}", "limit=4M"])
    cut_in_the_middle(name)
    lab.heal(22)
    status = volumes.wait_imported(a, name, 120)
    assert status["migration"]["bytes_sent"] < 14 * MIB, "it was not read twice"
    tickets.holds(a, name, a.volume_data(volume))


@pytest.mark.parametrize("ending", ["tar", "tar.zst"])
def test_a_full_disk_there(store, a, b, scratch, source, ending):
    volume = source(files={"file": os.urandom(12 * MIB)})
    with small_disk(b, DIRECTORY):
        ticket = tickets.start(a, scratch, f"to={there(f'one.{ending}')}", f"volume={volume}", "limit=2M")
        wait_until(lambda: (volumes.status(a, ticket)["migration"].get("bytes_sent") or 0) > MIB, 20,
                   lambda: volumes.status(a, ticket))
        b.exec("sh", "-c", f"cat /dev/zero >/{DIRECTORY}/filler", check=False)
        status = volumes.wait_state(a, ticket, tickets.ENDED, 60)
        assert status["state"] == "failed"
        tickets.check_line(status["migration"]["error"], [f"one.{ending}", "full"])
        assert b.exec("ls", "-A", f"/{DIRECTORY}").stdout == "filler\n"


def test_too_little_room_is_known_at_once(store, mounted, a, b, scratch, source):
    volume = source(files={"file": os.urandom(20 * MIB)})
    with small_disk(b, DIRECTORY):
        tickets.refused(a, scratch, [f"to={there('one.tar')}", f"volume={volume}"], ["one.tar", "room for"])
        assert b.exec("ls", "-A", f"/{DIRECTORY}").stdout == ""
    with small_disk(a, DIRECTORY), archives_in(a, f"/{DIRECTORY}"):
        tickets.refused(a, scratch, ["to=file:///one.tar", f"volume={volume}"], ["one.tar", "room for"])
        assert a.exec("ls", "-A", f"/{DIRECTORY}").stdout == ""


@contextlib.contextmanager
def small_disk(host, directory):
    """A file system of 16 MB is mounted there."""
    host.exec("mount", "-t", "tmpfs", "-o", "size=16m", "e2e-archives", f"/{directory}")
    try:
        yield
    finally:
        host.exec("umount", "-l", f"/{directory}")


def test_an_unknown_host_key_is_not_accepted(store, a, b, scratch, source):
    volume = source()
    with sshd.replaced(a, "known_hosts", b""):
        tickets.refused(a, scratch, [f"to={there('one.tar')}", f"volume={volume}"], [sshd.fingerprint(b), "known_hosts"])
        tickets.refused(a, scratch, [f"from={there('one.tar')}"], [sshd.fingerprint(b), "known_hosts"])
    assert os.listdir(store) == []


@pytest.mark.parametrize("options,fragments", [
    (["from=sftp://root@b"], [tickets.option("from")]),
    (["from=sftp://root@b/srv/../etc/x.tar"], [tickets.option("from"), ".."]),
    (["from=file:///none.tar"], ["archives.source"]),
    ([f"from=sftp://root@b/{DIRECTORY}/none.tar"], ["none.tar"]),
    ([f"from=sftp://root@b/{DIRECTORY}/none.tar", "freeze=none"], [tickets.option("freeze")]),
    ([f"to=sftp://root@b/{DIRECTORY}/x.zip", "volume=xx"], [tickets.option("to"), ".tar"]),
    ([f"to=sftp://root@b/{DIRECTORY}/x.tar", "volume=xx,yy"], [tickets.option("volume")]),
    ([f"to=sftp://root@b/{DIRECTORY}/x.tar", "volume=no-such-volume"], ["no-such-volume"]),
    ([f"to=sftp://root@b/{DIRECTORY}/x.tar", "volume=xx", "as=yy"], [tickets.option("as")]),
])
def test_bad_input_gets_one_line(store, a, scratch, options, fragments):
    tickets.refused(a, scratch, options, fragments)


def test_a_directory_that_is_not_there_or_not_permitted(store, a, scratch, source):
    volume = source()
    tickets.refused(a, scratch, ["to=sftp://root@b/no/such/x.tar", f"volume={volume}"], ["/no/such/x.tar"])
    tickets.refused(a, scratch, [f"to=sftp://nobody@b/{DIRECTORY}/x.tar", f"volume={volume}"], ["nobody"])
