"""Timed calls of a Docker Engine's API. Times are in milliseconds, to the last byte of the answer."""

import json
import os
import subprocess
import time

from support.unixhttp import UnixConnection


class Engine:
    """One connection, which stays open: neither the start of a `docker` command nor connecting is timed."""

    def __init__(self, host):
        self._connection = UnixConnection(host.path("run/docker.sock"), 120)

    def ping(self):
        return self._timed("GET", "/_ping")[0]

    def create(self, driver, name):
        return self._timed("POST", "/volumes/create", {"Name": name, "Driver": driver})[0]

    def remove(self, name):
        return self._timed("DELETE", f"/volumes/{name}")[0]

    def list(self, expected):
        """What `docker volume ls` asks for; there have to be so many."""
        took, answer = self._timed("GET", "/volumes")
        found = len(json.loads(answer)["Volumes"])
        assert found == expected, f"GET /volumes shows {found} volumes instead of {expected}"
        return took

    def version(self):
        return json.loads(self._timed("GET", "/version")[1])["Version"]

    def close(self):
        self._connection.close()

    def _timed(self, method, path, body=None):
        text = None if body is None else json.dumps(body)
        began = time.perf_counter()
        self._connection.request(method, path, text, {"Content-Type": "application/json"} if text else {})
        response = self._connection.getresponse()
        answer = response.read()
        took = (time.perf_counter() - began) * 1000
        assert response.status in (200, 201, 204), f"{method} {path}: {response.status} {answer[:500]!r}"
        return took, answer


def docker_volume_ls(host, expected):
    """The host's own command, from its start to its end."""
    began = time.perf_counter()
    done = subprocess.run(["chroot", host.root, "docker", "volume", "ls", "-q"], stdout=subprocess.PIPE, check=True)
    took = (time.perf_counter() - began) * 1000
    found = len(done.stdout.splitlines())
    assert found == expected, f"docker volume ls shows {found} volumes instead of {expected}"
    return took


def durable_write(directory):
    """A small file that is replaced and on disk then, as before each answer of Ferry's: what the disk alone takes."""
    path = os.path.join(directory, "durable-write")
    began = time.perf_counter()
    with open(path + ".new", "wb", buffering=0) as file:
        file.write(bytes(300))
        os.fsync(file.fileno())
    os.rename(path + ".new", path)
    parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
    return (time.perf_counter() - began) * 1000
