"""What the create of a ticket refuses at once, and the plan that dry-run=true shows instead of doing it."""

import os

import pytest
from support import scratch as containers
from support import tickets, volumes
from support.tickets import PEER_A, any_of, option, word
from support.wait import wait_until


@pytest.fixture
def source(a, b, scratch):
    def make(**keywords):
        return tickets.source(a, b, scratch, **keywords)
    return make


OF_FIRST = ["from=a", "volume={first}"]
OF_BOTH = ["from=a", "volume={first},{second}"]
EITHER = any_of(option("from"), option("volume"))

# name: (options, what the line has to contain). {first} and {second} are volumes on a and not on b.
REFUSED = {
    "unknown peer": (["from=nohost", "volume={first}"], [word("nohost")]),
    "port where nobody listens": (["from=a:9", "volume={first}"], [word("a:9")]),
    "no such volume": (["from=a", "volume={first},e2e-never-made"], ["e2e-never-made", PEER_A]),
    "a volume twice": (["from=a", "volume={first},{second},{first}"], [option("volume"), "{first}"]),
    "no volume": (["from=a", "volume="], [option("volume")]),
    "empty name": (["from=a", "volume={first},,{second}"], [option("volume")]),
    "empty last name": (["from=a", "volume={first},"], [option("volume")]),
    "dot-dot": (["from=a", "volume={first},.."], [option("volume")]),
    "slash": (["from=a", "volume=../../etc"], [option("volume")]),
    "newline": (["from=a", "volume={first},x\ny"], [option("volume")]),
    "long name": (["from=a", "volume=" + "n" * 256], [option("volume")]),
    "as of several": ([*OF_BOTH, "as=x"], [option("as")]),
    "as that is no name": ([*OF_FIRST, "as=../x"], [option("as")]),
    "empty as": ([*OF_FIRST, "as="], [option("as")]),
    "as of two": ([*OF_FIRST, "as=x,y"], [option("as")]),
    "as the ticket": ([*OF_FIRST, "as={ticket}"], ["{ticket}"]),
    "rename to the ticket": ([*OF_BOTH, "rename={second}:{ticket}"], ["{ticket}"]),
    "rename of another": ([*OF_FIRST, "rename={second}:e2e-x"], [option("rename"), "{second}"]),
    "rename of a part": ([*OF_BOTH, "rename={first}:e2e-x,e2e-other:e2e-y"], [option("rename"), "e2e-other"]),
    "rename without a colon": ([*OF_FIRST, "rename={first}"], [option("rename")]),
    "rename to nothing": ([*OF_FIRST, "rename={first}:"], [option("rename")]),
    "rename of nothing": ([*OF_FIRST, "rename=:e2e-x"], [option("rename")]),
    "empty rename": ([*OF_FIRST, "rename="], [option("rename")]),
    "rename to no name": ([*OF_FIRST, "rename={first}:a/b"], [option("rename")]),
    "rename twice": ([*OF_FIRST, "rename={first}:e2e-x,{first}:e2e-y"], [option("rename"), "{first}"]),
    "two of one new name": ([*OF_BOTH, "rename={first}:e2e-x,{second}:e2e-x"], ["e2e-x"]),
    "renamed to another's name": ([*OF_BOTH, "rename={first}:{second}"], ["{second}"]),
    "volume without a peer": (["volume={first}"], [option("volume"), option("from")]),
    "volume in the peer": (["from=a/{first}", "volume={second}"], [EITHER]),
    "mode": ([*OF_FIRST, "mode=ro"], [option("mode")]),
    "as without a ticket": (["from=a/{first}", "as=x"], [option("as")]),
    "rename without a ticket": (["from=a/{first}", "rename={first}:e2e-x"], [option("rename")]),
    "replace without a ticket": (["from=a/{first}", "replace=true"], [option("replace")]),
    "dry-run without a ticket": (["from=a/{first}", "dry-run=true"], [option("dry-run")]),
    "dry-run of nothing": (["dry-run=true"], [option("dry-run")]),
    "replace": ([*OF_FIRST, "replace=maybe"], [option("replace"), "true", "false"]),
    "empty replace": ([*OF_FIRST, "replace="], [option("replace")]),
    "dry-run": ([*OF_FIRST, "dry-run=1"], [option("dry-run"), "true", "false"]),
    "freeze": ([*OF_FIRST, "freeze=maybe"], [option("freeze")]),
    "limit": ([*OF_FIRST, "limit=fast"], [option("limit")]),
    "unknown option": ([*OF_FIRST, "colour=red"], [option("colour")]),
    "later version": ([*OF_FIRST, "exclude=cache"], [option("exclude"), "is not in this version"]),
    "retry of an unknown volume": (["retry=e2e-never-made"], ["e2e-never-made"]),
    "retry of nothing": (["retry="], [option("retry")]),
    "retry of no name": (["retry=../x"], [option("retry")]),
    "retry with a peer": (["retry={first}", "from=a"], [option("retry")]),
}


@pytest.fixture(scope="module")
def pair(running_lab):
    """Two small volumes on a for all of the table."""
    made = containers.Scratch(running_lab)
    names = [made.volume(running_lab.a) for _ in range(2)]
    yield dict(zip(("first", "second"), names))
    running_lab.restore()
    made.finish()


@pytest.mark.parametrize("case", REFUSED)
def test_refused(b, scratch, pair, case):
    known = {**pair, "ticket": tickets.new_name(b, scratch)}

    def filled(text):
        for key, value in known.items():
            text = text.replace("{" + key + "}", value) if isinstance(text, str) else text
        return text
    options, fragments = REFUSED[case]
    tickets.refused(b, scratch, [*map(filled, options)], [*map(filled, fragments)], name=known["ticket"])


def test_a_ticket_named_like_its_volume(b, scratch, pair):
    scratch.forget_later(b, pair["first"])
    tickets.refused(b, scratch, ["from=a", f"volume={pair['first']}"], [pair["first"]], name=pair["first"])


def test_unreachable_peer(lab, b, scratch, pair):
    """Several volumes are no reason to wait several times."""
    lab.cut()
    tickets.refused(b, scratch, ["from=a", f"volume={pair['first']},{pair['second']}"], [PEER_A])


def test_a_volume_of_another_lineage_is_in_the_way(b, scratch, source):
    free, taken = source(), source()
    volumes.must_create(b, taken, labels=["mine=1"])
    containers.fill(b.volume_data(taken), {"mine": b"kept"})
    for more in ([], ["replace=false"]):
        tickets.refused(b, scratch, ["from=a", f"volume={free},{taken}", *more], [taken, option("replace")])
    assert os.listdir(b.volume_data(taken)) == ["mine"] and volumes.labels(b, taken) == {"mine": "1"}


def test_a_volume_of_another_driver_is_in_the_way(b, scratch, source):
    free, taken = source(), source()
    volumes.must_create(b, taken, driver="local")
    containers.fill(b.volume_data(taken, "local"), {"mine": b"kept"})
    for more in ([], ["replace=true"]):
        tickets.refused(b, scratch, ["from=a", f"volume={free},{taken}", *more], [taken])
    assert volumes.inspect(b, taken)["Driver"] == "local" and os.listdir(b.volume_data(taken, "local")) == ["mine"]


def test_a_mounted_volume_is_in_the_way(b, scratch, source):
    """With replace=true, too; and no longer than it is mounted."""
    free, used = source(), source()
    tickets.run(b, scratch, "from=a", f"volume={used}")
    container, words = scratch.container(b, "-v", f"{used}:/data"), ["from=a", f"volume={free},{used}"]
    for more in ([], ["replace=true"]):
        tickets.refused(b, scratch, [*words, *more], [used, "mounted"])
    # As known to a process that did not see it come up, too.
    b.kill_plugin()
    tickets.refused(b, scratch, words, [used, "mounted"])
    b.docker("rm", "-f", container)
    ticket = tickets.new_name(b, scratch)
    wait_until(lambda: volumes.create(b, ticket, options=words).ok, 10, "accepted once the container is gone")
    tickets.finish(b, ticket)


def test_a_ticket_is_in_the_way(b, scratch, source):
    name, other = source(), source()
    ticket = tickets.start(b, scratch, "from=a", f"volume={name}")
    tickets.finish(b, ticket)
    for more in ([], ["replace=true"]):
        tickets.refused(b, scratch, ["from=a", f"volume={other}", f"as={ticket}", *more],
                        [ticket, tickets.SAYS_TICKET])
    assert volumes.status(b, ticket)["state"] == "done"


def test_a_volume_is_not_copied_onto_itself(b, scratch):
    name, copy = scratch.volume(b), scratch.name(b)
    containers.fill(b.volume_data(name), {"mine": b"kept"})
    for more in ([], ["replace=true"]):
        tickets.refused(b, scratch, ["from=b", f"volume={name}", *more], [any_of(word(name), word("itself"))])
    assert os.listdir(b.volume_data(name)) == ["mine"]
    # Under another name it may work or be refused, but not hang and not be wrong.
    ticket = tickets.new_name(b, scratch)
    created = volumes.create(b, ticket, options=["from=b", f"volume={name}", f"as={copy}"])
    assert created.seconds < tickets.AT_ONCE
    if created.ok:
        tickets.finish(b, ticket)
        tickets.holds(b, copy, b.volume_data(name))
    else:
        assert "\n" not in created.error and volumes.inspect(b, copy) is None


# --- the plan only ---------------------------------------------------------------------------------


def dry_run(b, scratch, *options):
    """The entries of a dry run, which must have changed nothing."""
    listed, before = volumes.names(b), b.traces()
    ticket = tickets.start(b, scratch, "from=a", *options, "dry-run=true")
    status = volumes.wait_state(b, ticket, tickets.ENDED, 20)
    assert status["state"] == "done" and not status["migration"]["error"], status
    assert volumes.names(b) == listed | {ticket}
    assert volumes.remove(b, ticket)[0] == 204
    wait_until(lambda: b.traces() <= before, 10, lambda: f"nothing is left: {b.traces() - before}")
    return tickets.entries(status)


def test_dry_run_tells_what_would_move(a, b, scratch, source, disk_directory):
    size, slack = 3_000_000, 200_000
    files = {"one": os.urandom(size), "two": os.urandom(size)}
    fresh, same, changed, other = (source(files=files) for _ in range(4))
    tickets.run(b, scratch, "from=a", f"volume={same},{changed}")
    volumes.must_create(b, other, labels=["mine=1"])
    containers.fill(b.volume_data(other), {"mine": b"kept"})
    containers.fill(a.volume_data(changed), {"two": os.urandom(size)})
    kept = {name: tickets.snapshot(disk_directory, b.volume_data(name)) for name in (same, changed, other)}

    plan = dry_run(b, scratch, f"volume={fresh},{same},{changed}")
    plan |= dry_run(b, scratch, f"volume={other}", "replace=true")
    actions = {name: entry["action"] for name, entry in plan.items()}
    assert actions == {fresh: "create", same: "update", changed: "update", other: "replace"}
    for entry in plan.values():
        assert entry["files_total"] == 2, entry
        assert 2 * size <= entry["bytes_total"] < 2 * size + slack, entry
    for name, least in ((fresh, 2 * size), (same, 0), (changed, size), (other, 2 * size)):
        assert least <= plan[name]["bytes_to_send"] < least + slack, (name, plan[name])
    for name, directory in kept.items():
        tickets.holds(b, name, directory)
    assert volumes.labels(b, other) == {"mine": "1"} and fresh not in volumes.names(b)

    renamed = dry_run(b, scratch, f"volume={fresh}", f"as={scratch.name(b)}")
    assert fresh not in renamed
    # And what it had announced then goes through.
    tickets.run(b, scratch, "from=a", f"volume={fresh},{same},{changed}")
    tickets.holds(b, changed, a.volume_data(changed))


def test_dry_run_tells_what_stands_in_the_way(b, scratch, source):
    other, mounted = source(), source()
    volumes.must_create(b, other)
    containers.fill(b.volume_data(other), {"mine": b"kept"})
    tickets.run(b, scratch, "from=a", f"volume={mounted}")
    scratch.container(b, "-v", f"{mounted}:/data")
    for name, fragment in ((other, option("replace")), (mounted, "mounted"), ("e2e-never-made", PEER_A)):
        tickets.blocked(b, scratch, ["from=a", f"volume={name}", "dry-run=true"], [name, fragment])
    assert os.listdir(b.volume_data(other)) == ["mine"]
