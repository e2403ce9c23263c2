"""retry=VOLUME: an import that has failed is tried again, once the cause is gone."""

import contextlib
import errno
import os
import secrets
import threading

import pytest
from support import scratch as containers
from support import tickets, volumes
from support.data_source import on_a_small_disk
from support.wait import wait_until

LABELS = {"team": "web", "a,b": "c d", "x": '"y"'}


@pytest.fixture
def source(a, b, scratch):
    def make(**keywords):
        return tickets.source(a, b, scratch, **keywords)
    return make


@contextlib.contextmanager
def rewritten_all_the_time(path):
    """No container does that, so an import believes its source to be idle, until it has seen too many changes."""
    stop = threading.Event()

    def write():
        with open(path, "r+b", buffering=0) as out:
            while not stop.is_set():
                os.pwrite(out.fileno(), os.urandom(100_000), 0)
                stop.wait(0.002)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()


def check_retried(a, b, scratch, name, labels):
    """A volume that has failed becomes what the source is; the ticket may be forgotten."""
    error = b.socket().call("Mount", {"Name": name, "ID": secrets.token_hex(32)}).error
    tickets.check_line(error, [])
    ticket = tickets.start(b, scratch, f"retry={name}")
    status = tickets.finish(b, ticket)
    assert set(tickets.entries(status)) == {name} and status["migration"]["verified"] is True
    assert volumes.remove(b, ticket)[0] == 204
    volumes.wait_labels(b, name, labels)
    assert volumes.options(b, name) == {"mode": "ro"} and volumes.status(b, name)["mode"] == "ro"
    assert volumes.status(b, name)["lineage"] == volumes.status(a, name)["lineage"]
    tickets.holds(b, name, a.volume_data(name))
    # It is not failed any longer.
    tickets.refused(b, scratch, [f"retry={name}"], [name])


def test_retry_of_an_import_whose_source_kept_changing(a, b, scratch, source):
    """Each look at it takes half a second, in which the writer gets its turn on the busiest machine."""
    name = source(files={"busy": os.urandom(100_000)}, labels=LABELS, options={"mode": "ro"})
    with rewritten_all_the_time(os.path.join(a.volume_data(name), "busy")):
        volumes.must_create(b, name, options=["from=a", "limit=200K"])
        volumes.wait_state(b, name, ("failed", "ready"), 60)
        assert volumes.status(b, name)["state"] == "failed"
    b.kill_plugin()  # what is to be tried again is known to a new process, too
    check_retried(a, b, scratch, name, LABELS)


def test_retry_of_an_import_whose_source_had_vanished(a, b, scratch, source):
    name = source(files={"file": os.urandom(20_000_000)}, labels=LABELS, options={"mode": "ro"})
    volumes.must_create(b, name, options=["from=a", "limit=10M"])
    volumes.wait_in_the_middle(b, name)
    assert volumes.remove(a, name)[0] == 204
    status = volumes.wait_state(b, name, ("failed", "ready"), 90)
    assert status["state"] == "failed", "an import of nothing"
    tickets.blocked(b, scratch, [f"retry={name}"], [name])
    assert volumes.status(b, name)["state"] == "failed"
    status, answer = volumes.api_create(a, name, options={"mode": "ro"}, labels={"again": "1"})
    assert status == 201, answer
    containers.fill(a.volume_data(name), {"file": b"back"})
    check_retried(a, b, scratch, name, {"again": "1"})


def test_retry_of_what_has_not_failed(b, scratch, source):
    name, plain = source(), scratch.volume(b)
    ticket = tickets.start(b, scratch, "from=a", f"volume={name}")
    tickets.finish(b, ticket)
    tickets.refused(b, scratch, [f"retry={ticket}"], [ticket])
    for volume in (name, plain):
        tickets.refused(b, scratch, [f"retry={volume}"], [volume])
        assert volumes.status(b, volume)["state"] == "ready"


def fill_up(path):
    try:
        with open(path, "wb", buffering=0) as out:
            while True:
                out.write(bytes(1 << 16))
    except OSError as error:
        assert error.errno == errno.ENOSPC, error


@pytest.mark.slow
def test_a_full_disk_fails_the_group_and_an_import_that_can_be_tried_again(a, b, scratch, source):
    """Many files, so that what is allocated for those under way is not all of it.
    """
    first, second = (source(files={f"part-{number:02}": os.urandom(1_000_000) for number in range(20)}, labels=LABELS)
                     for _ in range(2))
    with on_a_small_disk(b, a.read_key()) as small:
        filler = b.path(small, "filler")
        ticket = tickets.start(b, scratch, "from=a", f"volume={first},{second}", "limit=10M")
        tickets.under_way(b, ticket)
        fill_up(filler)
        status = volumes.wait_state(b, ticket, tickets.ENDED, 60)
        assert status["state"] == "failed", status
        tickets.check_line(status["migration"]["error"], ["space"])
        tickets.gone(b, first, second)
        os.unlink(filler)
        assert volumes.remove(b, ticket)[0] == 204

        def megabytes():
            return int(b.exec("sh", "-c", f"du -sm {small} | cut -f1").stdout)
        wait_until(lambda: megabytes() < 5, 10, lambda: f"{megabytes()} MB are left behind")

        volumes.must_create(b, first, options=["from=a", "limit=10M"])
        volumes.wait_in_the_middle(b, first)
        fill_up(filler)
        assert volumes.wait_state(b, first, ("failed", "ready"), 60)["state"] == "failed"
        tickets.blocked(b, scratch, [f"retry={first}"], ["space"])
        os.unlink(filler)
        ticket = tickets.start(b, scratch, f"retry={first}")
        tickets.finish(b, ticket)
        volumes.wait_labels(b, first, LABELS)
        tickets.holds(b, first, a.volume_data(first))
        for name in (ticket, first):
            assert volumes.remove(b, name)[0] == 204
