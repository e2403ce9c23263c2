"""One lab host, seen from outside and from inside."""

import contextlib
import os
import re
import signal
import subprocess
from functools import cached_property

from support import plugin_socket, processes
from support.unixhttp import EngineApi
from support.wait import wait_until

PEER_PORT = 7766
# What the engine calls the plugin that was installed as "ferry".
DRIVERS = ("ferry", "ferry:latest")
_BELIEVED_IN = 1.0  # seconds after the start of a plugin's process


class Host:
    def __init__(self, lab, name):
        self._lab = lab
        self.name = name
        self._root = None
        self._original_key = None
        self._reference = None  # where the plugin came from, for an install by hand
        self.api = EngineApi(lambda: self.path("run/docker.sock"))

    # --- inside -------------------------------------------------------------------------------

    def exec(self, *command, check=True, timeout=120, stdin=None):
        return self._lab.run("exec", self.name, *command, check=check, timeout=timeout, stdin=stdin)

    def docker(self, *arguments, check=True, timeout=120, stdin=None):
        return self.exec("docker", *arguments, check=check, timeout=timeout, stdin=stdin)

    @cached_property
    def mount_namespace(self):
        return self.exec("readlink", "/proc/self/ns/mnt").stdout.strip()

    @cached_property
    def address(self):
        """The IPv4 address by which the peers know this host."""
        other = next(host for host in self._lab.hosts if host is not self)
        return other.exec("getent", "ahostsv4", self.name).stdout.split()[0]

    def engine_pid(self):
        pids = processes.named("dockerd", self.mount_namespace)
        return pids[0] if pids else None

    def in_network(self, *command, stdin=None, **options):
        """Runs a program of this machine (not of the host) in the host's network namespace."""
        words = ["nsenter", f"--net=/proc/{self.engine_pid()}/ns/net", *command]
        return subprocess.run(words, input=stdin, capture_output=True, check=False, timeout=60, **options)

    def start_in_network(self, *command):
        """The same, left running; ends when its standard input does."""
        words = ["nsenter", f"--net=/proc/{self.engine_pid()}/ns/net", *command]
        return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def can_connect(self, peer, port=PEER_PORT):
        probe = f"import socket; socket.create_connection(('{peer.address}', {port}), 1)"
        return self.in_network("/usr/bin/python3", "-c", probe).returncode == 0

    # --- outside ------------------------------------------------------------------------------

    @property
    def root(self):
        # It may be /proc/PID/root of something that a restart replaces, so ask again when it is gone.
        if self._root is None or not os.path.isdir(os.path.join(self._root, "var/lib/docker")):
            self._root = self._lab.run("root", self.name).stdout.strip()
        return self._root

    def path(self, *parts):
        return os.path.join(self.root, *(part.lstrip("/") for part in parts))

    def ferry(self, *parts):
        return self.path("var/lib/docker/ferry", *parts)

    def volume_data(self, name, driver="ferry"):
        if driver == "local":
            return self.path("var/lib/docker/volumes", name, "_data")
        return self.ferry("volumes", name, "data")

    def traces(self):
        """What lies in Ferry's directory and one level below: wherever a volume or a half of one could have been left.

        What is removed passes through the trash, so compare with a deadline after a removal.
        """
        found = set()
        for place in os.listdir(self.ferry()) if os.path.isdir(self.ferry()) else ():
            is_directory = os.path.isdir(self.ferry(place))
            found |= {f"{place}/{name}" for name in os.listdir(self.ferry(place))} if is_directory else {place}
        return found

    def logs(self):
        return self._lab.run("logs", self.name).stdout

    # --- engine and plugin --------------------------------------------------------------------

    def engine(self, action):
        self._lab.run("engine", self.name, action)
        self._root = None
        self.__dict__.pop("mount_namespace", None)
        if action != "stop" and action != "kill":
            wait_until(self.api.answers, 60, f"engine of {self.name} answers")

    def plugin(self, action):
        self._lab.run("plugin", self.name, action)

    def set_plugin(self, *settings):
        """As an operator does it, who has to disable the plugin for that; when it is back, it serves."""
        self.plugin("disable")
        self.docker("plugin", "set", "ferry", *settings)
        self.plugin("enable")
        self.wait_served()

    @contextlib.contextmanager
    def allowing(self, what):
        """The plugin's setting ALLOW is another one meanwhile."""
        self.set_plugin(f"ALLOW={what}")
        try:
            yield
        finally:
            self.set_plugin("ALLOW=read,write,freeze,containers")

    def plugin_inspect(self):
        """None if the plugin is not installed."""
        status, answer = self.api.request("GET", "/plugins/ferry/json")
        assert status in (200, 404), answer
        return answer if status == 200 else None

    @property
    def plugin_id(self):
        return self.plugin_inspect()["Id"]

    def plugin_mounts(self):
        """{name of a mount: its source}, as the engine mounts them.

        Config and not Settings, which follows `docker plugin set` only until the engine is restarted.
        """
        return {mount["Name"]: mount["Source"] for mount in self.plugin_inspect()["Config"]["Mounts"]}

    def plugin_pids(self):
        return processes.of_plugin(self.plugin_id)

    def socket(self):
        return plugin_socket.PluginSocket(self.path("run/docker/plugins", self.plugin_id))

    def wait_served(self, deadline=30):
        wait_until(self._serves, deadline, f"plugin of {self.name} answers List")

    def _serves(self):
        try:
            inspected = self.plugin_inspect()
            return bool(inspected) and inspected["Enabled"] and self.socket().answers()
        except OSError:
            return False

    def killer(self):
        """kill -9 of the plugin as a function, which works without asking the engine."""
        pids = self.plugin_pids()
        assert pids, "no process of the plugin found"
        return lambda: [os.kill(pid, signal.SIGKILL) for pid in pids]

    def kill_plugin(self):
        """kill -9, and back when it serves again with another process.

        A plugin that dies within the engine's first 0.5 s with it is not restarted but disabled, about 10 s later (moby
        plugin/manager_linux.go, pluginPostStart), or both at once, and an Engine 20.10 may then refuse to enable it for
        good. So it is not killed earlier; if it is disabled all the same, it is enabled again, as an operator would.
        """
        before = set(self.plugin_pids())
        assert before, "no process of the plugin found"
        wait_until(lambda: all(processes.age(pid) > _BELIEVED_IN for pid in before), 5,
                   "the engine believes in the plugin")
        self.plugin("kill")
        wait_until(lambda: self._new_process(before) or self._disabled(), 30,
                   f"the engine restarts or disables the plugin of {self.name}")
        if self._disabled():
            # Right after it the engine may still be taking the old process's pipes away, and says so.
            tried = []

            def enabled():
                tried.append(self._lab.run("plugin", self.name, "enable", check=False))
                return tried[-1].returncode == 0
            wait_until(enabled, 30, lambda: f"the plugin of {self.name} can be enabled again: {tried[-1].stderr}")
        self.wait_served()

    def _disabled(self):
        return not self.plugin_inspect()["Enabled"]

    def _new_process(self, before):
        now = set(self.plugin_pids())
        return now and not now & before

    def install_plugin(self, *settings, enable=True):
        self.docker("plugin", "install", "--alias", "ferry", "--grant-all-permissions",
                    *([] if enable else ["--disable"]), self._reference, "ssh.source=/root/.ssh", *settings)

    def key_path(self):
        return self.ferry("key")

    def read_key(self):
        with open(self.key_path(), encoding="ascii") as file:
            return file.read().strip()

    def set_key(self, value):
        self._lab.run("key", self.name, value)

    def set_key_in(self, data_source, value):
        """The key of a plugin whose data.source is not the default (the lab's key is for the default)."""
        self.exec("sh", "-c", f"umask 077 && cat > {data_source}/ferry/key.new && mv {data_source}/ferry/key.new "
                  f"{data_source}/ferry/key", stdin=value + "\n")

    # --- putting things right -----------------------------------------------------------------

    def remember(self):
        self.wait_served()
        self._original_key = self.read_key()
        self._reference = self.plugin_inspect()["PluginReference"]
        assert re.fullmatch("[0-9a-f]{64}", self._original_key), "key file is not 64 hex digits"

    def restore(self):
        if not self.api.answers():
            self.engine("start" if self.engine_pid() is None else "restart")
        try:
            inspected = self.plugin_inspect()
            assert inspected is not None, "the plugin is not installed"
            if not inspected["Enabled"]:
                self.plugin("enable")
            self.wait_served(15)
        except AssertionError:
            self.plugin("reinstall")
            self.wait_served()
        if not os.path.exists(self.key_path()) or self.read_key() != self._original_key:
            self.set_key(self._original_key)
