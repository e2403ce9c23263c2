"""Tickets: one command that brings several volumes, all of them or none. Updates are in test_tickets_update.py."""

import concurrent.futures
import json
import os
import re
import secrets
import threading

import pytest
from support import scratch as containers
from support import tickets, tree_compare, volumes
from support.tickets import word
from support.wait import Stopwatch, wait_until

LABELS = {"team": "web", "a,b": "c d", "x": '"y"', "newline": "one\ntwo", "empty": ""}
ALWAYS = {"id": str, "role": str, "peer": str, "phase": str, "round": int, "bytes_total": int, "bytes_done": int,
          "bytes_sent": int, "files_total": int, "files_done": int}
SOMETIMES = ("rate_bytes_per_s", "eta_s", "started", "finished", "error", "verified", "consistency", "digest",
             "warnings")
OF_A_VOLUME = ("name", "source", "action", "state", "bytes_total", "bytes_done", "bytes_sent", "files_total", "digest",
               "consistency", "warnings")


@pytest.fixture
def source(a, b, scratch):
    def make(**keywords):
        return tickets.source(a, b, scratch, **keywords)
    return make


@pytest.fixture
def copied(a, b, scratch, source, disk_directory):
    """A volume that b has from a; the function tells that b has it still as it was, although a has changed it since."""
    name = source(files={"file": b"old content"}, labels=LABELS)
    tickets.run(b, scratch, "from=a", f"volume={name}")
    kept = tickets.snapshot(disk_directory, b.volume_data(name))
    lineage = volumes.status(b, name)["lineage"]
    containers.fill(a.volume_data(name), {"file": b"new content", "more": os.urandom(20_000_000)})

    def check():
        tickets.holds(b, name, kept)
        assert volumes.labels(b, name) == LABELS
        status = volumes.status(b, name)
        assert (status["state"], status["lineage"]) == ("ready", lineage)
    check.name, check.kept = name, kept
    return check


# --- what it makes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", ["ferry", "local"])
def test_one_volume(a, b, scratch, source, driver):
    options = {"mode": "ro"} if driver == "ferry" else {}
    name = source(labels=LABELS, options=options, driver=driver)
    status = tickets.run(b, scratch, "from=a", f"volume={name}")
    assert volumes.labels(b, name) == LABELS and volumes.options(b, name) == options
    entry = tickets.entries(status)[name]
    assert entry["action"] == "create" and name in entry["source"]
    made = volumes.status(b, name)
    assert made["mode"] == options.get("mode", "rw") and made["labels"] == LABELS and not made.get("labels_pending")
    if driver == "ferry":
        assert made["lineage"] == volumes.status(a, name)["lineage"], "a copy keeps its lineage"
    assert containers.run(b, f"{name}:/data", "cat /data/file").stdout == "content"
    refused = "Read-only" in containers.run(b, f"{name}:/data", "touch /data/x", check=False).stderr
    assert refused == bool(options)


def test_several_volumes_some_with_other_names(a, b, scratch, source):
    """Two of them swap their names, which is no collision."""
    first, second, third = (source(files={"file": text}) for text in (b"first", b"second", b"third"))
    other = scratch.name(b)
    status = tickets.run(b, scratch, "from=a", f"volume={first},{second},{third}",
                         f"rename={first}:{second},{second}:{first},{third}:{other}")
    assert set(tickets.entries(status)) == {first, second, other} and third not in volumes.names(b)
    for name, origin in ((first, second), (second, first), (other, third)):
        assert tickets.entries(status)[name]["action"] == "create"
        assert origin in tickets.entries(status)[name]["source"]
        tickets.holds(b, name, a.volume_data(origin))


def test_another_name_for_a_single_volume(a, b, scratch, source):
    name, copy = source(labels=LABELS), scratch.name(b)
    status = tickets.run(b, scratch, "from=a", f"volume={name}", f"as={copy}", "replace=false", "dry-run=false")
    assert set(tickets.entries(status)) == {copy} and name not in volumes.names(b)
    assert volumes.labels(b, copy) == LABELS
    tickets.holds(b, copy, a.volume_data(name))


def test_many_volumes(a, b, scratch, source):
    made = [source(files={"file": b"%d" % number}) for number in range(10)]
    status = tickets.run(b, scratch, "from=a", f"volume={','.join(made)}")
    assert set(tickets.entries(status)) == set(made)
    for name in made:
        tickets.holds(b, name, a.volume_data(name))


def test_new_volumes_show_what_the_source_shows_from_the_start(a, b, scratch, source):
    """To whoever looks first; and while they are importing they are all importing."""
    made = [source(files={"file": os.urandom(10_000_000)}, labels=LABELS, options={"mode": "ro"}) for _ in range(2)]
    stop = threading.Event()

    def first_sight(name):
        return wait_until(lambda: volumes.inspect(b, name) or stop.is_set(), 60, f"{name} appears", interval=0.002)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        looking = [pool.submit(first_sight, name) for name in made]
        try:
            ticket = tickets.start(b, scratch, "from=a", f"volume={','.join(made)}", "limit=3M")
            concurrent.futures.wait(looking, 10)
            assert volumes.status(b, ticket)["state"] == "importing"
        finally:
            stop.set()
    for name, future in zip(made, looking):
        shown = future.result()
        assert shown is not True, f"{name} does not appear while it is made"
        assert (shown["Labels"], shown["Options"]) == (LABELS, {"mode": "ro"})
        assert shown["Status"]["state"] == "importing" and shown["Status"]["mode"] == "ro"
        assert shown["Status"]["lineage"] == volumes.status(a, name)["lineage"]
    assert set(made) <= volumes.names(b)
    assert volumes.remove(b, ticket)[0] == 204
    tickets.gone(b, *made)


def test_progress_and_receipt(b, scratch, source):
    """Two volumes as one migration; limit= is for both together."""
    made = [source(files={"file": os.urandom(8_000_000), "small": b"x"}) for _ in range(2)]
    watch, seen = Stopwatch(), []
    ticket = tickets.start(b, scratch, "from=a", f"volume={','.join(made)}", "limit=8M")

    def observe():
        seen.append(volumes.status(b, ticket))
        return seen[-1]["state"] != "importing"
    wait_until(observe, 60, lambda: f"done: {seen[-1]}", interval=0.01)
    assert watch.seconds > 1.2, "limit= is not held"
    running, last = [status["migration"] for status in seen[:-1]], tickets.finish(b, ticket)
    assert running, "never seen running"
    for status in seen:
        for key, kind in ALWAYS.items():
            assert isinstance(status["migration"][key], kind), (key, status)
        assert all(key in status["migration"] for key in SOMETIMES), status
        assert "a" in status["migration"]["peer"]
        assert set(tickets.entries(status)) == set(made)
        for entry in status["volumes"]:
            assert all(key in entry for key in OF_A_VOLUME), entry
            assert entry["action"] == "create" and isinstance(entry["state"], str)
    for key in ("bytes_done", "bytes_sent", "files_done"):
        values = [progress[key] for progress in running]
        assert values == sorted(values), f"{key} goes backwards"
    assert any(0 < progress["bytes_done"] < progress["bytes_total"] for progress in running)
    assert not any(progress["verified"] for progress in running)

    receipt = last["migration"]
    assert receipt["verified"] is True and receipt["consistency"] == "idle" and not receipt["error"]
    assert isinstance(receipt["digest"], str) and receipt["warnings"] == []
    assert receipt["started"][:19] <= receipt["finished"][:19]
    assert receipt["files_done"] == receipt["files_total"] == 4
    for key in ("bytes_total", "files_total", "bytes_done"):
        assert receipt[key] == sum(entry[key] for entry in last["volumes"] if key in entry), key
    assert receipt["bytes_done"] == receipt["bytes_total"] >= 16_000_002
    for entry in last["volumes"]:
        assert isinstance(entry["digest"], str) and len(entry["digest"]) >= 16 and entry["consistency"] == "idle"


def test_a_mount_during_a_short_ticket_waits_for_all_of_it(a, b, scratch, source):
    first, second = (source(files={"file": os.urandom(5_000_000)}) for _ in range(2))
    ticket = tickets.start(b, scratch, "from=a", f"volume={first},{second}", "limit=5M")
    tickets.under_way(b, ticket, sent=1)
    for name in (first, second):
        tickets.holds(b, name, a.volume_data(name))
        assert volumes.status(b, name)["state"] == "ready", "mounted before it was ready"
    tickets.finish(b, ticket, 5)


def test_a_source_in_use(a, b, scratch, source):
    idle, used = source(), source()
    scratch.container(a, "-v", f"{used}:/data")
    status = tickets.run(b, scratch, "from=a", f"volume={idle},{used}", "freeze=none")
    assert status["migration"]["consistency"] == "live" and status["migration"]["warnings"]
    consistency = {name: entry["consistency"] for name, entry in tickets.entries(status).items()}
    assert consistency == {idle: "idle", used: "live"}
    tickets.holds(b, used, a.volume_data(used))


def test_a_ticket_is_no_volume_and_outlives_what_a_volume_does(a, b, scratch, source):
    """It is listed, keeps its own labels, cannot be mounted; removed, it leaves its volumes and frees its name."""
    name = source(labels=LABELS)
    ticket = tickets.start(b, scratch, "from=a", f"volume={name}", labels=["mine=1"])
    receipt = tickets.finish(b, ticket)
    assert ticket in volumes.names(b) and volumes.labels(b, ticket) == {"mine": "1"}
    refused = containers.run(b, f"{ticket}:/data", "ls", check=False)
    assert refused.returncode != 0 and refused.stdout == ""
    error = b.socket().call("Mount", {"Name": ticket, "ID": secrets.token_hex(32)}).error
    tickets.check_line(error, [tickets.SAYS_TICKET])
    assert error in refused.stderr

    b.kill_plugin()
    after = volumes.status(b, ticket)
    assert after["state"] == "done" and after["volumes"] == receipt["volumes"]
    for key in ("id", "finished", "verified", "consistency", "digest", "bytes_total", "files_total"):
        assert after["migration"][key] == receipt["migration"][key], key
    assert volumes.labels(b, ticket) == {"mine": "1"}
    assert volumes.remove(b, ticket)[0] == 204
    assert volumes.inspect(b, ticket) is None and ticket not in volumes.names(b)
    assert volumes.labels(b, name) == LABELS
    tickets.holds(b, name, a.volume_data(name))

    assert volumes.remove(b, name)[0] == 204, "nothing holds the volume of a forgotten ticket"
    volumes.must_create(b, ticket, options=["from=a", f"volume={name}"])
    tickets.finish(b, ticket)
    # Nor that of a finished one.
    assert volumes.remove(b, name)[0] == 204
    assert volumes.status(b, ticket)["state"] == "done"


# --- while it runs, and its end --------------------------------------------------------------------


@pytest.mark.slow
def test_while_a_ticket_runs(b, scratch, source, copied):
    """Its volumes can be neither mounted nor removed nor taken by another ticket, and everybody is told why."""
    fresh, small = source(files={"file": os.urandom(30_000_000)}), source(labels=LABELS)
    before = b.traces()
    ticket = tickets.start(b, scratch, "from=a", f"volume={fresh},{small},{copied.name}", "limit=1M")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        tickets.under_way(b, ticket, sent=300_000)
        new = pool.submit(tickets.timed, containers.run, b, f"{fresh}:/data", "ls /data", check=False)
        old = pool.submit(tickets.timed, mount_once, b, copied)
        for name in (small, copied.name):
            status, answer = volumes.remove(b, name)
            assert status not in (204, 404) and word(ticket).search(json.dumps(answer)), (status, answer)
            assert volumes.labels(b, name) == LABELS
            tickets.refused(b, scratch, ["from=a", f"volume={fresh}", f"as={name}", "replace=true"],
                            [name, tickets.SAYS_TICKET], traces=False)
        tickets.refused(b, scratch, [f"retry={small}"], [small], traces=False)
        watch = Stopwatch()
        error = b.socket().call("Mount", {"Name": ticket, "ID": secrets.token_hex(32)}).error
        tickets.check_line(error, [tickets.SAYS_TICKET])
        assert watch.seconds < 3, "a ticket never becomes mountable, so nothing is to be waited for"
        seconds, failed = new.result()
        assert failed.returncode != 0 and failed.stdout == "" and 15 < seconds < 28, (seconds, failed)
        assert re.search(r"\d+(\.\d+)? ?%", failed.stderr), failed.stderr
        assert re.search(r"\beta\b|left|remaining", failed.stderr, re.I), failed.stderr
        seconds, error = old.result()
        assert error is None or seconds > 15 and "%" in error and "\n" not in error, (seconds, error)
    assert volumes.status(b, ticket)["state"] == "importing"
    assert volumes.remove(b, ticket)[0] == 204
    tickets.gone(b, ticket, fresh, small)
    copied()
    wait_until(lambda: b.traces() <= before, 20, lambda: f"nothing is left: {b.traces() - before}")


def mount_once(host, copied):
    """The error of one Mount, or None if it showed all that was there before the ticket."""
    plugin, request = host.socket(), {"Name": copied.name, "ID": secrets.token_hex(32)}
    reply = plugin.call("Mount", request)
    if reply.error is None:
        seen = tickets.mounted_at(host, reply.json["Mountpoint"])
        assert not tree_compare.compare(copied.kept, seen).differences
        assert plugin.call("Unmount", request).error is None
    return reply.error


def test_rm_cancels_a_running_ticket(a, b, scratch, source, copied):
    fresh = source(files={"file": os.urandom(10_000_000)})
    before = b.traces()
    words = ["from=a", f"volume={fresh},{copied.name}"]
    ticket = tickets.start(b, scratch, *words, "limit=5M")
    tickets.under_way(b, ticket)
    watch = Stopwatch()
    status, answer = volumes.remove(b, ticket)
    assert status == 204, answer
    assert watch.seconds < 10, "rm waits for the ticket"
    tickets.gone(b, ticket, fresh)
    copied()
    wait_until(lambda: b.traces() <= before, 20, lambda: f"nothing is left: {b.traces() - before}")
    b.kill_plugin()
    tickets.gone(b, ticket, fresh)
    copied()
    assert b.traces() <= before, "it came back with a new process"
    # What was cancelled counts as no change: the same again goes through.
    assert tickets.entries(tickets.run(b, scratch, *words))[copied.name]["action"] == "update"
    for name in (fresh, copied.name):
        tickets.holds(b, name, a.volume_data(name))


def test_a_source_that_vanishes_in_the_middle_fails_the_whole_group(a, b, scratch, source, copied):
    fresh, vanishing = source(), source(files={"file": os.urandom(10_000_000)})
    before = b.traces()
    ticket = tickets.start(b, scratch, "from=a", f"volume={fresh},{copied.name},{vanishing}", "limit=10M")
    tickets.under_way(b, ticket)
    assert volumes.remove(a, vanishing)[0] == 204
    status = volumes.wait_state(b, ticket, tickets.ENDED, 90)
    assert status["state"] == "failed", status
    tickets.check_line(status["migration"]["error"], [vanishing])
    tickets.gone(b, fresh, vanishing)
    copied()
    # It stays failed, also for a new process, and then is forgotten with all that was left.
    b.kill_plugin()
    assert volumes.status(b, ticket)["migration"]["error"] == status["migration"]["error"]
    tickets.gone(b, fresh, vanishing)
    assert volumes.remove(b, ticket)[0] == 204
    wait_until(lambda: b.traces() <= before, 20, lambda: f"nothing is left: {b.traces() - before}")
    tickets.run(b, scratch, "from=a", f"volume={fresh},{copied.name}")
    tickets.holds(b, copied.name, a.volume_data(copied.name))
