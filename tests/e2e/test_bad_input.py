"""Each wrong create fails at once with one line that says what is wrong, and leaves no trace."""

import re

import pytest
from support import scratch as containers
from support import volumes
from support.data_source import on_a_small_disk
from support.host import PEER_PORT
from support.wait import Stopwatch, wait_until

# Design: everything that can be known within 5 s. The rest is the command itself on a busy machine.
AT_ONCE = 6.5


def option(name):
    """How a line names an option, which no English sentence does by accident."""
    return re.compile(rf'\boption "?{re.escape(name)}\b|(?<![\w-]){re.escape(name)}=')


def word(text):
    return re.compile(rf"(?<![\w-]){re.escape(text)}(?![\w-])")


# How a line names the host a.
PEER_A = word(f"a:{PEER_PORT}")
MODES = [option("mode"), word("rw"), word("ro")]

# name: (options, what the line has to contain). {source} is an existing volume on a.
BAD_VALUES = {
    "unknown option": (["colour=red"], [option("colour")]),
    "misspelt option": (["form=a"], [option("form")]),
    "upper case": (["FROM=a"], [option("FROM")]),
    "mode": (["mode=xx"], MODES),
    "empty mode": (["mode="], MODES),
    "mode of an import": (["from=a/{source}", "mode=w"], MODES),
    "freeze": (["from=a/{source}", "freeze=maybe"], [option("freeze"), "freeze=none"]),
    "empty freeze": (["from=a/{source}", "freeze="], [option("freeze"), "freeze=none"]),
    "limit": (["from=a/{source}", "limit=abc"], [option("limit")]),
    "negative limit": (["from=a/{source}", "limit=-5"], [option("limit")]),
    "compress": (["from=a/{source}", "compress=lzma"], [option("compress")]),
    "unknown option of an import": (["from=a/{source}", "colour=red"], [option("colour")]),
    "freeze without an import": (["freeze=none"], [option("freeze"), option("from")]),
    "compress without an import": (["compress=zstd"], [option("compress")]),
    "limit without an import": (["limit=50M"], [option("limit")]),
    "from and to": (["from=a/{source}", "to=a"], [option("to")]),
    "to without volume": (["to=a"], [option("to")]),
    "long value": (["mode=" + "x" * 50_000], [option("mode")]),
}

BAD_PEERS = {
    "empty": (["from="], [option("from")]),
    "no host": (["from=/{source}"], [option("from")]),
    "no such host": (["from=nohost/{source}"], [word("nohost")]),
    "no such host in a domain": (["from=no.host.invalid"], ["no.host.invalid"]),
    "port that is none": (["from=a:port/{source}"], [option("from"), word("a:port")]),
    "port too large": (["from=a:65536/{source}"], [option("from"), word("a:65536")]),
    "port zero": (["from=a:0/{source}"], [option("from"), word("a:0")]),
    "port where nobody listens": (["from=a:9/{source}"], [word("a:9")]),
    "port of another service": (["from=a:22/{source}"], [word("a:22")]),
    "no such volume": (["from=a/e2e-never-made"], ["e2e-never-made", PEER_A]),
    "no such volume of the same name": (["from=a"], ["{name}", PEER_A]),
    "volume dot-dot": (["from=a/.."], [option("from"), '".."', "volume name"]),
    "volume with a slash": (["from=a/../../etc"], [option("from"), '"../../etc"', "volume name"]),
    "volume with a newline": (["from=a/x\ny"], [option("from"), r'"x\x0ay"', "volume name"]),
    "unknown scheme": (["from=gopher://a/{source}"], [option("from"), "gopher"]),
}

# Options and peers of the design that this version does not have, and how the line names them.
NOT_YET = {name: (options, option(name)) for name, options in {
    "memory": ["from=a/{source}", "memory=try"],
}.items()}


@pytest.fixture(scope="module")
def source(running_lab):
    """One small volume on a for all of the tables."""
    made = containers.Scratch(running_lab)
    name = made.volume(running_lab.a)
    containers.fill(running_lab.a.volume_data(name), {"file": b"x"})
    yield name
    running_lab.restore()
    made.finish()


@pytest.fixture
def refused(b, scratch):
    def check(options, fragments, name=None):
        name, before = name or scratch.name(b), b.traces()
        created = volumes.create(b, name, options=options)
        assert not created.ok, f"{options} were accepted"
        assert created.seconds < AT_ONCE, f"{created.seconds:.1f} s: {created.error}"
        assert created.error and "\n" not in created.error, f"not one line: {created.error!r}"
        for fragment in fragments:
            wanted = fragment if isinstance(fragment, re.Pattern) else word(fragment.replace("{name}", name))
            assert wanted.search(created.error), f"{wanted.pattern} is not in: {created.error}"
        assert name not in volumes.names(b)
        wait_until(lambda: b.traces() <= before, 2, lambda: f"no trace: {b.traces() - before}")
        return created.error
    return check


def filled_in(options, source):
    return [option.replace("{source}", source) for option in options]


@pytest.mark.parametrize("case", BAD_VALUES)
def test_bad_value(refused, source, case):
    options, fragments = BAD_VALUES[case]
    refused(filled_in(options, source), fragments)


@pytest.mark.parametrize("case", BAD_PEERS)
def test_bad_peer(refused, source, case):
    options, fragments = BAD_PEERS[case]
    refused(filled_in(options, source), fragments)


def test_a_password_in_the_peer_is_not_repeated(refused, source):
    for peer in (f"ops:hunter2@a/{source}", f"ops:hun/ter2@a/{source}", "ops:hunter2@a"):
        for scheme in ("", "ssh://"):
            error = refused([f"from={scheme}{peer}"], [option("from"), re.compile("user|password")])
            assert "hun" not in error and "ter2" not in error


@pytest.mark.parametrize("case", NOT_YET)
def test_option_of_a_later_version(refused, source, case):
    options, fragment = NOT_YET[case]
    refused(filled_in(options, source), [fragment, "is not in this version"])


@pytest.mark.parametrize("name", ["a/b", "..", "../../e2e-escape", "n" * 256])
def test_bad_name(refused, source, name):
    refused([], ["volume name"], name=name)
    refused([f"from=a/{source}"], ["volume name"], name=name)


def test_dead_address(refused, a, source):
    """Nobody there, and nobody who says so."""
    dead = a.address.rpartition(".")[0] + ".250"
    refused([f"from={dead}/{source}"], [dead])


def test_cut_network(lab, refused, source):
    lab.cut()
    refused([f"from=a/{source}"], [PEER_A])


def test_peer_without_ferry(a, refused, source):
    a.plugin("disable")
    refused([f"from=a/{source}"], [PEER_A])


def test_other_key(b, refused, scratch, source):
    b.set_key("f0" * 32)
    error = refused([f"from=a/{source}"], ["keys", PEER_A])
    assert re.search(r"differ|other key|not the same|mismatch", error), error
    assert "f0f0" not in error
    b.restore()
    # Read again on change, without a restart.
    name = scratch.name(b)
    wait_until(lambda: volumes.create(b, name, options=[f"from=a/{source}"]).ok, 5, "the right key is accepted again")
    volumes.wait_imported(b, name)


@pytest.mark.parametrize("key", ["", "00" * 31, "zz" * 32, "\0" * 64])
def test_unusable_key(b, refused, source, key):
    with open(b.key_path(), "w", encoding="ascii") as out:
        out.write(key)
    refused([f"from=a/{source}"], ["key"])


def test_name_taken_by_another_driver(b, scratch, source):
    name = scratch.volume(b, driver="local")
    before = b.traces()
    created = volumes.create(b, name, options=[f"from=a/{source}"])
    assert not created.ok and created.seconds < AT_ONCE
    assert volumes.inspect(b, name)["Driver"] == "local" and b.traces() <= before


def test_name_taken_by_a_ferry_volume(b, scratch, source):
    """Docker does not even ask; asked directly, Ferry says so. Either way the volume is as it was."""
    name = scratch.volume(b)
    containers.fill(b.volume_data(name), {"mine": b"kept"})
    volumes.must_create(b, name, options=[f"from=a/{source}"])
    error = b.socket().call("Create", {"Name": name, "Opts": {"from": f"a/{source}"}}).error
    assert error and name in error, error
    assert volumes.status(b, name)["state"] == "ready"
    assert containers.run(b, f"{name}:/data", "ls /data").stdout == "mine\n"


def test_import_from_itself(a, b, scratch, refused, source):
    """A host that asks itself about the name that it is just making must not wait for itself."""
    refused(["from=b"], [word(f"b:{PEER_PORT}"), "itself"])
    # Under another name it may work or be refused, but not hang and not be wrong.
    mine, copy = scratch.volume(b), scratch.name(b)
    containers.fill(b.volume_data(mine), {"file": b"mine"})
    created = volumes.create(b, copy, options=[f"from=b/{mine}"])
    assert created.seconds < AT_ONCE
    if created.ok:
        volumes.wait_imported(b, copy)
        assert containers.run(b, f"{copy}:/data", "cat /data/file").stdout == "mine"
    else:
        assert "\n" not in created.error and volumes.inspect(b, copy) is None


def test_local_volume_that_is_a_mount_of_its_own(a, b, refused, scratch):
    """Ferry would see an empty directory where the engine sees what is mounted there."""
    options = ["type=tmpfs", "device=tmpfs", "o=size=1m,password=e2e-secret"]
    name = scratch.volume(a, driver="local", options=options)
    error = refused([f"from=a/{name}"], [name])
    assert "e2e-secret" not in error + a.logs() + b.logs()


@pytest.mark.slow
def test_too_little_space(a, b, scratch):
    source = scratch.volume(a)
    containers.fill(a.volume_data(source), {f"part-{number}": bytes(range(256)) * 390_625 for number in range(3)})
    with on_a_small_disk(b, a.read_key()) as small:
        name = scratch.name(b)
        watch = Stopwatch()
        created = volumes.create(b, name, options=[f"from=a/{source}"])
        if created.ok:
            # Not known at once; then before the first byte of content.
            status = volumes.wait_state(b, name, ("failed", "ready"), 30)
            assert status["state"] == "failed" and status["migration"]["bytes_done"] == 0, status
            line = status["migration"]["error"]
            assert volumes.remove(b, name)[0] == 204
        else:
            assert watch.seconds < AT_ONCE
            line = created.error
        assert "space" in line and "\n" not in line, line
        assert volumes.inspect(b, name) is None
        left = b.exec("sh", "-c", f"du -sm {small} | cut -f1").stdout.strip()
        assert int(left) < 10, f"{left} MB are left behind"
