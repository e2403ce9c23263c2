"""Versions of a volume, somebody who looks on while one becomes the next, and how that is interrupted."""

import contextlib
import http.client
import os
import random
import secrets
import threading

from support import processes, tree_compare
from support.tickets import PAGE, mounted_at
from support.wait import wait_until

_PAGES = 8192
_MARKER = "version"


def _write(path, data):
    with open(path, "wb") as out:
        out.write(data)


def first_version(root, seed=1):
    """Fills an empty directory with a large file of _PAGES pages and some 300 small ones."""
    chance = random.Random(seed)
    _write(os.path.join(root, "big"), chance.randbytes(_PAGES * PAGE))
    for place, count in (("small", 200), ("moving-0", 50)):
        os.mkdir(os.path.join(root, place))
        for number in range(count):
            _write(os.path.join(root, place, f"f-{number:03}"), chance.randbytes(chance.randrange(1, 9000)))
    _write(os.path.join(root, "gone-0"), b"0")
    _write(os.path.join(root, "linked"), b"linked")
    os.link(os.path.join(root, "linked"), os.path.join(root, "linked-too"))
    _write(os.path.join(root, _MARKER), b"0")


def next_version(root, number, pages=400):
    """From version number - 1 to number: pages of the large file, files that come, go, move, change, and metadata."""
    chance = random.Random(number)
    with open(os.path.join(root, "big"), "r+b") as out:
        for page in chance.sample(range(_PAGES), pages):
            out.seek(page * PAGE)
            out.write(chance.randbytes(PAGE))
    for file in range(number % 3, 200, 3):
        _write(os.path.join(root, "small", f"f-{file:03}"), b"%d " % number * chance.randrange(1, 2000))
    os.rename(os.path.join(root, f"moving-{number - 1}"), os.path.join(root, f"moving-{number}"))
    os.unlink(os.path.join(root, f"gone-{number - 1}"))
    _write(os.path.join(root, f"gone-{number}"), b"%d" % number)
    _write(os.path.join(root, "linked"), b"linked %d" % number)
    os.chmod(os.path.join(root, "small"), 0o700 | number % 8)
    os.setxattr(root, "user.version", b"%d" % number)
    _write(os.path.join(root, _MARKER), b"%d" % number)


class Onlooker:
    """Mounts volumes again and again while a ticket updates them, as containers that come and go would.

    What it gets has to be one of two versions, all of it; and once one volume of the ticket was new, none is old. A
    Mount may also be refused. To be started once the ticket's create has answered: before, a mount is a reason to
    refuse it.
    """

    def __init__(self, host, trees):
        """trees: {volume: (directory that equals the old version, the same of the new one)}."""
        self._host, self._trees = host, trees
        self._plugin, self._plugin_id = host.socket(), host.plugin_id
        self._stop, self._failure = threading.Event(), None
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.seen = []  # (volume, "old" or "new")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        self._stop.set()
        self._thread.join(90)
        if kind is not None:
            return
        assert not self._thread.is_alive(), "a Mount or an Unmount does not return"
        if self._failure:
            raise self._failure
        versions = [version for _, version in self.seen]
        after = versions[versions.index("new"):] if "new" in versions else []
        assert "old" not in after, f"not at one instant: {self.seen}"

    def _watch(self):
        try:
            while not self._stop.is_set():
                for name in self._trees:
                    self._probe(name)
                    self._stop.wait(0.05)  # between two containers
        except Exception as error:  # raised again where the test waits
            self._failure = error

    def _probe(self, name):
        pids = processes.of_plugin(self._plugin_id)
        request = {"Name": name, "ID": secrets.token_hex(32)}
        try:
            reply = self._plugin.call("Mount", request)
        except (OSError, http.client.HTTPException):
            return  # killed before it answered
        if reply.error is not None:
            assert "\n" not in reply.error, reply.error
            return
        try:
            version, differences = self._compare(name, mounted_at(self._host, reply.json["Mountpoint"]))
            # If that process was killed meanwhile, the next one knows nothing of this mount: it may ask the engine,
            # which would know a real container, but not this one.
            if pids and all(processes.alive(pid) for pid in pids):
                assert not differences, f"{name} is neither old nor new: {differences[:20]}"
                self.seen.append((name, version))
        finally:
            wait_until(lambda: self._unmounted(request), 60, f"{name} can be unmounted")

    def _compare(self, name, seen):
        old, new = self._trees[name]
        try:
            with open(os.path.join(seen, _MARKER), "rb") as now, open(os.path.join(new, _MARKER), "rb") as wanted:
                version = "new" if now.read() == wanted.read() else "old"
            expected = new if version == "new" else old
            return version, tree_compare.compare(expected, seen, ignore_sockets=True).differences
        except OSError as error:  # it changes while one looks
            return "broken", [str(error)]

    def _unmounted(self, request):
        try:
            return self._plugin.call("Unmount", request).error is None
        except (OSError, http.client.HTTPException):
            return False


# --- killing ---------------------------------------------------------------------------------------


def moments(count, longest_ms, seed):
    """In seconds, spread over the span, each a little off, so that runs with other seeds see other moments."""
    chance = random.Random(seed)
    return [(number + chance.random()) * longest_ms / count / 1000 for number in range(count)]


def prepared_kill(host):
    """kill -9 of the plugin as a function with nothing left to find out; it returns once the plugin serves again."""
    pids = host.plugin_pids()
    assert pids, "no process of the plugin found"

    def strike():
        for pid in pids:
            processes.kill(pid)
        wait_until(lambda: not any(processes.alive(pid) for pid in pids), 10, "the plugin dies")
        wait_until(lambda: _serves_again(host), 60, f"the plugin of {host.name} serves again")
    return strike


def _serves_again(host):
    with contextlib.suppress(AssertionError):
        if not host.plugin_inspect()["Enabled"]:
            host.plugin("enable")  # it died in its first half second; see Host.kill_plugin
        host.wait_served(1)
        return True
    return False
