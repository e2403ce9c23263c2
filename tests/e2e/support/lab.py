"""tests/lab/lab from Python: hosts with real engines, and how to break and mend them."""

import os
import subprocess

from support.host import PEER_PORT, Host
from support.wait import wait_until

TOOL = os.path.join(os.path.dirname(__file__), "..", "..", "lab", "lab")


class Lab:
    def __init__(self):
        self._tool = os.path.abspath(os.environ.get("FERRY_E2E_LAB", TOOL))
        self.a, self.b = Host(self, "a"), Host(self, "b")
        self.hosts = (self.a, self.b)
        self._cut = False
        self._brought_up = False

    def run(self, *arguments, check=True, timeout=300, stdin=None):
        words = [str(word) for word in arguments]
        result = subprocess.run([self._tool, *words], input=stdin if stdin is not None else "", capture_output=True,
                                text=True, errors="replace", timeout=timeout, check=False)
        if check and result.returncode != 0:
            raise AssertionError(f"lab {' '.join(words)}: exit {result.returncode}\n{result.stdout}{result.stderr}")
        return result

    def is_up(self):
        return all(self.run("exec", host.name, "true", check=False).returncode == 0 for host in self.hosts)

    def up(self):
        if not self.is_up():
            self.run("up", "2", timeout=3000)
            self._brought_up = True
        for host in self.hosts:
            host.remember()

    def down(self):
        if self._brought_up:
            self.run("down", timeout=300)

    def cut(self):
        self._cut = True
        self.run("cut", "a", "b")

    def heal(self, port=PEER_PORT):
        """Returns when each reaches that port of the other."""
        if self._cut:
            self.run("heal", "a", "b")
            self._cut = False
            self._wait_reachable(port)

    def restore(self):
        """Whatever a test broke: network, engines, plugins and keys are as they were after up."""
        self.heal()
        for host in self.hosts:
            host.restore()

    def _wait_reachable(self, port):
        """A healed network needs a moment for its neighbours."""
        for host, peer in (self.hosts, self.hosts[::-1]):
            wait_until(lambda h=host, p=peer: h.can_connect(p, port), 20, f"{host.name} reaches port {port} of {peer.name}")
