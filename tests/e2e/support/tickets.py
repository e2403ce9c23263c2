"""Tickets as a user handles them, and what containers could see of their volumes meanwhile."""

import contextlib
import os
import re
import secrets
import subprocess

from support import scratch as containers
from support import tree_compare, volumes
from support.host import PEER_PORT
from support.wait import Stopwatch, wait_until

# Design: everything that can be known within 5 s. The rest is the command itself on a busy machine.
AT_ONCE = 6.5
ENDED = ("done", "failed", "cancelled")
MIB = 1 << 20
PAGE = 4096


# --- asking for one --------------------------------------------------------------------------------


def source(home, away, scratch, files=None, labels=None, options=None, driver="ferry"):
    """A volume on home; its name is free on away, and it is removed from both at the end."""
    name = scratch.name(home, stem="src")
    scratch.forget_later(away, name)
    status, answer = volumes.api_create(home, name, driver=driver, options=options, labels=labels)
    assert status == 201, answer
    containers.fill(home.volume_data(name, driver), {"file": b"content"} if files is None else files)
    return name


def new_name(host, scratch):
    """For a ticket. At the end tickets go first, because a running one holds its volumes."""
    name = scratch.name(host, stem="ticket")
    scratch.at_end(volumes.remove, host, name)
    return name


def start(host, scratch, *options, labels=()):
    ticket = new_name(host, scratch)
    created = volumes.create(host, ticket, options=options, labels=labels)
    assert created.ok, f"create {ticket} on {host.name}: {created.error}"
    assert created.seconds < AT_ONCE, f"{created.seconds:.1f} s"
    return ticket


def finish(host, ticket, deadline=60):
    """The ticket's Status once it is done, which is when all of its volumes are there."""
    status = volumes.wait_state(host, ticket, ENDED, deadline)
    assert status["state"] == "done", status
    for name in entries(status):
        assert volumes.status(host, name).get("state") == "ready", f"{name}: {volumes.status(host, name)}"
    return status


def run(host, scratch, *options, deadline=60):
    return finish(host, start(host, scratch, *options), deadline)


def entries(status):
    """{name at this host: what the ticket says of that volume}."""
    return {entry["name"]: entry for entry in status["volumes"]}


def under_way(host, ticket, sent=1_000_000, deadline=30):
    """Returns once so many bytes have come. Fails if the ticket was over before it was seen."""
    def begun():
        now = volumes.status(host, ticket)
        assert now.get("state") == "importing", f"not caught in the middle: {now}"
        return ((now.get("migration") or {}).get("bytes_sent") or 0) >= sent
    wait_until(begun, deadline, lambda: f"content of {ticket} arrives: {volumes.status(host, ticket)}", interval=0.01)


# --- being refused ---------------------------------------------------------------------------------


def option(name):
    """How a line names an option, which no English sentence does by accident."""
    return re.compile(rf'\boption "?{re.escape(name)}\b|(?<![\w-]){re.escape(name)}=')


def word(text):
    return re.compile(rf"(?<![\w-]){re.escape(text)}(?![\w-])")


def any_of(*patterns):
    return re.compile("|".join(f"(?:{pattern.pattern})" for pattern in patterns))


# How a line names the host a.
PEER_A = word(f"a:{PEER_PORT}")
# That it is about a ticket; not the "ticket" in the names that tests give to tickets.
SAYS_TICKET = re.compile(r"\bticket\b(?!-)")


def check_line(line, fragments):
    assert line and "\n" not in line, f"not one line: {line!r}"
    for fragment in fragments:
        wanted = fragment if isinstance(fragment, re.Pattern) else word(fragment)
        assert wanted.search(line), f"{wanted.pattern} is not in: {line}"
    return line


def refused(host, scratch, options, fragments, name=None, traces=True):
    """At once, by create, with one line that holds the fragments, and no volume comes or goes. traces=False where
    another ticket runs, which leaves its own on disk."""
    ticket, listed, before = name or new_name(host, scratch), volumes.names(host), host.traces()
    created = volumes.create(host, ticket, options=options)
    assert not created.ok, f"{options} were accepted"
    assert created.seconds < AT_ONCE, f"{created.seconds:.1f} s: {created.error}"
    check_line(created.error, fragments)
    assert volumes.names(host) == listed
    if traces:
        wait_until(lambda: host.traces() <= before, 2, lambda: f"no trace: {host.traces() - before}")
    return created.error


def blocked(host, scratch, options, fragments):
    """What only a walk may find out: refused by create, or a ticket that fails with that line; then it is forgotten."""
    ticket, listed = new_name(host, scratch), volumes.names(host)
    created = volumes.create(host, ticket, options=options)
    assert created.seconds < AT_ONCE, f"{created.seconds:.1f} s: {created.error}"
    if created.ok:
        status = volumes.wait_state(host, ticket, ENDED, 30)
        assert status["state"] == "failed", f"{options} were accepted: {status}"
        line = status["migration"]["error"]
        assert volumes.remove(host, ticket)[0] == 204
    else:
        line = created.error
    check_line(line, fragments)
    wait_until(lambda: volumes.names(host) == listed, 10,
               lambda: f"no volume comes or goes: {volumes.names(host) ^ listed}")
    return line


# --- looking at volumes ----------------------------------------------------------------------------


def mounted_at(host, mountpoint):
    """Where a Mountpoint lies on the host (moby plugin/v2/plugin.go, ScopedPath)."""
    plugin = host.plugin_inspect()
    prefix = plugin["Config"]["PropagatedMount"]
    assert mountpoint.startswith(prefix + "/"), mountpoint
    return host.path("var/lib/docker/plugins", plugin["Id"], "propagated-mount", mountpoint[len(prefix):])


@contextlib.contextmanager
def look(host, name):
    """The directory that a container of the host would get; mounted meanwhile."""
    plugin, request = host.socket(), {"Name": name, "ID": secrets.token_hex(32)}
    reply = plugin.call("Mount", request)
    assert reply.error is None, reply.error
    try:
        yield mounted_at(host, reply.json["Mountpoint"])
    finally:
        assert plugin.call("Unmount", request).error is None


def same(expected, seen):
    """Two directories are equal; the number of entries."""
    result = tree_compare.compare(expected, seen, ignore_sockets=True)
    shown = "\n".join(result.differences[:40])
    assert not result.differences, f"{seen}: {len(result.differences)} differences:\n{shown}"
    return result.entries


def holds(host, name, expected):
    """The volume, as a container would see it, equals a directory."""
    with look(host, name) as seen:
        return same(expected, seen)


def gone(host, *names):
    wait_until(lambda: not {*names} & volumes.names(host), 10, lambda: f"gone: {set(names) & volumes.names(host)}")
    assert all(volumes.inspect(host, name) is None for name in names)


def snapshot(disk_directory, directory):
    """A copy of a volume's directory for later; for trees without paths beyond PATH_MAX."""
    path = os.path.join(disk_directory, f"snapshot-{secrets.token_hex(6)}")
    subprocess.run(["cp", "-a", "--", directory, path], check=True)
    return path


def timed(function, *arguments, **keywords):
    """(seconds, result)."""
    watch = Stopwatch()
    result = function(*arguments, **keywords)
    return watch.seconds, result
