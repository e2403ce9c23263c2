"""What a result depends on besides Ferry."""

import os
import platform
import subprocess
import time

from harness.disk import GIB


def facts(root, command, options):
    with open("/proc/loadavg", encoding="ascii") as file:
        load = file.read().split()[0]
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": _commit(root),
        "command": command,
        "scale": options.scale,
        "rounds": options.rounds,
        "file system": f"{options.fs} on loop devices in memory",
        "processors": f"{os.cpu_count()} × {_processor()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / GIB:.0f} GiB",
        "kernel": platform.release(),
        "load at the start": load,
        "peers": "; ".join(_version(words) for words in (["cp", "--version"], ["rsync", "--version"],
                                                         ["tar", "--version"], ["ssh", "-V"])),
    }


def _commit(root):
    words = ["git", "-C", root, "-c", "safe.directory=*"]
    found = subprocess.run([*words, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        return "unknown"
    changed = subprocess.run([*words, "status", "--porcelain"], capture_output=True, text=True, check=False).stdout
    return found.stdout.strip() + (" with changes" if changed else "")


def _processor():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return next((line.split(":")[1].strip() for line in file if line.startswith("model name")), platform.machine())


def _version(words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).splitlines()[0]
