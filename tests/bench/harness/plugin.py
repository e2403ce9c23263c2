"""The plugin's real binary as the engine would run it, but without an engine: one process is one host."""

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass

from harness import network, world
from support import unixhttp
from support.plugin_socket import ENGINE_HEADERS, PluginSocket
from support.wait import Stopwatch, wait_until

_KEY = "ferrybench".encode().hex().ljust(64, "0")
_TICKS = os.sysconf("SC_CLK_TCK")
# A root with the paths of config.json, in a mount namespace of its own; the process keeps the shell's id.
_SCRIPT = """
mount -t tmpfs -o mode=755 tmpfs "$ROOT"
cd "$ROOT"
mkdir -p dev etc proc usr host/docker host/run host/ssh propagated run/docker/plugins
for link in bin lib lib32 lib64 sbin; do [ ! -L "$SYSTEM/$link" ] || cp -P "$SYSTEM/$link" .; done
for directory in etc usr; do mount --bind "$SYSTEM/$directory" "$directory"; done
for directory in dev proc; do mount --bind "/$directory" "$directory"; done
touch ferry
mount --bind "$BINARY" ferry
mount --bind "$DATA" host/docker
[ ! "$RUN" ] || mount --bind "$RUN" host/run
[ ! "$LOGIN" ] || mount --bind "$LOGIN" host/ssh
exec env -i LOG_LEVEL=info PORT=7766 /usr/sbin/chroot . /ferry
"""


@dataclass(frozen=True)
class Program:
    """What is run: the plugin's binary, and the root of the system whose libraries it gets."""
    binary: str
    system: str = ""


class Failed(Exception):
    """An import that did not end well."""


class Plugin:
    """Runs until stop(). data: the directory that is the engine's data root; in_network: words before the command; run:
    the host's /run, if an sshd is to lead to the plugin; login: what ssh.source is set to, if it is."""

    def __init__(self, name, program, data, log, in_network=(), run="", login=""):
        self._name = name
        self._log = log
        root = os.path.join(world.DIRECTORY, f"root-{name}")
        os.makedirs(root, exist_ok=True)
        _write_key(os.path.join(data, "ferry"))
        with open(log, "ab") as out:
            self._process = subprocess.Popen(
                [*in_network, "unshare", "--mount", "--propagation", "private", "sh", "-e", "-c", _SCRIPT], stdout=out,
                stderr=out, env={**os.environ, "ROOT": root, "BINARY": program.binary, "SYSTEM": program.system, "DATA": data,
                                       "RUN": run, "LOGIN": login})
        self._socket = PluginSocket(f"/proc/{self._process.pid}/root/run/docker/plugins")
        wait_until(self._serves, 20, lambda: f"the {name}'s plugin serves; its log: {self.log_end()}")

    def create(self, name, /, **options):
        error = self._socket.call("Create", {"Name": name, "Opts": options}).error
        if error:
            raise Failed(f"create {name}: {error}")

    def remove(self, name):
        error = self._socket.call("Remove", {"Name": name}).error
        if error:
            raise Failed(f"remove {name}: {error}")

    def bring(self, name, deadline, **options):
        """migrate() from the source."""
        return self.migrate(name, deadline, **{"from": network.SOURCE, **options})

    def migrate(self, name, deadline, **options):
        """From Create until the volume is ready or the ticket done, seen half a percent too late at most. Returns the
        receipt."""
        watch = Stopwatch()
        self.create(name, **options)
        with contextlib.closing(unixhttp.UnixConnection(self._socket.path, timeout=60)) as connection:
            while (status := self._status(connection, name))["state"] in ("importing", "exporting"):
                if watch.seconds > deadline or self._process.poll() is not None:
                    break
                time.sleep(max(0.005, watch.seconds / 200))
        if status["state"] not in ("ready", "done"):
            raise Failed(f"{name} is not ready after {watch.seconds:.0f} s: {status}\n{self.log_end()}")
        return status["migration"]

    @staticmethod
    def _status(connection, volume):
        body = json.dumps({"Name": volume})
        connection.request("POST", "/VolumeDriver.Get", body, ENGINE_HEADERS)
        answer = json.loads(connection.getresponse().read())
        if answer["Err"]:
            raise Failed(answer["Err"])
        return answer["Volume"]["Status"]

    def cpu_seconds(self):
        """User and system time of all of its threads."""
        fields = self._read("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory(self):
        return self._status_field("VmRSS")

    def reset_peak(self):
        with open(f"/proc/{self._process.pid}/clear_refs", "w", encoding="ascii") as file:
            file.write("5")  # proc(5): the peak becomes what is there now

    def peak_memory(self):
        return self._status_field("VmHWM")

    def stop(self):
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise Failed(f"the {self._name}'s plugin did not end; its log: {self.log_end()}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def log_end(self):
        with open(self._log, encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-20:])

    def _serves(self):
        if self._process.poll() is not None:
            raise Failed(f"the {self._name}'s plugin has ended: {self.log_end()}")
        return os.path.isdir(f"/proc/{self._process.pid}/root/run/docker/plugins") and self._socket.answers()

    def _read(self, name):
        with open(f"/proc/{self._process.pid}/{name}", encoding="ascii", errors="replace") as file:
            return file.read()

    def _status_field(self, field):
        line = next(line for line in self._read("status").splitlines() if line.startswith(field + ":"))
        return int(line.split()[1]) * 1024


def _write_key(directory):
    os.makedirs(directory, mode=0o700, exist_ok=True)
    path = os.path.join(directory, "key")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as out:
        out.write(_KEY + "\n")


def volume_data(data, volume):
    return os.path.join(data, "ferry", "volumes", volume, "data")


def make_source(program, data, log, volume):
    """A volume on that data root, made by the plugin itself; returns its directory."""
    with Plugin("source", program, data, log) as plugin:
        plugin.create(volume)
    return volume_data(data, volume)
