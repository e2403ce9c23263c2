"""A service moves, and something breaks at each of its steps: it never runs twice, and in the end it runs once, whole."""

import contextlib
import os
import re

import pytest
from support import service, tickets, volumes
from support.data_source import on_a_small_disk
from support.engine_gate import EngineGate
from support.wait import wait_until

MIB = 1 << 20
# What keeps a move at each step for as long as that takes: an Engine's call that is held, or content at a slow rate.
# The place is the host whose Engine is asked.
HELD = {
    "describe": ("a", "GET", r"^/containers/{name}/json", "sent"),
    "bring image": ("b", "POST", r"^/images/load", "answered"),
    "make volumes": ("b", "POST", r"^/volumes/create", "sent"),
    "make container": ("b", "POST", r"^/containers/create", "answered"),
    "hold": ("a", "POST", r"^/containers/\w+/stop", "answered"),
    "place layer": ("b", "POST", r"^/containers/\w+/rename", "answered"),
    "start": ("b", "POST", r"^/containers/\w+/start", "answered"),
}
SLOW = ("bring volumes", "bring layer", "follow", "last round")
STEPS = [*HELD, *SLOW, "commit", "done"]
BEFORE = ["describe", "bring image", "make volumes", "make container", "bring volumes", "bring layer", "follow", "hold", "last round", "place layer"]


@pytest.fixture(scope="module")
def module_gates(running_lab):
    with contextlib.ExitStack() as stack:
        yield {host.name: stack.enter_context(EngineGate(host)) for host in running_lab.hosts}


@pytest.fixture
def gates(module_gates, lab):
    for gate in module_gates.values():
        gate.ensure()
    return module_gates


def departed(a):
    return {name: volumes.status(a, name) for name in volumes.names(a) if "-elsewhere-" in name}


@pytest.fixture
def counter(lab, a, b, scratch):
    made = []

    def make(*arguments, **keywords):
        made.append(service.Counter(a, scratch, "--restart", "always", *arguments, **keywords))
        scratch.forget_later(b, made[-1].volume)
        return made[-1]
    yield make
    for one in made:
        for host in (a, b):
            host.docker("rm", "-f", "-v", one.name, check=False)
    lab.restore()
    wait_until(lambda: all(volumes.remove(a, name)[0] == 204 for name in departed(a)), 30,
               lambda: f"nothing is held at a any more: {departed(a)}")


@pytest.fixture(scope="module")
def lonely_image(running_lab):
    """One that only a has, as far as b can tell by name and ID."""
    a, b = running_lab.hosts
    name = "ferry-e2e-only-at-a"
    a.docker("run", "--name", name, "busybox", "touch", "/lonely")
    a.docker("commit", name, name)
    a.docker("rm", name)
    yield name
    for host in (a, b):
        host.docker("rmi", "-f", name, check=False)


def at(step, a, b, scratch, gates, counter, way="from=a", more=()):
    """(ticket, what lets it go on) of a move that stands still at the step, more or less."""
    home, options = b if way == "from=a" else a, [way, f"container={counter.name}", *more]
    if step in SLOW:
        ticket = tickets.start(home, scratch, *options, "limit=2M")
        if step == "follow":  # what is written while the first round is under way
            service.wait_step(home, ticket, "bring layer")
            a.docker("exec", counter.name, "dd", "if=/dev/urandom", "of=/data/meanwhile", "bs=1M", "count=4")
        service.wait_step(home, ticket, step)
        return ticket, lambda: None
    where, method, pattern, when = HELD["place layer" if step == "commit" else step]
    if step == "commit":
        when = "delayed"
    held = None
    if step != "describe":  # which create does already
        held = gates[where].hold_path(method, pattern.format(name=counter.name), when)
    ticket = tickets.start(home, scratch, *options)
    if held:
        held.wait()
        return ticket, held.release
    return ticket, lambda: None


def of(step, b, lonely_image):
    """What a counter needs to stand still at the step."""
    if step == "bring image":
        b.docker("rmi", "-f", lonely_image, check=False)
        return {"image": lonely_image}
    return {"more": 6 * MIB} if step in SLOW else {}


def test_each_step_has_its_case(a, b, scratch, counter):
    one = counter()
    ticket = tickets.start(b, scratch, "from=a", f"container={one.name}")
    with one.never_twice():
        status = volumes.wait_state(b, ticket, tickets.ENDED, 60)
    assert status["state"] == "done", status
    steps = [entry["step"] for entry in status["service"]["steps"] if entry["step"] != "follow"]  # if the machine was slow
    assert sorted(steps) == sorted(step for step in STEPS if step != "follow")
    one.check_whole(b)
    assert one.starts(b) == 2


def settle(a, b, one, ticket, home, layer=True):
    """Where it runs in the end; the ticket's Status at home."""
    status = volumes.wait_state(home, ticket, tickets.ENDED, 120)
    wait_until(lambda: len(one.running()) == 1, 60, lambda: f"it runs once: {one.running()}; {status}")
    where = b if status["state"] == "done" else a
    wait_until(lambda: service.runs(where, one.name), 30, f"on {where.name}: {status}")
    one.check_whole(where, layer)
    return where, status


IMPORTS = [(step, what) for step in STEPS if step != "done" for what in ("kill b",)] + [
    (step, "cut") for step in ("bring volumes", "hold", "last round", "place layer", "commit", "start")] + [
    (step, "kill a") for step in ("bring volumes", "hold", "last round", "commit")] + [
    (step, "engine b") for step in ("make container", "place layer", "start")] + [
    (step, "engine a") for step in ("hold", "last round")]
EXPORTS = [(step, "kill b") for step in ("make container", "bring volumes", "last round", "commit", "start")] + [
    (step, "kill a") for step in ("make container", "bring volumes", "hold", "last round", "commit", "start")] + [
    (step, "cut") for step in ("bring volumes", "last round", "commit", "start")]
CASES = [("from=a", *case) for case in IMPORTS] + [("to=b", *case) for case in EXPORTS]


def arrival(b, way, ticket):
    """The ticket by which b brings it."""
    if way == "from=a":
        return ticket
    [arrived] = [name for name in volumes.names(b) if name.startswith("from-elsewhere-")]
    return arrived


@pytest.mark.slow
@pytest.mark.parametrize("way,step,what", CASES, ids=[f"{way} {what} at {step}" for way, step, what in CASES])
def test_it_moves_all_the_same(lab, a, b, scratch, gates, counter, lonely_image, way, step, what):
    one = counter(**of(step, b, lonely_image))
    with one.never_twice():
        ticket, release = at(step, a, b, scratch, gates, one, way)
        at_b = arrival(b, way, ticket)
        if step == "commit":
            lab.cut()
            release()
            service.wait_step(b, at_b, "commit")
        if what.startswith("kill"):
            (a if what == "kill a" else b).kill_plugin()
        elif what.startswith("engine"):
            host = a if what == "engine a" else b
            host.engine("kill")
            host.engine("start")
        else:
            lab.cut()
            if step in ("last round", "place layer"):
                wait_until(lambda: service.runs(a, one.name), 20, "it runs at its source, which has lost patience")
        release()
        if what == "cut" and step in ("bring volumes", "hold"):
            wait_until(lambda: volumes.migration(b, at_b).get("error"), 40, "b says what it waits for")
        lab.heal()
        where, status = settle(a, b, one, ticket, b if way == "from=a" else a)
    assert where is b, status["migration"]["error"]
    assert not service.runs(a, one.name)
    assert b.docker("inspect", "-f", "{{.Config.Image}}", one.name).stdout == a.docker("inspect", "-f", "{{.Config.Image}}", one.name).stdout


def check_as_it_was_at_a(a, one):
    wait_until(lambda: service.runs(a, one.name), 30, "it runs at its source again")
    one.check_whole(a)
    assert a.docker("inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", one.name).stdout.strip() == "always"
    wait_until(lambda: not departed(a), 20, lambda: f"its ticket is gone: {departed(a)}")


def check_as_it_was(a, b, one, there):
    """It runs at its source, and b has nothing of it."""
    check_as_it_was_at_a(a, one)
    assert b.docker("ps", "-aq", "--filter", f"name=^/{one.name}$", "--filter", "name=^/ferry-[0-9a-f]{32}$").stdout == ""
    wait_until(lambda: volumes.names(b) <= there, 20, lambda: f"left at b: {volumes.names(b) - there}")


@pytest.mark.parametrize("step", BEFORE)
def test_its_ticket_is_removed(a, b, scratch, gates, counter, lonely_image, step):
    one, there = counter(**of(step, b, lonely_image)), volumes.names(b)
    with one.never_twice():
        ticket, release = at(step, a, b, scratch, gates, one)
        if step == "make volumes":  # nothing breaks this call off
            release()
        status, answer = volumes.remove(b, ticket)
        release()
        assert status == 204 or "try again" in str(answer), answer
        wait_until(lambda: volumes.remove(b, ticket)[0] in (204, 404), 30, "the ticket goes")
        check_as_it_was(a, b, one, there)


@pytest.mark.parametrize("step", ["describe", "make container", "bring volumes", "hold", "last round", "place layer"])
def test_the_ticket_that_sends_it_is_removed(a, b, scratch, gates, counter, lonely_image, step):
    one, there = counter(**of(step, b, lonely_image)), volumes.names(b)
    with one.never_twice():
        ticket, release = at(step, a, b, scratch, gates, one, "to=b")
        status, answer = volumes.remove(a, ticket)
        release()
        assert status == 204 or "try again" in str(answer) or "has not been told" in str(answer), answer
        wait_until(lambda: volumes.remove(a, ticket)[0] in (204, 404), 30, "the ticket goes")
        check_as_it_was(a, b, one, there)


@pytest.mark.parametrize("step", ["make container", "last round"])
def test_what_is_sent_is_cancelled_where_it_is_to_be(a, b, scratch, gates, counter, lonely_image, step):
    one, there = counter(**of(step, b, lonely_image)), volumes.names(b)
    with one.never_twice():
        ticket, release = at(step, a, b, scratch, gates, one, "to=b")
        at_b = arrival(b, "to=b", ticket)
        volumes.remove(b, at_b)
        release()
        wait_until(lambda: volumes.remove(b, at_b)[0] in (204, 404), 30, "the ticket goes")
        status = volumes.wait_state(a, ticket, tickets.ENDED, 60)
        assert status["state"] == "failed" and "cancelled" in status["migration"]["error"], status
        check_as_it_was(a, b, one, there)


@pytest.mark.parametrize("ticket", ["service-elsewhere-", "to-elsewhere-"])
def test_its_sources_user_takes_it_back(a, b, scratch, gates, counter, ticket):
    one, there = counter(more=6 * MIB), volumes.names(b)
    with one.never_twice():
        mine, _ = at("last round", a, b, scratch, gates, one)
        [departed] = [name for name in volumes.names(a) if name.startswith(ticket)]
        assert volumes.remove(a, departed)[0] == 204
        status = volumes.wait_state(b, mine, tickets.ENDED, 60)
        assert status["state"] == "failed" and "cancelled at its source" in status["migration"]["error"], status
        check_as_it_was(a, b, one, there | {mine})


def test_its_source_dies_while_its_engine_stops_it(lab, a, b, scratch, gates, counter):
    """The Engine carries on with that, and must not do so once it runs again."""
    one, there = counter(script=service.SLOW_TO_STOP), volumes.names(b)
    with one.never_twice():
        ticket = tickets.start(b, scratch, "from=a", f"container={one.name}")
        wait_until(lambda: os.path.exists(os.path.join(a.volume_data(one.volume), "stopping")), 30, "it is being stopped")
        lab.cut()
        a.kill_plugin()
        wait_until(lambda: service.runs(a, one.name) and one.starts(a) == 2, 30, lambda: f"it was started anew: {a.docker('ps', '-a').stdout}")
        check_as_it_was_at_a(a, one)
        wait_until(lambda: volumes.remove(b, ticket)[0] in (204, 404), 30, "the ticket goes")
        lab.heal()
        check_as_it_was(a, b, one, there)


def test_its_name_is_taken_at_the_last_moment(a, b, scratch, gates, counter):
    one, there = counter(), volumes.names(b)
    with one.never_twice():
        held = gates["b"].hold_path("POST", r"^/containers/\w+/rename", "sent")
        ticket = tickets.start(b, scratch, "from=a", f"container={one.name}")
        held.wait()
        assert not service.runs(a, one.name)
        taken = scratch.made_container(b, "--name", one.name)
        held.release()
        status = volumes.wait_state(b, ticket, tickets.ENDED, 60)
        assert status["state"] == "failed" and one.name in status["migration"]["error"], status
        b.docker("rm", taken)
        check_as_it_was(a, b, one, there | {ticket})


def test_somebody_starts_it_at_its_source(lab, a, b, scratch, gates, counter):
    one = counter()
    with one.never_twice():
        held = gates["b"].hold_path("POST", r"^/containers/\w+/rename", "sent")
        ticket = tickets.start(b, scratch, "from=a", f"container={one.name}")
        held.wait()
        started = a.docker("start", one.name, check=False)
        assert started.returncode != 0 and "is being handed off" in started.stderr, "its volume is held"
        held.release()
        assert volumes.wait_state(b, ticket, tickets.ENDED, 60)["state"] == "done"
        one.check_whole(b)


def test_somebody_starts_it_at_its_destination(a, b, scratch, gates, counter):
    one = counter()
    with one.never_twice():
        held = gates["b"].hold_path("POST", r"^/containers/\w+/rename", "sent")
        ticket = tickets.start(b, scratch, "from=a", f"container={one.name}")
        held.wait()
        [made] = b.docker("ps", "-aq", "--filter", "name=^/ferry-[0-9a-f]{32}$").stdout.split()
        started = b.docker("start", made, check=False)
        assert started.returncode != 0 and ticket in started.stderr, "its volumes are being brought"
        held.release()
        assert volumes.wait_state(b, ticket, tickets.ENDED, 60)["state"] == "done"
        one.check_whole(b)


@pytest.mark.slow
def test_its_source_is_lost_at_the_last_moment(lab, a, b, scratch, gates, counter):
    """When b has everything but a's word; then its user takes it."""
    one = counter()
    ticket, release = at("commit", a, b, scratch, gates, one)
    lab.cut()
    a.engine("kill")
    try:
        release()
        service.wait_step(b, ticket, "commit")
        assert not service.runs(b, one.name)
        tickets.start(b, scratch, f"reclaim={one.volume}", "force=true")
        wait_until(lambda: service.runs(b, one.name), 30, lambda: f"it runs at b: {volumes.status(b, ticket)}")
        one.check_whole(b)
    finally:
        a.engine("start")
        lab.heal()


@pytest.fixture(scope="module")
def small(running_lab):
    """b has its data on a small file system, so that it can be full."""
    a, b = running_lab.hosts
    with on_a_small_disk(b, a.read_key()) as path:
        yield path


# Without its layer, which has to be on one file system with Ferry's data.
@pytest.mark.slow
@pytest.mark.parametrize("step", ["make volumes", "make container", "bring volumes", "hold", "last round", "place layer", "commit", "start"])
def test_the_disk_there_is_full(lab, a, b, scratch, small, gates, counter, step):
    one, there = counter(**of(step, b, None)), volumes.names(b)
    try:
        with one.never_twice():
            ticket, release = at(step, a, b, scratch, gates, one, more=["layer=false"])
            if step == "commit":
                lab.cut()
                release()
                service.wait_step(b, ticket, "commit")
            b.exec("sh", "-c", f"cat /dev/zero >{small}/filler", check=False)
            release()
            lab.heal()
            if step in BEFORE:
                status = volumes.wait_state(b, ticket, tickets.ENDED, 60)
                assert status["state"] == "failed", status
                tickets.check_line(status["migration"]["error"], [re.compile("space|room")])
                check_as_it_was(a, b, one, there | {ticket})
            elif step == "commit":
                wait_until(lambda: "space" in (volumes.migration(b, ticket).get("error") or ""), 30, "b says what it waits for")
                assert not one.running()
            b.exec("rm", f"{small}/filler")
            if step not in BEFORE:
                where, status = settle(a, b, one, ticket, b, layer=False)
                assert where is b, status
    finally:
        b.exec("rm", "-f", f"{small}/filler")


def test_the_disk_there_is_full_from_the_beginning(a, b, scratch, small, counter):
    one = counter()
    b.exec("sh", "-c", f"cat /dev/zero >{small}/filler", check=False)
    try:
        tickets.refused(b, scratch, ["from=a", f"container={one.name}", "layer=false"], ["space"])
    finally:
        b.exec("rm", f"{small}/filler")
    one.check_whole(a)
