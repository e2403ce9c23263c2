"""How a host logs in to another one through ssh, and sshds beside the one that the lab has started."""

import contextlib
import os
import re
import subprocess

from support import processes
from support.wait import wait_until

SETTING = "/root/.ssh"


def ready(host):
    """The plugin has the directory in which the lab has put root's keys."""
    if host.plugin_mounts()["ssh"] != SETTING:
        host.set_plugin(f"ssh.source={SETTING}")


def path(host, name):
    return host.path("root/.ssh", name)


@contextlib.contextmanager
def replaced(host, name, content=None, mode=0o600):
    """A file of root's .ssh with another content, or without content as it is; it is back afterwards."""
    file = path(host, name)
    with open(file, "rb") as old:
        before, before_mode = old.read(), os.stat(file).st_mode & 0o7777
    try:
        _write(file, before if content is None else content, mode)
        yield file
    finally:
        _write(file, before, before_mode)


def _write(file, content, mode):
    os.chmod(file, 0o600)
    with open(file, "wb") as out:
        out.write(content)
    os.chmod(file, mode)


def make_key(directory, passphrase="", kind="ed25519"):
    """A new private key and its public one."""
    file = os.path.join(directory, "made-key")
    for old in (file, file + ".pub"):
        if os.path.exists(old):
            os.unlink(old)
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "", "-f", file], check=True)
    return tuple(_read(name) for name in (file, file + ".pub"))


def _read(name):
    with open(name, "rb") as file:
        return file.read()


def fingerprint(host):
    """As somebody who sits at the host compares it."""
    shown = host.exec("ssh-keygen", "-lf", "/etc/ssh/ssh_host_ed25519_key.pub").stdout
    return re.search(r"SHA256:\S+", shown)[0]


@contextlib.contextmanager
def another(host, client, port, *settings):
    """An sshd of its own on that port, which the client knows as it knows the first one."""
    pid_file = f"/run/sshd-{port}.pid"
    words = [word for setting in (f"PidFile={pid_file}", "UseDNS=no", *settings) for word in ("-o", setting)]
    host.exec("/usr/sbin/sshd", "-p", str(port), *words)
    public = _read(host.path("etc/ssh/ssh_host_ed25519_key.pub")).split()[:2]
    line = b" ".join([f"[{host.name}]:{port}".encode(), *public]) + b"\n"
    try:
        wait_until(lambda: os.path.exists(host.path(pid_file)), 10, "the other sshd is up")
        with replaced(client, "known_hosts", _read(path(client, "known_hosts")) + line):
            yield
    finally:
        host.exec("sh", "-c", f"kill $(cat {pid_file})", check=False)


def end_sessions(host):
    """SIGKILL of what the sshds of the host have started for those who are logged in."""
    pids = [pid for name in ("sshd", "sshd-session") for pid in processes.named(name, host.mount_namespace)]
    sessions = [pid for pid in pids if b"[listener]" not in processes.command(pid)]
    assert sessions, "nobody is logged in"
    for pid in sessions:
        processes.kill(pid)


@contextlib.contextmanager
def port_closed(host, port):
    """A firewall swallows what comes to that port."""
    rule = ("INPUT", "-p", "tcp", "--dport", str(port), "-j", "DROP")
    host.exec("iptables", "-I", *rule)
    try:
        yield
    finally:
        host.exec("iptables", "-D", *rule)
