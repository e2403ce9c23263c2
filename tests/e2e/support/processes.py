"""Finds the processes of a lab host from outside; the hosts share the machine's pid namespace."""

import contextlib
import os
import signal
import time


def _read(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""


def all_pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def parent(pid):
    # The command in parentheses may hold anything, so count from the last one.
    after = _read(pid, "stat").rpartition(b")")[2].split()
    return int(after[1]) if after else 0


def alive(pid):
    after = _read(pid, "stat").rpartition(b")")[2].split()
    return bool(after) and after[0] not in (b"Z", b"X")


def age(pid):
    """Seconds since it was started; endless if it is gone."""
    after = _read(pid, "stat").rpartition(b")")[2].split()
    if not after:
        return float("inf")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(after[19]) / os.sysconf("SC_CLK_TCK")


def named(name, mount_namespace):
    """Processes called name in the given mount namespace ("mnt:[…]")."""
    found = []
    for pid in all_pids():
        if _read(pid, "comm").strip() == name.encode():
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/ns/mnt") == mount_namespace:
                    found.append(pid)
    return found


def name(pid):
    return _read(pid, "comm").decode(errors="replace").strip()


def command(pid):
    """As it was called, or as it calls itself."""
    return _read(pid, "cmdline")


def of_plugin(plugin_id):
    """The plugin's processes: what its containerd shim has started."""
    shims = set()
    for pid in all_pids():
        words = _read(pid, "cmdline").split(b"\0")
        if words[0].rpartition(b"/")[2].startswith(b"containerd-shim") and plugin_id.encode() in words:
            shims.add(pid)
    return sorted(pid for pid in all_pids()
                  if parent(pid) in shims and alive(pid) and b"runc" not in _read(pid, "comm"))


def kill(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
