"""Volumes and containers of one test: fresh names, and gone afterwards whatever happens."""

import json
import os
import shutil
import uuid

from support import volumes
from support.wait import wait_until

IMAGE = "busybox"


class Scratch:
    def __init__(self, lab):
        self._lab = lab
        self._volumes = []
        self._containers = []
        self._commands = []

    def name(self, host=None, stem="e2e"):
        """A fresh name; with a host, a volume of that name is removed from it at the end."""
        name = f"{stem}-{uuid.uuid4().hex[:10]}"
        if host is not None:
            self.forget_later(host, name)
        return name

    def forget_later(self, host, name):
        self._volumes.append((host, name))

    def at_end(self, function, *arguments):
        self._commands.append((function, arguments))

    def volume(self, host, driver="ferry", options=(), labels=(), stem="e2e"):
        return volumes.must_create(host, self.name(host, stem), driver=driver, options=options, labels=labels)

    def container(self, host, *arguments, command=("sleep", "100000"), image=IMAGE):
        """A running container's id. arguments come before the image, as -v NAME:/data."""
        result = host.docker("run", "-d", "--network", "none", "--label", "ferry-e2e", *arguments, image, *command)
        container = result.stdout.strip()
        self._containers.append((host, container))
        return container

    def made_container(self, host, *arguments, command=("sleep", "100000")):
        """A container that was created and not started."""
        result = host.docker("create", "--network", "none", *arguments, IMAGE, *command)
        container = result.stdout.strip()
        self._containers.append((host, container))
        return container

    def finish(self):
        for function, arguments in reversed(self._commands):
            function(*arguments)
        for host, container in self._containers:
            host.docker("rm", "-fv", container, check=False)
        left = [(host, name) for host, name in self._volumes if not _removed(host, name)]
        assert not left, f"could not remove {[(host.name, name) for host, name in left]}"


def run(host, mount, script, check=True, timeout=60):
    """One shell script in a container of its own; mount is what follows -v."""
    return host.docker("run", "--rm", "--network", "none", "-v", mount, IMAGE, "sh", "-c", script,
                       check=check, timeout=timeout)


def seen_in(host, container, path="/data"):
    """Where a running container's directory can be read from outside, as the container sees it."""
    state = json.loads(host.docker("inspect", container).stdout)[0]["State"]
    assert state["Running"], state
    return f"/proc/{state['Pid']}/root{path}"


def name_of(host, container):
    return json.loads(host.docker("inspect", container).stdout)[0]["Name"].lstrip("/")


def copy_image(home, away, image):
    """An image of one host is on the other one, too, by that name."""
    path = "root/e2e-image.tar"
    home.docker("save", "-o", f"/{path}", image)
    shutil.move(home.path(path), away.path(path))
    away.docker("load", "-i", f"/{path}")
    os.unlink(away.path(path))


def fill(directory, files):
    """Writes {name: bytes}, from outside, into a volume that nobody uses."""
    for name, data in files.items():
        with open(os.path.join(directory, name), "wb") as out:
            out.write(data)


def _removed(host, name):
    def gone():
        volumes.remove(host, name)
        return volumes.inspect(host, name) is None
    try:
        return wait_until(gone, 20, "")
    except AssertionError:
        return False
