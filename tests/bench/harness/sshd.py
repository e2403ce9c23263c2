"""An sshd of its own at the source, and what a client needs to be let in."""

import os
import socket
import subprocess

from harness import network, world
from support.wait import wait_until

_INSTALLED = "/usr/sbin/sshd"
_UNPACKED = os.path.expanduser("~/.cache/ferry-tools/openssh-server") + _INSTALLED
_SERVER = """\
ListenAddress {address}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/user_key.pub
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
MaxStartups 100
Subsystem sftp internal-sftp
"""
_CLIENT = """\
Host source
HostName {address}
User root
IdentityFile {directory}/user_key
IdentitiesOnly yes
UserKnownHostsFile {directory}/known_hosts
GlobalKnownHostsFile none
BatchMode yes
"""
# root's shell at the source reads no files of this machine's root
_USERS = "root:*:0:0:root:{directory}:/bin/sh\nsshd:*:101:65534::/run/sshd:/usr/sbin/nologin\n"


def find():
    """The path of an sshd: installed, or unpacked by tests/install-packages."""
    for path in (_INSTALLED, _UNPACKED):
        if os.access(path, os.X_OK):
            return path
    raise FileNotFoundError("there is no sshd; `make deps` gets one")


class Sshd:
    def __init__(self, binary):
        self._directory = os.path.join(world.DIRECTORY, "ssh")
        os.mkdir(self._directory, 0o700)
        os.mkdir("/run/sshd", 0o755)  # where its unprivileged part lives
        for key in ("host_key", "user_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", self._path(key)], check=True)
        self._write("server", _SERVER)
        self._write("client", _CLIENT)
        self._write("passwd", _USERS)
        with open(self._path("host_key.pub"), encoding="ascii") as public:
            self._write("known_hosts", f"{network.SOURCE} {public.read()}")
        os.mkdir(self.login, 0o700)
        for name, called in (("user_key", "id_ed25519"), ("known_hosts", "known_hosts")):
            os.link(self._path(name), os.path.join(self.login, called))
        subprocess.run(["mount", "--bind", self._path("passwd"), "/etc/passwd"], check=True)
        subprocess.Popen([os.path.realpath(binary), "-D", "-e", "-f", self._path("server")],
                         stderr=open(self._path("log"), "wb"))
        wait_until(self._answers, 20, self._log)

    @property
    def client(self):
        """The configuration in which this server is called `source`."""
        return self._path("client")

    @property
    def login(self):
        """The directory that Ferry gets as ssh.source."""
        return self._path("login")

    def _path(self, name):
        return os.path.join(self._directory, name)

    def _write(self, name, text):
        with open(self._path(name), "w", encoding="ascii") as out:
            out.write(text.format(address=network.SOURCE, directory=self._directory))

    def _log(self):
        with open(self._path("log"), encoding="utf-8", errors="replace") as file:
            return "sshd answers; it says: " + file.read()

    @staticmethod
    def _answers():
        try:
            with socket.create_connection((network.SOURCE, 22), 1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False
