"""Tickets whose volumes are there already: only differences move, and nothing that somebody wrote is lost."""

import os
import random

import pytest
from support import scratch as containers
from support import tickets, traffic, tree_change, volumes
from support.tickets import MIB, PAGE, option
from support.wait import wait_until

# What the manifest takes of a file, at most, and a ticket besides.
OF_A_FILE, BESIDES = 300, 100_000


@pytest.fixture
def source(a, b, scratch):
    def make(**keywords):
        return tickets.source(a, b, scratch, **keywords)
    return make


@pytest.fixture
def update(a, b, scratch):
    """Updates a volume of b and checks that it equals a's then; the entry that the ticket has for it."""
    def bring(name, *options, action="update"):
        entry = tickets.entries(tickets.run(b, scratch, "from=a", f"volume={name}", *options))[name]
        assert entry["action"] == action, entry
        tickets.holds(b, name, a.volume_data(name))
        return entry
    return bring


def used(host, name, script):
    """By a container that has come and gone, also as far as Ferry knows."""
    containers.run(host, f"{name}:/data", script)
    wait_until(lambda: not volumes.status(host, name).get("mounts"), 10, f"nobody has {name} mounted")


# --- what arrives ---------------------------------------------------------------------------------


def test_everything_that_may_change(a, b, scratch, tree_source, update):
    scratch.forget_later(b, tree_source)
    update(tree_source, action="create")
    tree_change.change_everything(a.volume_data(tree_source))
    entry = update(tree_source)
    assert any("socket" in warning for warning in entry["warnings"]), entry
    # Nothing of the way there is left: nothing to do is nothing to do, and it is what a fresh copy would be.
    again = update(tree_source)
    copy = scratch.name(b)
    fresh = tickets.run(b, scratch, "from=a", f"volume={tree_source}", f"as={copy}")
    assert tickets.entries(fresh)[copy]["digest"] == entry["digest"] == again["digest"]
    assert again["bytes_sent"] < tickets.entries(fresh)[copy]["bytes_sent"] / 2


def test_a_change_that_leaves_size_and_time(a, source, update):
    """Each right after the update that it follows."""
    name = source(files={"file": bytes(100_000), "other": b"other"})
    update(name, action="create")
    path = os.path.join(a.volume_data(name), "file")
    for number in range(1, 4):
        with tree_change.keeping_time(path):
            tree_change.patch(path, 50_000, bytes([number]) * 10)
        update(name)


def test_all_goes_and_all_comes(a, source, update):
    files = {f"file-{number}": b"%d" % number for number in range(50)}
    name = source(files=files)
    update(name, action="create")
    for file in files:
        os.unlink(os.path.join(a.volume_data(name), file))
    update(name)
    containers.fill(a.volume_data(name), files)
    update(name)


def test_after_a_plain_import_and_under_another_name(a, b, scratch, source):
    name, copy = source(), scratch.name(b)
    volumes.must_create(b, copy, options=[f"from=a/{name}"])
    volumes.wait_imported(b, copy)
    for number in range(2):
        containers.fill(a.volume_data(name), {"file": b"content %d" % number})
        status = tickets.run(b, scratch, "from=a", f"volume={name}", f"as={copy}")
        assert tickets.entries(status)[copy]["action"] == "update"
        tickets.holds(b, copy, a.volume_data(name))
    assert name not in volumes.names(b)


def test_from_a_local_volume(a, b, scratch, source):
    """It has a lineage, too, since its first import."""
    name = source(driver="local")
    tickets.run(b, scratch, "from=a", f"volume={name}")
    containers.fill(a.volume_data(name, "local"), {"file": b"changed"})
    status = tickets.run(b, scratch, "from=a", f"volume={name}")
    assert tickets.entries(status)[name]["action"] == "update"
    tickets.holds(b, name, a.volume_data(name, "local"))


def test_labels_and_mode_follow_the_source(a, b, scratch, source):
    """Those that the first import was given on its command line were for that import."""
    was_rw = source(labels={"team": "web", "a,b": "c d"})
    was_ro = source(labels={"team": "web"}, options={"mode": "ro"})
    for name, mode in ((was_rw, "ro"), (was_ro, "rw")):
        volumes.must_create(b, name, options=["from=a", f"mode={mode}"], labels=["team=db", "own=1"])
    for name, mode in ((was_rw, "ro"), (was_ro, "rw")):
        volumes.wait_imported(b, name)
        wait_until(lambda volume=name: volumes.labels(b, volume).get("own") == "1", 20, "the labels are there")
        wait_until(lambda volume=name: not volumes.status(b, volume).get("labels_pending"), 20, "nothing is pending")
        assert volumes.status(b, name)["mode"] == mode
    tickets.run(b, scratch, "from=a", f"volume={was_rw},{was_ro}")
    volumes.wait_labels(b, was_rw, {"team": "web", "a,b": "c d"})
    volumes.wait_labels(b, was_ro, {"team": "web"})
    assert volumes.options(b, was_ro) == {"mode": "ro"}
    assert [volumes.status(b, name)["mode"] for name in (was_rw, was_ro)] == ["rw", "ro"]
    containers.run(b, f"{was_rw}:/data", "touch /data/x")
    assert "Read-only" in containers.run(b, f"{was_ro}:/data", "touch /data/x", check=False).stderr


def test_a_mount_during_an_update_gets_all_of_one_version(a, b, scratch, source, disk_directory):
    name = source(files={"version": b"0", "more": b"old"})
    tickets.run(b, scratch, "from=a", f"volume={name}")
    old = tickets.snapshot(disk_directory, b.volume_data(name))
    containers.fill(a.volume_data(name), {"version": b"1", "more": os.urandom(10_000_000)})
    ticket = tickets.start(b, scratch, "from=a", f"volume={name}", "limit=5M")
    tickets.under_way(b, ticket, sent=100_000)
    with tickets.look(b, name) as seen, open(os.path.join(seen, "version"), "rb") as file:
        tickets.same(a.volume_data(name) if file.read() == b"1" else old, seen)
    tickets.finish(b, ticket)
    tickets.holds(b, name, a.volume_data(name))


# --- what it costs --------------------------------------------------------------------------------


def test_nothing_changed_costs_hardly_anything(a, b, source, update):
    count = 2000
    name = source(files={})
    for directory in range(20):
        place = os.path.join(a.volume_data(name), f"directory-{directory}")
        os.mkdir(place)
        containers.fill(place, {f"file-{number}": os.urandom(4000) for number in range(count // 20)})
    first = update(name, action="create")
    assert first["bytes_sent"] >= 4000 * count
    before = traffic.received(b)
    entry = update(name)
    wire = traffic.received(b) - before
    assert entry["bytes_sent"] < OF_A_FILE * count + BESIDES, entry
    assert wire < (OF_A_FILE + 100) * count + 2 * BESIDES, f"{wire} bytes came"
    assert entry["digest"] == first["digest"] and entry["files_total"] == count


@pytest.mark.slow
def test_one_percent_of_a_large_file(a, b, source, update):
    """Of 65,536 pages 655, at random: whatever works in larger units sends much more."""
    size = 256 * MIB
    name = source(files={})
    path = os.path.join(a.volume_data(name), "file")
    with open(path, "wb") as out:
        for _ in range(size // (16 * MIB)):
            out.write(os.urandom(16 * MIB))
    update(name, action="create")
    pages = random.Random(8).sample(range(size // PAGE), size // PAGE // 100)
    with tree_change.keeping_time(path):
        for page in pages:
            tree_change.patch(path, page * PAGE, os.urandom(PAGE))
    before = traffic.received(b)
    entry = update(name)
    wire, changed = traffic.received(b) - before, len(pages) * PAGE
    assert entry["bytes_sent"] <= 2 * changed + BESIDES, f"{entry['bytes_sent'] / changed:.2f} times what has changed"
    assert wire < 2.2 * changed + 2 * BESIDES, f"{wire / changed:.2f} times what has changed came"


def test_there_and_back_again(a, b, scratch):
    """The copy is worked with on b, then on a again, and so on; each time only that goes the way."""
    name = tickets.source(a, b, scratch, files={"big": os.urandom(32 * MIB)})
    containers.fill(a.volume_data(name), {f"file-{number}": os.urandom(5000) for number in range(100)})
    tickets.run(b, scratch, "from=a", f"volume={name}")
    lineage = volumes.status(a, name)["lineage"]
    for number, (worked, other) in enumerate([(b, a), (a, b), (b, a)]):
        used(worked, name, f"dd if=/dev/urandom of=/data/big bs=4096 seek={77 * number} count=3 conv=notrunc && "
             f"rm /data/file-{number} && echo {number} > /data/new-{number} && chmod 600 /data/file-5{number}")
        status = tickets.run(other, scratch, f"from={worked.name}", f"volume={name}")
        entry = tickets.entries(status)[name]
        assert entry["action"] == "update" and entry["bytes_sent"] < 500_000, entry
        tickets.holds(other, name, worked.volume_data(name))
        assert volumes.status(other, name)["lineage"] == lineage


# --- what somebody has written there ----------------------------------------------------------------


def rename(directory):
    os.rename(os.path.join(directory, "file"), os.path.join(directory, "file-2"))


def rewrite(directory):
    with tree_change.keeping_time(os.path.join(directory, "file")):
        tree_change.patch(os.path.join(directory, "file"), 0, b"C")


# What counts as a change at the destination.
CHANGES = {
    "content, with size and time as before": rewrite,
    "new empty file": lambda directory: tree_change.write(os.path.join(directory, "new"), b""),
    "deleted": lambda directory: os.unlink(os.path.join(directory, "other")),
    "mode": lambda directory: os.chmod(os.path.join(directory, "other"), 0o600),
    "xattr": lambda directory: os.setxattr(os.path.join(directory, "other"), "user.mine", b"1"),
    "mode of the root": lambda directory: os.chmod(directory, 0o700),
    "renamed": rename,
}


def test_what_was_changed_at_the_destination_needs_replace(a, b, scratch, source, disk_directory):
    """Whatever it was, and whether the source has changed meanwhile or not."""
    made = {change: source(files={"file": b"content", "other": b"other"}) for change in CHANGES}
    listed = ",".join(made.values())
    tickets.run(b, scratch, "from=a", f"volume={listed}")
    kept = {}
    for number, (change, name) in enumerate(made.items()):
        CHANGES[change](b.volume_data(name))
        kept[name] = tickets.snapshot(disk_directory, b.volume_data(name))
        if number % 2:
            containers.fill(a.volume_data(name), {"from-a": b"new"})
    for name in kept:
        tickets.blocked(b, scratch, ["from=a", f"volume={name}"], [name, option("replace")])
    for name, directory in kept.items():
        tickets.holds(b, name, directory)
        assert volumes.status(b, name)["state"] == "ready"
    status = tickets.run(b, scratch, "from=a", f"volume={listed}", "replace=true")
    for name in kept:
        assert tickets.entries(status)[name]["action"] in ("update", "replace")
        tickets.holds(b, name, a.volume_data(name))
    # From now on it is an ordinary copy again.
    containers.fill(a.volume_data(name), {"from-a": b"newer"})
    tickets.run(b, scratch, "from=a", f"volume={listed}")
    tickets.holds(b, name, a.volume_data(name))


def test_one_changed_volume_holds_up_the_group(a, b, scratch, source):
    fresh, same, changed = source(), source(), source()
    tickets.run(b, scratch, "from=a", f"volume={same},{changed}")
    used(b, changed, "echo mine > /data/file")
    containers.fill(a.volume_data(same), {"file": b"newer"})
    tickets.blocked(b, scratch, ["from=a", f"volume={fresh},{same},{changed}"], [changed, option("replace")])
    assert containers.run(b, f"{same}:/data", "cat /data/file").stdout == "content"
    assert containers.run(b, f"{changed}:/data", "cat /data/file").stdout == "mine\n"


def test_on_the_way_back_the_first_host_must_not_have_written_either(a, b, scratch, source, disk_directory):
    name = source()
    tickets.run(b, scratch, "from=a", f"volume={name}")
    used(b, name, "echo of b > /data/file")
    used(a, name, "echo of a > /data/file")
    kept = tickets.snapshot(disk_directory, a.volume_data(name))
    tickets.blocked(a, scratch, ["from=b", f"volume={name}"], [name, option("replace")])
    tickets.blocked(b, scratch, ["from=a", f"volume={name}"], [name, option("replace")])
    tickets.holds(a, name, kept)
    tickets.run(a, scratch, "from=b", f"volume={name}", "replace=true")
    tickets.holds(a, name, b.volume_data(name))


def test_who_only_looks_changes_nothing(a, b, source, update):
    """A container that could have written, and did not."""
    name = source(files={"file": b"content", "other": os.urandom(100_000)})
    update(name, action="create")
    used(b, name, "cat /data/file /data/other > /dev/null && ls -l /data")
    containers.fill(a.volume_data(name), {"file": b"changed"})
    update(name)


def test_create_update_and_replace_in_one_ticket(a, b, scratch, source, disk_directory):
    """Cancelled in the middle, it was nothing of that; then it is all of it."""
    labels = {"from-source": "1"}
    fresh, same, other = (source(files={"file": os.urandom(5_000_000)}, labels=labels) for _ in range(3))
    tickets.run(b, scratch, "from=a", f"volume={same}")
    containers.fill(a.volume_data(same), {"more": os.urandom(5_000_000)})
    volumes.must_create(b, other, labels=["mine=1"])
    containers.fill(b.volume_data(other), {"mine": b"kept"})
    kept = {name: tickets.snapshot(disk_directory, b.volume_data(name)) for name in (same, other)}
    lineage = volumes.status(b, other)["lineage"]
    words = ["from=a", f"volume={fresh},{same},{other}", "replace=true"]

    ticket = tickets.start(b, scratch, *words, "limit=5M")
    tickets.under_way(b, ticket)
    assert volumes.remove(b, ticket)[0] == 204
    tickets.gone(b, fresh)
    for name, directory in kept.items():
        tickets.holds(b, name, directory)
    assert volumes.labels(b, other) == {"mine": "1"} and volumes.status(b, other)["lineage"] == lineage

    plan = tickets.entries(tickets.run(b, scratch, *words))
    assert {name: entry["action"] for name, entry in plan.items()} == \
        {fresh: "create", same: "update", other: "replace"}
    for name in plan:
        tickets.holds(b, name, a.volume_data(name))
        volumes.wait_labels(b, name, labels)
        assert volumes.status(b, name)["lineage"] == volumes.status(a, name)["lineage"]
